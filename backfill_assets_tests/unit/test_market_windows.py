"""Which sessions are in the window of a report or a run."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from backfill_assets.errors import UsageError
from backfill_assets.market.calendar.sessions import Session
from backfill_assets.market.calendar.windows import (
    Window,
    build_date_window,
    build_hours_window,
    list_newest_known_sessions,
)
from backfill_assets.market.exchanges.registry import US
from backfill_assets.market.gaps.gap_rules import GapRules
from backfill_assets_tests.unit.exchange_profiles import SHANGHAI
from backfill_assets_tests.unit.market_builders import parse_new_york, read_expected_rows

WEDNESDAY = parse_new_york("2026-06-03 10:00")


def make_askable_rule(hours: float) -> Callable[[Session], datetime]:
    after = timedelta(hours=hours)
    return GapRules(askable_after=after, overdue_after=after).compute_askable_at


def list_days(window: Window) -> list[str]:
    return [str(s.day) for s in window.sessions]


@pytest.mark.parametrize(
    "line", read_expected_rows("windows.csv"), ids=lambda line: f"{line['new_york']}-{line['hours']}h"
)
def test_the_past_hours_hold_the_expected_sessions(line: dict[str, str]) -> None:
    window = build_hours_window(US, parse_new_york(line["new_york"]), float(line["hours"]), make_askable_rule(3))
    assert list_days(window) == line["sessions"].split()
    assert window.description == f"the past {line['hours']} h"


def test_a_later_askable_time_extends_the_default_window_further_back() -> None:
    now = parse_new_york("2026-06-08 20:00")
    assert list_days(build_hours_window(US, now, 48, make_askable_rule(3))) == [
        "2026-06-05",
        "2026-06-08",
    ]
    assert list_days(build_hours_window(US, now, 48, make_askable_rule(5))) == [
        "2026-06-04",
        "2026-06-05",
        "2026-06-08",
    ]


@pytest.mark.parametrize("hours", [0, -1, 24 * 3660 + 1, float("nan"), float("inf")])
def test_invalid_hours_are_refused(hours: float) -> None:
    with pytest.raises(UsageError, match="--hours-back"):
        build_hours_window(US, WEDNESDAY, hours, make_askable_rule(3))


@pytest.mark.parametrize(
    ("first", "last", "found"),
    [
        ("2026-06-01", "2026-06-01", ["2026-06-01"]),
        ("2026-05-22", "2026-05-26", ["2026-05-22", "2026-05-26"]),
        ("2026-05-30", "2026-05-31", []),
        ("2026-05-25", "2026-05-25", []),
        ("2026-06-04", "2026-06-10", []),
        ("2099-01-01", "2199-01-01", []),
        ("2026-06-02", "2199-01-01", ["2026-06-02", "2026-06-03"]),
    ],
    ids=["one past day", "across a holiday", "weekend", "holiday", "future", "far future", "into the future"],
)
def test_a_range_of_days_holds_its_opened_sessions(first: str, last: str, found: list[str]) -> None:
    window = build_date_window(US, date.fromisoformat(first), date.fromisoformat(last), WEDNESDAY)
    assert list_days(window) == found
    assert window.description == f"{first} to {last}"


@pytest.mark.parametrize(("at", "opened"), [("09:29", 0), ("09:30", 1)])
def test_today_is_in_a_range_from_its_open(at: str, opened: int) -> None:
    day = date(2026, 6, 3)
    assert len(build_date_window(US, day, day, parse_new_york(f"2026-06-03 {at}")).sessions) == opened


@pytest.mark.parametrize(
    ("first", "last", "message"),
    [(date(2026, 6, 2), date(2026, 6, 1), "is after"), (date(2003, 12, 31), date(2026, 6, 1), "first data")],
)
def test_an_invalid_range_is_refused(first: date, last: date, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build_date_window(US, first, last, WEDNESDAY)


def test_the_newest_known_sessions_are_found_after_the_calendar_s_end_and_before_the_first_data() -> None:
    now = datetime(2027, 3, 1, 12, tzinfo=UTC)
    assert [str(s.day) for s in list_newest_known_sessions(SHANGHAI, now, 2)] == ["2026-12-30", "2026-12-31"]
    waiting = replace(US, data_from=date(2026, 6, 5))
    assert [str(s.day) for s in list_newest_known_sessions(waiting, WEDNESDAY, 3)] == ["2026-06-03"]
    assert len(list_newest_known_sessions(US, WEDNESDAY, 3)) == 3
