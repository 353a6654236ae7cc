"""Where the bars of a symbol lie around a day, and their last closes; for questions about its listings."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from backfill_assets.market.calendar.forex_calendar import get_day_begin
from backfill_assets.market.calendar.sessions import find_session_day
from backfill_assets.market.exchanges.profile import MarketProfile
from backfill_assets.store.postgres.connection import Connection

_SELECT_BARS_AROUND = """
SELECT (SELECT max(timestamp) FROM market_data WHERE symbol_id = %(id)s AND timestamp < %(at)s),
       (SELECT min(timestamp) FROM market_data WHERE symbol_id = %(id)s AND timestamp >= %(at)s)
"""
_SELECT_LAST_CLOSES = """
SELECT DISTINCT ON (1) (timestamp AT TIME ZONE %(zone)s - %(day_begin)s)::date, close_price::float8 FROM market_data
WHERE symbol_id = %(id)s AND interval_type = ANY (%(spellings)s) AND timestamp >= %(first)s AND timestamp < %(end)s
  AND close_price > 0
ORDER BY 1, timestamp DESC
"""


@dataclass(frozen=True, slots=True)
class BarsAround:
    """The days of the last bar before a moment and of the first one from it on; None where there is none."""

    before: date | None
    after: date | None


NO_BARS = BarsAround(None, None)


def find_bars_around(connection: Connection, symbol_id: int, moment: datetime, market: MarketProfile) -> BarsAround:
    """The bars of a symbol, of any interval, around ``moment`` (aware), by their session dates."""
    before, after = connection.execute(_SELECT_BARS_AROUND, {"id": symbol_id, "at": moment}).fetchall()[0]
    return BarsAround(
        find_session_day(market, before) if before else None, find_session_day(market, after) if after else None
    )


def read_last_closes(
    connection: Connection,
    symbol_id: int,
    spellings: Sequence[str],
    first: datetime,
    end: datetime,
    market: MarketProfile,
) -> dict[date, float]:
    """The close of the last bar of each session date of ``market`` from ``first`` to before ``end`` (both aware)."""
    values = {"id": symbol_id, "spellings": list(spellings), "first": first, "end": end}
    days = {"zone": market.zone.key, "day_begin": get_day_begin(market.calendar)}
    return dict(connection.execute(_SELECT_LAST_CLOSES, {**values, **days}))
