"""Bars of any response satisfy the constraints of the table."""

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backfill_assets.eodhd.parsing import parse_intraday
from backfill_assets.market.bars.source_rows import PRICE_LIMIT, ROW_COLUMNS
from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.vendor_errors import VendorError
from backfill_assets_tests.conftest import read_recorded_rows
from backfill_assets_tests.frames import FramesBuilt, build_bars
from backfill_assets_tests.unit.market_builders import build_grid

pytestmark = pytest.mark.no_cover

DAY = "2026-06-01"
NUMBERS = st.sampled_from(
    [0, -1, 1e-9, 5e-7, 306.31, 306, 310.5, 299.000001, 999_999.9999999, 1e6, 1e12, 2**53, 2**63, -2.5, 1e308, 0.1]
)
VALUES = NUMBERS | st.sampled_from([None, "NA", "", "306.31", "1e3", "nan", "inf", True, [], {}])
FIELDS = st.sampled_from(["open", "high", "low", "close", "volume"])


@st.composite
def draw_response(draw: st.DrawFn) -> bytes:
    """A recorded session with some values replaced, rows repeated, moved off the grid, cut or exchanged."""
    rows: list[dict[str, Any]] = read_recorded_rows("AAPL_5m_2026-06-01")
    for _ in range(draw(st.integers(1, 12))):
        at = draw(st.integers(0, len(rows) - 1))
        rows[at][draw(FIELDS)] = draw(VALUES)
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(rows) - 1))
        change = draw(st.sampled_from(["repeat", "move", "drop", "lose a key"]))
        if change == "repeat":
            rows.insert(at, {**rows[at], draw(FIELDS): draw(VALUES)})
        elif change == "move":
            rows[at]["timestamp"] = rows[at].get("timestamp", 0) + draw(st.sampled_from([1, -60, 299, 300, 86_400]))
        elif change == "drop" and len(rows) > 1:
            rows.pop(at)
        else:
            rows[at].pop(draw(FIELDS), None)
    if draw(st.booleans()):
        rows = draw(st.permutations(rows))
    return json.dumps(rows).encode()


def build_bars_from(response: bytes) -> FramesBuilt:
    rows = parse_intraday(response)
    table = pd.DataFrame({name: getattr(rows, name) for name in ROW_COLUMNS[1:]})
    return build_bars(table.assign(symbol_id=np.int64(7)), build_grid(DAY), INTERVALS["5m"])


@given(response=draw_response())
@settings(max_examples=150, derandomize=True, deadline=None, database=None)
def test_bars_of_any_response_satisfy_the_table_constraints(response: bytes) -> None:
    try:
        built = build_bars_from(response)
    except VendorError:
        return
    bars = built.bars
    prices = bars[["open", "high", "low", "close"]].to_numpy(float)
    assert np.isfinite(prices).all()
    assert (prices > 0).all()
    assert (prices < PRICE_LIMIT).all()
    assert (bars["low"] <= bars[["open", "close"]].min(axis=1)).all()
    assert (bars["high"] >= bars[["open", "close"]].max(axis=1)).all()
    assert (bars["volume"] >= 0).all()
    assert bars["timestamp"].isin(build_grid(DAY).starts).all()
    assert bars["ordinal"].is_unique
    assert (bars["source_rows"] >= 0).all()


def test_recorded_session_gives_thirteen_bars() -> None:
    built = build_bars_from(json.dumps(read_recorded_rows("AAPL_5m_2026-06-01")).encode())
    assert (len(built.bars), built.bars["is_final"].all(), len(built.rejects)) == (13, True, 0)
