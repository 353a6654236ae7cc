"""Decides which lines of the vendor's symbol list become symbols of the universe, and says why the others do not.

The vendor lists everything that has a code: test issues, funds, bonds and over-the-counter shares, which have daily
data only (docs/vendor.md §2.17, §5.1). Requests for them cost calls and never bring a bar.
"""

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial

from backfill_assets.errors import UsageError
from backfill_assets.market.calendar.tickers import Ticker, parse_ticker
from backfill_assets.market.exchanges.names import DAILY_ONLY_MARKETS, LISTING_MARKETS, normalize_market
from backfill_assets.market.exchanges.registry import DEFAULT_EXCHANGE, PROFILES
from backfill_assets.market.vendor import ListedSymbol

ALL = "all"
UNUSABLE = "not usable as a ticker"
DEFAULT_TYPES = ("common stock", "preferred stock", "etf", "fund")  # a fund only if it is listed on a market
_CLOSED_END_FUND = "fund"
_REUSED_CODE = re.compile(r".*_old\d*", re.IGNORECASE)  # docs/vendor.md §5.1
_FUND_CODE = re.compile(r"0P[0-9A-Z]{8}")  # an identifier of Morningstar
# The list has no mark for test issues: exchanges name them Test Stock and the like, and reserve these codes.
_TEST_NAME = re.compile(
    r"\btest(ing)? (stock|issue|symbol|security|securities|common|ticker|etf|etp|fund|listing|pilot)"
)
_TEST_PILOT = re.compile(r"\btick pilot test\b")
_TEST_CODE = re.compile(
    r"([A-Z]?TEST([.-]?[A-Z])?|Z[A-Z]ZZ[TC]|ZXYZ(-?[A-Z])?|ZTST|ZBZX|ZEXIT|ZIEXT|ZXIET|ZVV|IGZ|CBX)"
)

# London lists foreign shares again under such codes, thousands of them (docs/markets.md).
_COPY_CODES = {"LSE": re.compile(r"0[0-9A-Z]{3}")}

Rule = Callable[[ListedSymbol], str | None]


@dataclass(frozen=True, slots=True)
class ListingFilter:
    """Which listed symbols a user wants; the same words as in the vendor's list, in any case.

    Attributes:
        markets: listing exchanges such as NYSE; empty: all that have intraday data; "all": every one.
        types: the vendor's types such as ETF; empty: shares and exchange-traded funds; "all": every one.
        has_copies: whether further lines of shares that are listed elsewhere are wanted, too.
    """

    markets: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    has_copies: bool = False


@dataclass(frozen=True, slots=True)
class FilteredList:
    """The vendor's list, divided.

    Attributes:
        tickers: what passes the filter, in the order of the list.
        left_out: codes by the reason why they are left out, the most frequent reason first.
        unplaced: how many of ``tickers`` the list names no listing exchange for.
    """

    tickers: tuple[Ticker, ...]
    left_out: dict[str, tuple[str, ...]]
    unplaced: int


def filter_listing(listed: Sequence[ListedSymbol], exchange: str, wanted: ListingFilter) -> FilteredList:
    """Divide the vendor's list of ``exchange``.

    Raises:
        UsageError: no listed symbol is of a market or type that was asked for by name.
    """
    _require_listed("type", "--type", wanted.types, {_normalize_type(s.symbol_type) for s in listed}, _normalize_type)
    markets = {normalize_market(s.exchange or "") for s in listed}
    _require_listed("listing exchange", "--listing", wanted.markets, markets, normalize_market)
    rules = _list_rules(exchange, wanted)
    passed: dict[Ticker, ListedSymbol] = {}
    left_out: dict[str, list[str]] = {}
    for symbol in listed:
        reason = next(filter(None, (rule(symbol) for rule in rules)), None)
        if reason is None:
            passed.setdefault(Ticker(symbol.code, exchange), symbol)
        else:
            left_out.setdefault(reason, []).append(symbol.code)
    by_frequency = sorted(left_out.items(), key=lambda item: (-len(item[1]), item[0]))
    return FilteredList(
        tuple(passed),
        {reason: tuple(codes) for reason, codes in by_frequency},
        sum(_is_unplaced(symbol) for symbol in passed.values()) if exchange == DEFAULT_EXCHANGE else 0,
    )


def parse_filter_words(text: str | None) -> tuple[str, ...]:
    """Comma-separated words of an option or a setting; () if it is not set."""
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())


def _list_rules(exchange: str, wanted: ListingFilter) -> list[Rule]:
    """The rules of an exchange. Of pairs of currencies or coins, all of one type and place, only what is asked for."""
    by_type = partial(_reject_type, types=tuple(map(_normalize_type, wanted.types)))
    by_market = partial(_reject_market, exchange=exchange, markets=tuple(map(normalize_market, wanted.markets)))
    usable = partial(_reject_code, exchange=exchange)
    if not PROFILES[exchange].has_actions:
        return [usable, *([by_type] if wanted.types else []), *([by_market] if wanted.markets else [])]
    by_copy = [] if wanted.has_copies else [partial(_reject_copy, exchange=exchange)]
    return [usable, _reject_test_issue, *by_copy, by_type, by_market]


def _require_listed(
    kind: str, option: str, wanted: Collection[str], listed: Collection[str], normalize: Callable[[str], str]
) -> None:
    for word in wanted:
        if normalize(word) not in {*listed, normalize(ALL)}:
            known = ", ".join(sorted(name for name in listed if name)[:12]) or "none"
            raise UsageError(f"the vendor lists no symbol of {kind} {word[:40]!r}; {option} can be {ALL} or: {known}")


def _normalize_type(name: str | None) -> str:
    """A type as in the vendor's list, in small letters; ``common_stock`` is ``common stock``."""
    return (name or "").replace("_", " ").strip().lower()


def _reject_code(symbol: ListedSymbol, *, exchange: str) -> str | None:
    if _REUSED_CODE.fullmatch(symbol.code):
        return "code of a former company"
    try:
        is_ticker = parse_ticker(f"{symbol.code}.{exchange}") == Ticker(symbol.code, exchange)
    except UsageError:
        is_ticker = False
    return None if is_ticker else UNUSABLE


def _reject_test_issue(symbol: ListedSymbol) -> str | None:
    name = (symbol.name or "").lower()
    is_test = _TEST_CODE.fullmatch(symbol.code) or _TEST_NAME.search(name) or _TEST_PILOT.search(name)
    return "test issue" if is_test else None


def _reject_copy(symbol: ListedSymbol, *, exchange: str) -> str | None:
    pattern = _COPY_CODES.get(exchange)
    return "further line of a foreign share" if pattern and pattern.fullmatch(symbol.code) else None


def _reject_type(symbol: ListedSymbol, *, types: tuple[str, ...]) -> str | None:
    name = _normalize_type(symbol.symbol_type)
    if ALL in types or name in types:
        return None
    if types:
        return f"type {symbol.symbol_type or 'unknown'}"
    if _FUND_CODE.fullmatch(symbol.code):
        return "fund without intraday data"
    return None if not name or name in DEFAULT_TYPES else f"type {symbol.symbol_type}"


def _reject_market(symbol: ListedSymbol, *, exchange: str, markets: tuple[str, ...]) -> str | None:
    name = normalize_market(symbol.exchange or "")
    if normalize_market(ALL) in markets or name in markets:
        return None
    if markets:
        return f"listed on {symbol.exchange or 'an unknown exchange'}"
    if name in DAILY_ONLY_MARKETS[exchange]:
        return f"listed on {symbol.exchange}, without intraday data"
    if name in LISTING_MARKETS[exchange]:
        return None
    if _is_unplaced(symbol):
        is_fund = _normalize_type(symbol.symbol_type) == _CLOSED_END_FUND
        return "fund of an unknown listing exchange" if is_fund else None
    return f"listed on {symbol.exchange}, which is not known to have intraday data"


def _is_unplaced(symbol: ListedSymbol) -> bool:
    """Whether the list does not say where a symbol is listed: some say US throughout (docs/vendor.md §5.1)."""
    return normalize_market(symbol.exchange or "") in {"", *PROFILES}
