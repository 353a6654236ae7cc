"""Reads since when symbols are listed, before any of their history is requested: one call each, the whole history.

So no intraday request lies before a symbol's first day. A symbol that lacks nothing is not requested, so it needs none.
Symbols of exchanges without daily data are requested as they are. Why sessions are absent is looked up after requests
(``backfill.absence``).
"""

from collections.abc import Sequence

from backfill_assets.backfill.absence.first_listings import read_daily_histories
from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.history.frontier import MarketHistory, SymbolHistory
from backfill_assets.market.calendar.sessions import list_sessions
from backfill_assets.market.vendor_errors import VendorError
from backfill_assets.store.history import claim_listings, release_listings


def read_listings(engine: Engine, history: MarketHistory, symbols: Sequence[SymbolHistory]) -> VendorError | None:
    """Read the daily histories of as many symbols as one look takes; returns the error that stopped it, if one did.

    Those that another process is reading are left to it.

    Raises:
        TokenRefused: no token is set.
    """
    now = engine.settings.now()
    with engine.database.transaction() as connection:
        claimed = claim_listings(connection, [one.symbol.symbol_id for one in symbols])
    if not claimed:
        return None
    try:
        today = now.astimezone(history.market.zone).date()
        sessions = [s for s in list_sessions(history.market, history.days[0], today) if s.open <= now]
        own = [one.symbol for one in symbols if one.symbol.symbol_id in claimed]
        coverage = engine.measure(history.build_job(own, sessions))
        return read_daily_histories(engine, coverage, coverage.symbols)
    finally:
        with engine.database.transaction() as connection:
            release_listings(connection, sorted(claimed))
