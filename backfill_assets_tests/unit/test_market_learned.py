"""Tests of what an experimental exchange has to show before rules rest on its daily data."""

from dataclasses import replace
from datetime import UTC, date, datetime

import numpy as np
import pandas as pd
import pytest

from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.slots import build_slot_grid
from backfill_assets.market.calendar.windows import build_date_window
from backfill_assets.market.columns import Columns
from backfill_assets.market.exchanges.learned import (
    MIN_SESSIONS,
    NOTHING_COMPARED,
    DailyComparison,
    DailyFigure,
    may_judge_by_daily_data,
)
from backfill_assets.market.exchanges.price_units import has_subunit
from backfill_assets.market.exchanges.profile import DailyEvidence
from backfill_assets.market.exchanges.registry import US, get_profile
from backfill_assets.market.learning.learned_rows import LearnedRows, count_learned_rows
from backfill_assets.market.learning.proposed_settings import SeenMarket, format_settings, list_seen

LSE = get_profile("LSE")
NO_ROWS = LearnedRows(0, None, None, 0, 0, 0, 0, 0, 0, 0)
FINE = DailyComparison(MIN_SESSIONS, days=800, untraded=30, untraded_with_bars=8, ranged=800, outside_range=8)


@pytest.mark.parametrize("figure", DailyFigure)
def test_a_verified_exchange_is_judged_without_any_comparison(figure: DailyFigure) -> None:
    assert may_judge_by_daily_data(US, NOTHING_COMPARED, figure)


@pytest.mark.parametrize("figure", DailyFigure)
def test_an_experimental_exchange_is_judged_from_twenty_sessions_on(figure: DailyFigure) -> None:
    assert not may_judge_by_daily_data(LSE, NOTHING_COMPARED, figure)
    assert not may_judge_by_daily_data(LSE, replace(FINE, sessions=MIN_SESSIONS - 1), figure)
    assert may_judge_by_daily_data(LSE, FINE, figure)


def test_daily_data_that_the_bars_contradict_do_not_judge_and_each_figure_is_for_itself() -> None:
    traded = replace(FINE, untraded_with_bars=9)
    assert not may_judge_by_daily_data(LSE, traded, DailyFigure.TRADING)
    assert may_judge_by_daily_data(LSE, traded, DailyFigure.PRICES)
    outside = replace(FINE, outside_range=9)
    assert may_judge_by_daily_data(LSE, outside, DailyFigure.TRADING)
    assert not may_judge_by_daily_data(LSE, outside, DailyFigure.PRICES)


def test_a_small_universe_may_have_a_few_wrong_bars_and_no_false_silence() -> None:
    few = replace(FINE, days=20, untraded_with_bars=0, ranged=20, outside_range=3)
    assert may_judge_by_daily_data(LSE, few, DailyFigure.PRICES)
    assert not may_judge_by_daily_data(LSE, replace(few, outside_range=4), DailyFigure.PRICES)
    assert not may_judge_by_daily_data(LSE, replace(few, untraded_with_bars=1), DailyFigure.TRADING)


@pytest.mark.parametrize("is_set", [True, False])
def test_what_a_user_has_set_decides_whether_a_volume_of_0_is_a_proof(is_set: bool) -> None:
    evidence = DailyEvidence.VOLUME if is_set else DailyEvidence.NOTHING
    known = replace(LSE, daily_evidence=evidence, assumed=LSE.assumed - {"daily_volume_tells"})
    assert may_judge_by_daily_data(known, NOTHING_COMPARED, DailyFigure.TRADING) is is_set
    assert not may_judge_by_daily_data(known, NOTHING_COMPARED, DailyFigure.PRICES)


AFTER = datetime(2026, 1, 1, tzinfo=UTC)
ENOUGH = replace(FINE, sessions=400, days=8000)


def test_daily_data_of_other_hours_judge_no_bar_and_no_absence() -> None:
    forex = get_profile("FOREX")
    assert not any(may_judge_by_daily_data(forex, ENOUGH, figure) for figure in DailyFigure)
    assert not forex.uses_daily_data


def test_of_days_in_utc_the_candle_judges_prices_and_neither_volumes_nor_absence() -> None:
    crypto = get_profile("CC")
    assert [figure for figure in DailyFigure if may_judge_by_daily_data(crypto, ENOUGH, figure)] == [DailyFigure.PRICES]
    assert not may_judge_by_daily_data(crypto, NOTHING_COMPARED, DailyFigure.PRICES)
    assert crypto.uses_daily_data


def test_a_day_that_is_carried_forward_tells_by_its_volume_and_not_by_its_absence() -> None:
    sydney = get_profile("AU")
    assert (sydney.daily_evidence, sydney.daily_volume_tells) == (DailyEvidence.CARRIED_FORWARD, True)


def list_names(exchange: str) -> set[str]:
    rows = LearnedRows(30, None, None, 100, 28_800, 5, 100, 4000, 3, 7)
    market = get_profile(exchange)
    attributes = list_seen(market, SeenMarket(rows, ENOUGH, ()))
    assert "null_volume" not in format_settings(market, attributes)  # nobody has to set what is known
    return {item.name for item in attributes}


def test_nothing_is_learned_about_what_a_market_does_not_have() -> None:
    assert list_names("CC") == {"null_volume", "askable_after"}  # no close, and no daily volume that says anything
    assert list_names("FOREX") == {"askable_after"}


def test_rows_after_the_close_are_counted_only_where_some_may_belong_to_it() -> None:
    seen = {}
    for exchange in ("US", "FOREX"):
        friday = build_date_window(get_profile(exchange), date(2025, 11, 7), date(2025, 11, 7), AFTER).sessions
        grid = build_slot_grid(friday, INTERVALS["30m"])
        stamps = int(grid.session_closes[0]) + np.arange(-600, 3600, 60)
        prices = dict.fromkeys(("open", "high", "low", "close"), 1.1)
        rows = pd.DataFrame({"symbol_id": 1, "timestamp": stamps, **prices, "volume": 5.0})
        (counted,) = count_learned_rows(Columns(rows), Columns(rows.iloc[:0].assign(reason="")), [(1, 0)], grid)
        seen[exchange] = (counted.source_rows, len(counted.closing))
    assert seen == {"US": (10, 60), "FOREX": (10, 0)}


def test_prices_of_pairs_count_no_hundredths() -> None:
    assert not any(has_subunit(get_profile(exchange)) for exchange in ("CC", "FOREX"))


def test_daily_data_that_bear_out_sydney_s_profile_propose_what_it_has() -> None:
    """The older form, true, would say that an absent daily row tells, too."""
    market = get_profile("AU")
    attributes = list_seen(market, SeenMarket(NO_ROWS, ENOUGH))
    assert format_settings(market, attributes) == '[AU]\ndaily_evidence = "carried forward"\n'
    assert "no daily row" not in attributes[-1].assumed


@pytest.mark.parametrize(("exchange", "setting"), [("FOREX", "1M"), ("LSE", "5M")])
def test_the_usual_time_of_a_request_is_that_of_the_rows(exchange: str, setting: str) -> None:
    (usual,) = (
        item.assumed
        for item in list_seen(get_profile(exchange), SeenMarket(NO_ROWS, ENOUGH))
        if item.name == "askable_after"
    )
    assert f"BACKFILL_ASKABLE_HOURS_{setting}" in usual
