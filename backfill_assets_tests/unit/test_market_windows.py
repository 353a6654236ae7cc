"""Which sessions a report or a run looks at, against an answer file."""

from collections.abc import Callable
from datetime import date, datetime, timedelta

import pytest

from backfill_assets.errors import UsageError
from backfill_assets.market.calendar.sessions import Session
from backfill_assets.market.calendar.windows import Window, build_date_window, build_hours_window
from backfill_assets.market.gaps.gap_rules import GapRules
from backfill_assets_tests.unit.market_builders import answers, new_york

WEDNESDAY = new_york("2026-06-03 10:00")


def askable_hours_after_close(hours: float) -> Callable[[Session], datetime]:
    after = timedelta(hours=hours)
    return GapRules(askable_after=after, overdue_after=after).compute_askable_at


def days(window: Window) -> list[str]:
    return [str(s.day) for s in window.sessions]


@pytest.mark.parametrize("line", answers("windows.csv"), ids=lambda line: f"{line['new_york']}-{line['hours']}h")
def test_the_past_hours_hold_the_expected_sessions(line: dict[str, str]) -> None:
    window = build_hours_window("US", new_york(line["new_york"]), float(line["hours"]), askable_hours_after_close(3))
    assert days(window) == line["sessions"].split()
    assert window.description == f"the past {line['hours']} h"


def test_a_source_that_is_askable_later_extends_the_default_further_back() -> None:
    evening = new_york("2026-06-08 20:00")
    assert days(build_hours_window("US", evening, 48, askable_hours_after_close(3))) == ["2026-06-05", "2026-06-08"]
    assert days(build_hours_window("US", evening, 48, askable_hours_after_close(5))) == [
        "2026-06-04",
        "2026-06-05",
        "2026-06-08",
    ]


@pytest.mark.parametrize("hours", [0, -1, 24 * 3660 + 1, float("nan"), float("inf")])
def test_invalid_hours_are_refused(hours: float) -> None:
    with pytest.raises(UsageError, match="--hours-back"):
        build_hours_window("US", WEDNESDAY, hours, askable_hours_after_close(3))


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
    window = build_date_window("US", date.fromisoformat(first), date.fromisoformat(last), WEDNESDAY)
    assert days(window) == found
    assert window.description == f"{first} to {last}"


@pytest.mark.parametrize(("at", "opened"), [("09:29", 0), ("09:30", 1)])
def test_today_is_in_a_range_from_its_open(at: str, opened: int) -> None:
    day = date(2026, 6, 3)
    assert len(build_date_window("US", day, day, new_york(f"2026-06-03 {at}")).sessions) == opened


@pytest.mark.parametrize(
    ("first", "last", "says"),
    [(date(2026, 6, 2), date(2026, 6, 1), "is after"), (date(2003, 12, 31), date(2026, 6, 1), "first data")],
)
def test_an_invalid_range_is_refused(first: date, last: date, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        build_date_window("US", first, last, WEDNESDAY)
