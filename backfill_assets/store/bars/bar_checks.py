"""Finds stored bars that break a rule, and reads official closes beside those of the daily data. Changes nothing.

What passes is decided in ``quality.bar_validity``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.market.calendar.tickers import Symbol, recognize_ticker
from backfill_assets.store.exchanges import IS_OF_EXCHANGE, list_names
from backfill_assets.store.postgres.connection import Connection

# The recursion walks the index from one symbol_id with bars to the next. So it finds orphans, too, and the cost depends
# on the window and the number of symbols, not on the length of the history.
_SELECT_FAULTS = f"""
WITH RECURSIVE ids AS (
    SELECT min(symbol_id) AS symbol_id FROM market_data
    UNION ALL
    SELECT (SELECT min(d.symbol_id) FROM market_data d WHERE d.symbol_id > i.symbol_id) FROM ids i
    WHERE i.symbol_id IS NOT NULL
), judged AS MATERIALIZED (  -- bars without a symbol are of no exchange
    SELECT i.symbol_id FROM ids i LEFT JOIN market_symbols s USING (symbol_id)
    WHERE CASE WHEN s.symbol_id IS NULL THEN %(with_unknown)s ELSE {IS_OF_EXCHANGE} END
), stored AS MATERIALIZED (
    SELECT i.symbol_id, m.*, count(*) OVER (PARTITION BY i.symbol_id, m.timestamp) AS spellings
    FROM judged i CROSS JOIN LATERAL (
        SELECT d.timestamp, d.source, d.open_price::float8 AS o, d.high_price::float8 AS h,
               d.low_price::float8 AS l, d.close_price::float8 AS c, d.volume AS v,
               d.volume_known IS FALSE AS unknown
        FROM market_data d
        WHERE d.symbol_id = i.symbol_id AND d.interval_type = ANY (%(spellings)s)
          AND d.timestamp >= %(first)s AND d.timestamp < %(last)s
    ) m
), checked AS (
    SELECT h.timestamp, h.spellings, s.symbol_id IS NULL AS orphan,
           h.symbol_id, s.symbol, s.exchange,
           (least(o, h, l, c) > 0 AND greatest(o, h, l, c) < 'Infinity' AND num_nulls(o, h, l, c) = 0) AS priced,
           (l <= least(o, c) AND h >= greatest(o, c)) AS ordered,
           CASE WHEN unknown THEN true ELSE v >= 0 END AS counted,
           h.timestamp <> ALL (%(starts)s::timestamptz[]) AND (h.source IS NOT NULL OR EXISTS (
               SELECT FROM unnest(%(opens)s::timestamptz[], %(closes)s::timestamptz[]) AS t (opened, closed)
               WHERE h.timestamp >= opened AND h.timestamp < closed)) AS off_grid
    FROM stored h LEFT JOIN market_symbols s USING (symbol_id)
)
SELECT fault, symbol_id, symbol, exchange, count(*), min(timestamp) FROM checked CROSS JOIN LATERAL unnest(ARRAY[
    CASE WHEN priced IS NOT TRUE THEN 'invalid price' END,
    CASE WHEN ordered IS NOT TRUE THEN 'OHLC out of order' END,
    CASE WHEN counted IS NOT TRUE THEN 'invalid volume' END,
    CASE WHEN off_grid THEN 'off the grid' END,
    CASE WHEN orphan THEN 'no symbol' END,
    CASE WHEN spellings > 1 THEN 'duplicate' END
]) AS f (fault) WHERE fault IS NOT NULL GROUP BY 1, 2, 3, 4
UNION ALL SELECT '', NULL, NULL, NULL, count(*), NULL FROM stored
ORDER BY 5 DESC, 3, 2, 1
"""  # noqa: S608 - only a constant is inserted
_SELECT_CLOSES = """
SELECT u.row - 1, e.session_day, e.official_close, d.close_price
FROM unnest(%(ids)s::int[]) WITH ORDINALITY AS u (symbol_id, row)
JOIN backfill.session_evidence e USING (symbol_id)
LEFT JOIN backfill.daily_prices d ON d.symbol_id = e.symbol_id AND d.day = e.session_day
WHERE e.interval_type = %(interval)s AND e.source_interval = %(source)s AND e.session_day = ANY (%(days)s)
  AND e.official_close IS NOT NULL
ORDER BY u.row, e.session_day
"""


@dataclass(frozen=True, slots=True)
class BarFault:
    """Rows of one subject (a ticker, or a symbol_id without a symbol) that break one rule; ``first`` is UTC."""

    kind: str
    subject: str
    rows: int
    first: datetime


@dataclass(frozen=True, slots=True)
class CloseComparison:
    """A session's official close as stored, and the close of the daily data (None without daily data)."""

    ticker: str
    day: date
    official: float
    daily: float | None


def find_bar_faults(connection: Connection, grid: SlotGrid, *, with_unknown: bool = True) -> tuple[list[BarFault], int]:
    """Rows of the grid's window that break a rule, the most frequent first, and how many rows there are.

    All symbols of the grid's exchange are checked, active or not; those of other exchanges have other grids. Rows
    without a symbol are checked ``with_unknown``, which is for one of several exchanges. A bar within a session that
    does not start with a slot is off the grid. Outside the sessions, and in their breaks, only bars of this program
    are, because other programs may store extended hours. ``duplicate`` counts both rows of a slot that is stored under
    two spellings of the interval.
    """
    if not grid.size:
        return [], 0
    rows = connection.execute(
        _SELECT_FAULTS.encode(),
        {
            **list_names(grid.sessions[0].exchange),
            "with_unknown": with_unknown,
            "spellings": list(grid.interval.spellings),
            "starts": [datetime.fromtimestamp(at, UTC) for at in grid.starts.tolist()],
            "opens": [opens for s in grid.sessions for opens, _ in s.segments],
            "closes": [closes for s in grid.sessions for _, closes in s.segments],
            "first": grid.sessions[0].rows_from,
            "last": grid.sessions[-1].close,
        },
    ).fetchall()
    faults = [
        BarFault(kind, _name_subject(symbol_id, symbol, exchange), count, first.astimezone(UTC))
        for kind, symbol_id, symbol, exchange, count, first in rows
        if kind
    ]
    return faults, next(count for kind, *_, count, _ in rows if not kind)


def _name_subject(symbol_id: int, symbol: str | None, exchange: str | None) -> str:
    """The ticker of a row of ``market_symbols``; its columns if it is none of the vendor's, the key without a row."""
    ticker = recognize_ticker(symbol, exchange)
    return f"symbol_id {symbol_id}" if symbol is None else str(ticker or f"{symbol}.{exchange}")


def read_official_closes(
    connection: Connection, symbols: Sequence[Symbol], grid: SlotGrid, source: Interval
) -> list[CloseComparison]:
    """Every stored official close of the window, by ticker and day, with the close of the daily data."""
    rows = connection.execute(
        _SELECT_CLOSES,
        {
            "ids": [s.symbol_id for s in symbols],
            "interval": grid.interval.name,
            "source": source.name,
            "days": [s.day for s in grid.sessions],
        },
    )
    return [CloseComparison(str(symbols[row].ticker), day, official, daily) for row, day, official, daily in rows]
