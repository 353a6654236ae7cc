"""Checks of several exchanges put together, the end of a calendar, and what is said of an experimental exchange."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from backfill_assets.market.calendar.sessions import list_sessions
from backfill_assets.market.calendar.tickers import Ticker
from backfill_assets.market.exchanges.learned import DailyComparison
from backfill_assets.market.exchanges.registry import PROFILES, US
from backfill_assets.quality.calendar_check import check_calendar_is_known
from backfill_assets.quality.checks import get_severity
from backfill_assets.quality.criteria import Criterion
from backfill_assets.quality.exchange_criteria import combine_exchanges
from backfill_assets.quality.exchange_reports import ExchangeReport
from backfill_assets.quality.experimental import describe_experimental
from backfill_assets.quality.session_notes import find_next_session, list_closed_weekdays
from backfill_assets.quality.short_histories import ShortHistory, describe_short_histories
from backfill_assets.store.price_units import SymbolUnit

LSE, AU = PROFILES["LSE"], PROFILES["AU"]
FAILING = Criterion("no_missing_bars", False, 3, 0, "3 bars are missing in 1 symbol", ("VOD.LSE (3)",))
PASSING = Criterion("no_missing_bars", True, 0, 0, "0 bars are missing in 0 symbols")
IDLE = Criterion.create_not_judged("no_missing_bars", "no bar is overdue yet")


def test_a_check_fails_as_a_whole_if_one_exchange_fails_and_says_which() -> None:
    worse = replace(
        FAILING, figure=9, meaning="9 bars are missing in 2 symbols", offenders=("BHP.AU (8)", "CBA.AU (1)")
    )
    (whole,) = combine_exchanges({"US": [PASSING], "LSE": [FAILING], "AU": [worse], "KO": [IDLE]})
    assert (whole.passed, whole.judged, whole.figure) == (False, True, 12)
    assert whole.offenders == ("VOD.LSE (3)", "BHP.AU (8)", "CBA.AU (1)")
    assert whole.meaning == (
        "LSE: 3 bars are missing in 1 symbol; AU: 9 bars are missing in 2 symbols; passes for US;"
        " not judged for KO: no bar is overdue yet"
    )


def test_the_result_of_one_exchange_is_unchanged_and_that_of_the_token_counts_once() -> None:
    limited = Criterion("no_rate_limit_errors", False, 2, 0, "2 of 9 requests of the past 24 h were rate limited")
    assert combine_exchanges({"US": [PASSING, limited]}) == [PASSING, limited]
    assert combine_exchanges({"US": [PASSING, limited], "LSE": [PASSING, limited]})[1] == limited
    assert not combine_exchanges({"US": [IDLE], "LSE": [IDLE]})[0].judged


END = date(2026, 12, 31)


@pytest.mark.parametrize(
    ("now", "last_day", "passed", "meaning"),
    [
        (datetime(2026, 11, 1, 12, tzinfo=UTC), None, True, "has no end"),
        (datetime(2026, 10, 31, 23, tzinfo=UTC), END, True, "is known until 2026-12-31"),
        (datetime(2026, 11, 1, 0, 30, tzinfo=UTC), END, False, "ends on 2026-12-31, in 60 days: install a newer"),
        (datetime(2026, 12, 31, 12, tzinfo=UTC), END, False, "ends on 2026-12-31, in 0 days"),
    ],
)
def test_a_calendar_that_ends_is_a_warning_60_days_before_and_not_earlier(
    now: datetime, last_day: date | None, passed: bool, meaning: str
) -> None:
    criterion = check_calendar_is_known(LSE, now, last_day)
    assert (criterion.passed, get_severity(criterion)) == (passed, "warning")
    assert f"the calendar XLON of LSE {meaning}" in criterion.meaning


def test_the_60_days_are_those_of_the_exchange() -> None:
    in_utc_still_61_days = datetime(2026, 10, 31, 14, tzinfo=UTC)  # 1 November in Sydney
    assert not check_calendar_is_known(AU, in_utc_still_61_days, END).passed
    assert check_calendar_is_known(LSE, in_utc_still_61_days, END).passed


def test_a_stored_session_that_contradicts_the_calendar_fails() -> None:
    criterion = check_calendar_is_known(LSE, datetime(2026, 6, 1, tzinfo=UTC), None, ["2026-05-29 closed at 16:00"])
    assert (criterion.passed, criterion.offenders) == (False, ("2026-05-29 closed at 16:00",))
    assert criterion.meaning.endswith("has no end; 1 stored session contradicts it")


def test_one_line_says_that_an_exchange_is_experimental() -> None:
    assert describe_experimental(US) == ""
    text = describe_experimental(LSE, DailyComparison(sessions=7, days=100))
    assert text.startswith("LSE is experimental. Assumed: when bars are published, which rows belong to the close,")
    assert "judge nothing yet (7 of 20 sessions). More: backfill-assets markets show LSE" in text
    contradicted = DailyComparison(sessions=20, days=100, ranged=100, outside_range=50)
    assert "Daily data judge nothing, because they contradict the bars." in describe_experimental(LSE, contradicted)
    assert "aily data" not in describe_experimental(replace(LSE, assumed=frozenset()), DailyComparison(sessions=20))
    assert len(text.splitlines()) == 1


def test_holidays_and_the_next_session_are_those_of_the_exchange() -> None:
    """Good Friday and Easter Monday of 2024; Sydney opens on the evening before in UTC."""
    sessions = list_sessions(LSE, date(2024, 3, 27), date(2024, 4, 2))
    now = datetime(2024, 4, 2, 12, tzinfo=UTC)
    assert list_closed_weekdays(LSE, sessions, now) == [date(2024, 3, 29), date(2024, 4, 1)]
    easter = datetime(2024, 4, 1, 22, 30, tzinfo=UTC)
    assert [find_next_session(market, easter).day.day for market in (LSE, AU, US)] == [2, 2, 2]  # type: ignore[union-attr]
    assert find_next_session(AU, easter).open == datetime(2024, 4, 1, 23, tzinfo=UTC)  # type: ignore[union-attr]


def test_a_title_names_units_besides_that_of_the_exchange() -> None:
    report = ExchangeReport(LSE, [], {"BHP": SymbolUnit("BHP.LSE", "USD", "USD", None)})
    assert report.title == "LSE · London Stock Exchange · prices in GBX and USD"
    assert report.describe_unit("BHP")["price_unit"] == "USD"
    assert report.describe_unit("VOD") == {"currency": "GBP", "price_unit": "GBX", "exchange_status": "experimental"}


def test_short_histories_of_two_exchanges_have_a_command_each() -> None:
    days = date(2026, 1, 5), date(2026, 2, 5)
    histories = [
        ShortHistory(Ticker("AAPL"), None, *days, 13, names_exchange=True),
        ShortHistory(Ticker("VOD", "LSE"), days[1] + timedelta(1), *days, 17, names_exchange=True),
    ]
    text = describe_short_histories(histories)
    assert "run --symbols AAPL --start 2026-01-05 --end 2026-02-05; VOD.LSE begins on 2026-02-06" in text
    assert "run --symbols VOD.LSE --start 2026-01-05" in text
    many = [replace(histories[1], ticker=Ticker(f"V{n}", "LSE")) for n in range(21)]
    assert "run --exchange LSE --start 2026-01-05 --end 2026-02-05" in describe_short_histories(many)
