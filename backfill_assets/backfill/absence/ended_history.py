"""The daily history of a ticker that has ended: on which days of the window it traded.

Its listing is known, so nothing about it is found out here. The vendor may have the history under the present ticker of
its instrument only.
"""

import logging
from functools import partial

from backfill_assets.backfill.listed_requests import ask_one_of
from backfill_assets.market.calendar.tickers import Symbol
from backfill_assets.market.daily_prices import build_daily_prices
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.market.vendor import DailyRows, VendorClient
from backfill_assets.market.vendor_errors import QuotaExhausted, TokenRefused, VendorError
from backfill_assets.store.evidence.daily_data import ListingLife, record_listing_lives
from backfill_assets.store.evidence.daily_prices import record_daily_rows
from backfill_assets.store.evidence.daily_reads import record_daily_answer
from backfill_assets.store.listing_bounds import ListingBounds
from backfill_assets.store.postgres.connection import Connection, Database

_log = logging.getLogger(__name__)


async def fetch_ended_history(
    client: VendorClient, database: Database, coverage: Coverage, symbol: Symbol, bound: ListingBounds
) -> None:
    """Read the daily rows of the window's sessions within the listing, and record them.

    Raises:
        TokenRefused, QuotaExhausted: as for any request. Other errors are logged.
    """
    first, last = coverage.grid.sessions[0].day, coverage.grid.sessions[-1].day
    rows = None
    try:
        rows = await ask_one_of(
            bound.list_tickers(symbol.ticker), partial(client.fetch_daily, first=first, last=bound.listed_until or last)
        )
    except (TokenRefused, QuotaExhausted):
        raise
    except VendorError as error:
        _log.warning("cannot look up why data is absent: %s", error)
    with database.transaction() as connection:
        _record(connection, coverage, symbol, bound, rows)


def _record(
    connection: Connection, coverage: Coverage, symbol: Symbol, bound: ListingBounds, rows: DailyRows | None
) -> None:
    life = ListingLife(
        symbol.symbol_id, bound.listed_from, bound.listed_until, has_ended=bound.listed_until is not None
    )
    record_listing_lives(connection, [life], coverage.now)  # also after an error: it is not asked again at once
    if rows is None:
        return
    position_by_day = {day: position for position, day in enumerate(rows.date.astype(object).tolist())}
    sessions = [session.day for session in coverage.grid.sessions]
    positions = [position_by_day[day] for day in sessions if day in position_by_day and bound.holds(day)]
    prices = build_daily_prices([symbol.symbol_id] * len(positions), rows, positions)
    record_daily_rows(connection, prices, coverage.now)
    record_daily_answer(connection, symbol.symbol_id, sessions[0], coverage.now)
