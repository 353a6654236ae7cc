"""What the sandbox's exchanges beside the US look like: familiar symbols, country, level of prices, closing auction.

Hours, zone, currency and unit are in the exchange's profile (``market.exchanges.registry``).
"""

from dataclasses import dataclass

from backfill_assets.market.exchanges.registry import get_profile
from backfill_assets.sandbox.exchange_feed import ExchangeFeed


@dataclass(frozen=True)
class ExchangeTraits:
    """One exchange.

    Attributes:
        mics: as ``/exchanges-list`` has them.
        country: as the vendor writes it.
        iso2: the country's code, also of ISINs.
        iso3: the country's other code.
        familiar: symbols that people know.
        price_level: prices in pence, cents or won are higher numbers.
        auction_minutes: from the close to the closing auction's print.
    """

    mics: str
    country: str
    iso2: str
    iso3: str
    familiar: tuple[str, ...]
    price_level: float = 1.0
    auction_minutes: int = 5


def _describe(
    mics: str, country: str, iso: str, familiar: str, price_level: float = 1.0, auction_minutes: int = 5
) -> ExchangeTraits:
    iso2, iso3 = iso.split()
    return ExchangeTraits(mics, country, iso2, iso3, tuple(familiar.split()), price_level, auction_minutes)


US_TRAITS = _describe("XNAS, XNYS, OTCM", "USA", "US USA", "")
_TRAITS = {
    "LSE": _describe("XLON", "UK", "GB GBR", "VOD BP SHEL HSBA AZN BT-A RR LLOY", 10.0),
    "XETRA": _describe("XETR", "Germany", "DE DEU", "BMW SAP SIE ALV BAS DTE VOW3 APC"),
    "PA": _describe("XPAR", "France", "FR FRA", "MC OR TTE SAN AIR BNP AI DG"),
    "AS": _describe("XAMS", "Netherlands", "NL NLD", "ASML INGA PHIA HEIA AD UNA"),
    "BR": _describe("XBRU", "Belgium", "BE BEL", "ABI KBC UCB SOLB ACKB"),
    "LS": _describe("XLIS", "Portugal", "PT PRT", "EDP GALP BCP JMT NOS"),
    "MC": _describe("BMEX", "Spain", "ES ESP", "SAN BBVA ITX IBE TEF REP"),
    "SW": _describe("XSWX", "Switzerland", "CH CHE", "NESN NOVN ROG UBSG ABBN ZURN"),
    "ST": _describe("XSTO", "Sweden", "SE SWE", "VOLV-B ERIC-B ATCO-A SEB-A HM-B ABB"),
    "OL": _describe("XOSL", "Norway", "NO NOR", "EQNR DNB TEL MOWI YAR ORK"),
    "CO": _describe("XCSE", "Denmark", "DK DNK", "NOVO-B MAERSK-B CARL-B DSV ORSTED"),
    "HE": _describe("XHEL", "Finland", "FI FIN", "NOKIA KNEBV SAMPO FORTUM UPM"),
    "VI": _describe("XWBO", "Austria", "AT AUT", "EBS OMV VOE RBI VER"),
    "WAR": _describe("XWAR", "Poland", "PL POL", "PKN PKO KGH CDR PZU"),
    "TO": _describe("XTSE", "Canada", "CA CAN", "RY TD SHOP RCI-B CNQ ENB"),
    "V": _describe("XTSX", "Canada", "CA CAN", "LUM NFG FWZ DEF GRAT", 0.1),
    "AU": _describe("XASX", "Australia", "AU AUS", "BHP CBA CSL WES NAB A2M T X", 1.0, 10),
    "KO": _describe("XKRX", "Korea", "KR KOR", "005930 000660 035420 005380 207940", 1000.0),
    "KQ": _describe("XKOS", "Korea", "KR KOR", "247540 086520 091990 293490", 1000.0),
    "SA": _describe("BVMF", "Brazil", "BR BRA", "PETR4 VALE3 ITUB4 BBDC4 ABEV3"),
    "MX": _describe("XMEX", "Mexico", "MX MEX", "AMXB WALMEX GFNORTEO CEMEXCPO"),
    "JSE": _describe("XJSE", "South Africa", "ZA ZAF", "NPN SOL AGL MTN SBK", 100.0),
    "IC": _describe("XICE", "Iceland", "IS ISL", "MAREL ARION EIM HAGA"),
    "IR": _describe("XDUB", "Ireland", "IE IRL", "RYA A5G KRZ GL9"),
    "TW": _describe("XTAI", "Taiwan", "TW TWN", "2330 2317 2454 2412 0050"),
    "TWO": _describe("ROCO", "Taiwan", "TW TWN", "6488 5483 8069 3105"),
}


def get_traits(exchange: str) -> ExchangeTraits:
    """The traits of an exchange; one without an entry has no familiar symbols."""
    return _TRAITS.get(exchange) or _describe(exchange, get_profile(exchange).name, "ZZ ZZZ", "")


def build_feed(exchange: str) -> ExchangeFeed:
    """The data of an exchange as they are without a switch: in its unit, at its level of prices, its auction's time."""
    market, traits = get_profile(exchange), get_traits(exchange)
    unit = market.price_unit or market.currency or "USD"
    return ExchangeFeed(unit, traits.price_level, auction_minutes=traits.auction_minutes)
