"""Tickers as the vendor writes them, and the symbols of the universe: ``AAPL.US`` is ``AAPL`` on exchange ``US``.

Reading what users type and what other programs store. Reading and changing the universe is in ``store.symbols``.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from backfill_assets.errors import UsageError
from backfill_assets.market.exchanges.names import (
    PREFIX_MARKETS,
    find_exchange,
    find_exchange_of_suffix,
    list_exchange_names,
    list_suffixes,
    normalize_market,
)
from backfill_assets.market.exchanges.refused import REFUSED
from backfill_assets.market.exchanges.registry import DEFAULT_EXCHANGE, PROFILES, explain_refusal

_SYMBOL_PATTERN = re.compile(r"[A-Z0-9][A-Z0-9_-]*")
_STORED_PATTERN = re.compile(r"[A-Z0-9][A-Z0-9_-]{0,29}")  # another program's column may be wider than ours
# The vendor's mark of a code that another company has now (docs/vendor.md §5.1): ABC_old, then ABC_old1.
_FORMER_CODE = re.compile(r"([A-Z0-9-]+)_OLD([0-9]*)")
_SHARE_CLASS = re.compile(r"([A-Z0-9]+)[./ ]([A-D])")  # not any letter: Reuters' AAPL.O and IBM.N name the exchange
_MAX_US_LENGTH = 10  # what the column holds in other programs' tables; no longer one is listed in the US
_MAX_LENGTH = 20  # what it holds in our own; the vendor's codes of funds have 10 in Sydney, and 12 in lists of funds


@dataclass(frozen=True, slots=True, order=True)
class Ticker:
    """An instrument as the vendor names it; ``str()`` gives the vendor's form."""

    symbol: str
    exchange: str = DEFAULT_EXCHANGE

    def __str__(self) -> str:
        return f"{self.symbol}.{self.exchange}"

    @property
    def short_name(self) -> str:
        """How a user may write it in a command: ``AAPL``, and ``VOD.LSE``."""
        return self.symbol if self.exchange == DEFAULT_EXCHANGE else str(self)


def shorten_ticker(ticker: str) -> str:
    """``Ticker.short_name`` of a ticker's text."""
    return ticker.removesuffix(f".{DEFAULT_EXCHANGE}") or ticker


@dataclass(frozen=True, slots=True)
class Symbol:
    """A ticker of the universe, with its key in ``market_symbols``."""

    symbol_id: int
    ticker: Ticker
    is_active: bool


def parse_ticker(text: str) -> Ticker:
    """Read ``AAPL``, ``AAPL.US``, ``NASDAQ:AAPL``, ``VOD.LSE`` (any case), and former codes, which become ``ABC_old``.

    Raises:
        UsageError: empty, too long for the table's column, with characters that no ticker of the vendor has, or of an
            exchange that is not supported.
    """
    shortened = text if len(text) <= 30 else text[:30] + "…"
    stripped = text.strip()
    # upper() would turn ß into SS, and ıbm into IBM
    symbol, dot, exchange = _drop_market(stripped.upper() if stripped.isascii() else stripped).rpartition(".")
    if not dot:
        symbol, exchange = exchange, DEFAULT_EXCHANGE
    if exchange not in PROFILES and _is_exchange_like(exchange):
        raise UsageError(f"ticker {shortened!r}: {_explain_exchange(symbol, exchange)}")
    longest = _MAX_LENGTH if exchange in PROFILES and exchange != DEFAULT_EXCHANGE else _MAX_US_LENGTH
    if len(symbol) > longest and _FORMER_CODE.fullmatch(symbol):
        raise UsageError(
            f"ticker {shortened!r}: a former code such as ABC_old has at most {longest} characters here,"
            f" because market_symbols may hold no more; this one has {len(symbol)} and cannot be stored"
        )
    if exchange not in PROFILES or len(symbol) > longest or not _SYMBOL_PATTERN.fullmatch(symbol):
        raise UsageError(f"ticker {shortened!r} is not a symbol{_explain_characters(stripped, exchange, longest)}")
    return Ticker(_mark_former(symbol), exchange)


def _is_exchange_like(suffix: str) -> bool:
    """Whether what follows a dot may name an exchange."""
    return not suffix or (len(suffix) <= 10 and _SYMBOL_PATTERN.fullmatch(suffix) is not None)


def _explain_exchange(symbol: str, suffix: str) -> str:
    """Why a suffix is none of a supported exchange."""
    meant = find_exchange_of_suffix(suffix)
    hint = f"symbols of {PROFILES[meant].name} are written {symbol[:20]}.{meant}" if meant else ""
    if len(suffix) == 1 and suffix not in REFUSED:
        share_class = f"the vendor writes share classes with a dash: {symbol[:20]}-{suffix}"
        return f"exchange {suffix!r} is not supported; {share_class}{hint and '; ' + hint}"
    if hint:
        return f"exchange {suffix!r} is not supported; {hint}"
    return explain_refusal(suffix)


def _explain_characters(text: str, exchange: str, longest: int) -> str:
    foreign = next((c for c in text if c.isalpha() and not c.isascii()), "")
    character = f": it contains {foreign!r} (U+{ord(foreign):04X}), no letter from A to Z" if foreign else ""
    code = exchange if exchange in PROFILES else DEFAULT_EXCHANGE
    prefix, colon, symbol = text.partition(":")
    named = find_exchange(prefix) if colon else None
    hint = f"; the vendor writes {symbol.strip()[:20]}.{named}" if named and _SYMBOL_PATTERN.fullmatch(symbol) else ""
    return f"{character}: expected 1 to {longest} of A-Z 0-9 - _, optionally followed by .{code}{hint}"


def parse_tickers(texts: Iterable[str]) -> tuple[Ticker, ...]:
    """Read many, in the order given, without repeats."""
    return tuple(dict.fromkeys(parse_ticker(text) for text in texts))


def recognize_ticker(symbol: str | None, exchange: str | None) -> Ticker | None:
    """The vendor's ticker of a row of ``market_symbols``, which another program may have spelled in its own way.

    Blanks around the symbol and lower case do not matter, ``AAPL.US`` and ``NASDAQ:AAPL`` are ``AAPL``, and a share
    class (one of A to D) after a dot, a slash or a blank gets the vendor's dash: ``BRK.B`` is ``BRK-B``
    (docs/vendor.md §5.4). Capitals with small letters among them are another notation: ``BACpL`` is a preferred share.
    ``VOD.L`` is ``VOD`` where the exchange is LSE. What an exchange may be called is in ``exchanges.names``.

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
    text = _drop_market(symbol.strip(), code)
    name = text.upper()
    for suffix in list_suffixes(code):
        if name.endswith(f".{suffix}"):
            name = name.removesuffix(f".{suffix}")
            break
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


def _drop_market(text: str, exchange: str = DEFAULT_EXCHANGE) -> str:
    """Remove a market of the exchange in front, as charting sites write it: ``NASDAQ:AAPL``, ``LSE:VOD``."""
    market, colon, symbol = text.partition(":")
    if not colon:
        return text
    name = normalize_market(market)
    is_market = name in PREFIX_MARKETS if exchange == DEFAULT_EXCHANGE else name in list_exchange_names(exchange)
    return symbol.strip() if is_market else text
