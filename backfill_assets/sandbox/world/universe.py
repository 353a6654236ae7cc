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


def build_universe(size: int) -> tuple[str, ...]:
    """Build the first ``size`` symbols; a larger universe starts with the smaller one."""
    generated = (f"S{number:04d}" for number in range(len(FAMILIAR_SYMBOLS) + 1, size + 1))
    return (*FAMILIAR_SYMBOLS[:size], *generated)


def describe_symbol(symbol: str) -> SymbolListEntry:
    """Build the entry of ``symbol``. About every seventh symbol has no ISIN."""
    security_type = "ETF" if symbol in _ETFS else "Common Stock"
    exchange = (
        "NYSE ARCA" if symbol in _ETFS else "NASDAQ" if symbol in _NASDAQ or symbol not in FAMILIAR_SYMBOLS else "NYSE"
    )
    digits = sum(ord(letter) * 31**place for place, letter in enumerate(symbol)) % 10**9
    isin = None if digits % 7 == 0 else f"US{digits:09d}{digits % 10}"
    return SymbolListEntry(
        symbol, f"{symbol.title()} {'Fund' if security_type == 'ETF' else 'Inc'}", exchange, security_type, isin
    )
