"""The profiles of exchanges, and the refusal of every other code of the vendor."""

import subprocess
import sys
from datetime import date

import pytest

from backfill_assets.errors import UsageError
from backfill_assets.market.calendar.sessions import SessionsUnknown, list_sessions
from backfill_assets.market.calendar.tickers import Ticker, parse_ticker
from backfill_assets.market.exchanges.profile import MarketProfile
from backfill_assets.market.exchanges.refused import REFUSED
from backfill_assets.market.exchanges.registry import PROFILES, US, get_profile

# The vendor's list of exchanges as recorded, and codes that its documents name besides.
VENDOR_CODES = (  # noqa: SIM905 - as words it is read at a glance
    "US LSE IL TO V NEO BE HM XETRA DU HA MU STU F LU VI PA BR MC SW LS AS IC IR HE CO OL ST VFEX XZIM LUSE USE DSE PR"
    " RSE XBOT EGX XNSA GSE MSE XNAI BC SEM TA KO KQ BUD WAR PSE SN JSE JK BK KLSE SHG SHE AU VN KAR CM BA MX LIM SA TW"
    " TWO RO AT ZSE CC FOREX GBOND MONEY EUFUND HK TSE NSE BSE MI INDX COMM"
).split()
COPY = "import sys; import backfill_assets.market.calendar.sessions; print('exchange_calendars' in sys.modules)"


def test_every_code_of_the_vendor_has_a_profile_or_a_reason() -> None:
    assert set(VENDOR_CODES) == set(PROFILES) | set(REFUSED)
    assert not set(PROFILES) & set(REFUSED)


@pytest.mark.parametrize("code", REFUSED)
def test_a_refused_code_says_why(code: str) -> None:
    with pytest.raises(UsageError) as caught:
        get_profile(code)
    assert str(caught.value) == f"exchange {code!r} is not supported; {REFUSED[code]}"
    assert "use one of" not in str(caught.value)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("XLON", "the vendor's code of London Stock Exchange is LSE"),
        ("lse", "is LSE"),
        ("BMEX", "the vendor's code of Bolsa de Madrid is MC"),
        ("XNYS", "the command markets list shows those that are"),
        ("us", "the vendor's code of United States is US"),
        ("", "the command markets list shows"),
        ("X" * 500, "the command markets list shows"),
    ],
)
def test_an_unknown_code_says_where_those_that_exist_are(code: str, message: str) -> None:
    with pytest.raises(UsageError, match="is not supported") as caught:
        get_profile(code)
    assert message in str(caught.value)
    assert len(str(caught.value)) < 150


def test_the_us_profile_is_proven_and_has_the_hours_and_endpoints_of_the_us() -> None:
    assert (US.is_experimental, US.assumed, US.closing_seconds) == (False, frozenset(), 300)
    assert (US.has_live_quotes, US.has_renames, US.has_market_file, US.data_from) == (True, True, True, None)


@pytest.mark.parametrize("profile", [one for one in PROFILES.values() if one is not US], ids=lambda one: one.exchange)
def test_what_nobody_saw_is_named_as_assumed(profile: MarketProfile) -> None:
    assert profile.is_experimental
    of_shares = {"closing_seconds", "null_volume", "daily_volume_tells"} if profile.volume_kind == "shares" else set()
    assert {"askable_after", *of_shares} <= profile.assumed
    assert all(hasattr(profile, name) for name in profile.assumed)
    assert (profile.has_live_quotes, profile.has_renames) == (False, False)
    assert parse_ticker(f"ABC.{profile.exchange}") == Ticker("ABC", profile.exchange)


def test_units_of_prices_that_are_no_currency() -> None:
    units = {code: one.price_unit for code, one in PROFILES.items() if one.price_unit != one.currency}
    assert units == {"LSE": "GBX", "JSE": "ZAC", "TA": "ILA"}


def test_only_exchanges_whose_break_no_calendar_knows_wait_for_it() -> None:
    assert {code for code, one in PROFILES.items() if one.needs_breaks} == {"JK", "BK", "KLSE", "PSE"}
    with pytest.raises(SessionsUnknown) as caught:
        list_sessions(PROFILES["JK"], date(2026, 6, 1), date(2026, 6, 5))
    assert str(caught.value) == (
        "the hours of exchange JK (Indonesia Stock Exchange) are not known: its sessions have a break that its calendar"
        " lacks; write JK.breaks into BACKFILL_MARKETS_FILE (the command `backfill-assets markets probe JK` reads the"
        " vendor's hours and prints the line), or take JK out of BACKFILL_EXCHANGES"
    )


def test_only_taiwan_has_recent_data_alone() -> None:
    begin_later = {code: one.data_from.year for code, one in PROFILES.items() if one.data_from}
    assert begin_later == {"TW": 2025, "TWO": 2025, "CC": 2009, "FOREX": 2009}


def test_profiles_are_imported_without_the_library_of_calendars() -> None:
    done = subprocess.run([sys.executable, "-c", COPY], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "False"
