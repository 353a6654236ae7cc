"""What a reader should know of an exchange besides its bars: what its prices count, and what nobody has proven yet.

Nothing of the US, whose prices are dollars and whose profile is verified.
"""

from collections.abc import Sequence

from backfill_assets.market.calendar.sessions import Session
from backfill_assets.market.calendar.tickers import Symbol
from backfill_assets.market.exchanges.profile import MarketProfile
from backfill_assets.market.exchanges.registry import DEFAULT_EXCHANGE
from backfill_assets.store.postgres.connection import Connection
from backfill_assets.store.price_units import SymbolUnit, read_symbol_units

_MAX_NAMED = 5


def read_units(
    connection: Connection, market: MarketProfile, symbols: Sequence[Symbol], sessions: Sequence[Session]
) -> tuple[SymbolUnit, ...]:
    """What prices of single symbols count in these sessions, if not what those of the exchange do."""
    if market.exchange == DEFAULT_EXCHANGE or not sessions:
        return ()
    units = read_symbol_units(connection, symbols, sessions[0].day, sessions[-1].day)
    of_exchange = (market.currency, market.price_unit)
    return tuple(
        unit
        for unit in units
        if unit.valid_from is not None
        or (unit.currency or market.currency, unit.price_unit or market.price_unit) != of_exchange
    )


def describe_market(market: MarketProfile, units: Sequence[SymbolUnit]) -> tuple[str, ...]:
    """A sentence each."""
    notes = []
    if market.exchange != DEFAULT_EXCHANGE and market.price_unit is not None:
        of_currency = f", not {market.currency}" if market.currency not in (None, market.price_unit) else ""
        notes.append(f"prices of {market.exchange} are in {market.price_unit}{of_currency}")
    if units:
        shown = [_describe(unit, market) for unit in units[:_MAX_NAMED]]
        more = f", and {len(units) - _MAX_NAMED:,} more (units)" if len(units) > _MAX_NAMED else ""
        notes.append(f"but {', '.join(shown)}{more}")
    if market.is_experimental:
        notes.append(
            f"{market.exchange} is experimental: what its data mean is assumed, not seen; see: backfill-assets markets"
            f" show {market.exchange}"
        )
    return tuple(notes)


def _describe(unit: SymbolUnit, market: MarketProfile) -> str:
    counted = unit.price_unit or unit.currency or market.price_unit
    since = f" from {unit.valid_from} on" if unit.valid_from else ""
    return f"{unit.symbol} in {counted}{since}"
