"""Writes what was requested of the vendor and what it returned: the evidence by which an absent slot is classified.

``evidence_reader`` reads it. Rejected rows are in ``store.bars.rejects``.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

from backfill_assets.market.arrays import Floats
from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.calendar.sessions import Session
from backfill_assets.market.columns import Columns
from backfill_assets.store.evidence.session_fingerprints import INSERT_FINGERPRINTS, list_fingerprints
from backfill_assets.store.postgres.connection import Connection

# The hours of sessions that have no evidence yet are kept with it, in the same statement.
_UPSERT_EVIDENCE = f"""
WITH hours AS (
    {INSERT_FINGERPRINTS}
)
INSERT INTO backfill.session_evidence AS e (symbol_id, interval_type, source_interval, session_day, requested_at,
    no_new_data_since, source_rows, data_until, is_published, published_at, unpublished_at, not_returned,
    official_close, auction_volume, ends_before_close)
SELECT id, %(interval)s, %(source)s, day, %(now)s,
       CASE WHEN has_refused OR NOT isempty(not_returned) THEN %(now)s::timestamptz END,
       source_rows, to_timestamp(data_until), is_published, CASE WHEN is_published THEN %(now)s::timestamptz END,
       CASE WHEN is_published THEN '-infinity' ELSE %(now)s::timestamptz END,
       not_returned, official_close, auction_volume, ends_before_close
FROM (
    SELECT id, day, source_rows, data_until, is_published, not_returned::int4multirange AS not_returned, has_refused,
           official_close, auction_volume, ends_before_close
    FROM unnest(%(ids)s::int[], %(days)s::date[], %(source_rows)s::int[], %(data_until)s::float8[],
                %(is_published)s::boolean[], %(not_returned)s::text[], %(has_refused)s::boolean[],
                %(official_close)s::float8[], %(auction_volume)s::bigint[], %(ends_before_close)s::boolean[])
      AS t (id, day, source_rows, data_until, is_published, not_returned, has_refused, official_close, auction_volume,
            ends_before_close)
    ORDER BY id, day
) t
ON CONFLICT (symbol_id, interval_type, source_interval, session_day) DO UPDATE SET
    requested_at = EXCLUDED.requested_at,
    request_count = e.request_count + 1,
    no_new_data_since = CASE
        WHEN EXCLUDED.no_new_data_since IS NULL THEN NULL
        WHEN NOT isempty(e.not_returned - EXCLUDED.not_returned) THEN EXCLUDED.requested_at
        ELSE least(coalesce(e.no_new_data_since, EXCLUDED.requested_at), EXCLUDED.requested_at) END,
    source_rows = EXCLUDED.source_rows,
    data_until = greatest(e.data_until, EXCLUDED.data_until),
    ends_before_close = CASE WHEN e.data_until > EXCLUDED.data_until OR EXCLUDED.data_until IS NULL
                             THEN e.ends_before_close ELSE EXCLUDED.ends_before_close END,
    is_published = e.is_published OR EXCLUDED.is_published,
    published_at = coalesce(e.published_at, EXCLUDED.published_at),
    unpublished_at = CASE WHEN e.is_published THEN e.unpublished_at WHEN EXCLUDED.is_published THEN e.requested_at
                          ELSE EXCLUDED.requested_at END,
    not_returned = EXCLUDED.not_returned,
    official_close = coalesce(EXCLUDED.official_close, e.official_close),
    auction_volume = coalesce(EXCLUDED.auction_volume, e.auction_volume)
"""  # noqa: S608 - only a constant is inserted


def record_evidence(
    connection: Connection,
    sessions: Columns,
    *,
    interval: Interval,
    source: Interval,
    now: datetime,
    calendar: Sequence[Session] = (),
) -> None:
    """Store what the vendor returned for each symbol and session that a request covered.

    Args:
        connection: with a transaction open.
        sessions: one row per symbol and session: ``symbol_id``, ``day`` (date), ``source_rows``,
            ``data_until`` (end of the newest source row in epoch seconds UTC, NaN without rows), ``published``,
            ``ends_before_close`` (see ``market.bars.bar_builder``; of the answer that reached furthest it stays),
            ``not_returned`` (slots of the session that were not returned, the text of an int4multirange),
            ``refused`` (whether the contract table refused one of its bars),
            ``official_close`` and ``auction_volume`` (NaN if not seen).
        interval: the bar interval.
        source: the vendor's interval of the source rows.
        now: the time of the request.
        calendar: the sessions of the calendar among which these are; their hours are kept with the first evidence.
    """
    days = set(sessions["day"].tolist())
    connection.execute(
        _UPSERT_EVIDENCE.encode(),
        {
            **list_fingerprints([session for session in calendar if session.day in days]),
            "interval": interval.name,
            "source": source.name,
            "now": now.astimezone(UTC),
            "ids": sessions["symbol_id"].tolist(),
            "days": sessions["day"].tolist(),
            "source_rows": sessions["source_rows"].tolist(),
            "data_until": _to_nullable_list(sessions["data_until"]),
            "is_published": sessions["published"].tolist(),
            "not_returned": sessions["not_returned"].tolist(),
            "has_refused": sessions["refused"].tolist(),
            "ends_before_close": sessions["ends_before_close"].tolist(),
            "official_close": _to_nullable_list(sessions["official_close"]),
            "auction_volume": [None if v is None else round(v) for v in _to_nullable_list(sessions["auction_volume"])],
        },
    )


def _to_nullable_list(values: Floats) -> list[float | None]:
    return [None if value != value else value for value in values.tolist()]
