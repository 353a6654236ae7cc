"""The symbols of a read: those that the caller named, or the members of a universe."""

from collections.abc import Collection

from backfill_assets.errors import UsageError
from backfill_assets.market.calendar.tickers import Symbol, Ticker, shorten_ticker
from backfill_assets.market.exchanges.registry import DEFAULT_EXCHANGE
from backfill_assets.reading.health import shorten_list
from backfill_assets.reading.request import ReadRequest
from backfill_assets.store.postgres.connection import Connection
from backfill_assets.store.symbols import find_symbols_by_ticker
from backfill_assets.store.universes import find_universe, list_universe_symbols

_MAX_COMMAND_NAMES = 10


def find_symbols(connection: Connection, request: ReadRequest) -> tuple[Symbol, ...]:
    """The symbols in the order asked for, those of a universe by ticker; inactive ones, too.

    Raises:
        UsageError: the store does not have one of them, there is no such universe, or it has no members.
    """
    if request.universe is not None:
        universe = find_universe(connection, request.exchange, request.universe)
        members = tuple(list_universe_symbols(connection, universe))
        if not members:
            add = "symbols add" if universe.has_all_symbols else f"universes add {universe.name}"
            of, examples = "", "AAPL MSFT"
            if request.exchange != DEFAULT_EXCHANGE:
                of, examples = f" of {request.exchange}", f"TICKER.{request.exchange}"
            raise UsageError(
                f"the universe {universe.name!r}{of} has no symbols; add some: backfill-assets {add} {examples}"
            )
        return members
    return _find_named(connection, request.tickers or (), request.exchange)


def _find_named(connection: Connection, tickers: Collection[Ticker], exchange: str) -> tuple[Symbol, ...]:
    known = find_symbols_by_ticker(connection, exchange, tickers)
    if unknown := [str(ticker) for ticker in tickers if ticker not in known]:
        names = " ".join(shorten_ticker(name) for name in unknown[:_MAX_COMMAND_NAMES])
        raise UsageError(
            f"the store does not have {shorten_list(unknown)}; add it: backfill-assets symbols add {names}"
        )
    return tuple(known[ticker] for ticker in tickers)
