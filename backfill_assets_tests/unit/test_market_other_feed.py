"""What the other feed says about a doubtful bar."""

import numpy as np
import pytest

from backfill_assets.market.plausibility.other_feed import (
    ASKED_RULES,
    FeedBar,
    Verdict,
    compute_volume_ratio,
    has_like_prices,
    judge_bar,
)
from backfill_assets.market.plausibility.rules import Rule

TRUE = FeedBar(100.0, 101.0, 99.0, 100.5, 50_000)


def judge(rule: Rule, bar: FeedBar, other: FeedBar | None, *, consolidated: bool = True, fires: bool = True) -> Verdict:
    return judge_bar(rule, bar, other, other_is_consolidated=consolidated, fires=fires)


def test_a_price_within_half_a_percent_of_the_other_feed_is_confirmed() -> None:
    bar = FeedBar(100.4, 101.4, 98.6, 100.1, 20_000)
    assert judge(Rule.PRICE_SPIKE, bar, TRUE) is Verdict.CONFIRMED
    assert judge(Rule.PRICE_OUTSIDE_DAY, bar, TRUE) is Verdict.CONFIRMED


@pytest.mark.parametrize(
    "bar",
    [
        FeedBar(100.6, 101.0, 99.0, 100.5, 1),
        FeedBar(100.0, 101.0, 99.0, 99.9, 1),
        FeedBar(100.0, 9999.0, 99.0, 100.5, 1),
        FeedBar(100.0, 101.0, 0.01, 100.5, 1),
    ],
    ids=["open", "close", "high", "low"],
)
def test_a_price_beyond_half_a_percent_is_taken_from_the_other_feed(bar: FeedBar) -> None:
    assert not has_like_prices(bar, TRUE)
    assert judge(Rule.PRICE_SPIKE, bar, TRUE) is Verdict.TAKEN


def test_without_a_bar_of_the_other_feed_the_doubt_goes_on() -> None:
    assert {judge(rule, TRUE, None) for rule in ASKED_RULES} == {Verdict.KEPT}


def test_no_price_lifts_a_doubt_about_a_volume() -> None:
    running_total = FeedBar(*TRUE.prices, 17_476_979)
    assert has_like_prices(running_total, TRUE)
    assert judge(Rule.VOLUME_RUNNING_TOTAL, running_total, TRUE) is Verdict.TAKEN
    assert judge(Rule.VOLUME_RUNNING_TOTAL, running_total, TRUE, fires=False) is Verdict.TAKEN


def test_a_volume_is_lifted_only_within_the_tape_and_when_no_rule_fires_any_more() -> None:
    single_venue = FeedBar(*TRUE.prices, 20_000)
    assert judge(Rule.VOLUME_EXCEEDS_DAY, single_venue, TRUE, fires=True) is Verdict.TAKEN
    assert judge(Rule.VOLUME_EXCEEDS_DAY, single_venue, TRUE, fires=False) is Verdict.CONFIRMED


def test_volumes_are_compared_in_the_one_allowed_direction_when_the_bar_is_of_1m() -> None:
    below, above = FeedBar(*TRUE.prices, 20_000), FeedBar(*TRUE.prices, 80_000)
    assert judge(Rule.VOLUME_RUNNING_TOTAL, TRUE, below, consolidated=False, fires=False) is Verdict.CONFIRMED
    assert judge(Rule.VOLUME_RUNNING_TOTAL, TRUE, above, consolidated=False, fires=False) is Verdict.TAKEN


def test_a_repeated_session_is_not_confirmed_by_prices_that_are_near() -> None:
    near = FeedBar(100.1, 101.0, 99.0, 100.4, 9)
    assert judge(Rule.SESSION_REPEATED, TRUE, near) is Verdict.TAKEN
    assert judge(Rule.SESSION_REPEATED, TRUE, TRUE) is Verdict.KEPT
    assert judge(Rule.FROZEN, TRUE, near) is Verdict.TAKEN


def test_what_both_feeds_share_is_not_asked() -> None:
    assert {Rule.OUTSIDE_LISTING, Rule.SPLIT_WITHOUT_STEP} == set(Rule) - ASKED_RULES


def test_the_ratio_of_the_feeds_counts_slots_that_both_have() -> None:
    volume, other = np.array([100.0, np.nan, 300.0, 5.0]), np.array([200.0, 900.0, 400.0, np.nan])
    assert compute_volume_ratio(volume, other) == 1.5
    assert compute_volume_ratio(np.array([np.nan]), np.array([5.0])) is None
    assert compute_volume_ratio(np.array([0.0]), np.array([5.0])) is None
