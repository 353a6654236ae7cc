"""When live quotes are read: market time, rounds that meet the slots' edges, and a budget that is never stretched."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.live.sampling_schedule import (
    choose_round_seconds,
    count_rounds_left,
    find_due_round,
    find_next_sampling_start,
    find_sampled_session,
    select_collectable_intervals,
)
from backfill_assets_tests.unit.market_builders import new_york, sessions

WEEK = sessions("2026-06-05", "2026-06-08")  # a Friday and a Monday
FRIDAY = WEEK[0]


def at(text: str, day: str = "2026-06-05") -> datetime:
    return new_york(f"{day} {text}")


@pytest.mark.parametrize(
    ("now", "sampled"),
    [
        ("09:30", False),
        ("09:44", False),
        ("09:45", True),
        ("12:00", True),
        ("16:30", True),
        ("16:31", True),
        ("16:32", False),
    ],
)
def test_sampling_hours_are_from_15_minutes_after_the_open_to_30_after_the_close(now: str, sampled: bool) -> None:
    assert (find_sampled_session(WEEK, at(now)) == FRIDAY) == sampled


def test_without_a_session_there_is_no_sampling() -> None:
    assert find_sampled_session(WEEK, at("12:00", "2026-06-06")) is None
    assert find_next_sampling_start(WEEK, at("17:00")) == at("09:45", "2026-06-08")
    assert find_next_sampling_start(WEEK, at("09:45", "2026-06-08")) is None


def test_sampling_hours_follow_early_closes_and_winter_time() -> None:
    early = sessions("2026-11-27")
    assert find_sampled_session(early, at("13:30", "2026-11-27")) is not None
    assert find_sampled_session(early, at("13:32", "2026-11-27")) is None
    assert early[0].open == at("09:30", "2026-11-27")


@pytest.mark.parametrize(
    ("now", "seconds", "due"),
    [
        ("09:45", 300, "09:45"),
        ("09:49", 300, "09:45"),
        ("09:50", 300, "09:50"),
        ("10:44", 1800, "10:15"),
        ("10:45", 1800, "10:45"),
        ("16:31", 60, "16:30"),
        ("16:12", 1800, "16:10"),
        ("16:15", 1800, "16:15"),
    ],
)
def test_rounds_start_15_minutes_after_the_open(now: str, seconds: int, due: str) -> None:
    assert find_due_round(FRIDAY, at(now), seconds) == at(due)


def test_a_whole_day_has_82_rounds_of_five_minutes() -> None:
    assert count_rounds_left(FRIDAY, at("09:45"), 300) == 82
    assert count_rounds_left(FRIDAY, at("16:30"), 300) == 1
    assert count_rounds_left(FRIDAY, at("09:45"), 1800) == 15  # one a slot and one for the close
    assert 82 * 100 < 10_000  # the whole exchange for any number of tickers


@pytest.mark.parametrize(
    ("calls_each", "calls_left", "seconds"),
    [
        (100, 10_000, 300),
        (500, 10_000, 1800),
        (238, 10_000, 600),
        (344, 10_000, 900),
        (100, 8_199, 600),
        (5_000, 10_000, 1800),
    ],
    ids=["as wished", "twenty rounds at most", "forty-two", "twenty-nine", "one short", "as long as they last"],
)
def test_rounds_become_rarer_when_calls_run_short(calls_each: int, calls_left: int, seconds: int) -> None:
    cost = {"calls_per_round": calls_each, "calls_left": calls_left}
    assert choose_round_seconds(FRIDAY, at("09:45"), preferred_seconds=300, slot_lengths=[1800], **cost) == seconds


def test_with_several_intervals_rounds_fall_on_every_edge_as_long_as_possible() -> None:
    found = [
        choose_round_seconds(
            FRIDAY, at("09:45"), preferred_seconds=60, slot_lengths=[900, 1800], calls_per_round=100, calls_left=left
        )
        for left in (41_000, 13_700, 8_200, 3_000, 1_000)
    ]
    assert found == [60, 180, 300, 900, 1800]


@pytest.mark.parametrize(
    ("seconds", "names"),
    [(60, ["15m", "30m", "1h"]), (150, ["15m", "30m", "1h"]), (300, ["30m", "1h"]), (1800, ["30m", "1h"])],
)
def test_intervals_that_rounds_can_build(seconds: int, names: list[str]) -> None:
    assert [interval.name for interval in select_collectable_intervals(INTERVALS.values(), seconds)] == names


@given(minute=st.integers(0, 405), calls_each=st.integers(1, 700), calls_left=st.integers(0, 20_000))
@settings(max_examples=100, deadline=None)
def test_a_day_never_costs_more_than_the_calls_left_and_rounds_fall_on_edges(
    minute: int, calls_each: int, calls_left: int
) -> None:
    """Asked anew at every tick, as the schedule does; a round that costs more than is left is not made."""
    now, left, made_at = at("09:45") + timedelta(minutes=minute), calls_left, None
    while now <= at("16:30"):
        seconds = choose_round_seconds(
            FRIDAY, now, preferred_seconds=300, slot_lengths=[1800], calls_per_round=calls_each, calls_left=left
        )
        assert 1800 % seconds == 0
        due = find_due_round(FRIDAY, now, seconds)
        if now - due < timedelta(minutes=5) and due != made_at and calls_each <= left:
            left, made_at = left - calls_each, due
        now += timedelta(minutes=5)
    assert left >= 0
    if count_rounds_left(FRIDAY, at("09:45") + timedelta(minutes=minute), 1800) * calls_each <= calls_left:
        assert made_at is not None
        assert made_at >= at("16:15")  # affordable: sampling does not end before the session does
