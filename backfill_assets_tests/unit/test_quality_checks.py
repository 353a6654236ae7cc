"""The table of checks is complete; names and severities, which users rely on, are unchanged."""

import inspect

import pytest

from backfill_assets.quality import bar_validity, criteria
from backfill_assets.quality.checks import CHECKS, find_check, get_command, select_checks

CRITERIA = ["every_symbol_has_recent_bars", "no_missing_bars", "newest_bar_is_fresh", "no_rate_limit_errors"]


def test_names_are_unique_and_descriptions_are_sentences() -> None:
    assert len({check.name for check in CHECKS}) == len(CHECKS)
    assert all(check.description.endswith(".") for check in CHECKS)


@pytest.mark.parametrize(
    ("live", "criteria_only", "names"),
    [
        (False, False, [*CRITERIA, "bars_are_valid", "sessions_agree_with_eod"]),
        (True, False, [*CRITERIA, "live_keeps_up", "bars_are_valid", "sessions_agree_with_eod"]),
        (False, True, CRITERIA),
        (True, True, [*CRITERIA, "live_keeps_up"]),
    ],
)
def test_select_checks_returns_those_that_apply(live: bool, criteria_only: bool, names: list[str]) -> None:
    assert [check.name for check in select_checks(live=live, criteria_only=criteria_only)] == names


def test_every_check_function_is_in_the_table() -> None:
    functions = [
        name.removeprefix("check_")
        for module in (criteria, bar_validity)
        for name, _ in inspect.getmembers(module, inspect.isfunction)
        if name.startswith("check_")
    ]
    assert sorted(functions) == sorted(check.name for check in CHECKS)


def test_only_the_comparison_with_daily_data_is_a_warning() -> None:
    assert [check.name for check in CHECKS if check.severity == "warning"] == ["sessions_agree_with_eod"]


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
