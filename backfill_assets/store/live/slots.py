"""What live samples say of slots, beside the bars themselves: provenance, quiet slots, other people's slots."""

from collections.abc import Sequence
from datetime import UTC, datetime

import pandas as pd

from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.calendar.tickers import Symbol
from backfill_assets.market.live.provisional_bars import EXACT_FIELDS
from backfill_assets.store.bars.bar_writer import LIVE_SOURCE_INTERVAL
from backfill_assets.store.postgres.connection import Connection

_UPSERT_LIVE_SLOTS = """
INSERT INTO backfill.live_slots AS l (symbol_id, interval_type, timestamp, sample_count, exact_fields, volume_from,
    volume_until, has_traded)
SELECT id, %(interval)s, to_timestamp(at), samples, string_to_array(exact, ' '), to_timestamp(since),
       to_timestamp(until), traded
FROM unnest(%(ids)s::int[], %(at)s::bigint[], %(samples)s::smallint[], %(exact)s::text[], %(since)s::bigint[],
            %(until)s::bigint[], %(traded)s::boolean[]) AS t (id, at, samples, exact, since, until, traded)
WHERE NOT traded OR EXISTS (
    SELECT FROM market_data m WHERE m.symbol_id = t.id AND m.timestamp = to_timestamp(t.at)
       AND m.interval_type = ANY (%(spellings)s) AND m.is_final IS FALSE AND m.source_interval = %(live)s)
ON CONFLICT (symbol_id, interval_type, timestamp) DO UPDATE SET
    sample_count = EXCLUDED.sample_count, exact_fields = EXCLUDED.exact_fields, volume_from = EXCLUDED.volume_from,
    volume_until = EXCLUDED.volume_until, has_traded = EXCLUDED.has_traded
WHERE (l.sample_count, l.exact_fields, l.volume_from, l.volume_until, l.has_traded)
    IS DISTINCT FROM (EXCLUDED.sample_count, EXCLUDED.exact_fields, EXCLUDED.volume_from, EXCLUDED.volume_until,
                      EXCLUDED.has_traded)
"""
_SELECT_EXTERNALLY_WRITTEN = """
SELECT u.symbol_id FROM unnest(%(ids)s::int[]) AS u (symbol_id) CROSS JOIN LATERAL (
    SELECT source FROM market_data m WHERE m.symbol_id = u.symbol_id AND m.interval_type = ANY (%(spellings)s)
       AND m.timestamp >= %(since)s AND m.timestamp <= %(now)s
    ORDER BY m.timestamp DESC, m.source IS NULL LIMIT 1
) newest WHERE newest.source IS NULL
"""


def record_slots(connection: Connection, slots: pd.DataFrame, interval: Interval) -> None:
    """Keep where provisional bars come from, in the transaction that wrote them, and which slots were quiet.

    ``slots`` are those of ``market.live.provisional_bars``; those whose bar in the table is not a provisional one of
    ours are left out.
    """
    flags = slots[[f"{name}_exact" for name in EXACT_FIELDS]].to_numpy(bool)
    connection.execute(
        _UPSERT_LIVE_SLOTS,
        {
            "interval": interval.name,
            "spellings": list(interval.spellings),
            "live": LIVE_SOURCE_INTERVAL,
            "ids": slots["symbol_id"].tolist(),
            "at": slots["timestamp"].tolist(),
            "samples": slots["samples"].tolist(),
            "exact": [
                " ".join(name for name, is_exact in zip(EXACT_FIELDS, row, strict=True) if is_exact) for row in flags
            ],
            "since": slots["since"].tolist(),
            "until": slots["until"].tolist(),
            "traded": (slots["volume"] > 0).tolist(),
        },
    )


def read_untraded_slots(
    connection: Connection, symbols: Sequence[Symbol], interval: Interval, first: datetime, last: datetime
) -> set[tuple[int, int]]:
    """Slots (symbol_id, epoch seconds) in which nothing traded as far as live samples show."""
    rows = connection.execute(
        "SELECT symbol_id, extract(epoch FROM timestamp)::bigint FROM backfill.live_slots WHERE NOT has_traded"
        " AND symbol_id = ANY (%s) AND interval_type = %s AND timestamp BETWEEN %s AND %s",
        [[s.symbol_id for s in symbols], interval.name, first, last],
    )
    return {(symbol_id, at) for symbol_id, at in rows}


def find_externally_written(
    connection: Connection, symbols: Sequence[Symbol], interval: Interval, since: datetime, now: datetime
) -> set[int]:
    """The symbol_ids whose newest bar, of the slots from ``since`` to ``now``, is somebody else's."""
    rows = connection.execute(
        _SELECT_EXTERNALLY_WRITTEN,
        {
            "ids": [s.symbol_id for s in symbols],
            "spellings": list(interval.spellings),
            "since": since.astimezone(UTC),
            "now": now.astimezone(UTC),
        },
    )
    return {row[0] for row in rows}
