"""What was asked of the vendor and what came: the grounds on which an absent slot is judged."""

from datetime import UTC, datetime

import pandas as pd

from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.store.postgres.connection import Connection

_UPSERT_EVIDENCE = """
INSERT INTO backfill.session_evidence AS e (symbol_id, interval_type, source_interval, session_day, requested_at,
    no_new_data_since, source_rows, data_until, is_published, published_at, not_returned, official_close,
    auction_volume)
SELECT id, %(interval)s, %(source)s, day, %(now)s, CASE WHEN NOT isempty(withheld) THEN %(now)s::timestamptz END,
       source_rows, to_timestamp(reached), published, CASE WHEN published THEN %(now)s::timestamptz END, withheld,
       official_close, auction_volume
FROM (
    SELECT id, day, source_rows, reached, published, withheld::int4multirange AS withheld,
           official_close, auction_volume
    FROM unnest(%(ids)s::int[], %(days)s::date[], %(rows)s::int[], %(reached)s::float8[], %(published)s::boolean[],
                %(withheld)s::text[], %(close)s::float8[], %(auction)s::bigint[])
      AS t (id, day, source_rows, reached, published, withheld, official_close, auction_volume)
    ORDER BY id, day
) t
ON CONFLICT (symbol_id, interval_type, source_interval, session_day) DO UPDATE SET
    requested_at = EXCLUDED.requested_at,
    request_count = e.request_count + 1,
    no_new_data_since = CASE
        WHEN isempty(EXCLUDED.not_returned) THEN NULL
        WHEN NOT isempty(e.not_returned - EXCLUDED.not_returned) THEN EXCLUDED.requested_at
        ELSE least(coalesce(e.no_new_data_since, EXCLUDED.requested_at), EXCLUDED.requested_at) END,
    source_rows = EXCLUDED.source_rows,
    data_until = greatest(e.data_until, EXCLUDED.data_until),
    is_published = e.is_published OR EXCLUDED.is_published,
    published_at = coalesce(e.published_at, EXCLUDED.published_at),
    not_returned = EXCLUDED.not_returned,
    official_close = coalesce(EXCLUDED.official_close, e.official_close),
    auction_volume = coalesce(EXCLUDED.auction_volume, e.auction_volume)
"""
_UPSERT_REJECTS = """
INSERT INTO backfill.rejects (symbol_id, source_interval, timestamp, reason,
                              open_price, high_price, low_price, close_price, volume)
SELECT id, %(source)s, to_timestamp(stamp), reason, o, h, l, c, v
FROM unnest(%(ids)s::int[], %(stamps)s::bigint[], %(reasons)s::text[], %(open)s::float8[], %(high)s::float8[],
            %(low)s::float8[], %(close)s::float8[], %(volume)s::float8[]) AS t (id, stamp, reason, o, h, l, c, v)
ON CONFLICT (symbol_id, source_interval, timestamp, reason, open_price, high_price, low_price, close_price, volume)
DO UPDATE SET last_seen = EXCLUDED.last_seen
RETURNING xmax = 0
"""


def record_evidence(
    connection: Connection, sessions: pd.DataFrame, *, interval: Interval, source: Interval, now: datetime
) -> None:
    """Remember what came for each ticker and session that a request covered.

    Args:
        connection: with a transaction open.
        asked: one row a ticker and session: ``symbol_id``, ``day`` (date), ``source_rows``,
            ``data_until`` (epoch seconds, NaN when nothing came), ``published``, ``withheld`` (the text of
            an int4multirange of slots within the session), ``official_close`` and ``auction_volume``
            (NaN when unseen).
        interval: the bar interval asked for.
        source: the vendor interval of the rows.
        now: the moment of the ask.
    """
    connection.execute(
        _UPSERT_EVIDENCE,
        {
            "interval": interval.name,
            "source": source.name,
            "now": now.astimezone(UTC),
            "ids": sessions["symbol_id"].tolist(),
            "days": sessions["day"].tolist(),
            "rows": sessions["source_rows"].tolist(),
            "reached": _to_nullable_list(sessions["data_until"]),
            "published": sessions["published"].tolist(),
            "withheld": sessions["withheld"].tolist(),
            "close": _to_nullable_list(sessions["official_close"]),
            "auction": [None if v is None else int(v) for v in _to_nullable_list(sessions["auction_volume"])],
        },
    )


def record_rejects(connection: Connection, rejects: pd.DataFrame, *, source: Interval) -> int:
    """Keep rows that broke a rule (columns of the row table, ``symbol_id``, ``reason``); returns how many are new."""
    if rejects.empty:
        return 0
    rows = connection.execute(
        _UPSERT_REJECTS,
        {
            "source": source.name,
            "ids": rejects["symbol_id"].tolist(),
            "stamps": rejects["timestamp"].tolist(),
            "reasons": rejects["reason"].tolist(),
            **{name: _to_nullable_list(rejects[name]) for name in ("open", "high", "low", "close", "volume")},
        },
    )
    return sum(new for (new,) in rows)


def _to_nullable_list(values: "pd.Series[float]") -> list[float | None]:
    return [None if value != value else value for value in values.tolist()]
