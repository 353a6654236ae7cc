"""Days without a daily row: between which rows they count, and when they are usual for a symbol."""

from datetime import date, timedelta

import pytest

from backfill_assets.market.gaps.daily_rows import find_skipped_days, skips_days_often

DAYS = [date(2026, 1, 1) + timedelta(days=number) for number in range(250)]


def test_days_before_the_first_and_after_the_last_row_are_not_skipped() -> None:
    assert find_skipped_days({DAYS[2], DAYS[4], DAYS[7]}, DAYS[:10]) == [3, 5, 6]
    assert find_skipped_days(set(), DAYS) == []


@pytest.mark.parametrize(("skipped", "is_often"), [(0, False), (4, False), (5, True), (100, True)])
def test_five_skipped_days_are_a_habit(skipped: int, is_often: bool) -> None:
    rows = {day for number, day in enumerate(DAYS) if number % 2 == 0 or number // 2 >= skipped}
    assert skips_days_often(rows, DAYS) is is_often


def test_a_recent_listing_and_a_recent_end_are_no_habit() -> None:
    assert not skips_days_often(DAYS[200:240], DAYS)
