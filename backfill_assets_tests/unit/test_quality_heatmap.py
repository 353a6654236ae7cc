"""The heat map: the cell of each session, the order of rows, and the text form."""

from datetime import date
from io import StringIO

import numpy as np
import pytest
from rich.console import Console

from backfill_assets.cli.heatmap import show_heatmap
from backfill_assets.market.gaps.slot_states import SlotState
from backfill_assets.quality.heatmap import CELL_LETTERS, CELL_MEANINGS, Cell, Heatmap, build_heatmap
from backfill_assets_tests.unit.coverage_builders import build_coverage
from backfill_assets_tests.unit.gap_builders import build_evidence
from backfill_assets_tests.unit.market_builders import build_grid

DAYS = ("2026-06-01", "2026-06-02", "2026-06-03")
GRID = build_grid(*DAYS)
MONDAY, TUESDAY, WEDNESDAY = range(13), range(13, 26), range(26, 39)


@pytest.mark.parametrize(
    ("states", "cell"),
    [
        pytest.param({}, Cell.COMPLETE, id="no open slots"),
        pytest.param({range(13): SlotState.MISSING}, Cell.MISSING, id="all missing"),
        pytest.param({range(12): SlotState.MISSING}, Cell.PARTIAL, id="all but one missing"),
        pytest.param(
            {range(6): SlotState.MISSING, range(6, 13): SlotState.PENDING},
            Cell.PARTIAL,
            id="some missing, some pending",
        ),
        pytest.param(
            {range(6): SlotState.MISSING, range(6, 13): SlotState.VENDOR_GAP}, Cell.MISSING, id="missing and vendor gap"
        ),
        pytest.param({range(13): SlotState.VENDOR_GAP}, Cell.VENDOR_GAP, id="vendor gap"),
        pytest.param(
            {range(1): SlotState.VENDOR_GAP, range(1, 13): SlotState.PENDING},
            Cell.VENDOR_GAP,
            id="vendor gap and pending",
        ),
        pytest.param(
            {range(5): SlotState.PROVISIONAL, range(5, 13): SlotState.PENDING}, Cell.PROVISIONAL, id="during the day"
        ),
        pytest.param({range(12, 13): SlotState.PENDING}, Cell.PENDING, id="one pending"),
        pytest.param({range(13): SlotState.NO_TRADE}, Cell.NO_TRADE, id="nothing traded"),
        pytest.param({range(12): SlotState.NO_TRADE}, Cell.COMPLETE, id="one slot traded"),
        pytest.param({range(1): SlotState.SUSPECT}, Cell.SUSPECT, id="one bar may be wrong"),
        pytest.param(
            {range(12): SlotState.SUSPECT, range(12, 13): SlotState.MISSING}, Cell.PARTIAL, id="suspect bars are bars"
        ),
    ],
)
def test_states_of_slots_determine_the_cell(states: dict[range, SlotState], cell: Cell) -> None:
    coverage = build_coverage("A", GRID, {("A", slots): state for slots, state in states.items()})
    assert build_heatmap(coverage).cells.tolist() == [[cell, Cell.COMPLETE, Cell.COMPLETE]]


def test_an_overdue_provisional_bar_counts_as_missing() -> None:
    coverage = build_coverage("A", GRID, {("A", MONDAY): SlotState.PROVISIONAL})
    coverage.slot_states.overdue[:] = True
    assert build_heatmap(coverage).cells.tolist() == [[Cell.PARTIAL, Cell.COMPLETE, Cell.COMPLETE]]


def test_sessions_outside_the_listing_have_the_cell_not_listed() -> None:
    evidence = build_evidence(2, GRID, first_session=[1, 0], last_session=[3, 0])
    cells = build_heatmap(build_coverage("A B", GRID, {("A", TUESDAY): SlotState.MISSING}, evidence)).cells.tolist()
    assert cells == [
        [Cell.NOT_LISTED, Cell.MISSING, Cell.COMPLETE],
        [Cell.COMPLETE, Cell.NOT_LISTED, Cell.NOT_LISTED],
    ]


COVERAGE = build_coverage(
    "A B C D E",
    GRID,
    {
        ("B", MONDAY): SlotState.MISSING,
        ("C", range(3)): SlotState.MISSING,
        ("C", TUESDAY): SlotState.MISSING,
        **{(name, WEDNESDAY): SlotState.PENDING for name in "ABC"},
        ("E", MONDAY): SlotState.VENDOR_GAP,
        ("E", TUESDAY): SlotState.VENDOR_GAP,
    },
)


def test_rows_are_sorted_worst_first_and_pending_sessions_are_not_gaps() -> None:
    heatmap = build_heatmap(COVERAGE)
    assert heatmap.sort_worst_first().symbols == ("C.US", "B.US", "E.US", "A.US", "D.US")
    assert heatmap.sort_worst_first(2).symbols == ("C.US", "B.US")
    assert heatmap.filter_by_gaps().symbols == ("B.US", "C.US", "E.US")
    assert heatmap.filter_by_gaps(invert=True).symbols == ("A.US", "D.US")


def test_iter_ranges_joins_equal_sessions() -> None:
    heatmap = build_heatmap(COVERAGE)
    monday, tuesday, wednesday = (date.fromisoformat(day) for day in DAYS)
    assert list(heatmap.iter_ranges(4)) == [(Cell.VENDOR_GAP, monday, tuesday, 2)]
    assert list(heatmap.iter_ranges(1)) == [
        (Cell.MISSING, monday, monday, 1),
        (Cell.PENDING, wednesday, wednesday, 1),
    ]
    assert list(heatmap.iter_ranges(3)) == []


def render(heatmap: Heatmap, width: int = 80) -> list[str]:
    text = StringIO()
    show_heatmap(Console(file=text, width=width), heatmap)
    return text.getvalue().splitlines()


def test_rendering_in_a_terminal() -> None:
    assert render(build_heatmap(COVERAGE)) == [
        "",
        "gaps by session, 2026-06-01 to 2026-06-03 (one character a session):",
        "C.US  /X~",
        "B.US  X·~",
        "E.US  gg·",
        "3 of 5 symbols have gaps",
        "X missing   / partial   g vendor gap   ~ pending   · complete",
    ]
    assert render(build_heatmap(build_coverage("A B", GRID, {("A", WEDNESDAY): SlotState.PENDING}))) == []


def test_a_narrow_terminal_shows_the_newest_sessions() -> None:
    lines = render(build_heatmap(COVERAGE), width=8)
    assert "C.US  X~" in lines


def test_long_lists_are_cut() -> None:
    cells = np.zeros((100, 1), np.int8)
    lines = render(Heatmap(tuple(f"S{n}" for n in range(100)), (date(2026, 6, 1),), cells))
    assert lines[-2] == "… and 60 more · 100 of 100 symbols have gaps"


def test_every_cell_has_a_unique_letter_and_a_meaning() -> None:
    assert len(set(CELL_LETTERS.values())) == len(Cell) == len(CELL_MEANINGS)
