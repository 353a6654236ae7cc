"""The panel: rows laid out by session and column."""

from datetime import date

import numpy as np

from backfill_assets.market.calendar.intervals import parse_interval
from backfill_assets.market.calendar.sessions import list_sessions
from backfill_assets.market.calendar.slots import build_slot_grid
from backfill_assets.market.exchanges.registry import US
from backfill_assets.market.plausibility.session_panel import PANEL_VALUES, build_panel

# 2026-11-27 closes early
GRID = build_slot_grid(list_sessions(US, date(2026, 11, 25), date(2026, 11, 27)), parse_interval("30m"))


def test_rows_lie_in_the_line_of_their_session_and_the_column_of_their_time() -> None:
    opens = GRID.session_opens
    symbol_id = np.array([7, 7, 7, 9])
    stamp = np.array([opens[0] + 300, opens[1], opens[1] + 600, opens[0] + 77 * 300])
    values = {name: np.array([1.0, 2.0, 3.0, 4.0]) + n for n, name in enumerate(PANEL_VALUES)}

    panel, line, column = build_panel(symbol_id, stamp, values, GRID, 300)

    assert panel.symbol_id.tolist() == [7, 7, 9]
    assert panel.session.tolist() == [0, 1, 0]
    assert panel.sizes.tolist() == [78, 42, 78]
    assert (line.tolist(), column.tolist()) == ([0, 1, 1, 2], [1, 0, 2, 77])
    assert panel.has_line_before.tolist() == [False, True, False]
    for n, name in enumerate(PANEL_VALUES):
        cells = getattr(panel, name)
        assert cells.shape == (3, 78)
        assert cells[line, column].tolist() == [1.0 + n, 2.0 + n, 3.0 + n, 4.0 + n]
        assert np.isnan(cells).sum() == cells.size - 4
    assert panel.get_stamp(2, 77) == stamp[3]


def test_no_rows_make_an_empty_panel() -> None:
    none = np.zeros(0, np.int64)
    panel, line, column = build_panel(none, none, dict.fromkeys(PANEL_VALUES, np.zeros(0)), GRID, 1800)
    assert (len(panel), len(line), len(column), panel.close.shape) == (0, 0, 0, (0, 13))
