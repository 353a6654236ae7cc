"""The symbols of a market, well-known ones before generated ones, and their entries in the symbol list."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from backfill_assets.market.exchanges.registry import DEFAULT_EXCHANGE
from backfill_assets.sandbox.config import SandboxConfig
from backfill_assets.sandbox.exchange_traits import US_TRAITS, ExchangeTraits, get_traits

_FAMILIAR_TEXT = (
    "AAPL MSFT AMZN TSLA VTI NVDA GOOGL META BRK-B JPM SPY QQQ AMD NFLX JNJ V WMT PG MA UNH XOM CVX HD KO BAC DIS INTC "
    "CSCO PEP ADBE CMCSA ABBV MRK PFE T VZ GE CAT BA IBM MCD NKE GS MS C WFC AXP UPS RTX LMT DE MMM F GM COST SBUX "
    "QCOM TXN AVGO ORCL CRM ACN TGT LOW BLK SCHW BMY LLY TMO ABT DHR NEE DUK SO SPGI GOOG AMAT MU BKNG GILD AMGN HON "
    "PYPL ADP INTU ISRG MDLZ REGN VRTX UBER LIN ETN IWM DIA VOO GLD XLF XLE XLK TLT"
)
_ETF_TEXT = "VTI SPY QQQ IWM DIA VOO GLD XLF XLE XLK TLT"
_NASDAQ_TEXT = (
    "AAPL MSFT AMZN TSLA NVDA GOOGL META AMD NFLX INTC CSCO PEP ADBE CMCSA COST SBUX QCOM TXN AVGO GOOG AMAT MU BKNG "
    "GILD AMGN HON PYPL ADP INTU ISRG MDLZ REGN VRTX"
)
FAMILIAR_SYMBOLS = tuple(_FAMILIAR_TEXT.split())
_ETFS = frozenset(_ETF_TEXT.split())
_NASDAQ = frozenset(_NASDAQ_TEXT.split())


@dataclass(frozen=True)
class SymbolListEntry:
    """A symbol's entry in ``/exchange-symbol-list``."""

    code: str
    name: str
    exchange: str
    security_type: str
    isin: str | None


UNUSUAL_LISTINGS = (  # only in the symbol list: there are no bars of them
    SymbolListEntry("ZVZZT", "NASDAQ TEST STOCK", "NASDAQ", "Common Stock", None),
    SymbolListEntry("NTEST-A", "NYSE Listed Test Stock For CTS", "NYSE", "Common Stock", None),
    SymbolListEntry("TCEHY", "Tencent Holdings Ltd ADR", "PINK", "Common Stock", None),
    SymbolListEntry("HENKY", "Henkel Ag & Co KGAA ADR", "OTCQX", "Common Stock", None),
    SymbolListEntry("0P0000A0T3", "Growth Fund of America", "NMFQS", "FUND", None),
    SymbolListEntry("VFIAX", "Vanguard 500 Index Fund Admiral Shares", "NMFQS", "Mutual Fund", None),
    SymbolListEntry("GAB", "The Gabelli Equity Trust Inc", "NYSE", "FUND", None),
    SymbolListEntry("ABC_old1", "AmeriSource Health", "NYSE", "Common Stock", None),
    SymbolListEntry("BC/PA", "Brunswick Preferred A", "NYSE", "Preferred Stock", None),
    SymbolListEntry("ACCD1", "Accolade Inc Bond", "US", "BOND", None),
    SymbolListEntry("AEHR", "Aehr Test Systems", "NASDAQ", "Common Stock", None),
)


def build_universe(size: int) -> tuple[str, ...]:
    """Build the first ``size`` symbols; a larger universe starts with the smaller one."""
    generated = (f"S{number:04d}" for number in range(len(FAMILIAR_SYMBOLS) + 1, size + 1))
    return (*FAMILIAR_SYMBOLS[:size], *generated)


def describe_symbol(symbol: str, root: str | None = None) -> SymbolListEntry:
    """Build the entry of ``symbol``. About every seventh instrument has no ISIN.

    ``root`` is the first name of the instrument, or what else tells it apart: its ISIN stays when it is renamed.
    """
    security_type = "ETF" if symbol in _ETFS else "Common Stock"
    exchange = (
        "NYSE ARCA" if symbol in _ETFS else "NASDAQ" if symbol in _NASDAQ or symbol not in FAMILIAR_SYMBOLS else "NYSE"
    )
    digits = sum(ord(letter) * 31**place for place, letter in enumerate(root or symbol)) % 10**9
    isin = None if digits % 7 == 0 else f"US{digits:09d}{digits % 10}"
    return SymbolListEntry(
        symbol, f"{symbol.title()} {'Fund' if security_type == 'ETF' else 'Inc'}", exchange, security_type, isin
    )


# Of codes and ISINs of foreign shares' lines: London lists several thousand of them (docs/vendor.md §8.1).
_COPY_CURRENCIES, _COPY_COUNTRIES = ("EUR", "USD", "GBP"), ("US", "DE", "FR")
_FUND_CODES = "0P0000"  # such as 0P00007962; funds are in lists and daily files only


@dataclass(frozen=True, eq=False)
class Universe:
    """The symbols of one exchange.

    Attributes:
        exchange: the vendor's code.
        traits: what the exchange looks like.
        symbols: those without a configured listing.
        familiar: those that many trade.
        copies: lines of foreign shares, with the currency of each.
    """

    exchange: str
    traits: ExchangeTraits
    symbols: tuple[str, ...]
    familiar: frozenset[str]
    copies: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def create(cls, config: SandboxConfig) -> Self:
        """The universe of a configuration's exchange."""
        if config.exchange == DEFAULT_EXCHANGE:
            symbols = (*build_universe(config.symbols), *config.more_symbols)
            return cls(config.exchange, US_TRAITS, symbols, frozenset(FAMILIAR_SYMBOLS))
        traits = get_traits(config.exchange)
        own = (*traits.familiar[: config.symbols], *_generate_symbols(traits, config.symbols))
        copies = {
            f"0{chr(65 + number // 260 % 26)}{number % 10}{chr(65 + number // 10 % 26)}": _COPY_CURRENCIES[number % 3]
            for number in range(config.foreign_copies)
        }
        symbols = (*own, *config.more_symbols, *copies)
        return cls(config.exchange, traits, symbols, frozenset(traits.familiar), copies)

    def find_currency(self, symbol: str) -> str | None:
        """Find the currency of a symbol whose code tells it: a pair's, or that of a foreign share's line."""
        return symbol[-3:] if self.traits.has_pairs else self.copies.get(symbol)

    def describe(self, symbol: str, root: str | None = None) -> SymbolListEntry:
        """Build the entry of ``symbol`` in the symbol list; ``root`` as in ``describe_symbol``."""
        entry = describe_symbol(symbol, root)
        if self.exchange == DEFAULT_EXCHANGE:
            return entry
        if self.traits.has_pairs:
            return SymbolListEntry(symbol, f"{symbol} pair", self.exchange, self.traits.security_type, None)
        country = self.traits.iso2
        if symbol in self.copies:
            country = _COPY_COUNTRIES[_COPY_CURRENCIES.index(self.copies[symbol])]
        isin = entry.isin and f"{country}{entry.isin[2:]}"
        if symbol.startswith(_FUND_CODES):
            return SymbolListEntry(symbol, "Sandbox Fund", self.exchange, "FUND", None)
        return SymbolListEntry(symbol, f"{symbol.title()} Plc", self.exchange, "Common Stock", isin)


def _generate_symbols(traits: ExchangeTraits, size: int) -> list[str]:
    """Symbols that generated US tickers have, too: equal codes on two exchanges are the rule."""
    first = len(traits.familiar)
    return [f"S{number:04d}{traits.generated_suffix}" for number in range(first + 1, size + 1)]
