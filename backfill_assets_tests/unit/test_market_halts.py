"""When absent slots are a halt."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from backfill_assets.market.gaps.halts import (
    HaltFacts,
    HaltKind,
    HaltState,
    compute_next_request,
    compute_usual_share,
    find_enclosed,
    judge_halt,
)

HALT = HaltFacts(HaltKind.HALT, tickers_seen=500, tickers_lacking=3)
OUTSIDE = HaltFacts(HaltKind.OUTSIDE_HOURS, tickers_seen=4, tickers_lacking=0, daily_volume=900.0)


def test_a_slot_that_almost_all_others_have_is_a_halt() -> None:
    assert judge_halt(HALT) is HaltState.FOUND
    assert judge_halt(replace(HALT, tickers_lacking=9)) is HaltState.FOUND


def test_a_slot_that_two_percent_of_the_others_lack_is_an_outage() -> None:
    assert judge_halt(replace(HALT, tickers_lacking=10)) is HaltState.REFUTED
    assert judge_halt(HaltFacts(HaltKind.HALT, 20, 1)) is HaltState.REFUTED


def test_fewer_than_twenty_tickers_leave_it_to_a_person_or_to_a_day_without_volume() -> None:
    small = replace(HALT, tickers_seen=19, tickers_lacking=0)
    assert judge_halt(small) is HaltState.PROPOSED
    assert judge_halt(replace(small, daily_volume=500.0)) is HaltState.PROPOSED
    assert judge_halt(replace(small, daily_volume=0.0)) is HaltState.FOUND


@pytest.mark.parametrize(("share", "state"), [(0.44, HaltState.REFUTED), (0.46, HaltState.FOUND)])
def test_a_day_whose_1m_volume_lies_far_below_the_usual_share_is_none(share: float, state: HaltState) -> None:
    facts = replace(HALT, daily_volume=1000.0, volume_share=share, usual_share=0.9)
    assert judge_halt(facts) is state


def test_without_a_usual_share_a_halt_is_not_refuted() -> None:
    assert judge_halt(replace(HALT, daily_volume=1000.0, volume_share=0.1)) is HaltState.FOUND


def test_a_day_of_which_1m_has_nothing_is_none_whatever_the_usual_share() -> None:
    assert judge_halt(replace(HALT, daily_volume=1000.0, volume_share=0.0)) is HaltState.REFUTED


def test_a_day_that_traded_outside_regular_hours_needs_its_volume_in_the_rows() -> None:
    assert judge_halt(replace(OUTSIDE, volume_share=1.0)) is HaltState.FOUND
    assert judge_halt(replace(OUTSIDE, volume_share=0.03)) is HaltState.REFUTED  # the feed lost the session
    assert judge_halt(OUTSIDE) is HaltState.PROPOSED
    assert judge_halt(replace(OUTSIDE, volume_share=1.0, tickers_seen=50, tickers_lacking=30)) is HaltState.REFUTED


def test_a_slot_is_enclosed_by_trades_on_both_sides_of_it() -> None:
    starts, ends = np.array([0, 10, 20, 30]), np.array([10, 20, 30, 40])
    assert find_enclosed(starts, ends, np.array([3, 9, 30])).tolist() == [False, True, True, False]
    assert find_enclosed(starts, ends, np.array([-5, 10, 19, 40])).tolist() == [True, False, True, True]
    assert not find_enclosed(starts, ends, np.zeros(0, np.int64)).any()


def test_the_usual_share_needs_five_days() -> None:
    assert compute_usual_share(np.array([0.9, 0.8, np.nan, 1.0, 0.7])) is None
    assert compute_usual_share(np.array([0.9, 0.8, 0.5, 1.0, 0.7])) == 0.8


def test_a_halt_is_asked_again_after_one_day_and_three_and_then_final() -> None:
    found = datetime(2026, 6, 2, 1, tzinfo=UTC)
    day, three_days = found + timedelta(days=1), found + timedelta(days=3)
    assert compute_next_request(found, found) == day
    assert compute_next_request(found, day) == three_days
    assert compute_next_request(found, three_days - timedelta(seconds=1)) == three_days
    assert compute_next_request(found, three_days) is None
