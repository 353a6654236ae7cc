"""The cheapest plan of requests, and the slots that follow it (docs/decisions/0088)."""

from datetime import UTC, datetime
from itertools import combinations

import numpy as np
import pytest

from backfill_assets.market.arrays import Floats
from backfill_assets.market.gaps.ask_plans import (
    LATE_AFTER,
    LATE_COST,
    WAITING_COST,
    compute_success_chances,
    find_next_asks,
    plan_asks,
)
from backfill_assets.market.gaps.ask_times import find_awaited
from backfill_assets.market.gaps.publication_habits import HalfHours, PublicationHabits, learn_habits
from backfill_assets.market.gaps.slot_states import SlotState
from backfill_assets_tests.unit.gap_builders import HOUR, Entry, build_evidence, build_history, classify
from backfill_assets_tests.unit.market_builders import build_grid, parse_epoch
from backfill_assets_tests.unit.test_market_publication_habits import HALF_HOURS, OWN_HOURS, TUESDAY, build_past, learn

GRID = build_grid("2026-06-01", "2026-06-02")
CLOSE = parse_epoch("2026-06-02 16:00")
SHORT = HalfHours(np.arange(6, 13) * 1800.0, overdue=10 * 1800.0)  # seven moments; the hour before overdue has three


def list_plans(half_hours: HalfHours) -> list[tuple[int, ...]]:
    """All plans that end with the last moment and have one in the hour before the session is overdue."""
    moments = len(half_hours.moments)
    early = [at for at in range(moments) if half_hours.moments[at] < half_hours.overdue - HOUR]
    others = range(moments - 1)
    plans = [(*chosen, moments - 1) for count in range(moments) for chosen in combinations(others, count)]
    last_hour = [at for at in range(len(early), moments) if half_hours.moments[at] <= half_hours.overdue]
    return [plan for plan in plans if set(plan) & set(last_hour)]


def price_plan(chances: Floats, plan: tuple[int, ...]) -> float:
    """The expected cost of a plan that is fixed beforehand."""
    cost, asked = 0.0, -1
    for moment in plan:
        is_free = moment == plan[-1]
        cost += 0.0 if is_free else 1 - chances[: asked + 1].sum()
        for half_hour in range(asked + 1, moment + 1):
            waiting = moment - half_hour + 0.5
            cost += chances[half_hour] * (WAITING_COST * waiting + LATE_COST * (waiting > LATE_AFTER))
        asked = moment
    return cost


@pytest.mark.parametrize("seed", range(8))
def test_the_plan_is_the_cheapest_of_all(seed: int) -> None:
    chances = np.random.default_rng(seed).dirichlet(np.full(SHORT.count, 0.4))
    following = plan_asks(chances[None], SHORT)[0]
    plan, at = [], -1
    while at < len(SHORT.moments) - 1:
        at = int(following[at + 1])
        plan.append(at)
    cheapest = min(price_plan(chances, other) for other in list_plans(SHORT))
    assert price_plan(chances, tuple(plan)) == pytest.approx(cheapest)


def test_a_known_half_hour_is_requested_at_its_end() -> None:
    chances = np.zeros((1, HALF_HOURS.count))
    chances[0, 7] = 1
    assert find_next_asks(chances, np.array([-1]), HALF_HOURS).tolist() == [7]


def test_all_is_requested_in_the_hour_before_it_is_overdue() -> None:
    chances = np.zeros((1, HALF_HOURS.count))
    chances[0, -1] = 1  # it never comes
    first = int(find_next_asks(chances, np.array([-1]), HALF_HOURS)[0])
    assert 15 <= HALF_HOURS.moments[first] / HOUR <= 16
    assert find_next_asks(chances, np.array([first]), HALF_HOURS).tolist() == [len(HALF_HOURS.moments) - 1]
    assert find_next_asks(chances, np.array([len(HALF_HOURS.moments) - 1]), HALF_HOURS).tolist() == [
        len(HALF_HOURS.moments)
    ]


def test_the_chance_of_a_request_now_counts_from_the_last_one() -> None:
    habits = learn([[(4.5, 5.0), (6.5, 7.0)] * 10] * 6)
    habits = PublicationHabits(HALF_HOURS, habits.by_weekday, habits.own * 0, 1.0, habits.is_silent, 6)
    chances = compute_success_chances(
        habits,
        np.zeros(3, int),
        np.full(3, TUESDAY),
        np.array([-np.inf, -np.inf, 5.0]) * HOUR,
        np.array([5, 7, 7.0]) * HOUR,
    )
    assert chances == pytest.approx([0.5, 1, 1], abs=0.15)


HABITS = learn(OWN_HOURS)  # the first symbol comes 4.5 to 5 hours after the close, the second one 7.5 to 8
BEFORE = [
    Entry(row=row, session=0, requested_at=CLOSE - 60_000, published=True, data_until=CLOSE - 80_000) for row in (0, 1)
]
HABITS_OF = {
    "habits": HABITS,
    "first_published_at": [CLOSE - 60_000, np.nan],
    "half_published_at": [CLOSE - 60_000] * 2,
}


def find_next_hours(row: int, entries: list[Entry], hours: float, habits: PublicationHabits = HABITS) -> float:
    """Hours from the close of the second session to the next request for a slot of it."""
    now = datetime.fromtimestamp(CLOSE + hours * HOUR, UTC)
    known = HABITS_OF | {"habits": habits, "half_published_at": [CLOSE - 60_000, np.nan]}
    found = classify([(row, 20, SlotState.MISSING)], [*BEFORE, *entries], now, GRID, 4, **known)
    return (float(found.next_request_at[0]) - CLOSE) / HOUR


def ask_in_vain(row: int, hours: float) -> Entry:
    return Entry(row=row, session=1, requested_at=int(CLOSE + hours * HOUR), not_returned=range(13, 26))


def test_each_symbol_is_requested_when_it_comes() -> None:
    assert [find_next_hours(row, [], 3.2) for row in (0, 1)] == [5.0, 8.0]


def test_a_request_in_vain_is_followed_by_what_is_likely_then() -> None:
    assert 5.5 <= find_next_hours(0, [ask_in_vain(0, 5.0)], 5.1) <= 16
    assert find_next_hours(1, [ask_in_vain(1, 5.0)], 5.1) == 8.0


@pytest.mark.parametrize(("hours", "expected"), [(20.0, [False, True]), (31.0, [False, False])])
def test_a_planned_session_may_only_be_late_until_its_last_moment(hours: float, expected: list[bool]) -> None:
    history = build_history([*BEFORE, ask_in_vain(1, 16.0)])
    evidence = build_evidence(4, GRID, habits=HABITS)
    entry_index = history.build_entry_index(4, len(GRID.sessions))
    overdue_at = np.array([CLOSE - 28_800.0, CLOSE + 16.0 * HOUR])
    awaited = find_awaited(history, entry_index, evidence, GRID, overdue_at, CLOSE + hours * HOUR)
    assert awaited[1].tolist() == expected


def test_a_session_that_came_in_part_follows_the_retry_schedule() -> None:
    partly = Entry(row=1, session=1, requested_at=CLOSE + 4 * HOUR, not_returned=[20], data_until=CLOSE - 3 * HOUR)
    assert find_next_hours(1, [partly], 4.1) == 5.0


def test_a_silent_symbol_follows_the_retry_schedule() -> None:
    absent = [[(4.5, 5.0), (29.5, np.inf), (10.5, 11.0), (13.5, 14.0)]]
    habits = learn_habits(build_past([*OWN_HOURS, *absent * 3]), 4, HALF_HOURS)
    assert habits is not None
    assert find_next_hours(1, [], 3.2, habits) == 3.0


def test_old_sessions_follow_the_retry_schedule() -> None:
    vain = ask_in_vain(1, 29.9)
    assert find_next_hours(1, [vain], 31.0) == pytest.approx(30.9)
