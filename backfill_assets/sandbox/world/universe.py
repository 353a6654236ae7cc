"""The symbols of a sandbox, well-known US tickers before generated ones, and their entries in the symbol list."""

from dataclasses import dataclass

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
