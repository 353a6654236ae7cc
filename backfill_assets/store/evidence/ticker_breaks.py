"""Where daily histories break: tickers that probably named two instruments in turn (``market.identity.recycled``)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from backfill_assets.market.identity.closes import DayClose
from backfill_assets.market.identity.recycled import TickerBreak
from backfill_assets.store.postgres.connection import Connection

_DELETE_OTHERS = """
DELETE FROM backfill.ticker_breaks WHERE symbol_id = %(id)s AND NOT (last_day = ANY (%(last_days)s::date[]))
"""
_UPSERT = """
INSERT INTO backfill.ticker_breaks AS b (symbol_id, last_day, last_close, first_day, first_close, found_at)
SELECT %(id)s, last_day, last_close, first_day, first_close, %(now)s
FROM unnest(%(last_days)s::date[], %(last_closes)s::float8[], %(first_days)s::date[], %(first_closes)s::float8[])
     AS t (last_day, last_close, first_day, first_close)
ON CONFLICT (symbol_id, last_day) DO UPDATE
SET last_close = EXCLUDED.last_close, first_day = EXCLUDED.first_day, first_close = EXCLUDED.first_close,
    found_at = CASE WHEN b.first_day = EXCLUDED.first_day THEN b.found_at ELSE EXCLUDED.found_at END
"""
# Rows came of both sides of the gap: their bars would make one series of two instruments.
_SELECT = """
SELECT symbol_id, last_day, last_close, first_day, first_close, found_at,
       EXISTS (SELECT FROM backfill.session_evidence e
               WHERE e.symbol_id = b.symbol_id AND e.session_day <= b.last_day AND e.source_rows > 0)
       AND EXISTS (SELECT FROM backfill.session_evidence e
                   WHERE e.symbol_id = b.symbol_id AND e.session_day >= b.first_day AND e.source_rows > 0)
FROM backfill.ticker_breaks b ORDER BY symbol_id, last_day
"""


@dataclass(frozen=True, slots=True)
class FoundBreak:
    """A break of a symbol's daily history, found at a moment (UTC).

    ``splits_bars`` tells whether intraday rows came of both sides of it.
    """

    symbol_id: int
    ticker_break: TickerBreak
    found_at: datetime
    splits_bars: bool


def record_ticker_breaks(connection: Connection, symbol_id: int, breaks: Sequence[TickerBreak], now: datetime) -> None:
    """Store the breaks of a symbol's complete daily history instead of those that were known."""
    values = {
        "id": symbol_id,
        "last_days": [one.last.day for one in breaks],
        "last_closes": [one.last.price for one in breaks],
        "first_days": [one.first.day for one in breaks],
        "first_closes": [one.first.price for one in breaks],
        "now": now,
    }
    connection.execute(_DELETE_OTHERS, values)
    connection.execute(_UPSERT, values)


def list_ticker_breaks(connection: Connection) -> list[FoundBreak]:
    """The breaks of all symbols, by symbol and the oldest first."""
    return [
        FoundBreak(
            key,
            TickerBreak(DayClose(last_day, last_close), DayClose(first_day, first_close)),
            found_at.astimezone(UTC),
            splits_bars,
        )
        for key, last_day, last_close, first_day, first_close, found_at, splits_bars in connection.execute(_SELECT)
    ]
