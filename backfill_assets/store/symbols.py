"""Read and change the universe, the rows of ``market_symbols``.

The value ``Symbol`` is in ``market.calendar.tickers``.
"""

from collections.abc import Sequence

from backfill_assets.errors import UsageError
from backfill_assets.market.calendar.tickers import Symbol, Ticker
from backfill_assets.store.postgres.connection import Connection

_INSERT_SYMBOLS = """
INSERT INTO market_symbols (symbol, exchange, is_active)
SELECT s, e, true FROM unnest(%s::text[], %s::text[]) AS t (s, e)
ON CONFLICT DO NOTHING
"""
_ACTIVATE_SYMBOLS = """
UPDATE market_symbols m SET is_active = true, updated_at = now()
FROM unnest(%s::text[], %s::text[]) AS t (s, e)
WHERE m.symbol = t.s AND m.exchange = t.e AND m.is_active IS NOT TRUE
"""
_SELECT_CONFLICTING_SYMBOLS = """
SELECT t.s, m.exchange
FROM unnest(%s::text[], %s::text[]) AS t (s, e) JOIN market_symbols m ON m.symbol = t.s
WHERE NOT EXISTS (SELECT 1 FROM market_symbols o WHERE o.symbol = t.s AND o.exchange = t.e)
"""
_DEACTIVATE_SYMBOLS = """
UPDATE market_symbols m SET is_active = false, updated_at = now()
FROM unnest(%s::text[], %s::text[]) AS t (s, e)
WHERE m.symbol = t.s AND m.exchange = t.e AND m.is_active
RETURNING m.symbol, m.exchange
"""
_SELECT_SYMBOLS = """
SELECT symbol_id, symbol, exchange, coalesce(is_active, true)
FROM market_symbols
WHERE exchange = %s AND (coalesce(is_active, true) OR NOT %s)
ORDER BY symbol, symbol_id
"""


def add_symbols(connection: Connection, tickers: Sequence[Ticker]) -> int:
    """Add tickers, or activate them again; returns how many were not active before.

    Works with a unique key on ``symbol`` alone as well as on (symbol, exchange).

    Raises:
        UsageError: the table has a symbol for another exchange, and its key does not allow both.
    """
    columns = _split_tickers(tickers)
    inserted = connection.execute(_INSERT_SYMBOLS, columns).rowcount
    activated = connection.execute(_ACTIVATE_SYMBOLS, columns).rowcount
    conflicting = connection.execute(_SELECT_CONFLICTING_SYMBOLS, columns).fetchall()
    if conflicting:
        listed = ", ".join(f"{symbol} ({exchange})" for symbol, exchange in conflicting[:5])
        raise UsageError(f"the table has these symbols for another exchange: {listed}; correct their exchange first")
    return inserted + activated


def deactivate_symbols(connection: Connection, tickers: Sequence[Ticker]) -> list[Ticker]:
    """Deactivate tickers; their bars stay. Returns those that were active, in order."""
    rows = connection.execute(_DEACTIVATE_SYMBOLS, _split_tickers(tickers))
    return sorted(Ticker(symbol, exchange) for symbol, exchange in rows)


def list_symbols(connection: Connection, exchange: str, *, only_active: bool = True) -> list[Symbol]:
    """The symbols of ``exchange``, ordered by name; only active ones by default."""
    rows = connection.execute(_SELECT_SYMBOLS, [exchange, only_active])
    return [Symbol(key, Ticker(symbol, exchange_code), active) for key, symbol, exchange_code, active in rows]


def _split_tickers(tickers: Sequence[Ticker]) -> list[list[str]]:
    return [[t.symbol for t in tickers], [t.exchange for t in tickers]]
