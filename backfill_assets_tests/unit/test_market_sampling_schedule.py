"""When live quotes are read: sampling hours, rounds at the edges of slots, and the limit of calls."""

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
from backfill_assets_tests.unit.market_builders import find_sessions, parse_new_york

WEEK = find_sessions("2026-06-05", "2026-06-08")  # a Friday and a Monday
FRIDAY = WEEK[0]


def parse_time(text: str, day: str = "2026-06-05") -> datetime:
    return parse_new_york(f"{day} {text}")


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
    assert (find_sampled_session(WEEK, parse_time(now)) == FRIDAY) == sampled


def test_no_sampling_outside_sessions() -> None:
    assert find_sampled_session(WEEK, parse_time("12:00", "2026-06-06")) is None
    assert find_next_sampling_start(WEEK, parse_time("17:00")) == parse_time("09:45", "2026-06-08")
    assert find_next_sampling_start(WEEK, parse_time("09:45", "2026-06-08")) is None


def test_sampling_hours_follow_early_closes_and_winter_time() -> None:
    early = find_sessions("2026-11-27")
    assert find_sampled_session(early, parse_time("13:30", "2026-11-27")) is not None
    assert find_sampled_session(early, parse_time("13:32", "2026-11-27")) is None
    assert early[0].open == parse_time("09:30", "2026-11-27")


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
    assert find_due_round(FRIDAY, parse_time(now), seconds) == parse_time(due)


def test_a_whole_day_has_82_rounds_of_five_minutes() -> None:
    assert count_rounds_left(FRIDAY, parse_time("09:45"), 300) == 82
    assert count_rounds_left(FRIDAY, parse_time("16:30"), 300) == 1
    assert count_rounds_left(FRIDAY, parse_time("09:45"), 1800) == 15  # one per slot and one for the close
    assert 82 * 100 < 10_000  # a round costs at most 100 calls, the price of the whole exchange


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
    ids=["preferred", "20 rounds at most", "42 rounds", "29 rounds", "one call too few", "too few for a day"],
)
def test_rounds_are_less_frequent_when_calls_are_scarce(calls_each: int, calls_left: int, seconds: int) -> None:
    cost = {"calls_per_round": calls_each, "calls_left": calls_left}
    assert (
        choose_round_seconds(FRIDAY, parse_time("09:45"), preferred_seconds=300, slot_lengths=[1800], **cost) == seconds
    )


def test_rounds_fall_on_the_edges_of_several_intervals_while_calls_suffice() -> None:
    found = [
        choose_round_seconds(
            FRIDAY,
            parse_time("09:45"),
            preferred_seconds=60,
            slot_lengths=[900, 1800],
            calls_per_round=100,
            calls_left=left,
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


@pytest.mark.no_cover
@given(minute=st.integers(0, 405), calls_each=st.integers(1, 700), calls_left=st.integers(0, 20_000))
@settings(max_examples=100, deadline=None)
def test_a_day_never_costs_more_than_the_calls_left_and_rounds_fall_on_edges(
    minute: int, calls_each: int, calls_left: int
) -> None:
    """The interval is chosen at every tick; a round that costs more than the calls left is skipped."""
    now, left, made_at = parse_time("09:45") + timedelta(minutes=minute), calls_left, None
    while now <= parse_time("16:30"):
        seconds = choose_round_seconds(
            FRIDAY, now, preferred_seconds=300, slot_lengths=[1800], calls_per_round=calls_each, calls_left=left
        )
        assert 1800 % seconds == 0
        due = find_due_round(FRIDAY, now, seconds)
        if now - due < timedelta(minutes=5) and due != made_at and calls_each <= left:
            left, made_at = left - calls_each, due
        now += timedelta(minutes=5)
    assert left >= 0
    if count_rounds_left(FRIDAY, parse_time("09:45") + timedelta(minutes=minute), 1800) * calls_each <= calls_left:
        assert made_at is not None
        assert made_at >= parse_time("16:15")  # affordable: sampling does not end before the session does
