"""Adds rows to ``market_symbols``, and says why the table does not take some and what to do.

Which tickers need a row is decided in ``store.symbols``.
"""

from collections.abc import Sequence

import psycopg

from backfill_assets.errors import UsageError
from backfill_assets.market.calendar.tickers import Ticker
from backfill_assets.market.exchanges.names import find_exchange
from backfill_assets.store.postgres.connection import Connection
from backfill_assets.store.symbol_counts import count_other_exchanges

_INSERT_SYMBOLS = """
INSERT INTO market_symbols (symbol, exchange, is_active)
SELECT s, e, %s FROM unnest(%s::text[], %s::text[]) AS t (s, e)
ON CONFLICT DO NOTHING
RETURNING symbol
"""
# A unique key of the symbol alone: statement that drops it.
_SELECT_SYMBOL_KEY = """
SELECT CASE WHEN c.conname IS NULL THEN format('DROP INDEX %s', i.indexrelid::regclass)
            ELSE format('ALTER TABLE market_symbols DROP CONSTRAINT %I', c.conname) END
FROM pg_index i LEFT JOIN pg_constraint c ON c.conindid = i.indexrelid AND c.contype IN ('u', 'p')
WHERE i.indrelid = to_regclass('market_symbols') AND i.indisunique AND i.indnkeyatts = 1 AND i.indpred IS NULL
  AND pg_get_indexdef(i.indexrelid, 1, false) = 'symbol'
LIMIT 1
"""


def insert_rows(connection: Connection, tickers: Sequence[Ticker], *, is_active: bool) -> int:
    """Add a row for each ticker, unless the table's key has one already; returns how many were added.

    Raises:
        UsageError: the table refuses a row.
    """
    if not tickers:
        return 0
    try:
        values = [is_active, [t.symbol for t in tickers], [t.exchange for t in tickers]]
        return connection.execute(_INSERT_SYMBOLS, values).rowcount
    except psycopg.errors.StringDataRightTruncation as error:
        longest = max(tickers, key=lambda ticker: len(ticker.symbol))
        raise UsageError(
            f"market_symbols has no room for {str(longest)!r}: {error.diag.message_primary}; make the column longer,"
            " which views of other programs may hinder: ALTER TABLE market_symbols ALTER COLUMN symbol TYPE varchar(20)"
        ) from None
    except (psycopg.errors.IntegrityError, psycopg.errors.DataError, psycopg.errors.RaiseException) as error:
        message = error.diag.message_primary or type(error).__name__
        raise UsageError(
            f"market_symbols refuses new rows such as {tickers[0].symbol!r} on exchange {tickers[0].exchange!r}:"
            f" {message}; add them with the program that owns the table"
        ) from None


def explain_missing_rows(connection: Connection, missing: Sequence[Ticker]) -> UsageError:
    """Why tickers of one exchange got no row: the table has the symbols for another one, and its key is in the way."""
    exchange = missing[0].exchange
    others = count_other_exchanges(connection, [exchange], [ticker.symbol for ticker in missing])
    listed, names = ", ".join(ticker.symbol for ticker in missing[:5]), ", ".join(map(repr, others)) or "another one"
    refusal = f"the table has these symbols for another exchange ({names}): {listed}"
    key = connection.execute(_SELECT_SYMBOL_KEY).fetchone()
    if key is None or not all(map(find_exchange, others)):
        return UsageError(f"{refusal}; correct their exchange first")
    return UsageError(
        f"{refusal}. Its key is the symbol alone, so it cannot have both. Either change the key:"
        f" {key[0]}; ALTER TABLE market_symbols ADD UNIQUE (symbol, exchange); or keep {exchange} in a database of its"
        f" own (DATABASE_URL, with BACKFILL_EXCHANGES='[\"{exchange}\"]')"
    )
