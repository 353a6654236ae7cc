"""What the prices of symbols count where it is not what most prices of their exchange count."""

from collections.abc import Sequence

from backfill_assets.market.calendar.sessions import Session
from backfill_assets.market.calendar.tickers import Symbol
from backfill_assets.market.exchanges.registry import US
from backfill_assets.store.postgres.connection import Connection
from backfill_assets.store.price_units import SymbolUnit, read_symbol_units


def read_units_by_symbol(
    connection: Connection, symbols: Sequence[Symbol], sessions: Sequence[Session]
) -> dict[str, SymbolUnit]:
    """Symbol → what its prices count in the newest session; symbols that are like their exchange are left out.

    Args:
        connection: with a transaction open; not used for the US, whose prices are all in dollars.
        symbols: of one exchange.
        sessions: of that exchange, oldest first.
    """
    if not sessions or sessions[-1].exchange == US.exchange:
        return {}
    suffix, day = f".{sessions[-1].exchange}", sessions[-1].day
    return {unit.symbol.removesuffix(suffix): unit for unit in read_symbol_units(connection, symbols, day, day)}
