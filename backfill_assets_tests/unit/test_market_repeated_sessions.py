"""Sessions that repeat an earlier one: found at any shift, whatever their volumes; ordinary ones are left alone."""

import numpy as np
import pytest

from backfill_assets.market.plausibility.repeated_sessions import find_repeated_sessions
from backfill_assets.market.plausibility.rules import Rule
from backfill_assets.market.plausibility.session_panel import SessionPanel
from backfill_assets_tests.unit.session_panels import (
    build_full_panel,
    build_session_grid,
    change_panel,
    copy_values,
    describe,
    judge_all,
)

PRICES = ("open", "high", "low", "close")
GRID = build_session_grid("2026-08-03", "2026-09-18")  # 34 full sessions
SAME, OTHER = 20, 12  # lines


def repeat(
    panel: SessionPanel, line: int, earlier: int, shift: int = 0, names: tuple[str, ...] = PRICES
) -> SessionPanel:
    """The prices of an earlier line once more, ``shift`` columns later; the columns before keep their own."""
    values = copy_values(panel)
    columns = panel.close.shape[1]
    for name in names:
        values[name][line, max(shift, 0) : columns + min(shift, 0)] = values[name][
            earlier, max(-shift, 0) : columns - max(shift, 0)
        ]
    return change_panel(panel, **values)


def test_a_session_served_again_is_doubted_and_names_the_one_it_repeats() -> None:
    panel = repeat(build_full_panel(GRID, symbols=3), SAME, SAME - 1)

    (doubt,) = find_repeated_sessions(panel, judge_all(panel))

    assert (doubt.rule, doubt.symbol_id, doubt.session) == (Rule.SESSION_REPEATED, 1, SAME)
    assert (doubt.first_stamp, doubt.last_stamp) == (panel.get_stamp(SAME, 0), panel.get_stamp(SAME, 12))
    figures = ("repeated_session", "sessions_back", "compared", "equal_rows", "rows_of_session", "shifted_minutes")
    day = str(GRID.sessions[SAME - 1].day)
    assert describe(doubt.figures, *figures) == [day, 1, "all prices", 13, 13, 0]


@pytest.mark.parametrize("shift", [-7, -1, 1, 2, 7])
def test_a_shifted_session_is_doubted_where_it_repeats(shift: int) -> None:
    panel = repeat(build_full_panel(GRID), SAME, OTHER, shift)

    (doubt,) = find_repeated_sessions(panel, judge_all(panel))

    assert describe(doubt.figures, "equal_rows", "shifted_minutes") == [13 - abs(shift), 30 * shift]
    first, last = max(shift, 0), 12 + min(shift, 0)
    assert (doubt.first_stamp, doubt.last_stamp) == (panel.get_stamp(SAME, first), panel.get_stamp(SAME, last))


def test_rows_of_5m_are_compared_by_the_hour() -> None:
    grid = build_session_grid("2026-08-03", "2026-08-07", "5m")
    clean = build_full_panel(grid)
    for shift in (0, 3, -12, 30):
        panel = repeat(clean, 4, 2, shift)
        (doubt,) = find_repeated_sessions(panel, judge_all(panel))
        assert describe(doubt.figures, "equal_rows", "shifted_minutes") == [78 - abs(shift), 5 * shift]


def test_closes_alone_are_enough_at_the_same_times() -> None:
    clean = build_full_panel(GRID)
    panel = repeat(clean, SAME, SAME - 1, names=("close",))
    (doubt,) = find_repeated_sessions(panel, judge_all(panel))
    assert describe(doubt.figures, "compared", "equal_rows", "shifted_minutes") == ["closes", 13, 0]
    shifted = repeat(clean, SAME, SAME - 1, shift=1, names=("close",))
    assert find_repeated_sessions(shifted, judge_all(shifted)) == []


def test_the_audit_looks_further_back() -> None:
    panel = repeat(build_full_panel(GRID), 30, 9)
    assert find_repeated_sessions(panel, judge_all(panel)) == []
    (doubt,) = find_repeated_sessions(panel, judge_all(panel), last_sessions=None)
    assert doubt.figures["sessions_back"] == 21
    near = repeat(build_full_panel(GRID), 29, 9)
    assert len(find_repeated_sessions(near, judge_all(near))) == 1


def test_only_judged_sessions_and_the_same_symbol_count() -> None:
    panel = repeat(build_full_panel(GRID, symbols=2), SAME, SAME - 1)
    judged = judge_all(panel)
    judged[SAME] = False
    assert find_repeated_sessions(panel, judged) == []
    of_another = repeat(build_full_panel(GRID, symbols=2), len(GRID.sessions) + 5, 4)
    assert find_repeated_sessions(of_another, judge_all(of_another)) == []


def test_half_a_session_of_bars_with_volume_is_enough() -> None:
    """A halt, or a late start; of a bar of another feed the volume is not comparable, but there is one."""
    panel = repeat(build_full_panel(GRID), SAME, SAME - 1)
    values = copy_values(panel)
    values["volume"][SAME, 7:] = 0
    values["volume"][SAME, 2:4] = np.nan
    (doubt,) = find_repeated_sessions(change_panel(panel, **values), judge_all(panel))
    assert doubt.figures["equal_rows"] == 7
    values["volume"][SAME, 3] = 0
    assert find_repeated_sessions(change_panel(panel, **values), judge_all(panel)) == []


def test_names_that_move_by_a_few_ticks_are_compared_over_more_bars() -> None:
    values = copy_values(build_full_panel(GRID))
    random = np.random.default_rng(5)
    for name in PRICES:
        values[name][:] = np.round(2 + 0.01 * random.integers(0, 3, values[name].shape), 2)
    for name in PRICES:
        values[name][SAME] = np.round(2 + 0.01 * np.arange(13), 2)  # ten prices in ten bars, and not in six
    panel = repeat(change_panel(build_full_panel(GRID), **values), SAME + 1, SAME)
    assert [doubt.session for doubt in find_repeated_sessions(panel, judge_all(panel))] == [SAME + 1]


def test_a_day_with_an_early_close_is_judged_by_its_seven_bars() -> None:
    grid = build_session_grid("2026-11-16", "2026-11-27")
    clean = build_full_panel(grid)
    half, line = len(grid.sessions) - 1, 5
    values = copy_values(clean)
    for name in PRICES:
        values[name][half, :7] = values[name][line, :7]
    panel = change_panel(clean, **values)
    (doubt,) = find_repeated_sessions(panel, judge_all(panel))
    assert (doubt.session, doubt.figures["equal_rows"]) == (half, 7)


def test_names_that_hardly_move_repeat_themselves() -> None:
    """A price of three ticks has the same session again and again."""
    clean = build_full_panel(GRID)
    values = copy_values(clean)
    for name in PRICES:
        values[name][:] = np.where(np.arange(13) % 3 == 0, 0.5, 0.51)
    panel = change_panel(clean, **values)
    assert find_repeated_sessions(panel, judge_all(panel)) == []


@pytest.mark.parametrize("price", [0.4, 3.0, 100.0])
def test_ordinary_sessions_are_not_doubted(price: float) -> None:
    """Two thousand sessions of random walks; the cheapest ones move by a tick now and then."""
    panel = build_full_panel(GRID, symbols=60, seed=3, price=price)
    assert find_repeated_sessions(panel, judge_all(panel), last_sessions=None) == []


def test_an_empty_panel_has_no_doubts() -> None:
    panel = build_full_panel(GRID, symbols=0)
    assert find_repeated_sessions(panel, judge_all(panel)) == []
