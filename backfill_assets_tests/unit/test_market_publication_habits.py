"""What past sessions, which are known between two requests only, show of when the next ones come."""

from collections.abc import Sequence

import numpy as np
import pytest

from backfill_assets.market.gaps.publication_habits import (
    HalfHours,
    PastSessions,
    PublicationHabits,
    come_together,
    learn_habits,
)

HOUR = 3600.0
HALF_HOURS = HalfHours.build(3 * HOUR, 16 * HOUR)
NEVER, AT_FIRST = np.inf, -np.inf
TUESDAY, FRIDAY = 1, 4


def build_past(hours: Sequence[Sequence[tuple[float, float]]], weekdays: Sequence[int] | None = None) -> PastSessions:
    """Per session and symbol, the hours from the close to the last request in vain, and to the one that brought it."""
    bounds = np.array(hours, float)
    session, row = np.indices(bounds.shape[:2]).reshape(2, -1)
    weekday = np.full(len(hours), TUESDAY) if weekdays is None else np.array(weekdays)
    after, until = (bounds.reshape(-1, 2) * HOUR).T
    return PastSessions(row, session, weekday[session], after, until)


def learn(hours: Sequence[Sequence[tuple[float, float]]], weekdays: Sequence[int] | None = None) -> PublicationHabits:
    habits = learn_habits(build_past(hours, weekdays), len(hours[0]), HALF_HOURS)
    assert habits is not None
    return habits


def find_chance(habits: PublicationHabits, row: int, first: float, last: float, weekday: int = TUESDAY) -> float:
    """The chance that a session comes between two hours after the close."""
    chances = habits.compute_chances(np.array([row]), np.array([weekday]))[0]
    begin, end = HALF_HOURS.find_last(np.array([first, last]) * HOUR) + 1
    return float(chances[begin:end].sum())


OWN_HOURS = [[(hours - 0.5, hours) for hours in (5.0, 8.0, 11.0, 14.0)]] * 8


def test_symbols_that_keep_their_own_hours_are_told_apart() -> None:
    habits = learn(OWN_HOURS)
    assert [find_chance(habits, row, hours - 0.5, hours) > 0.9 for row, hours in enumerate((5, 8, 11, 14))] == [
        True
    ] * 4
    assert habits.find_usual_hours(0, TUESDAY) == (4.5, 5.0)
    assert habits.session_count == 8


def test_symbols_that_come_at_any_time_share_what_is_seen() -> None:
    rng = np.random.default_rng(1)
    hours = rng.integers(8, 20, (12, 30)) / 2
    habits = learn([[(at - 0.5, at) for at in session] for session in hours.tolist()])
    assert habits.own_sessions > 100
    assert find_chance(habits, 0, 3.5, 9.5) > 0.95
    assert find_chance(habits, 0, 6.5, 9.5) == pytest.approx(0.5, abs=0.06)


def test_both_bounds_are_used() -> None:
    """The first symbol is known between 5 and 12 hours only; what the others show lies between 8 and 8.5."""
    habits = learn([[(5.0, 12.0), *[(8.0, 8.5)] * 4, *[(13.0, 13.5)] * 4]] * 6)
    assert find_chance(habits, 0, 8.0, 8.5) > 0.8
    assert find_chance(habits, 0, 3.0, 5.0) < 0.02
    assert find_chance(habits, 0, 13.0, 13.5) < 0.1


def test_what_never_came_counts_as_later() -> None:
    sessions = [[(5.0, 5.5), (29.5, NEVER), (9.0, 9.5)]] * 6
    assert find_chance(learn(sessions), 1, 0.0, 29.0) < 0.2


def test_a_weekday_of_its_own_shows() -> None:
    late, early = [(20.0, 20.5), (22.0, 22.5)] * 20, [(5.0, 5.5), (7.0, 7.5)] * 20
    habits = learn([early, late] * 5, [TUESDAY, FRIDAY] * 5)
    everyone = habits.by_weekday.cumsum(axis=1)[:, HALF_HOURS.find_half_hour(np.array(10 * HOUR))]
    assert (everyone[TUESDAY] > 0.8, everyone[FRIDAY] < 0.2) == (True, True)


def test_other_symbols_of_the_exchange_count_for_all() -> None:
    past = build_past([[(5.0, 5.5), (9.0, 9.5), (9.0, 9.5), (12.0, 12.5)]] * 4)
    habits = learn_habits(past, 1, HALF_HOURS)
    assert habits is not None
    assert len(habits.own) == 1
    assert habits.by_weekday[TUESDAY, HALF_HOURS.find_half_hour(np.array(9.5 * HOUR))] > 0.3


def test_chances_add_up_to_one_and_none_is_impossible() -> None:
    chances = learn(OWN_HOURS).compute_chances(np.arange(4), np.full(4, FRIDAY))
    assert chances.sum(axis=1) == pytest.approx(1)
    assert chances.min() > 0


@pytest.mark.parametrize("spread", [0.0, 0.9])
def test_nothing_is_learned_where_sessions_come_for_all_at_once(spread: float) -> None:
    sessions = [[(at - 0.5 + spread, at + spread * (row % 2)) for row in range(10)] for at in (4.0, 11.0, 7.5)]
    past = build_past(sessions)
    assert come_together(past)
    assert learn_habits(past, 10, HALF_HOURS) is None


def test_symbols_do_not_come_together_if_a_third_comes_later() -> None:
    assert not come_together(build_past([[(3.5, 4.0)] * 7 + [(5.0, 5.5)] * 3]))
    assert not come_together(build_past([[(3.5, 4.0)]]))  # a symbol alone tells nothing of others


def test_one_session_teaches_nothing() -> None:
    assert learn_habits(build_past(OWN_HOURS[:1]), 4, HALF_HOURS) is None
    assert learn_habits(build_past([[(29.5, NEVER), (29.5, NEVER)]] * 5), 2, HALF_HOURS) is None


def test_a_symbol_of_which_three_sessions_did_not_come_is_silent() -> None:
    came, absent = (5.0, 5.5), (29.5, NEVER)
    sessions = [[came, (9.0, 9.5), came, absent], *[[absent, (9.0, 9.5), absent, absent]] * 2]
    assert learn([*sessions, [absent, (9.0, 9.5), came, came]]).is_silent.tolist() == [True, False, False, False]


def test_moments_are_found_within_a_minute() -> None:
    moments = HALF_HOURS.find_last(np.array([AT_FIRST, 2.9, 3.0, 3.45, 3.49, 40]) * HOUR)
    assert moments.tolist() == [-1, -1, 0, 0, 1, len(HALF_HOURS.moments) - 1]
    half_hours = HALF_HOURS.find_half_hour(np.array([1.0, 3.0, 3.01, 3.1, NEVER]) * HOUR)
    assert half_hours.tolist() == [0, 0, 0, 1, HALF_HOURS.count - 1]
