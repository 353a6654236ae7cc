"""The supported exchanges: their library calendars, and the time zone and regular hours of the default one.

Also the names of the markets that the vendor keeps under one exchange code, because other programs write those. Times
of a given session, early closes included, are in ``sessions``. The profile of a further exchange belongs here.
"""

from datetime import timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

DEFAULT_EXCHANGE = "US"  # the vendor's code; a ticker without a suffix is of this exchange
CALENDARS = {DEFAULT_EXCHANGE: "XNYS"}  # vendor's code -> calendar of exchange_calendars
TIME_ZONE = ZoneInfo("America/New_York")
REGULAR_OPEN, REGULAR_CLOSE = timedelta(hours=9, minutes=30), timedelta(hours=16)  # since midnight in TIME_ZONE

# From a slot's end until anybody can have its bar, where quotes are delayed (docs/vendor.md §8.3).
PUBLICATION_DELAYS = {DEFAULT_EXCHANGE: timedelta(minutes=15)}

# Names are compared in capitals, without spaces, dashes, dots and underscores.
_NASDAQ = (
    "NASDAQ NASDAQGS NASDAQGM NASDAQCM NASDAQNMS XNAS XNGS XNMS XNCM NMS NGM NCM NASDAQGLOBALSELECT NASDAQGLOBAL"
    " NASDAQGLOBALMARKET NASDAQCAPITAL NASDAQCAPITALMARKET NASDAQSTOCKMARKET"
)
_NYSE = "NYSE XNYS NYQ NYS NEWYORKSTOCKEXCHANGE NYSEARCA ARCA ARCX PCX NYSEAMERICAN NYSEMKT AMEX XASE ASE"
_BATS_AND_IEX = "BATS BATSBZX BATSTRADING CBOE CBOEBZX BZX IEX IEXG"
_TAPE_CODES = "N A P Q Z"  # in files of Nasdaq Trader: NYSE, American, Arca, Nasdaq, BZX
_OTC = "OTC OTCMKTS OTCMARKETS OTCM OTCQB OTCQX OTCPINK OTCBB OTCCE OTCGREY OTHEROTC PINK PINX PNK GREY XOTC"
LISTING_MARKETS = {
    DEFAULT_EXCHANGE: frozenset(f"{_NASDAQ} {_NYSE} {_BATS_AND_IEX} {_TAPE_CODES}".split())
}  # with intraday data
DAILY_ONLY_MARKETS = {DEFAULT_EXCHANGE: frozenset(f"{_OTC} NMFQS".split())}  # docs/vendor.md §2.17; NMFQS: mutual funds
# In front of a symbol, as charting sites write them (NASDAQ:AAPL). No name that is also a ticker, as IEX and CBOE are.
PREFIX_MARKETS = frozenset(
    ["US", "NASDAQ", "NYSE", "NYSEARCA", "NYSEAMERICAN", "ARCA", "AMEX", "BATS", "OTC", "OTCMKTS"]
)
_OWN_NAMES = {DEFAULT_EXCHANGE: frozenset({DEFAULT_EXCHANGE, "USA"})}
_SEPARATORS = str.maketrans("", "", " \t\r\n-._")


def get_publication_delay(exchange: str) -> timedelta:
    """How long after a slot's end its bar counts as known at a point in time, by the exchange's code."""
    return PUBLICATION_DELAYS[exchange]


def normalize_market(name: str) -> str:
    """A market's name for comparison: in capitals, without spaces, dashes, dots and underscores."""
    return name.translate(_SEPARATORS).upper()


def list_exchange_names(exchange: str) -> frozenset[str]:
    """All names that mean ``exchange`` (the vendor's code), normalized; a blank one means the default exchange."""
    blank = {""} if exchange == DEFAULT_EXCHANGE else set()
    return _OWN_NAMES[exchange] | LISTING_MARKETS[exchange] | DAILY_ONLY_MARKETS[exchange] | blank


_EXCHANGES_BY_NAME = {name: exchange for exchange in CALENDARS for name in list_exchange_names(exchange)}


@lru_cache(maxsize=1024)  # a universe of 20,000 symbols has few exchanges
def find_exchange(name: str | None) -> str | None:
    """The vendor's code of the exchange that is called ``name``, such as US for NASDAQ; None for an unknown name."""
    return _EXCHANGES_BY_NAME.get(normalize_market(name or ""))
