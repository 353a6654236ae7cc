"""What a settled day says of doubts about rows, and that the table of rules is whole."""

from dataclasses import replace

import numpy as np
import pytest

from backfill_assets.market.plausibility.day_figures import DayFigures
from backfill_assets.market.plausibility.judgement import (
    CONTEXT_SESSIONS,
    JUDGEMENTS,
    Form,
    JudgedPanel,
    Need,
    select_judgements,
)
from backfill_assets.market.plausibility.listing import ListingLives
from backfill_assets.market.plausibility.repeated_sessions import LAST_SESSIONS
from backfill_assets.market.plausibility.rules import Rule
from backfill_assets.market.plausibility.session_panel import SessionPanel
from backfill_assets.market.plausibility.settlement import DoubtedVolumes, is_price_confirmed, weigh_volumes

SESSIONS, BARS = 8, 13
LAST = SESSIONS - 1
OPEN = 1_780_320_600  # 2026-06-01 13:50 UTC


def build_panel(last_volume: float = 100.0) -> SessionPanel:
    """Eight sessions of a symbol with 13 bars of 100 shares; the first bar of the last one has ``last_volume``."""
    cells = np.full((SESSIONS, BARS), 10.0)
    volume = np.full((SESSIONS, BARS), 100.0)
    volume[LAST, 0] = last_volume
    line = np.arange(SESSIONS)
    opens = OPEN + 86_400 * (line - LAST)
    sizes = np.full(SESSIONS, BARS)
    return SessionPanel(np.ones(SESSIONS, np.int64), line, opens, sizes, 1800, cells, cells, cells, cells, volume)


def build_days(volume: float, *, low: float = 9.0, high: float = 11.0) -> DayFigures:
    """Days of 2,600 shares, twice as much as the bars have; the last one has ``volume``."""
    volumes = np.full(SESSIONS, 2600.0)
    volumes[LAST] = volume
    unknown = DayFigures.create_unknown(SESSIONS)
    return replace(unknown, volume=volumes, low=np.full(SESSIONS, low), high=np.full(SESSIONS, high))


@pytest.mark.parametrize(
    ("rule", "figures", "is_confirmed"),
    [
        (Rule.PRICE_SPIKE, {"low": 9.0, "high": 11.0}, True),
        (Rule.PRICE_SPIKE, {"low": 9.0, "high": 11.2}, False),
        (Rule.PRICE_SPIKE, {"low": "9.5, 8.0", "high": 10.0}, False),  # two rows
        (Rule.PRICE_SPIKE, {"low": None, "high": 10.0}, False),
        (Rule.SCALE_BREAK, {"lowest": 9.5, "highest": 10.5}, True),
        (Rule.SCALE_BREAK, {"lowest": 0.95, "highest": 1.05}, False),
        (Rule.VOLUME_RUNNING_TOTAL, {"low": 9.5, "high": 10.0}, False),
    ],
)
def test_prices_that_the_day_holds_are_confirmed(rule: Rule, figures: dict[str, float], *, is_confirmed: bool) -> None:
    assert is_price_confirmed(rule, figures, build_days(2600.0), LAST) is is_confirmed


def test_prices_of_an_unknown_day_are_not_confirmed() -> None:
    days = DayFigures.create_unknown(SESSIONS)
    assert not is_price_confirmed(Rule.PRICE_SPIKE, {"low": 9.5, "high": 10.0}, days, LAST)


@pytest.mark.parametrize(
    ("day_volume", "is_confirmed", "excess"),
    [
        (1500.0, False, 1000.0),  # 2,200 shares with it, 1,200 without
        (3000.0, False, 0.0),  # less than the day, and more than the usual half of it
        (5000.0, True, 0.0),
        (1000.0, False, 0.0),  # too much even without it: another rule's
        (np.nan, False, 0.0),
    ],
)
def test_a_volume_is_weighed_by_the_day_and_the_usual_share(
    day_volume: float, excess: float, *, is_confirmed: bool
) -> None:
    figures = {"row": "14:00 UTC", "volume": 1000}
    (verdict,) = weigh_volumes([DoubtedVolumes(OPEN, figures)], build_panel(1000.0), build_days(day_volume), LAST)
    assert (verdict.is_confirmed, verdict.excess, verdict.excess_rows) == (is_confirmed, excess, int(excess > 0))
    assert verdict.day_figure == (day_volume if excess else None)


@pytest.mark.parametrize(
    ("figures", "day_volume", "excess", "day_figure"),
    [
        ({"day_volume": 1500}, 1500.0, 0.0, 1500),  # as before
        ({"day_volume": 1500}, 3000.0, -1000.0, None),  # revised: no longer disproved
        ({"day_volume": 1500}, np.nan, 0.0, None),
        ({}, 3000.0, 0.0, None),  # the rows prove it
    ],
)
def test_a_volume_that_the_day_no_longer_disproves_is_put_back(
    figures: dict[str, float], day_volume: float, excess: float, day_figure: float | None
) -> None:
    doubted = DoubtedVolumes(OPEN, {"row": "14:00 UTC", "volume": 1000} | figures, is_withheld=True)
    (verdict,) = weigh_volumes([doubted], build_panel(0.0), build_days(day_volume), LAST)
    assert (verdict.excess, verdict.day_figure, verdict.is_confirmed) == (excess, day_figure, False)


def test_of_two_rows_of_a_bar_only_the_one_that_the_day_disproved_is_put_back() -> None:
    figures = {"row": "14:00 UTC, 14:10 UTC", "volume": "1000, 700", "day_volume": "–, 1500"}
    doubted = DoubtedVolumes(OPEN, figures, is_withheld=True)
    (verdict,) = weigh_volumes([doubted], build_panel(0.0), build_days(3000.0), LAST)
    assert (verdict.excess, verdict.excess_rows, verdict.day_figure) == (-700.0, -1, None)


def test_every_rule_is_in_the_table_once() -> None:
    rules = [rule for entry in JUDGEMENTS for rule in entry.rules]
    assert len(rules) == len(set(rules))
    assert set(rules) == set(Rule)


def test_rules_of_rows_are_not_judged_again_in_stored_bars_of_our_own() -> None:
    judged = select_judgements(Form.STORED, only=True)
    of_stored_bars = [rule for entry in judged for rule in entry.rules]
    of_rows = [rule for entry in select_judgements(Form.ROWS) for rule in entry.rules]
    assert set(of_stored_bars) & set(of_rows) == {Rule.SESSION_REPEATED}  # an answer lacks the sessions of another one


def test_a_rule_is_able_to_judge_only_what_it_knows_enough_of() -> None:
    days = replace(build_days(np.nan), high=np.r_[np.full(LAST, 11.0), np.nan])
    given = JudgedPanel(build_panel(), days, ListingLives.create_unknown(SESSIONS), np.ones(SESSIONS, bool))
    able = {entry.needs: int(entry.is_able(given).sum()) for entry in JUDGEMENTS}
    assert able[Need.NOTHING] == SESSIONS
    assert able[Need.DAY_RANGE] == LAST
    assert able[Need.LISTING] == 0


def test_the_judge_reads_as_many_sessions_as_the_rules_look_back() -> None:
    assert CONTEXT_SESSIONS >= LAST_SESSIONS
