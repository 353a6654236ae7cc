"""Frozen sessions: one price and no volume on a day with trading, of names that usually move."""

import numpy as np

from backfill_assets.market.plausibility.frozen_sessions import find_frozen_sessions
from backfill_assets.market.plausibility.rules import Rule
from backfill_assets.market.plausibility.session_panel import SessionPanel
from backfill_assets_tests.unit.session_panels import (
    build_days,
    build_full_panel,
    build_session_grid,
    change_days,
    change_panel,
    copy_values,
    describe,
    judge_all,
)

GRID = build_session_grid("2026-08-03", "2026-09-18")
LINE = 20
CLEAN = build_full_panel(GRID, symbols=2)
DAYS = build_days(CLEAN)


def freeze(panel: SessionPanel, *lines: int, volume: float = 0.0) -> SessionPanel:
    values = copy_values(panel)
    for line in lines:
        for name in ("open", "high", "low", "close"):
            values[name][line] = 99.5
        values["volume"][line] = volume
    return change_panel(panel, **values)


def test_a_frozen_session_is_doubted() -> None:
    panel = freeze(CLEAN, LINE)
    (doubt,) = find_frozen_sessions(panel, DAYS, judge_all(panel))
    assert (doubt.rule, doubt.symbol_id, doubt.session) == (Rule.FROZEN, 1, LINE)
    assert (doubt.first_stamp, doubt.last_stamp) == (panel.get_stamp(LINE, 0), panel.get_stamp(LINE, 12))
    assert describe(doubt.figures, "price", "rows", "moved_sessions_before") == [99.5, 13, 20]
    assert doubt.figures["day_volume"] == DAYS.volume[LINE]


def test_sessions_with_volume_or_another_price_are_not_frozen() -> None:
    assert find_frozen_sessions(CLEAN, DAYS, judge_all(CLEAN)) == []
    with_volume = freeze(CLEAN, LINE, volume=100)
    assert find_frozen_sessions(with_volume, DAYS, judge_all(CLEAN)) == []
    of_another_feed = freeze(CLEAN, LINE, volume=np.nan)
    assert find_frozen_sessions(of_another_feed, DAYS, judge_all(CLEAN)) == []
    values = copy_values(freeze(CLEAN, LINE))
    values["low"][LINE, 12] = 99.49
    assert find_frozen_sessions(change_panel(CLEAN, **values), DAYS, judge_all(CLEAN)) == []


def test_without_trading_on_the_day_nothing_is_doubted() -> None:
    panel = freeze(CLEAN, LINE)
    volume, low = DAYS.volume.copy(), DAYS.low.copy()
    volume[LINE] = 0
    low[LINE] = DAYS.high[LINE]
    assert find_frozen_sessions(panel, change_days(DAYS, volume=volume, low=low), judge_all(panel)) == []
    volume[LINE] = np.nan  # the splits of the symbol are not known: its range shows that it traded
    assert find_frozen_sessions(panel, change_days(DAYS, volume=volume, low=low), judge_all(panel)) == []
    (doubt,) = find_frozen_sessions(panel, change_days(DAYS, volume=volume), judge_all(panel))
    assert doubt.figures["day_volume"] is None


def test_names_that_often_stand_still_are_left_alone() -> None:
    still = range(LINE - 12, LINE, 2)  # six of the last 20, with a little volume
    panel = freeze(freeze(CLEAN, *still, volume=10), LINE)
    assert find_frozen_sessions(panel, DAYS, judge_all(panel)) == []
    panel = freeze(freeze(CLEAN, *still[:-1], volume=10), LINE)
    assert len(find_frozen_sessions(panel, DAYS, judge_all(panel))) == 1
    newly_listed = freeze(CLEAN, 14, len(GRID.sessions) + 14)
    assert find_frozen_sessions(newly_listed, DAYS, judge_all(newly_listed)) == []


def test_a_feed_that_stands_still_for_weeks_is_doubted_to_the_end() -> None:
    lines = range(LINE, LINE + 10)
    panel = freeze(CLEAN, *lines)
    judged = judge_all(panel)
    judged[: LINE + 2] = False
    found = find_frozen_sessions(panel, DAYS, judged)
    assert [doubt.session for doubt in found] == list(lines)[2:]
