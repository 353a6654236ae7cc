"""Daily closes that corporate actions need and the store lacks, and when they were last requested.

Which days an action needs is decided in ``backfill.actions.needed_days``.
"""

from collections.abc import Collection
from datetime import date, datetime

from backfill_assets.store.postgres.connection import Connection

_SELECT_LACKING = """
SELECT n.symbol_id, array_agg(n.day ORDER BY n.day)
FROM (SELECT symbol_id, cum_day AS day FROM backfill.dividends
      WHERE symbol_id = ANY (%(ids)s::int[]) AND withdrawn_at IS NULL
      UNION SELECT * FROM unnest(%(split_ids)s::int[], %(split_days)s::date[])) n
LEFT JOIN backfill.daily_prices p ON p.symbol_id = n.symbol_id AND p.day = n.day
LEFT JOIN backfill.dividend_reads r ON r.symbol_id = n.symbol_id
WHERE n.day BETWEEN %(first)s AND %(last)s AND p.close_price IS NULL
  AND (r.closes_requested_at IS NULL OR r.closes_requested_at <= %(before)s)
GROUP BY n.symbol_id ORDER BY min(r.closes_requested_at) NULLS FIRST, n.symbol_id LIMIT %(limit)s
"""
_CLAIM = """
INSERT INTO backfill.dividend_reads AS r (symbol_id, closes_requested_at)
SELECT id, %(now)s FROM unnest(%(ids)s::int[]) AS t (id) ORDER BY 1
ON CONFLICT (symbol_id) DO UPDATE SET closes_requested_at = EXCLUDED.closes_requested_at
WHERE r.closes_requested_at IS NULL OR r.closes_requested_at <= %(before)s
RETURNING symbol_id
"""
_DEFER = "UPDATE backfill.dividend_reads SET closes_requested_at = %(at)s WHERE symbol_id = ANY (%(ids)s::int[])"
_COUNT_REQUESTS = """
SELECT count(*) FROM backfill.dividend_reads
WHERE closes_requested_at >= %(since)s AND symbol_id = ANY (%(ids)s::int[])
"""
_SELECT_WITH_BARS = """
SELECT t.id FROM unnest(%(ids)s::int[]) AS t (id)
WHERE EXISTS (SELECT FROM market_data m WHERE m.symbol_id = t.id)
"""
_SELECT_DAYS_WITH_BARS = """
SELECT session_day FROM backfill.session_evidence WHERE symbol_id = %(id)s AND source_rows > 0
"""


def find_lacking_closes(
    connection: Connection,
    symbol_ids: Collection[int],
    split_days: Collection[tuple[int, date]],
    days: tuple[date, date],
    before: datetime,
    limit: int | None,
) -> dict[int, list[date]]:
    """The days whose close is lacking: symbol_id → days, oldest first.

    Args:
        connection: with a transaction open.
        symbol_ids: the symbols whose dividends need the close of their cum day.
        split_days: (symbol_id, day) that are needed besides.
        days: first and last day, both inclusive.
        before: a symbol whose closes were requested later is left out: the vendor lacks them.
        limit: how many symbols at most, oldest request first; None for all.
    """
    values = {"ids": sorted(symbol_ids), "before": before, "limit": limit, "first": days[0], "last": days[1]}
    values |= {"split_ids": [pair[0] for pair in split_days], "split_days": [pair[1] for pair in split_days]}
    return dict(connection.execute(_SELECT_LACKING, values))


def claim_close_requests(
    connection: Connection, symbol_ids: Collection[int], now: datetime, before: datetime
) -> set[int]:
    """The symbols whose closes may be requested now: none that was requested after ``before``."""
    rows = connection.execute(_CLAIM, {"ids": sorted(symbol_ids), "now": now, "before": before})
    return {symbol_id for (symbol_id,) in rows}


def defer_close_requests(connection: Connection, symbol_ids: Collection[int], at: datetime | None) -> None:
    """Give up claims on closes that were not read, as if they had been requested at ``at``; None: never."""
    connection.execute(_DEFER, {"ids": sorted(symbol_ids), "at": at})


def count_close_requests(connection: Connection, symbol_ids: Collection[int], since: datetime) -> int:
    """For how many of the symbols closes were last requested since a moment."""
    values = {"ids": sorted(symbol_ids), "since": since}
    return int(connection.execute(_COUNT_REQUESTS, values).fetchall()[0][0])


def find_symbols_with_bars(connection: Connection, symbol_ids: Collection[int]) -> set[int]:
    """Those of the symbols that have bars, of any interval and from any program."""
    return {symbol_id for (symbol_id,) in connection.execute(_SELECT_WITH_BARS, {"ids": sorted(symbol_ids)})}


def list_days_with_bars(connection: Connection, symbol_id: int) -> set[date]:
    """The sessions of which the vendor gave intraday rows of a symbol."""
    return {day for (day,) in connection.execute(_SELECT_DAYS_WITH_BARS, {"id": symbol_id})}
