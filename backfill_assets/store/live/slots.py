"""What live samples show of slots: how provisional bars were built, untraded slots, slots of other programs."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.calendar.tickers import Symbol
from backfill_assets.market.live.provisional_bars import EXACT_FIELDS
from backfill_assets.store.bars.bar_writer import LIVE_SOURCE_INTERVAL
from backfill_assets.store.postgres.connection import Connection

if TYPE_CHECKING:  # slow to load, and only what samples live quotes needs it
    import pandas as pd

_UPSERT_LIVE_SLOTS = """
INSERT INTO backfill.live_slots AS l (symbol_id, interval_type, timestamp, sample_count, exact_fields, volume_from,
    volume_until, has_traded)
SELECT id, %(interval)s, to_timestamp(at), sample_count, string_to_array(exact_fields, ' '),
       to_timestamp(volume_from), to_timestamp(volume_until), has_traded
FROM unnest(%(ids)s::int[], %(at)s::bigint[], %(sample_count)s::smallint[], %(exact_fields)s::text[],
            %(volume_from)s::bigint[], %(volume_until)s::bigint[], %(has_traded)s::boolean[])
  AS t (id, at, sample_count, exact_fields, volume_from, volume_until, has_traded)
WHERE NOT has_traded OR EXISTS (
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
_SELECT_UNTRADED_SLOTS = """
SELECT symbol_id, extract(epoch FROM timestamp)::bigint FROM backfill.live_slots
WHERE NOT has_traded AND symbol_id = ANY (%(ids)s) AND interval_type = %(interval)s
  AND timestamp BETWEEN %(first)s AND %(last)s
"""


def record_slots(connection: Connection, slots: "pd.DataFrame", interval: Interval) -> None:
    """Store how provisional bars were built, in the transaction that wrote them, and which slots had no trade.

    ``slots`` are those of ``market.live.provisional_bars``. A slot with trades is left out unless the table has a
    provisional bar of this program for it.
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
            "sample_count": slots["samples"].tolist(),
            "exact_fields": [
                " ".join(name for name, is_exact in zip(EXACT_FIELDS, row, strict=True) if is_exact) for row in flags
            ],
            "volume_from": slots["since"].tolist(),
            "volume_until": slots["until"].tolist(),
            "has_traded": (slots["volume"] > 0).tolist(),
        },
    )


def read_untraded_slots(
    connection: Connection, symbols: Sequence[Symbol], interval: Interval, first: datetime, last: datetime
) -> set[tuple[int, int]]:
    """Slots (symbol_id, epoch seconds UTC) in which nothing traded as far as live samples show."""
    values = {"ids": [s.symbol_id for s in symbols], "interval": interval.name, "first": first, "last": last}
    rows = connection.execute(_SELECT_UNTRADED_SLOTS, values)
    return {(symbol_id, at) for symbol_id, at in rows}


def find_externally_written(
    connection: Connection, symbols: Sequence[Symbol], interval: Interval, since: datetime, now: datetime
) -> set[int]:
    """The symbol_ids whose newest bar of the slots from ``since`` to ``now`` another program wrote."""
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
