"""BACKFILL_MARKETS_FILE: what it changes, and how its faults are named."""

from collections.abc import Callable
from datetime import date, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backfill_assets.config.market_fields import CORRECTIONS, MarketCorrections
from backfill_assets.config.settings import load_settings
from backfill_assets.config.toml_lines import find_line
from backfill_assets.errors import UsageError
from backfill_assets.market.calendar.sessions import SessionsUnknown, list_sessions
from backfill_assets.market.exchanges.profile import DailyEvidence, MarketProfile, MarketStatus, NullVolume
from backfill_assets.market.exchanges.registry import US, get_profile
from backfill_assets_tests.unit.exchange_profiles import list_local_segments

ReadMarket = Callable[..., MarketProfile]


@pytest.fixture
def read_market(tmp_path: Path) -> ReadMarket:
    def read(text: str, exchange: str = "LSE", calendar: str | None = None) -> MarketProfile:
        (tmp_path / "markets.toml").write_text(text, encoding="utf-8")
        if calendar is not None:
            (tmp_path / "calendar.json").write_text(calendar)
        files = {"markets_file": tmp_path / "markets.toml", "calendar_file": calendar and tmp_path / "calendar.json"}
        return load_settings(**files).get_market(exchange)

    return read


EVERYTHING = """
[LSE]  # London
name = "London"
status = "verified"
zone = "Europe/Dublin"
closing_seconds = 900
askable_after = "2h30m"
overdue_after = "30h"
null_volume = "trade"
breaks = [["12:00", "12:02"]]
data_from = 2021-01-04
price_limit = 5_000_000
daily_volume_tells = false
closures = [2026-05-08, "2026-05-11"]
extra_sessions.2026-05-09 = ["10:00", "12:00"]

[LSE.early_closes]
2026-12-24 = "12:30"
2026-12-31 = 12:35:00

[AU]
late_opens = { 2026-03-02 = "11:30" }
"""


def test_every_kind_of_field_is_overridden(read_market: ReadMarket) -> None:
    market = read_market(EVERYTHING)
    assert (market.name, market.status, market.zone) == ("London", MarketStatus.VERIFIED, ZoneInfo("Europe/Dublin"))
    assert (market.closing_seconds, market.price_limit) == (900, 5_000_000)
    assert (market.askable_after, market.overdue_after) == (timedelta(hours=2.5), timedelta(hours=30))
    assert (market.null_volume, market.breaks) == (NullVolume.TRADE, ((time(12), time(12, 2)),))
    assert (market.data_from, market.daily_volume_tells) == (date(2021, 1, 4), False)
    assert market.overrides.closures == {date(2026, 5, 8), date(2026, 5, 11)}
    assert market.overrides.early_closes == {date(2026, 12, 24): time(12, 30), date(2026, 12, 31): time(12, 35)}
    assert market.overrides.extra_sessions == {date(2026, 5, 9): (time(10), time(12))}
    assert (market.exchange, market.calendar, market.currency) == ("LSE", "XLON", "GBP")
    assert read_market(EVERYTHING, "AU").overrides.late_opens == {date(2026, 3, 2): time(11, 30)}


def test_a_field_that_a_user_sets_is_no_longer_assumed(read_market: ReadMarket) -> None:
    assert read_market(EVERYTHING).assumed == frozenset()
    assert read_market("LSE.closing_seconds = 600").assumed == get_profile("LSE").assumed - {"closing_seconds"}


def test_an_exchange_without_a_table_is_as_it_was(read_market: ReadMarket) -> None:
    for exchange in ("US", "XETRA"):
        market, before = read_market(EVERYTHING, exchange), get_profile(exchange)
        assert all(getattr(market, name) == getattr(before, name) for name in MarketProfile.__slots__)


def test_the_same_files_give_the_same_profile_and_other_ones_another(read_market: ReadMarket) -> None:
    first = read_market(EVERYTHING)
    assert read_market(EVERYTHING) is first
    assert read_market(EVERYTHING + "\n") is not first
    assert load_settings().get_market("US") is US


def test_of_two_files_for_the_us_the_one_of_markets_wins_for_its_days(read_market: ReadMarket) -> None:
    calendar = '{"closures": ["2026-01-09", "2026-01-12"], "early_closes": {"2026-07-02": "13:00"}}'
    text = """
US.closures = [2026-01-13]
US.early_closes = { 2026-07-02 = "12:00", 2026-01-12 = "13:00" }
"""
    overrides = read_market(text, "US", calendar).overrides
    assert overrides.closures == {date(2026, 1, 9), date(2026, 1, 13)}
    assert overrides.early_closes == {date(2026, 7, 2): time(12), date(2026, 1, 12): time(13)}
    assert read_market(text, "LSE", calendar).overrides.closures == frozenset()
    assert read_market("", "US", calendar).overrides.closures == {date(2026, 1, 9), date(2026, 1, 12)}


def test_every_field_of_a_profile_can_be_set_and_has_an_example(read_market: ReadMarket) -> None:
    fixed = {"exchange", "names", "assumed", "overrides", "needs_breaks", "is_source_fixed"}
    days = {"closures", "early_closes", "late_opens", "extra_sessions"}
    older = {"daily_volume_tells"}  # of daily_evidence, and not given with it
    assert (
        set(CORRECTIONS) == set(MarketProfile.__slots__) - fixed | days | older == set(MarketCorrections.model_fields)
    )
    for exchange in ("US", "LSE"):
        read_market(
            "\n".join(f"{exchange}.{example}" for name, example in CORRECTIONS.items() if name not in older), exchange
        )


def test_what_daily_data_say_has_three_values_and_an_older_form_with_two(read_market: ReadMarket) -> None:
    for value in DailyEvidence:
        market = read_market(f'LSE.daily_evidence = "{value}"')
        assert (market.daily_evidence, "daily_volume_tells" in market.assumed) == (value, False)
    assert read_market("AU.daily_volume_tells = true", "AU").daily_evidence is DailyEvidence.VOLUME
    assert read_market("AU.daily_volume_tells = false", "AU").daily_evidence is DailyEvidence.NOTHING
    assert read_market("", "AU").daily_evidence is DailyEvidence.CARRIED_FORWARD


def test_breaks_in_the_file_give_an_exchange_its_sessions(read_market: ReadMarket) -> None:
    text = """
[JK]
breaks = [["12:00", "13:30"]]
weekday_hours.friday = [["09:00", "11:30"], ["14:00", "15:50"]]
"""
    thursday, friday = list_sessions(read_market(text, "JK"), date(2026, 6, 11), date(2026, 6, 12))
    assert list_local_segments(thursday) == ["09:00-12:00", "13:30-15:50"]
    assert list_local_segments(friday) == ["09:00-11:30", "14:00-15:50"]
    (whole,) = list_sessions(read_market("JK.breaks = []", "JK"), date(2026, 6, 12), date(2026, 6, 12))
    assert list_local_segments(whole) == ["09:00-15:50"]
    with pytest.raises(SessionsUnknown, match="markets probe JK"):
        list_sessions(read_market('JK.name = "x"', "JK"), date(2026, 6, 12), date(2026, 6, 12))


FAULTS = {
    "both forms": (
        '[LSE]\ndaily_evidence = "volume"\ndaily_volume_tells = true',
        "line 3: LSE.daily_volume_tells: it is the older form of daily_evidence: give one of the two; example: LSE.",
    ),
    "not TOML": ("[LSE]\nclosing_seconds == 3", "it is not valid TOML: Invalid value (at line 2, column 18); example:"),
    "twice": ("[LSE]\na = 1\na = 2\n", "(at line 3, column"),
    "MIC": ("[XLON]", "line 1: exchange 'XLON' is not supported; the vendor's code of London Stock Exchange is LSE"),
    "refused": ("\n[MI]\n", "line 2: exchange 'MI' is not supported; the vendor's list of exchanges"),
    "unknown": ("[US]\n[ABC]", "line 2: exchange 'ABC' is not supported; the command markets list shows"),
    "no table": ("# a\nLSE = 3", "line 2: LSE: must be a table of an exchange; example: LSE.closing_seconds = 900"),
    "field": ("[LSE]\n\nclosing_second = 1", "line 3: LSE.closing_second: there is no such field; did you mean clos"),
    "other field": ("LSE.king = 1", "line 1: LSE.king: there is no such field; example: LSE.closing_seconds"),
    "fixed": ("LSE.exchange = 'US'", "LSE.exchange: there is no such field"),
    "text": (
        "[LSE]\nclosing_seconds = '5'",
        "line 2: LSE.closing_seconds: Input should be a valid integer; example: L",
    ),
    "negative": ("[AU]\n[LSE]\nclosing_seconds = -5", "line 3: LSE.closing_seconds: Input should be greater than or"),
    "yes": ("[LSE]\nhas_renames = 'yes'", "line 2: LSE.has_renames: Input should be a valid boolean"),
    "duration": ("LSE.askable_after = 3", 'line 1: LSE.askable_after: must be hours and minutes such as "3h"'),
    "long": ("LSE.askable_after = '900h'", 'must be at most 7 days, "168h"'),
    "calendar": ("[LSE]\ncalendar = 'LONDON'", "line 2: LSE.calendar: must be a calendar of the package exchange_cal"),
    "zone": ("[LSE]\nzone = 'Europe'", "line 2: LSE.zone: must be a time zone such as Europe/London"),
    "number as a zone": ("[LSE]\nzone = 3", "line 2: LSE.zone: must be a time zone such as Europe/London"),
    "currency": ("[LSE]\nprice_unit = 'pence'", "line 2: LSE.price_unit: String should match pattern"),
    "status": ("[LSE]\nstatus = 'good'", "line 2: LSE.status: Input should be 'verified' or 'experimental'"),
    "clock": ("[LSE]\n[LSE.early_closes]\n2026-12-24 = '1pm'", "line 3: LSE.early_closes.2026-12-24: must be a local"),
    "seconds": ("LSE.early_closes = { 2026-12-24 = 45000 }", "line 1: LSE.early_closes.2026-12-24: must be a local"),
    "zone in a time": ("LSE.early_closes.2026-12-24 = '12:30Z'", 'must be a local time such as "14:05"'),
    "no day": ("[LSE.late_opens]\n2026-02-30 = '10:00'", "line 2: LSE.late_opens.2026-02-30: day is out of range"),
    "day of the week": ("LSE.closures = ['Friday']", "line 1: LSE.closures.0: must be a day such as 2026-12-24"),
    "number as a day": ("LSE.closures = [20260508]", "line 1: LSE.closures.0: must be a day such as 2026-12-24"),
    "moment": ("LSE.closures = [2026-05-08T00:00:00]", "line 1: LSE.closures.0: must be a day"),
    "old day": ("LSE.closures = [1926-05-08]", "must lie between 2004-01-01 and 2100-01-01"),
    "one day": (
        "LSE.closures = 2026-05-08",
        "line 1: LSE.closures: must be a list; example: LSE.closures = [2026-05-08]",
    ),
    "half a session": (
        "LSE.extra_sessions.2026-05-09 = ['10:00']",
        "line 1: LSE.extra_sessions.2026-05-09.1: a value is absent",
    ),
    "break": ("LSE.breaks = [\n  ['11:00', '12:00'],\n  ['13:00', '12:00'],\n]", "a break must end after it begins"),
    "break within a row": ("LSE.breaks = [['12:01', '12:04']]", "line 1: LSE.breaks.0: a break must not lie within 5"),
    "fraction of a second": ("LSE.late_opens.2026-05-08 = 09:00:00.5", "must be a local time such as"),
    "clock without a zero": (
        "[LSE]\nclosures = [2026-05-08]\nlate_opens.2026-05-08 = '9:00'",
        "must be a local time such as",
    ),
    "closed and open": (
        "[LSE]\nclosures = [2026-05-08]\nlate_opens.2026-05-08 = '09:00'",
        "line 2: LSE.closures: 2026-05-08 is among closures and has hours, too; example: LSE.closures = [2026-05-08]",
    ),
    "refused in a dotted key": ("LSE.name = 'x'\nMI.name = 'y'", "line 2: exchange 'MI' is not supported; the v"),
    "weekday": ("LSE.weekday_hours.freitag = [['09:00', '12:00']]", "must be a day of the week such as friday"),
    "no part": ("[LSE.weekday_hours]\nfriday = []", "line 2: LSE.weekday_hours.friday: must have at least one part"),
    "part": ("LSE.weekday_hours.friday = [['12:00', '12:00']]", "a part of a day must end after it begins"),
    "parts": (
        "LSE.weekday_hours.friday = [['09:00', '12:00'], ['11:00', '15:00']]",
        "a break must end after it begins",
    ),
    "other source": (
        "[FOREX]\nsource_interval = '5m'",
        "line 2: FOREX.source_interval: must stay 1m: the vendor's rows of other lengths come from another source;"
        ' example: FOREX.source_interval = "1m"',
    ),
    "anchor": ("LSE.grid_anchor = '08:07'", "line 1: LSE.grid_anchor: must be a multiple of 5 minutes"),
}


@pytest.mark.parametrize(("text", "message"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_named_with_its_line_and_reason(read_market: ReadMarket, text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_market(text)
    assert str(caught.value).startswith("BACKFILL_MARKETS_FILE ")
    assert "markets.toml cannot be used: " in str(caught.value)
    assert message in str(caught.value)
    with pytest.raises(UsageError):
        read_market(text, "US")


def test_the_example_of_a_fault_is_accepted(read_market: ReadMarket) -> None:
    for field, example in CORRECTIONS.items():
        with pytest.raises(UsageError) as caught:
            read_market(f"[AU]\n{field} = {{ wrong = [{{}}] }}")
        shown = str(caught.value).split("; example: ")[1]
        assert shown == f"AU.{example}"
        read_market(shown, "AU")


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("LSE",), 2),
        (("LSE", "closing_seconds"), 6),
        (("LSE", "closures"), 14),
        (("LSE", "closures", "1"), 14),
        (("LSE", "extra_sessions", "2026-05-09"), 15),
        (("LSE", "extra_sessions", "2026-05-09", "0"), 15),
        (("LSE", "early_closes"), 17),
        (("LSE", "early_closes", "2026-12-31"), 19),
        (("AU", "late_opens", "2026-03-02"), 22),
        (("TW",), None),
    ],
)
def test_a_key_is_found_wherever_toml_lets_it_be_written(path: tuple[str, ...], line: int | None) -> None:
    assert find_line(EVERYTHING, path) == line


def test_a_key_within_a_value_of_several_lines_is_found() -> None:
    text = (
        '"LSE".closures = [\n  2026-05-08,\n  # 2026-05-10\n  2026-05-11,\n]\n[ "AU" . "late_opens" ]\n"2026-01-02"="x"'
    )
    assert find_line(text, ("LSE", "closures", "2026-05-11")) == 4
    assert find_line(text, ("AU", "late_opens", "2026-01-02")) == 7


@given(st.text("LSE[]=.\"'{}\n 12-:,#acdelos_", max_size=60))
@settings(max_examples=100, derandomize=True, deadline=None)
def test_any_text_is_accepted_or_refused_with_a_message(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    file = tmp_path_factory.getbasetemp() / "any.toml"
    file.write_text(text, encoding="utf-8")
    try:
        load_settings(markets_file=file).get_market("LSE")
    except UsageError as error:
        assert str(error).startswith(f"BACKFILL_MARKETS_FILE {file} cannot be used: ")  # noqa: PT017
