"""The names of exchanges in other programs' tables, and of the markets that the vendor keeps under one code."""

from functools import lru_cache

from backfill_assets.market.exchanges.registry import DEFAULT_EXCHANGE, PROFILES

# Names are compared in capitals, without spaces, dashes, dots and underscores.
_NASDAQ = (
    "NASDAQ NASDAQGS NASDAQGM NASDAQCM NASDAQNMS XNAS XNGS XNMS XNCM NMS NGM NCM NASDAQGLOBALSELECT NASDAQGLOBAL"
    " NASDAQGLOBALMARKET NASDAQCAPITAL NASDAQCAPITALMARKET NASDAQSTOCKMARKET"
)
_NYSE = "NYSE XNYS NYQ NYS NEWYORKSTOCKEXCHANGE NYSEARCA ARCA ARCX PCX NYSEAMERICAN NYSEMKT AMEX XASE ASE"
_BATS_AND_IEX = "BATS BATSBZX BATSTRADING CBOE CBOEBZX BZX IEX IEXG"
_TAPE_CODES = "N A P Q Z"  # in files of Nasdaq Trader: NYSE, American, Arca, Nasdaq, BZX
_OTC = "OTC OTCMKTS OTCMARKETS OTCM OTCQB OTCQX OTCPINK OTCBB OTCCE OTCGREY OTHEROTC PINK PINX PNK GREY XOTC"
# Markets under one code with intraday data; a code outside the US is one market.
LISTING_MARKETS = {code: frozenset({code, *profile.names}) for code, profile in PROFILES.items()} | {
    DEFAULT_EXCHANGE: frozenset(f"{_NASDAQ} {_NYSE} {_BATS_AND_IEX} {_TAPE_CODES}".split())
}
DAILY_ONLY_MARKETS = dict.fromkeys(PROFILES, frozenset[str]()) | {  # docs/vendor.md §2.17; NMFQS: mutual funds
    DEFAULT_EXCHANGE: frozenset(f"{_OTC} NMFQS".split())
}
# In front of a symbol, as charting sites write them (NASDAQ:AAPL). No name that is also a ticker, as IEX and CBOE are.
PREFIX_MARKETS = frozenset(
    ["US", "NASDAQ", "NYSE", "NYSEARCA", "NYSEAMERICAN", "ARCA", "AMEX", "BATS", "OTC", "OTCMKTS"]
)
# What charting sites and terminals write after a symbol's dot where it is not the vendor's code: VOD.L, BMW.DE.
_SUFFIXES = {
    "LSE": "L",
    "XETRA": "DE",
    "MC": "MA",
    "SW": "S",
    "WAR": "WA",
    "AU": "AX",
    "KO": "KS",
    "JSE": "JO",
    "IR": "I",
    "SHG": "SS",
    "SHE": "SZ",
    "TSE": "T",
    "NSE": "NS",
    "KAR": "KA",
    "KLSE": "KL",
    "PSE": "PS",
}
_SEPARATORS = str.maketrans("", "", " \t\r\n-._")


def normalize_market(name: str) -> str:
    """A market's name for comparison: in capitals, without spaces, dashes, dots and underscores."""
    return name.translate(_SEPARATORS).upper()


def list_exchange_names(exchange: str) -> frozenset[str]:
    """All names that mean ``exchange`` (the vendor's code), normalized; a blank one means the default exchange."""
    full_name = normalize_market(PROFILES[exchange].name)
    further = {"", "USA"} if exchange == DEFAULT_EXCHANGE else {full_name} if full_name.isascii() else set()
    return LISTING_MARKETS[exchange] | DAILY_ONLY_MARKETS[exchange] | {exchange, *further}


def list_suffixes(exchange: str) -> tuple[str, ...]:
    """What may follow a symbol of an exchange after a dot: the vendor's code first."""
    return (exchange, _SUFFIXES[exchange]) if exchange in _SUFFIXES else (exchange,)


def find_exchange_of_suffix(suffix: str) -> str | None:
    """The exchange of which a suffix in capitals is no code but another program's: LSE of L, XETRA of DE."""
    return next((exchange for exchange, other in _SUFFIXES.items() if other == suffix), None)


_EXCHANGES_BY_NAME = {name: exchange for exchange in PROFILES for name in list_exchange_names(exchange)}


@lru_cache(maxsize=1024)  # a universe of 20,000 symbols has few exchanges
def find_exchange(name: str | None) -> str | None:
    """The vendor's code of the exchange that is called ``name``, such as US for NASDAQ; None for an unknown name."""
    return _EXCHANGES_BY_NAME.get(normalize_market(name or ""))
