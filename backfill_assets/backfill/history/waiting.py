"""Which symbols of the history wait because their newest requests failed, and until when.

That another process has a symbol shows when it is claimed; bars that do not come are ``walk``'s.
"""

from collections.abc import Sequence
from datetime import datetime

from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.failed_requests import read_failing_histories, read_failing_tickers
from backfill_assets.backfill.history.frontier import MarketHistory, SymbolHistory
from backfill_assets.store.bars.bar_writer import read_server_time


def name_position(history: MarketHistory, one: SymbolHistory) -> object:
    """A name for a symbol at the place that it has reached: once it gets on, it has another."""
    return history.market.exchange, history.interval.name, one.symbol.symbol_id, one.reached


def find_failing(engine: Engine, histories: Sequence[MarketHistory]) -> dict[object, datetime]:
    """Until when (UTC) symbols wait whose newest requests failed, by ``name_position``; those that wait now.

    Requests for daily data count as long as it is unknown since when a symbol is listed. Such waiting goes by the
    server's clock, and is told by that of the settings.
    """
    with engine.database.transaction() as connection:
        failing = read_failing_tickers(connection, engine.vendor_access)
        unread = read_failing_histories(connection, engine.vendor_access)
        ahead = engine.settings.now() - read_server_time(connection)
    until: dict[object, datetime] = {}
    for history in histories:
        for one in history.symbols:
            ticker = str(one.symbol.ticker)
            found = [failing.get(ticker), None if one.is_listing_known else unread.get(ticker)]
            if moments := [failure.next_request_at + ahead for failure in found if failure is not None]:
                until[name_position(history, one)] = max(moments)
    return until
