"""What experimental exchanges have shown: written with the batch that stores bars, and after daily data were read.

Which rules may rest on it is decided in ``market.exchanges.learned``. Nothing here costs a verified exchange a
statement.
"""

from collections.abc import Collection, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.calendar.sessions import Session
from backfill_assets.market.daily_prices import SETTLED_AFTER
from backfill_assets.market.exchanges.learned import (
    MAX_CONTRADICTED_SHARE,
    DailyComparison,
    DailyFigure,
    may_judge_by_daily_data,
)
from backfill_assets.market.exchanges.profile import MarketProfile
from backfill_assets.market.learning.learned_rows import ClosingRows, LearnedRows, SeenPublication, SessionRows
from backfill_assets.market.plausibility.day_volumes import MAX_EXCESS
from backfill_assets.store.postgres.connection import Connection

RANGE_TOLERANCE = 0.005  # of the price, as for doubts (market.plausibility.day_ranges)
MAX_SEEN_LATE = timedelta(days=3)  # from the close; what was first asked for later says nothing about publication
_SELECT_PUBLISHED = """
SELECT t.id, t.day FROM unnest(%(ids)s::int[], %(days)s::date[]) AS t (id, day)
WHERE EXISTS (SELECT FROM backfill.session_evidence e
              WHERE e.symbol_id = t.id AND e.session_day = t.day AND e.source_interval = %(source)s AND e.is_published)
"""
_ADD_SESSIONS = """
INSERT INTO backfill.learned_sessions AS s (exchange, session_day, source_interval, symbols, source_rows,
                                            without_prices, null_flat, null_moving, off_grid, fractional)
SELECT %(exchange)s, t.day, %(source)s, t.symbols, t.source_rows, t.without_prices, t.null_flat, t.null_moving,
       t.off_grid, t.fractional
FROM unnest(%(day)s::date[], %(symbols)s::int[], %(source_rows)s::bigint[], %(without_prices)s::bigint[],
            %(null_flat)s::bigint[], %(null_moving)s::bigint[], %(off_grid)s::bigint[], %(fractional)s::bigint[])
  AS t (day, symbols, source_rows, without_prices, null_flat, null_moving, off_grid, fractional)
ORDER BY t.day
ON CONFLICT (exchange, session_day, source_interval) DO UPDATE SET
    symbols = s.symbols + EXCLUDED.symbols, source_rows = s.source_rows + EXCLUDED.source_rows,
    without_prices = s.without_prices + EXCLUDED.without_prices, null_flat = s.null_flat + EXCLUDED.null_flat,
    null_moving = s.null_moving + EXCLUDED.null_moving, off_grid = s.off_grid + EXCLUDED.off_grid,
    fractional = s.fractional + EXCLUDED.fractional
"""
_ADD_CLOSING_ROWS = """
INSERT INTO backfill.learned_closing_rows AS s
    (exchange, session_day, source_interval, seconds, prints, auctions, volume)
SELECT %(exchange)s, t.day, %(source)s, t.seconds, t.prints, t.auctions, t.volume
FROM unnest(%(day)s::date[], %(seconds)s::int[], %(prints)s::bigint[], %(auctions)s::bigint[], %(volume)s::float8[])
  AS t (day, seconds, prints, auctions, volume)
ORDER BY t.day, t.seconds
ON CONFLICT (exchange, session_day, source_interval, seconds) DO UPDATE SET
    prints = s.prints + EXCLUDED.prints, auctions = s.auctions + EXCLUDED.auctions, volume = s.volume + EXCLUDED.volume
"""
_SELECT_DUE_DAYS = """
SELECT t.day FROM unnest(%(days)s::date[]) AS t (day)
LEFT JOIN backfill.compared_days c ON c.exchange = %(exchange)s AND c.session_day = t.day
WHERE EXISTS (SELECT FROM backfill.daily_prices p WHERE p.day = t.day AND p.symbol_id = ANY (%(ids)s::int[])
              AND (c.compared_at IS NULL OR p.read_at >= c.compared_at OR EXISTS (
                  SELECT FROM backfill.session_evidence e
                  WHERE e.symbol_id = p.symbol_id AND e.session_day = t.day AND e.requested_at >= c.compared_at)))
"""
_COMPARE_DAYS = """
INSERT INTO backfill.compared_days AS c (exchange, session_day, days, untraded, untraded_with_bars, exceeding_volume,
                                         ranged, outside_range, closes, closes_equal, compared_at)
SELECT %(exchange)s, s.day, count(*) FILTER (WHERE b.bars > 0), count(*) FILTER (WHERE u.is_untraded),
       count(*) FILTER (WHERE u.is_untraded AND b.volume > 0),
       count(*) FILTER (WHERE b.volume > p.reported_volume * %(excess)s::float8 AND NOT EXISTS (
           SELECT FROM backfill.splits x
           WHERE x.symbol_id = p.symbol_id AND x.ex_date > s.day AND x.withdrawn_at IS NULL)),
       count(*) FILTER (WHERE b.bars > 0 AND p.high_price IS NOT NULL AND p.low_price IS NOT NULL),
       count(*) FILTER (WHERE b.high > p.high_price * (1 + %(tolerance)s::float8)
                           OR b.low < p.low_price * (1 - %(tolerance)s::float8)),
       count(*) FILTER (WHERE p.close_price IS NOT NULL AND o.close IS NOT NULL),
       count(*) FILTER (WHERE abs(o.close / p.close_price - 1) <= %(tolerance)s::float8), %(now)s
FROM unnest(%(days)s::date[], %(opens)s::timestamptz[], %(closes)s::timestamptz[]) AS s (day, opens, closes)
JOIN backfill.daily_prices p ON p.day = s.day AND p.symbol_id = ANY (%(ids)s::int[])
     AND (p.no_row_reason IS NOT NULL OR p.read_at >= s.closes + %(settled_after)s)
CROSS JOIN LATERAL (SELECT p.no_row_reason IS NOT NULL OR p.reported_volume = 0 AS is_untraded) u
CROSS JOIN LATERAL (
    SELECT count(*) AS bars, sum(d.volume) FILTER (WHERE d.volume_known IS NOT FALSE) AS volume,
           max(d.high_price)::float8 AS high, min(d.low_price)::float8 AS low
    FROM market_data d
    WHERE d.symbol_id = p.symbol_id AND d.interval_type = ANY (%(spellings)s) AND d.is_final IS NOT FALSE
      AND d."timestamp" >= s.opens AND d."timestamp" < s.closes
) b
CROSS JOIN LATERAL (
    SELECT max(e.official_close)::float8 AS close FROM backfill.session_evidence e
    WHERE e.symbol_id = p.symbol_id AND e.session_day = p.day
) o
GROUP BY s.day ORDER BY s.day
ON CONFLICT (exchange, session_day) DO UPDATE SET
    days = EXCLUDED.days, untraded = EXCLUDED.untraded, untraded_with_bars = EXCLUDED.untraded_with_bars,
    exceeding_volume = EXCLUDED.exceeding_volume,
    ranged = EXCLUDED.ranged, outside_range = EXCLUDED.outside_range, closes = EXCLUDED.closes,
    closes_equal = EXCLUDED.closes_equal, compared_at = EXCLUDED.compared_at
"""
_SELECT_COMPARISON = """
SELECT count(*) FILTER (WHERE days > 0), coalesce(sum(days), 0), coalesce(sum(untraded), 0),
       coalesce(sum(untraded_with_bars), 0), coalesce(sum(exceeding_volume), 0), coalesce(sum(ranged), 0),
       coalesce(sum(outside_range), 0), coalesce(sum(closes), 0), coalesce(sum(closes_equal), 0)
FROM backfill.compared_days WHERE exchange = %(exchange)s
"""
_SELECT_ROWS = """
SELECT count(DISTINCT session_day), min(session_day), max(session_day), coalesce(sum(symbols), 0),
       coalesce(sum(source_rows), 0), coalesce(sum(without_prices), 0), coalesce(sum(null_flat), 0),
       coalesce(sum(null_moving), 0), coalesce(sum(off_grid), 0), coalesce(sum(fractional), 0)
FROM backfill.learned_sessions WHERE exchange = %(exchange)s
"""
_COUNTS = (
    "symbol_sessions", "source_rows", "without_prices", "null_flat", "null_moving", "off_grid", "fractional",
)  # fmt: skip
_SELECT_MOVING_ROWS = """
SELECT coalesce(sum(null_moving), 0)::float8, coalesce(sum(source_rows), 0)::float8 FROM backfill.learned_sessions
WHERE exchange = %(exchange)s AND source_interval = %(source)s
"""
_SELECT_CLOSING_ROWS = """
SELECT seconds, sum(prints), sum(auctions), sum(volume) FROM backfill.learned_closing_rows
WHERE exchange = %(exchange)s GROUP BY seconds ORDER BY seconds
"""
_SELECT_PUBLICATIONS = """
SELECT e.session_day, min(e.published_at), percentile_disc(0.5) WITHIN GROUP (ORDER BY e.published_at), count(*)
FROM backfill.session_evidence e
WHERE e.symbol_id = ANY (%(ids)s::int[]) AND e.is_published AND e.published_at IS NOT NULL
  AND e.session_day >= %(first)s
GROUP BY e.session_day ORDER BY e.session_day
"""


def find_published(connection: Connection, keys: Sequence[tuple[int, date]], source: Interval) -> set[tuple[int, date]]:
    """Which of (symbol_id, session day) were seen published before, for bars of any interval."""
    values = {"ids": [key for key, _ in keys], "days": [day for _, day in keys], "source": source.name}
    return {(key, day) for key, day in connection.execute(_SELECT_PUBLISHED, values)}


def add_learned_rows(
    connection: Connection, sessions: Sequence[Session], found: Sequence[SessionRows], source: Interval
) -> None:
    """Add the counts of a batch of answers; each session of ``found`` is a position in ``sessions``."""
    if not found:
        return
    values: dict[str, Any] = {"exchange": sessions[found[0].session].exchange, "source": source.name}
    names: tuple[str, ...] = (
        "symbols",
        "source_rows",
        "without_prices",
        "null_flat",
        "null_moving",
        "off_grid",
        "fractional",
    )
    columns = {name: [getattr(item, name) for item in found] for name in names}
    connection.execute(_ADD_SESSIONS, values | columns | {"day": [sessions[item.session].day for item in found]})
    closing = [(sessions[item.session].day, rows) for item in found for rows in item.closing]
    if closing:
        names = ("seconds", "prints", "auctions", "volume")
        columns = {name: [getattr(rows, name) for _, rows in closing] for name in names}
        connection.execute(_ADD_CLOSING_ROWS, values | columns | {"day": [day for day, _ in closing]})


def compare_daily_data(
    connection: Connection, symbol_ids: Collection[int], sessions: Sequence[Session], interval: Interval, now: datetime
) -> int:
    """Compare settled daily data with the bars of an exchange's sessions, where either were requested since.

    Returns:
        How many sessions were compared.
    """
    if not sessions or not symbol_ids:
        return 0
    days = [item.day for item in sessions]
    values: dict[str, Any] = {"exchange": sessions[0].exchange, "ids": sorted(symbol_ids), "days": days}
    due = {day for (day,) in connection.execute(_SELECT_DUE_DAYS, values)}
    chosen = [item for item in sessions if item.day in due]
    if not chosen:
        return 0
    values |= {
        "days": [item.day for item in chosen],
        "opens": [item.rows_from for item in chosen],
        "closes": [item.close for item in chosen],
        "settled_after": SETTLED_AFTER,
        "tolerance": RANGE_TOLERANCE,
        "excess": MAX_EXCESS,
        "spellings": list(interval.spellings),
        "now": now,
    }
    return connection.execute(_COMPARE_DAYS, values).rowcount


def read_daily_comparison(connection: Connection, exchange: str) -> DailyComparison:
    """How the daily data of an exchange compare with its bars so far."""
    row = connection.execute(_SELECT_COMPARISON, {"exchange": exchange}).fetchall()[0]
    return DailyComparison(*map(int, row))


def may_judge_daily_data(
    connection: Connection, market: MarketProfile, figure: DailyFigure = DailyFigure.PRICES
) -> bool:
    """``may_judge_by_daily_data`` with what was seen of the exchange; no statement for a verified one."""
    if not market.is_experimental:
        return may_judge_by_daily_data(market, figure=figure)
    return may_judge_by_daily_data(market, read_daily_comparison(connection, market.exchange), figure)


def has_unclear_rows(connection: Connection, market: MarketProfile, source: Interval) -> bool:
    """Whether so many rows of an exchange move without volume that it matters what they mean, and nobody knows yet.

    Bars lack them if they are quotes. If they are trades, symbols look as if they traded rarely.
    """
    if not market.is_experimental or "null_volume" not in market.assumed:
        return False
    values = {"exchange": market.exchange, "source": source.name}
    moving, rows = connection.execute(_SELECT_MOVING_ROWS, values).fetchall()[0]
    return bool(moving > MAX_CONTRADICTED_SHARE * rows)


def read_learned_rows(connection: Connection, exchange: str) -> LearnedRows:
    """What the rows of an exchange have shown."""
    values = {"exchange": exchange}
    row = connection.execute(_SELECT_ROWS, values).fetchall()[0]
    closing = [
        ClosingRows(int(seconds), int(prints), int(auctions), float(volume))
        for seconds, prints, auctions, volume in connection.execute(_SELECT_CLOSING_ROWS, values)
    ]
    counts = dict(zip(_COUNTS, map(int, row[3:]), strict=True))
    return LearnedRows(sessions=int(row[0]), first_day=row[1], last_day=row[2], closing=tuple(closing), **counts)


def list_publications(
    connection: Connection, symbol_ids: Collection[int], sessions: Sequence[Session]
) -> list[SeenPublication]:
    """When sessions were first seen published, the oldest first; those that were asked for days later are left out."""
    if not symbol_ids or not sessions:
        return []
    closes = {item.day: item.regular_close for item in sessions}
    found = connection.execute(_SELECT_PUBLICATIONS, {"ids": sorted(symbol_ids), "first": sessions[0].day})
    return [
        SeenPublication(day, first_at.astimezone(UTC) - closes[day], half_at.astimezone(UTC) - closes[day], count)
        for day, first_at, half_at, count in found
        if day in closes and first_at - closes[day] <= MAX_SEEN_LATE
    ]
