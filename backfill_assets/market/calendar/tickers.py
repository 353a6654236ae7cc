"""Tickers as the vendor writes them, and the symbols of the universe: ``AAPL.US`` is ``AAPL`` on exchange ``US``.

Reading what users type and what other programs store. Reading and changing the universe is in ``store.symbols``.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from backfill_assets.errors import UsageError
from backfill_assets.market.calendar.exchanges import (
    DEFAULT_EXCHANGE,
    PREFIX_MARKETS,
    find_exchange,
    normalize_market,
)

_SYMBOL_PATTERN = re.compile(r"[A-Z0-9][A-Z0-9_-]{0,9}")
_STORED_PATTERN = re.compile(r"[A-Z0-9][A-Z0-9_-]{0,29}")  # another program's column may be wider than ours
# The vendor's mark of a code that another company has now (docs/vendor.md §5.1): ABC_old, then ABC_old1.
_FORMER_CODE = re.compile(r"([A-Z0-9-]+)_OLD([0-9]*)")
_SHARE_CLASS = re.compile(r"([A-Z0-9]+)[./ ]([A-D])")  # not any letter: Reuters' AAPL.O and IBM.N name the exchange
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
    """Read ``AAPL``, ``AAPL.US`` or ``NASDAQ:AAPL`` (any case), and former codes, which become ``ABC_old``.

    Raises:
        UsageError: empty, too long for the table's ``varchar(10)``, with characters that no US
            ticker of the vendor has, or of an exchange without a calendar.
    """
    shortened = text if len(text) <= 30 else text[:30] + "…"
    stripped = text.strip()
    # upper() would turn ß into SS, and ıbm into IBM
    symbol, dot, exchange = _drop_market(stripped.upper() if stripped.isascii() else stripped).rpartition(".")
    if not dot:
        symbol, exchange = exchange, DEFAULT_EXCHANGE
    if exchange != DEFAULT_EXCHANGE and (not exchange or _SYMBOL_PATTERN.fullmatch(exchange)):
        hint = f"; the vendor writes share classes with a dash: {symbol}-{exchange}" if len(exchange) == 1 else ""
        raise UsageError(f"ticker {shortened!r}: exchange {exchange!r} is not supported, only US{hint}")
    if len(symbol) > _MAX_SYMBOL_LENGTH and _FORMER_CODE.fullmatch(symbol):
        raise UsageError(
            f"ticker {shortened!r}: a former code such as ABC_old has at most {_MAX_SYMBOL_LENGTH} characters here,"
            f" because market_symbols holds no more; this one has {len(symbol)} and cannot be stored"
        )
    if exchange != DEFAULT_EXCHANGE or not _SYMBOL_PATTERN.fullmatch(symbol):
        foreign = next((c for c in stripped if c.isalpha() and not c.isascii()), "")
        character = f": it contains {foreign!r} (U+{ord(foreign):04X}), no letter from A to Z" if foreign else ""
        raise UsageError(
            f"ticker {shortened!r} is not a symbol{character}: expected 1 to {_MAX_SYMBOL_LENGTH} of A-Z 0-9 - _,"
            " optionally followed by .US"
        )
    return Ticker(_mark_former(symbol), exchange)


def parse_tickers(texts: Iterable[str]) -> tuple[Ticker, ...]:
    """Read many, in the order given, without repeats."""
    return tuple(dict.fromkeys(parse_ticker(text) for text in texts))


def recognize_ticker(symbol: str | None, exchange: str | None) -> Ticker | None:
    """The vendor's ticker of a row of ``market_symbols``, which another program may have spelled in its own way.

    Blanks around the symbol and lower case do not matter, ``AAPL.US`` and ``NASDAQ:AAPL`` are ``AAPL``, and a share
    class (one of A to D) after a dot, a slash or a blank gets the vendor's dash: ``BRK.B`` is ``BRK-B``
    (docs/vendor.md §5.4). Capitals with small letters among them are another notation: ``BACpL`` is a preferred share.
    What an exchange may be called is in ``exchanges``.

    Returns:
        None if the exchange is unknown or the symbol is none of the vendor's.
    """
    code = find_exchange(exchange)
    if code is None or symbol is None:
        return None
    if _STORED_PATTERN.fullmatch(symbol):
        return Ticker(_mark_former(symbol), code)
    if not symbol.isascii():
        return None
    text = _drop_market(symbol.strip())
    name = text.upper().removesuffix(f".{code}")
    stem = re.split(r"[^A-Za-z0-9]", text)[0]
    if stem not in {stem.upper(), stem.lower(), stem.capitalize()}:
        return None
    if share_class := _SHARE_CLASS.fullmatch(name):
        name = f"{share_class[1]}-{share_class[2]}"
    return Ticker(_mark_former(name), code) if _STORED_PATTERN.fullmatch(name) else None


def _mark_former(symbol: str) -> str:
    """A symbol in capitals as the vendor writes it: only its mark of a former code is in small letters."""
    former = _FORMER_CODE.fullmatch(symbol) if "_OLD" in symbol else None
    return f"{former[1]}_old{former[2]}" if former else symbol


def _drop_market(text: str) -> str:
    """Remove a market of the default exchange in front, as charting sites write it: ``NASDAQ:AAPL``."""
    market, colon, symbol = text.partition(":")
    return symbol.strip() if colon and normalize_market(market) in PREFIX_MARKETS else text
