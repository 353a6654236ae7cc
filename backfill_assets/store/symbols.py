"""The universe: the rows of ``market_symbols``."""

from collections.abc import Sequence

from backfill_assets.errors import UsageError
from backfill_assets.market.calendar.tickers import Symbol, Ticker
from backfill_assets.store.postgres.connection import Connection


def add_symbols(connection: Connection, tickers: Sequence[Ticker]) -> int:
    """Add tickers, or make them active again; returns how many were not active before.

    Works where ``symbol`` alone is unique as well as with (symbol, exchange).

    Raises:
        UsageError: a symbol is there for another exchange, and the table has no room for both.
    """
    symbols, exchanges = [t.symbol for t in tickers], [t.exchange for t in tickers]
    inserted = connection.execute(
        "INSERT INTO market_symbols (symbol, exchange, is_active)"
        " SELECT s, e, true FROM unnest(%s::text[], %s::text[]) AS t(s, e) ON CONFLICT DO NOTHING",
        [symbols, exchanges],
    ).rowcount
    reactivated = connection.execute(
        "UPDATE market_symbols m SET is_active = true, updated_at = now()"
        " FROM unnest(%s::text[], %s::text[]) AS t(s, e)"
        " WHERE m.symbol = t.s AND m.exchange = t.e AND m.is_active IS NOT TRUE",
        [symbols, exchanges],
    ).rowcount
    conflicting = connection.execute(
        "SELECT t.s, m.exchange FROM unnest(%s::text[], %s::text[]) AS t(s, e) JOIN market_symbols m ON m.symbol = t.s"
        " WHERE NOT EXISTS (SELECT 1 FROM market_symbols o WHERE o.symbol = t.s AND o.exchange = t.e)",
        [symbols, exchanges],
    ).fetchall()
    if conflicting:
        listed = ", ".join(f"{symbol} ({exchange})" for symbol, exchange in conflicting[:5])
        raise UsageError(f"the table has these symbols for another exchange: {listed}; correct their exchange first")
    return inserted + reactivated


def deactivate_symbols(connection: Connection, tickers: Sequence[Ticker]) -> list[Ticker]:
    """Take tickers out of the universe; their bars stay. Returns those that were active."""
    rows = connection.execute(
        "UPDATE market_symbols m SET is_active = false, updated_at = now()"
        " FROM unnest(%s::text[], %s::text[]) AS t(s, e)"
        " WHERE m.symbol = t.s AND m.exchange = t.e AND m.is_active RETURNING m.symbol, m.exchange",
        [[t.symbol for t in tickers], [t.exchange for t in tickers]],
    )
    return sorted(Ticker(symbol, exchange) for symbol, exchange in rows)


def list_symbols(connection: Connection, exchange: str, *, only_active: bool = True) -> list[Symbol]:
    """The symbols of ``exchange``, by name; the active ones unless told otherwise."""
    rows = connection.execute(
        "SELECT symbol_id, symbol, exchange, COALESCE(is_active, true) FROM market_symbols"
        " WHERE exchange = %s AND (COALESCE(is_active, true) OR NOT %s) ORDER BY symbol, symbol_id",
        [exchange, only_active],
    )
    return [Symbol(key, Ticker(symbol, exchange_code), active) for key, symbol, exchange_code, active in rows]
