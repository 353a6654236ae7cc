"""The exchanges: one profile each, by the vendor's code, and why other codes are refused.

Crypto and currencies are in ``pairs``. What the fields mean is in ``profile``, where the facts come from in
docs/markets.md. Names of exchanges in other programs' tables are read in ``names``.
"""

from collections.abc import Mapping
from datetime import date, time
from types import MappingProxyType
from zoneinfo import ZoneInfo

from backfill_assets.errors import UsageError
from backfill_assets.market.exchanges.pairs import CRYPTO, FOREX
from backfill_assets.market.exchanges.profile import DailyEvidence, MarketProfile, MarketStatus
from backfill_assets.market.exchanges.refused import REFUSED

DEFAULT_EXCHANGE = "US"  # the vendor's code; a ticker without a suffix is of this exchange
# What nobody has seen in the vendor's answers about an exchange outside the US (docs/markets.md).
_UNSEEN = frozenset({"closing_seconds", "null_volume", "askable_after", "daily_volume_tells"})
# How long after the close rows may still belong to it. Where the closing auction ends at the calendar's close, its row
# is stamped then; where it ends later, the rows of the auction and of trading at its price come within these times.
_AUCTION_AT_CLOSE = 300
_AUCTION_AFTER_CLOSE = 600
_LATE_AUCTION = 900  # Sydney's auction ends 12 minutes after the close, Dublin's trading at its price after 12
_FRIDAY = 4
_RECENT = date(2025, 1, 1)  # Taiwan: nothing in 2022, something in 2026; the day between is not known

US = MarketProfile(
    exchange=DEFAULT_EXCHANGE,
    name="United States",
    status=MarketStatus.VERIFIED,
    calendar="XNYS",
    zone=ZoneInfo("America/New_York"),
    currency="USD",
    price_unit="USD",
    grid_anchor=time(9, 30),
    price_limit=1_000_000.0,  # above every price in dollars; numeric(12,6) of other programs' tables holds no more
    has_live_quotes=True,
    has_exchange_quotes=True,
    has_renames=True,
)


def _describe(  # a few lines an exchange below
    exchange: str,
    name: str,
    calendar: str,
    zone: str,
    currency: str,
    opens: time,
    names: str,
    *,
    closing_seconds: int = _AUCTION_AFTER_CLOSE,
    price_unit: str | None = None,
    data_from: date | None = None,
    has_seen_rows: bool = True,
    needs_breaks: bool = False,
    weekday_hours: Mapping[int, tuple[tuple[time, time], ...]] = MappingProxyType({}),
    opens_beside_clock: bool = False,
    daily_evidence: DailyEvidence = DailyEvidence.VOLUME,
) -> MarketProfile:
    unseen = {
        "source_interval": not has_seen_rows,
        "data_from": data_from is not None,
        "weekday_hours": bool(weekday_hours),
        "grid_anchor": opens_beside_clock,
    }
    return MarketProfile(
        exchange=exchange,
        name=name,
        status=MarketStatus.EXPERIMENTAL,
        calendar=calendar,
        zone=ZoneInfo(zone),
        currency=currency,
        price_unit=price_unit or currency,
        grid_anchor=opens,
        names=frozenset(names.split()),
        closing_seconds=closing_seconds,
        data_from=data_from,
        needs_breaks=needs_breaks,
        weekday_hours=weekday_hours,
        daily_evidence=daily_evidence,
        assumed=_UNSEEN | {name for name, is_unseen in unseen.items() if is_unseen},
    )


# The last argument before the options: names in other programs' tables, as ``names.normalize_market`` gives them.
# A name of two exchanges is not there: KRX is both of Korea's, OSE Oslo and Osaka. The vendor's codes are names always:
# TSE, which some write for Toronto, is Tokyo.
_EXPERIMENTAL = (
    _describe(
        *("LSE", "London Stock Exchange", "XLON", "Europe/London", "GBP", time(8), "XLON LON LONDON"),
        price_unit="GBX",
    ),
    _describe("XETRA", "Xetra", "XETR", "Europe/Berlin", "EUR", time(9), "XETR GER IBIS ETR"),
    _describe("PA", "Euronext Paris", "XPAR", "Europe/Paris", "EUR", time(9), "XPAR PAR EPA PARIS"),
    _describe("AS", "Euronext Amsterdam", "XAMS", "Europe/Amsterdam", "EUR", time(9), "XAMS AMS AMSTERDAM"),
    _describe(
        *("BR", "Euronext Brussels", "XBRU", "Europe/Brussels", "EUR", time(9), "XBRU BRU EBR BRUSSELS"),
        has_seen_rows=False,
    ),
    _describe(
        *("LS", "Euronext Lisbon", "XLIS", "Europe/Lisbon", "EUR", time(8), "XLIS LIS ELI LISBON"), has_seen_rows=False
    ),
    _describe("MC", "Bolsa de Madrid", "XMAD", "Europe/Madrid", "EUR", time(9), "XMAD BMEX BME MCE MADRID"),
    _describe("SW", "SIX Swiss Exchange", "XSWX", "Europe/Zurich", "CHF", time(9), "XSWX XVTX SIX EBS SWX SWISS"),
    _describe(
        *("ST", "Nasdaq Stockholm", "XSTO", "Europe/Stockholm", "SEK", time(9), "XSTO STO OMXSTO STOCKHOLM"),
        closing_seconds=_AUCTION_AT_CLOSE,
    ),
    _describe("OL", "Oslo Børs", "XOSL", "Europe/Oslo", "NOK", time(9), "XOSL OSL OSLO"),
    _describe(
        *("CO", "Nasdaq Copenhagen", "XCSE", "Europe/Copenhagen", "DKK", time(9), "XCSE CPH OMXCOP COPENHAGEN"),
        closing_seconds=_AUCTION_AT_CLOSE,
    ),
    _describe(
        *("HE", "Nasdaq Helsinki", "XHEL", "Europe/Helsinki", "EUR", time(10), "XHEL HEL OMXHEX HELSINKI"),
        closing_seconds=_AUCTION_AT_CLOSE,
    ),
    _describe(
        *("VI", "Wiener Börse", "XWBO", "Europe/Vienna", "EUR", time(9), "XWBO VIE WBAG VIENNA"), has_seen_rows=False
    ),
    _describe(
        *("WAR", "Warsaw Stock Exchange", "XWAR", "Europe/Warsaw", "PLN", time(9), "XWAR WSE GPW WARSAW"),
        has_seen_rows=False,
    ),
    _describe("TO", "Toronto Stock Exchange", "XTSE", "America/Toronto", "CAD", time(9, 30), "XTSE TSX TOR TORONTO"),
    _describe("V", "TSX Venture Exchange", "XTSE", "America/Toronto", "CAD", time(9, 30), "XTSX TSXV VAN CVE"),
    _describe(
        *("AU", "Australian Securities Exchange", "XASX", "Australia/Sydney", "AUD", time(10), "XASX ASX SYDNEY"),
        closing_seconds=_LATE_AUCTION,
        daily_evidence=DailyEvidence.CARRIED_FORWARD,  # a file had 369 rows of volume 0, all but one at one price
    ),
    _describe(
        *("KO", "Korea Exchange", "XKRX", "Asia/Seoul", "KRW", time(9), "XKRX KOSPI KSC"),
        closing_seconds=_AUCTION_AT_CLOSE,
    ),
    _describe(
        *("KQ", "Kosdaq", "XKRX", "Asia/Seoul", "KRW", time(9), "XKOS KOSDAQ KOE"), closing_seconds=_AUCTION_AT_CLOSE
    ),
    _describe(
        *("SA", "B3, São Paulo", "BVMF", "America/Sao_Paulo", "BRL", time(10), "BVMF B3 BOVESPA BMFBOVESPA SAO"),
        has_seen_rows=False,
    ),
    _describe(
        *("MX", "Bolsa Mexicana de Valores", "XMEX", "America/Mexico_City", "MXN", time(8, 30), "XMEX BMV MEX"),
        has_seen_rows=False,
    ),
    _describe(
        *("JSE", "Johannesburg Stock Exchange", "XJSE", "Africa/Johannesburg", "ZAR", time(9), "XJSE JNB JOHANNESBURG"),
        price_unit="ZAC",
        has_seen_rows=False,
    ),
    _describe(
        *("IC", "Nasdaq Iceland", "XICE", "Atlantic/Reykjavik", "ISK", time(9, 30), "XICE OMXICE REYKJAVIK"),
        closing_seconds=_AUCTION_AT_CLOSE,
        has_seen_rows=False,
    ),
    _describe(
        *("IR", "Euronext Dublin", "XDUB", "Europe/Dublin", "EUR", time(8), "XDUB DUB DUBLIN"),
        closing_seconds=_LATE_AUCTION,
        has_seen_rows=False,
    ),
    _describe(
        *("TW", "Taiwan Stock Exchange", "XTAI", "Asia/Taipei", "TWD", time(9), "XTAI TWSE TAI"),
        closing_seconds=_AUCTION_AT_CLOSE,
        data_from=_RECENT,
    ),
    _describe(
        *("TWO", "Taipei Exchange", "XTAI", "Asia/Taipei", "TWD", time(9), "ROCO TPEX"),
        closing_seconds=_AUCTION_AT_CLOSE,
        data_from=_RECENT,
    ),
    _describe(
        *("SHG", "Shanghai Stock Exchange", "XSHG", "Asia/Shanghai", "CNY", time(9, 30), "XSHG SSE SHH SHANGHAI"),
        closing_seconds=_AUCTION_AT_CLOSE,
    ),
    _describe(
        *("SHE", "Shenzhen Stock Exchange", "XSHG", "Asia/Shanghai", "CNY", time(9, 30), "XSHE SZSE SHENZHEN"),
        closing_seconds=_AUCTION_AT_CLOSE,
    ),
    _describe(
        *("HK", "Hong Kong Stock Exchange", "XHKG", "Asia/Hong_Kong", "HKD", time(9, 30), "XHKG HKEX HKG SEHK"),
        has_seen_rows=False,
    ),
    _describe(
        *("TSE", "Tokyo Stock Exchange", "XTKS", "Asia/Tokyo", "JPY", time(9), "XTKS TYO JPX TOKYO"),
        closing_seconds=_AUCTION_AT_CLOSE,
        has_seen_rows=False,
    ),
    _describe(
        *("NSE", "National Stock Exchange of India", "XBOM", "Asia/Kolkata", "INR", time(9, 15), "XNSE"),
        has_seen_rows=False,
    ),
    # It opens at 9:32, and on Fridays at 9:17: two minutes after the quarters in which its clock begins its bars.
    _describe(
        *("KAR", "Pakistan Stock Exchange", "XKAR", "Asia/Karachi", "PKR", time(9, 30), "XKAR PSX KARACHI"),
        closing_seconds=_AUCTION_AT_CLOSE,
        has_seen_rows=False,
        opens_beside_clock=True,
        weekday_hours=MappingProxyType({_FRIDAY: ((time(9, 17), time(12)), (time(14, 32), time(16, 30)))}),
    ),
    _describe(
        *("TA", "Tel Aviv Stock Exchange", "XTAE", "Asia/Jerusalem", "ILS", time(10), "XTAE TASE TLV TELAVIV"),
        price_unit="ILA",
        has_seen_rows=False,
        opens_beside_clock=True,
    ),
    # Their calendars are of whole days: a user must say when they break (docs/markets.md).
    _describe(
        *("JK", "Indonesia Stock Exchange", "XIDX", "Asia/Jakarta", "IDR", time(9), "XIDX IDX JKT JAKARTA"),
        has_seen_rows=False,
        needs_breaks=True,
    ),
    _describe(
        *("BK", "Stock Exchange of Thailand", "XBKK", "Asia/Bangkok", "THB", time(10), "XBKK SET BKK BANGKOK"),
        has_seen_rows=False,
        needs_breaks=True,
    ),
    _describe(
        *("KLSE", "Bursa Malaysia", "XKLS", "Asia/Kuala_Lumpur", "MYR", time(9), "XKLS KLS MYX"),
        has_seen_rows=False,
        needs_breaks=True,
    ),
    _describe(
        *("PSE", "Philippine Stock Exchange", "XPHS", "Asia/Manila", "PHP", time(9, 30), "XPHS PHS MANILA"),
        has_seen_rows=False,
        needs_breaks=True,
    ),
)
PROFILES = {profile.exchange: profile for profile in (US, *_EXPERIMENTAL, CRYPTO, FOREX)}


def get_profile(exchange: str) -> MarketProfile:
    """The profile of an exchange by the vendor's code, without a user's corrections.

    Raises:
        UsageError: an exchange that is not supported; the message says why.
    """
    profile = PROFILES.get(exchange)
    if profile is None:
        raise UsageError(explain_refusal(exchange))
    return profile


def explain_refusal(exchange: str) -> str:
    """Why there is no profile of a code: the vendor's, another name of an exchange, or any other text."""
    meant = next((p for p in PROFILES.values() if exchange.upper() in {p.exchange, *p.names}), None)
    shown = "the command markets list shows those that are"  # too many to name them here
    reason = f"the vendor's code of {meant.name} is {meant.exchange}" if meant else shown
    return f"exchange {exchange[:30]!r} is not supported; {REFUSED.get(exchange, reason)}"
