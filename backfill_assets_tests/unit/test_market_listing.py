"""Bars outside an instrument's life: recycled tickers, and stamps of another year."""

from dataclasses import replace

import numpy as np

from backfill_assets.market.plausibility.listing import (
    ListingLives,
    find_sessions_outside_listing,
    is_outside_confirmed_life,
)
from backfill_assets.market.plausibility.rules import Rule
from backfill_assets.market.plausibility.session_panel import SessionPanel
from backfill_assets_tests.unit.session_panels import build_full_panel, build_session_grid, describe, judge_all


def make_lives(panel: SessionPanel, first: str, last: str = "NaT", *, confirmed: bool = False) -> ListingLives:
    days = [np.full(len(panel), np.datetime64(day), "datetime64[D]") for day in (first, last)]
    return ListingLives(days[0], days[1], np.full(len(panel), confirmed), np.full(len(panel), confirmed))


def test_a_ticker_that_is_used_again_has_the_prices_of_another_before() -> None:
    """META was a fund until 2022-01-28, and is a company since 2022-06-09."""
    panel = build_full_panel(build_session_grid("2022-01-27", "2022-01-28"), price=12.0)
    lives = make_lives(panel, "2022-06-09")

    doubts = find_sessions_outside_listing(panel, lives, judge_all(panel))

    assert [(doubt.rule, doubt.session) for doubt in doubts] == [(Rule.OUTSIDE_LISTING, 0), (Rule.OUTSIDE_LISTING, 1)]
    assert doubts[1].last_stamp == panel.get_stamp(1, 12)
    expected = ["2022-06-09", None, "proposed", 132, None, 13]
    figures = ("first_day", "last_day", "life", "days_before", "days_after", "rows")
    assert describe(doubts[1].figures, *figures) == expected
    listed = build_full_panel(build_session_grid("2022-06-09", "2022-06-10"))
    assert find_sessions_outside_listing(listed, lives, judge_all(listed)) == []


def test_prices_stamped_years_before_are_doubted() -> None:
    """NSR.US had prices of 2021 with stamps of 2015."""
    panel = build_full_panel(build_session_grid("2015-03-02", "2015-03-04"))
    assert len(find_sessions_outside_listing(panel, make_lives(panel, "2021-01-04"), judge_all(panel))) == 3


def test_bars_after_the_last_day_are_doubted() -> None:
    panel = build_full_panel(build_session_grid("2026-03-02", "2026-03-06"))
    judged = judge_all(panel)
    judged[4] = False
    (doubt,) = find_sessions_outside_listing(panel, make_lives(panel, "NaT", "2026-03-04"), judged)
    assert (doubt.session, doubt.figures["days_after"], doubt.figures["first_day"]) == (3, 1, None)


def test_rows_are_left_out_only_outside_a_confirmed_life() -> None:
    panel = build_full_panel(build_session_grid("2026-03-02", "2026-03-06"))
    proposed = make_lives(panel, "2026-03-03", "2026-03-05")
    confirmed = make_lives(panel, "2026-03-03", "2026-03-05", confirmed=True)
    days = np.arange("2026-03-02", "2026-03-07", dtype="datetime64[D]")
    assert not is_outside_confirmed_life(days, proposed).any()
    assert is_outside_confirmed_life(days, confirmed).tolist() == [True, False, False, False, True]
    assert [d.figures["life"] for d in find_sessions_outside_listing(panel, confirmed, judge_all(panel))] == [
        "confirmed",
        "confirmed",
    ]


def test_two_sources_confirm_the_last_day_only() -> None:
    panel = build_full_panel(build_session_grid("2026-03-02", "2026-03-06"))
    lives = make_lives(panel, "2026-03-03", "2026-03-05", confirmed=True)
    lives = replace(lives, is_first_day_confirmed=np.zeros(len(panel), bool))
    days = np.arange("2026-03-02", "2026-03-07", dtype="datetime64[D]")
    assert is_outside_confirmed_life(days, lives).tolist() == [False, False, False, False, True]
    doubts = find_sessions_outside_listing(panel, lives, judge_all(panel))
    assert [doubt.figures["life"] for doubt in doubts] == ["proposed", "confirmed"]


def test_unknown_lives_doubt_nothing() -> None:
    panel = build_full_panel(build_session_grid("2026-03-02", "2026-03-06"))
    assert find_sessions_outside_listing(panel, ListingLives.create_unknown(len(panel)), judge_all(panel)) == []
