"""What the sandbox's exchanges beside the US look like: familiar symbols, country, level of prices, closing auction.

Hours, zone, currency and unit are in the exchange's profile (``market.exchanges.registry``).
"""

from dataclasses import dataclass, replace
from datetime import date

from backfill_assets.market.exchanges.registry import get_profile
from backfill_assets.sandbox.around_the_clock import (
    AroundTheClock,
    ClockDailyVolumes,
    ClockVolumes,
    RowPublication,
)
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
        security_type: of most symbols, as the symbol list has it.
        generated_suffix: what generated symbols end with.
        clock: the rows of a market that never closes at night; None: rows come by session.
    """

    mics: str
    country: str
    iso2: str
    iso3: str
    familiar: tuple[str, ...]
    price_level: float = 1.0
    auction_minutes: int = 5
    security_type: str = "Common Stock"
    generated_suffix: str = ""
    clock: AroundTheClock | None = None

    @property
    def has_pairs(self) -> bool:
        """Whether symbols are pairs, priced in the second one's currency, rather than instruments of a country."""
        return self.clock is not None


def _describe(
    mics: str, country: str, iso: str, familiar: str, price_level: float = 1.0, auction_minutes: int = 5
) -> ExchangeTraits:
    iso2, iso3 = iso.split()
    return ExchangeTraits(mics, country, iso2, iso3, tuple(familiar.split()), price_level, auction_minutes)


def _price(text: str, suffix: str = "") -> dict[str, float]:
    """Typical prices of pairs, written ``EURUSD 1.08 GBPUSD 1.27``."""
    words = text.split()
    return {name + suffix: float(price) for name, price in zip(words[::2], words[1::2], strict=True)}


# Crypto pairs: volumes in US dollars, mostly absent; the vendor trails by hours; some series at 1m were given up.
_COINS = _price(
    "BTC 58900 ETH 2510 SHIB 1.2e-05 BABYDOGE 1.5e-09 SOL 135 XRP 0.57 ADA 0.345 DOGE 0.101 LTC 65.2 DOT 4.3 AVAX 23 "
    "LINK 11.3 TRX 0.157 UNI 6.1 ATOM 4.6 ETC 18.4 XLM 0.093 BCH 326 FIL 3.6 NEAR 4.1 PEPE 7.6e-06 ALGO 0.13 APT 6.8",
    "-USD",
)
_CRYPTO_CLOCK = AroundTheClock(
    prices=_COINS,
    noise={"1m": 4e-4, "5m": 4e-4, "1h": 8e-4},
    volumes=ClockVolumes.QUOTE_CURRENCY,
    null_volumes=0.4,
    null_rows=0.002,
    absent_rows=0.01,
    off_grid_days=0.1,
    repeats_hour=True,
    trailing_hours={"1m": (10.0, 10.0), "5m": (6.0, 10.0), "1h": (6.0, 10.0)},
    ended={("BTC-USD", "1m"): date(2026, 7, 14), ("SHIB-USD", "1m"): date(2026, 10, 20)},
)
# Currencies: rows come through weekends; 1m is a source of its own; volumes count nothing.
_RATES = _price(
    "EURUSD 1.084 GBPUSD 1.272 USDJPY 148.6 XAUUSD 2640 AUDUSD 0.658 USDCHF 0.884 USDCAD 1.361 NZDUSD 0.604 EURGBP "
    "0.8523 EURJPY 161.2 GBPJPY 189.1 EURCHF 0.9583 AUDJPY 97.8 CADJPY 109.2 CHFJPY 168.1 EURAUD 1.647 EURCAD 1.475 "
    "GBPCHF 1.124 AUDNZD 1.089 USDSEK 10.41 USDNOK 10.62 USDMXN 18.1 USDZAR 18.4 EURSEK 11.28"
)
_FOREX_CLOCK = AroundTheClock(
    prices=_RATES,
    decimals=5,
    swing=0.015,
    noise={"1m": 4e-5, "5m": 4e-4, "1h": 4e-4},
    closed_noise=7e-4,
    zero_rows=0.01,
    near_zero_lows={"5m": 0.0005},
    publication=RowPublication.AT_CLOSE,
    missing=frozenset({("XAUUSD", "5m"), ("XAUUSD", "1h")}),
    daily_volumes=ClockDailyVolumes.ZERO,
)


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
    "SHG": _describe("XSHG", "China", "CN CHN", "600519 601318 600036 601398 600900"),
    "SHE": _describe("XSHE", "China", "CN CHN", "000001 000858 300750 002594 000333"),
    "HK": _describe("XHKG", "Hong Kong", "HK HKG", "0700 0005 1299 9988 0388 3690", 10.0, 10),
    "TSE": _describe("XTKS", "Japan", "JP JPN", "7203 6758 9984 8306 6861 9432", 100.0),
    "NSE": _describe("XNSE", "India", "IN IND", "RELIANCE TCS INFY HDFCBANK SBIN", 10.0),
    "KAR": _describe("XKAR", "Pakistan", "PK PAK", "OGDC PPL HBL ENGRO LUCK"),
    "JK": _describe("XIDX", "Indonesia", "ID IDN", "BBCA BBRI BMRI TLKM ASII", 100.0),
    "BK": _describe("XBKK", "Thailand", "TH THA", "PTT AOT CPALL ADVANC KBANK"),
    "KLSE": _describe("XKLS", "Malaysia", "MY MYS", "1155 1295 1023 5347 5183"),
    "PSE": _describe("XPHS", "Philippines", "PH PHL", "BDO SM ALI JFC TEL"),
    "CC": replace(
        _describe("CRYP", "Unknown", "ZZ ZZZ", " ".join(_COINS)),
        security_type="Currency",
        generated_suffix="-USD",
        clock=_CRYPTO_CLOCK,
    ),
    "FOREX": replace(
        _describe("CDSL", "Unknown", "ZZ ZZZ", " ".join(_RATES)), security_type="Currency", clock=_FOREX_CLOCK
    ),
}


def get_traits(exchange: str) -> ExchangeTraits:
    """The traits of an exchange; one without an entry has no familiar symbols."""
    return _TRAITS.get(exchange) or _describe(exchange, get_profile(exchange).name, "ZZ ZZZ", "")


def build_feed(exchange: str) -> ExchangeFeed:
    """The data of an exchange as they are without a switch: in its unit, at its level of prices, its auction's time."""
    market, traits = get_profile(exchange), get_traits(exchange)
    unit = market.price_unit or market.currency or "USD"
    return ExchangeFeed(unit, traits.price_level, auction_minutes=traits.auction_minutes, clock=traits.clock)
