"""What is expected of symbols by calendar month in UTC, compared with sums over each slot."""

from datetime import UTC, date, datetime
from random import Random

import numpy as np
import pytest

from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.sessions import list_sessions
from backfill_assets.market.calendar.slots import SlotGrid, build_slot_grid
from backfill_assets.market.exchanges.registry import get_profile
from backfill_assets.market.gaps.expected_months import count_expected, group_by_month, select_proven


def sum_up(grid: SlotGrid, begin: int, end: int) -> dict[tuple[int, int], tuple[int, int]]:
    """(year, month) → how many slots and Σ of squared minute numbers, slot by slot."""
    sums: dict[tuple[int, int], tuple[int, int]] = {}
    for epoch in grid.starts.tolist()[max(0, begin) : max(begin, end)]:
        stamp = datetime.fromtimestamp(epoch, UTC)
        minute = ((stamp.day - 1) * 24 + stamp.hour) * 60 + stamp.minute
        count, squares = sums.get((stamp.year, stamp.month), (0, 0))
        sums[stamp.year, stamp.month] = count + 1, squares + minute * minute
    return sums


@pytest.mark.parametrize(("exchange", "interval"), [("US", "30m"), ("XETRA", "5m"), ("CC", "30m"), ("FOREX", "1h")])
def test_equals_the_sum_of_each_slot(exchange: str, interval: str) -> None:
    sessions = list_sessions(get_profile(exchange), date(2026, 1, 28), date(2026, 4, 2))
    grid = build_slot_grid(sessions, INTERVALS[interval])
    monthly, random = group_by_month(grid), Random(21)
    lives = [(random.randrange(grid.size), random.randrange(grid.size)) for _ in range(5)]
    lives += [(0, grid.size), (7, 7), (grid.size, grid.size)]
    begins, ends = np.array(lives).T

    expected = count_expected(monthly, begins, ends)

    names = [(1970 + month // 12, month % 12 + 1) for month in monthly.months.tolist()]
    for row, (begin, end) in enumerate(lives):
        sums = sum_up(grid, begin, end)
        assert expected.slots[row].tolist() == [sums.get(name, (0, 0))[0] for name in names]
        assert expected.square_sum[row].tolist() == [sums.get(name, (0, 0))[1] for name in names]


def test_a_session_that_crosses_the_end_of_a_month_belongs_to_both() -> None:
    (session,) = list_sessions(get_profile("FOREX"), date(2026, 4, 1), date(2026, 4, 1))  # opens on March 31, 21:00 UTC
    monthly = group_by_month(build_slot_grid([session], INTERVALS["30m"]))
    assert np.diff(monthly.offsets).tolist() == [6, 42]


def test_a_month_is_proven_by_its_bars_alone() -> None:
    grid = build_slot_grid(list_sessions(get_profile("US"), date(2026, 6, 1), date(2026, 6, 30)), INTERVALS["30m"])
    expected = count_expected(group_by_month(grid), np.zeros(5, np.int64), np.full(5, grid.size))
    final, provisional = expected.slots.copy(), np.zeros((5, 1), np.int64)
    square_sum = expected.square_sum.copy()
    final[1] -= 1  # one is absent
    final[2], provisional[2] = final[2] - 1, 1  # one is not final
    square_sum[3] += 1 + 2 * 30  # one is in another place
    final[4] += 1  # one is too many
    assert select_proven(expected, final, provisional, square_sum).ravel().tolist() == [True, *[False] * 4]


def test_a_grid_without_slots_has_no_months() -> None:
    monthly = group_by_month(build_slot_grid([], INTERVALS["30m"]))
    assert monthly.size == 0
    assert count_expected(monthly, np.zeros(2, np.int64), np.zeros(2, np.int64)).slots.shape == (2, 0)
