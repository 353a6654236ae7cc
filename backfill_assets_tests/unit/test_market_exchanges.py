"""The profiles of exchanges, and the refusal of every other code of the vendor."""

import subprocess
import sys

import pytest

from backfill_assets.errors import UsageError
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
        ("XNYS", "use one of US, LSE, XETRA"),
        ("us", "use one of US, LSE, XETRA"),
        ("", "use one of US, LSE, XETRA"),
        ("X" * 500, "use one of"),
    ],
)
def test_an_unknown_code_names_those_that_exist(code: str, message: str) -> None:
    with pytest.raises(UsageError, match="is not supported") as caught:
        get_profile(code)
    assert message in str(caught.value)
    assert len(str(caught.value)) < 250


def test_the_us_profile_is_proven_and_has_the_hours_and_endpoints_of_the_us() -> None:
    assert (US.is_experimental, US.assumed, US.closing_seconds) == (False, frozenset(), 300)
    assert (US.has_live_quotes, US.has_renames, US.has_market_file, US.data_from) == (True, True, True, None)


@pytest.mark.parametrize("profile", [one for one in PROFILES.values() if one is not US], ids=lambda one: one.exchange)
def test_what_nobody_saw_is_named_as_assumed(profile: MarketProfile) -> None:
    assert profile.is_experimental
    assert {"closing_seconds", "null_volume", "askable_after", "daily_volume_tells"} <= profile.assumed
    assert all(hasattr(profile, name) for name in profile.assumed)
    assert (profile.has_live_quotes, profile.has_renames) == (False, False)
    assert parse_ticker(f"ABC.{profile.exchange}") == Ticker("ABC", profile.exchange)


def test_units_of_prices_that_are_no_currency() -> None:
    units = {code: one.price_unit for code, one in PROFILES.items() if one.price_unit != one.currency}
    assert units == {"LSE": "GBX", "JSE": "ZAC"}


def test_only_taiwan_has_recent_data_alone() -> None:
    assert {code for code, one in PROFILES.items() if one.data_from} == {"TW", "TWO"}


def test_profiles_are_imported_without_the_library_of_calendars() -> None:
    done = subprocess.run([sys.executable, "-c", COPY], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "False"
