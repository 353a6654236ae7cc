"""Tickers as the vendor writes them, and the symbols of the universe: ``AAPL.US`` is ``AAPL`` on exchange ``US``.

Reading and changing the universe is in ``store.symbols``.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from backfill_assets.errors import UsageError
from backfill_assets.market.calendar.exchanges import DEFAULT_EXCHANGE

_SYMBOL_PATTERN = re.compile(r"[A-Z0-9][A-Z0-9_-]{0,9}")
_MAX_SYMBOL_LENGTH = 10


@dataclass(frozen=True, slots=True, order=True)
class Ticker:
    """An instrument as the vendor names it; ``str()`` gives the vendor's form."""

    symbol: str
    exchange: str = DEFAULT_EXCHANGE

    def __str__(self) -> str:
        return f"{self.symbol}.{self.exchange}"


@dataclass(frozen=True, slots=True)
class Symbol:
    """A ticker of the universe, with its key in ``market_symbols``."""

    symbol_id: int
    ticker: Ticker
    is_active: bool


def parse_ticker(text: str) -> Ticker:
    """Read ``AAPL`` or ``AAPL.US`` (any case).

    Raises:
        UsageError: empty, too long for the table's ``varchar(10)``, with characters that no US
            ticker of the vendor has, or of an exchange without a calendar.
    """
    shortened = text if len(text) <= 30 else text[:30] + "…"
    stripped = text.strip()
    # upper() would turn ß into SS, and ıbm into IBM
    symbol, dot, exchange = (stripped.upper() if stripped.isascii() else stripped).rpartition(".")
    if not dot:
        symbol, exchange = exchange, DEFAULT_EXCHANGE
    if exchange != DEFAULT_EXCHANGE and (not exchange or _SYMBOL_PATTERN.fullmatch(exchange)):
        hint = f"; the vendor writes share classes with a dash: {symbol}-{exchange}" if len(exchange) == 1 else ""
        raise UsageError(f"ticker {shortened!r}: exchange {exchange!r} is not supported, only US{hint}")
    if exchange != DEFAULT_EXCHANGE or not _SYMBOL_PATTERN.fullmatch(symbol):
        raise UsageError(
            f"ticker {shortened!r} is not a symbol: expected 1 to {_MAX_SYMBOL_LENGTH} of A-Z 0-9 - _,"
            " optionally followed by .US"
        )
    return Ticker(symbol, exchange)


def parse_tickers(texts: Iterable[str]) -> tuple[Ticker, ...]:
    """Read many, in the order given, without repeats."""
    return tuple(dict.fromkeys(parse_ticker(text) for text in texts))
