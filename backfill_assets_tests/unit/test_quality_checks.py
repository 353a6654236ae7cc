"""The table of checks is complete; names and severities, which users rely on, are unchanged."""

import inspect
from collections.abc import Callable
from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.market.exchanges.registry import PROFILES
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.market.gaps.evidence import AbsenceEvidence
from backfill_assets.market.gaps.slot_states import SlotState
from backfill_assets.quality import bar_validity, calendar_check, corporate_actions, criteria, plausibility
from backfill_assets.quality.bar_validity import check_bars_are_valid, check_sessions_agree_with_eod
from backfill_assets.quality.census import history_check
from backfill_assets.quality.checks import CHECKS, find_check, format_result, get_command, is_failure, select_checks
from backfill_assets.quality.criteria import (
    Criterion,
    check_every_symbol_has_recent_bars,
    check_live_keeps_up,
    check_newest_bar_is_fresh,
    check_no_missing_bars,
    check_no_rate_limit_errors,
)
from backfill_assets.store.bars.bar_checks import CloseComparison
from backfill_assets_tests.unit.coverage_builders import NOW, build_coverage
from backfill_assets_tests.unit.market_builders import build_grid

CRITERIA = ["every_symbol_has_recent_bars", "no_missing_bars", "newest_bar_is_fresh", "no_rate_limit_errors"]
OTHERS = ["bars_are_valid", "bars_are_plausible", "sessions_agree_with_eod", "splits_are_consistent"]
HISTORY = "history_is_complete"


def test_names_are_unique_and_descriptions_are_sentences() -> None:
    assert len({check.name for check in CHECKS}) == len(CHECKS)
    assert all(check.description.endswith(".") for check in CHECKS)


@pytest.mark.parametrize(
    ("live", "criteria_only", "names"),
    [
        (False, False, [*CRITERIA, *OTHERS, HISTORY]),
        (True, False, [*CRITERIA, "live_keeps_up", *OTHERS, HISTORY]),
        (False, True, CRITERIA),
        (True, True, [*CRITERIA, "live_keeps_up"]),
    ],
)
def test_select_checks_returns_those_that_apply(live: bool, criteria_only: bool, names: list[str]) -> None:
    assert [check.name for check in select_checks(live=live, criteria_only=criteria_only)] == names


def test_calendars_are_checked_outside_the_us() -> None:
    names = [check.name for check in select_checks(live=False, market=PROFILES["LSE"])]
    assert names == [*CRITERIA, *OTHERS, "calendar_is_known", HISTORY]


@pytest.mark.parametrize("exchange", ["CC", "FOREX"])
def test_what_nothing_can_be_compared_with_is_not_checked(exchange: str) -> None:
    names = [check.name for check in select_checks(live=False, market=PROFILES[exchange])]
    assert names == [*CRITERIA, "bars_are_valid", "bars_are_plausible", "calendar_is_known", HISTORY]
    with_actions = replace(PROFILES[exchange], has_actions=True)
    assert "splits_are_consistent" in {check.name for check in select_checks(live=False, market=with_actions)}


def test_every_check_function_is_in_the_table() -> None:
    functions = [
        name.removeprefix("check_")
        for module in (criteria, bar_validity, plausibility, corporate_actions, calendar_check, history_check)
        for name, _ in inspect.getmembers(module, inspect.isfunction)
        if name.startswith("check_")
    ]
    assert sorted(functions) == sorted(check.name for check in CHECKS)


def test_comparisons_with_what_the_vendor_says_elsewhere_and_the_end_of_a_calendar_are_warnings() -> None:
    warnings = [check.name for check in CHECKS if check.severity == "warning"]
    assert warnings == ["sessions_agree_with_eod", "splits_are_consistent", "calendar_is_known", HISTORY]


@pytest.mark.parametrize(
    ("name", "interval", "command"),
    [
        ("no_missing_bars", "30m", "backfill-assets report"),
        ("no_missing_bars", "5m", "backfill-assets report --interval 5m"),
        ("no_rate_limit_errors", "5m", "backfill-assets status"),
        ("bars_are_valid", "1h", "backfill-assets report --format html --output report.html --interval 1h"),
        ("run of bars_30m", "30m", "backfill-assets report --format html --output report.html"),
    ],
)
def test_get_command_names_the_interval_where_the_command_takes_one(name: str, interval: str, command: str) -> None:
    assert get_command(name, interval) == command


def test_find_check_returns_none_for_other_names() -> None:
    assert find_check("run of bars_30m") is None


DAYS = build_grid("2026-06-01", "2026-06-02")  # both are overdue at NOW
TODAY = build_grid("2026-06-03")  # has just opened
PRESENT = {("A", range(1)): SlotState.PRESENT}


def describe(criterion: Criterion) -> tuple[bool, bool, str]:
    assert criterion.as_dict()["judged"] is criterion.judged
    return criterion.judged, criterion.passed, criterion.meaning


@pytest.mark.parametrize(
    "check", [check_every_symbol_has_recent_bars, check_no_missing_bars, check_newest_bar_is_fresh]
)
@pytest.mark.parametrize(
    ("grid", "state", "reason"),
    [
        (TODAY, SlotState.PENDING, "no bar is overdue yet"),
        (TODAY, SlotState.PROVISIONAL, "no bar is overdue yet"),
        (DAYS, SlotState.SUSPECT, ""),
        (DAYS, SlotState.MISSING, ""),
    ],
)
def test_gap_checks_without_an_overdue_bar_are_not_judged(
    check: Callable[[Coverage], Criterion], grid: SlotGrid, state: SlotState, reason: str
) -> None:
    coverage = build_coverage("AAPL", grid, {("AAPL", range(grid.size)): state})
    judged, passed, meaning = describe(check(coverage))
    assert (judged, passed) == (not reason, state is not SlotState.MISSING)
    assert meaning == f"not judged: {reason}" if reason else "not judged" not in meaning


def test_missing_bars_are_not_judged_if_every_overdue_bar_is_a_vendor_gap() -> None:
    coverage = build_coverage("AAPL", DAYS, {("AAPL", range(DAYS.size)): SlotState.VENDOR_GAP})
    assert describe(check_no_missing_bars(coverage)) == (False, True, "not judged: every overdue bar is a vendor_gap")


def test_complete_bars_are_judged_before_they_are_overdue() -> None:
    coverage = build_coverage("AAPL", TODAY, {("AAPL", range(1)): SlotState.PRESENT})
    assert describe(check_no_missing_bars(coverage)) == (True, True, "0 bars are missing in 0 symbols")


def test_gap_checks_are_not_judged_if_the_vendor_serves_no_symbol() -> None:
    evidence = replace(AbsenceEvidence.create_empty(1, 2), unserved_asked_at=np.array([-np.inf]))
    coverage = build_coverage("AAPL", DAYS, {("AAPL", range(DAYS.size)): SlotState.VENDOR_GAP}, evidence)
    for check in (check_every_symbol_has_recent_bars, check_no_missing_bars, check_newest_bar_is_fresh):
        reason = "not judged: the vendor has no intraday data of any symbol"
        assert describe(check(coverage)) == (False, True, reason)


@pytest.mark.parametrize(
    ("criterion", "reason"),
    [
        (check_no_rate_limit_errors(0, 0), "no request was sent in the past 24 h"),
        (check_bars_are_valid([], 0), "no bar of the window is stored"),
        (check_sessions_agree_with_eod([], tolerance_bps=15), "no official close of the window is stored"),
        (
            check_sessions_agree_with_eod([CloseComparison("A.US", date(2026, 6, 1), 1.0, None)], tolerance_bps=15),
            "no daily data of its sessions are stored (official closes: 1)",
        ),
        (
            check_live_keeps_up(build_coverage("A", DAYS, PRESENT), frozenset(), None, {}),
            "there was no live round yet",
        ),
        (
            check_live_keeps_up(build_coverage("A", DAYS, PRESENT), frozenset(), NOW, {}),
            "no slot since the first live round is due yet",
        ),
    ],
)
def test_a_check_that_had_nothing_to_compare_is_not_judged(criterion: Criterion, reason: str) -> None:
    assert describe(criterion) == (False, True, f"not judged: {reason}")
    assert not is_failure(criterion)
    assert format_result(criterion) == criterion.meaning
    more = criterion.add_not_judged(2)
    assert (more.judged, more.not_judged) == (False, 2)


def test_a_check_that_compared_something_says_what_passes() -> None:
    criterion = check_no_rate_limit_errors(0, 5)
    assert criterion.judged
    assert format_result(criterion) == "0 of 5 requests of the past 24 h were rate limited (at most 0)"
