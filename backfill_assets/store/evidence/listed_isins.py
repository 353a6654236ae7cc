"""The ISINs of symbols in the vendor's lists, as evidence about renamed and recycled tickers.

They are kept when a list is read anyway. An ISIN alone shows nothing: it also changes with a reverse split or when a
company moves its seat.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

from backfill_assets.market.vendor import ListedSymbol
from backfill_assets.store.postgres.connection import Connection

EARLIER_HOLDER = "_old"  # what the vendor appends to a code whose ticker another instrument has taken over
_UPSERT = """
INSERT INTO backfill.listed_isins AS l (exchange, symbol, isin, first_read_at, last_read_at)
SELECT %(exchange)s, symbol, isin, %(now)s, %(now)s
FROM unnest(%(symbols)s::text[], %(isins)s::text[]) AS t (symbol, isin) ORDER BY 2, 3
ON CONFLICT (exchange, symbol, isin) DO UPDATE SET last_read_at = greatest(l.last_read_at, EXCLUDED.last_read_at)
"""
_SELECT = """
SELECT symbol, isin, first_read_at, last_read_at FROM backfill.listed_isins
WHERE exchange = %(exchange)s AND symbol IN (%(symbol)s, %(symbol)s || %(suffix)s) ORDER BY symbol, first_read_at, isin
"""


def record_listed_isins(connection: Connection, exchange: str, listed: Sequence[ListedSymbol], now: datetime) -> None:
    """Store the ISINs of a list that was read at ``now``; codes without one only if they name an earlier holder."""
    known = {
        (symbol.code, symbol.isin or "")
        for symbol in listed
        if symbol.isin or symbol.code.lower().endswith(EARLIER_HOLDER)
    }
    columns = {"symbols": [code for code, _ in known], "isins": [isin for _, isin in known]}
    if known:
        connection.execute(_UPSERT, {**columns, "exchange": exchange, "now": now})


def describe_listed_isins(connection: Connection, exchange: str, symbol: str) -> list[str]:
    """What the vendor's lists had about a symbol and its earlier holder, in words, one line each."""
    values = {"exchange": exchange, "symbol": symbol, "suffix": EARLIER_HOLDER}
    return [
        f"{code} had {f'the ISIN {isin}' if isin else 'no ISIN'} in the lists read from"
        f" {first.astimezone(UTC):%Y-%m-%d} to {last.astimezone(UTC):%Y-%m-%d}"
        for code, isin, first, last in connection.execute(_SELECT, values)
    ]
