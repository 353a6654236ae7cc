"""Frames of the bars of a read: the same values and nulls in pandas, polars and Arrow."""

import sys
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from backfill_assets.errors import UsageError
from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.sessions import list_sessions
from backfill_assets.market.calendar.slots import build_slot_grid
from backfill_assets.market.exchanges.registry import US
from backfill_assets.market.gaps.slot_states import SlotState
from backfill_assets.reading.frames import COLUMNS, FrameBars, build_frame, fill_grid
from backfill_assets.store.bars.bar_stream import NO_VOLUME
from backfill_assets.store.bars.bar_table import NO_ORIGIN, BarTable

# an hour's last slot is half an hour long, and 2026-11-27 closes at 13:00
GRID = build_slot_grid(list_sessions(US, date(2026, 11, 25), date(2026, 11, 27)), INTERVALS["1h"])
LAST = GRID.size - 1
MOMENT = "2026-11-28T01:02:03.456789"


def make_bars(**changed: Any) -> BarTable:
    """The last slot of each session of the first symbol, and the first slot of the second one, which is another's."""
    prices = np.array([10.5, 11.25, np.nan])
    columns = {
        "slot_key": np.array([6, LAST, GRID.size]),
        "values": {name: prices.copy() for name in ("open", "high", "low", "close")}
        | {"volume": np.array([2**60 + 1, 7, NO_VOLUME])},
        "origin": np.array([1, 0, NO_ORIGIN], np.int16),
        "origins": (("eodhd.com", "1m"), ("eodhd.com", None)),
        "source_rows": np.array([6, 12, 0], np.int16),
        "is_provisional": np.zeros(3, bool),
        "first_known": np.array([MOMENT, MOMENT, "NaT"], "datetime64[us]"),
        "revised": np.broadcast_to(np.datetime64("NaT", "us"), 3),
    }
    return BarTable(**{**columns, **changed})


STATES = np.array([SlotState.PRESENT, SlotState.SUSPECT, SlotState.UNVERIFIED], np.int8)
KNOWN = datetime(2026, 11, 28, 1, 2, 3, 456_789, tzinfo=UTC)
ROWS: list[dict[str, Any]] = [
    {
        "symbol": "MSFT.US", "timestamp": datetime(2026, 11, 25, 20, 30, tzinfo=UTC),
        "slot_end": datetime(2026, 11, 25, 21, tzinfo=UTC), "session": date(2026, 11, 25),
        "open": 10.5, "high": 10.5, "low": 10.5, "close": 10.5, "volume": 2**60 + 1, "state": "present",
        "source": "eodhd.com", "source_interval": None, "first_known": KNOWN, "revised": None,
    },
    {
        "symbol": "MSFT.US", "timestamp": datetime(2026, 11, 27, 17, 30, tzinfo=UTC),
        "slot_end": datetime(2026, 11, 27, 18, tzinfo=UTC), "session": date(2026, 11, 27),
        "open": 11.25, "high": 11.25, "low": 11.25, "close": 11.25, "volume": 7, "state": "suspect",
        "source": "eodhd.com", "source_interval": "1m", "first_known": KNOWN, "revised": None,
    },
    {
        "symbol": "AAPL.US", "timestamp": datetime(2026, 11, 25, 14, 30, tzinfo=UTC),
        "slot_end": datetime(2026, 11, 25, 15, 30, tzinfo=UTC), "session": date(2026, 11, 25),
        "open": None, "high": None, "low": None, "close": None, "volume": None, "state": "unverified",
        "source": None, "source_interval": None, "first_known": None, "revised": None,
    },
]  # fmt: skip


def make_content(bars: BarTable | None = None, states: Any = STATES) -> FrameBars:
    return FrameBars(make_bars() if bars is None else bars, ["MSFT.US", "AAPL.US"], GRID, states)


def test_arrow() -> None:
    table = build_frame(make_content(), format="arrow")
    assert table.column_names == list(COLUMNS)
    assert table.to_pylist() == ROWS
    assert table.schema.field("first_known").type == pa.timestamp("us", "UTC")
    assert table.schema.field("symbol").type == pa.dictionary(pa.int8(), pa.string())


def test_polars() -> None:
    frame = build_frame(make_content(), format="polars")
    assert frame.to_dicts() == ROWS
    assert frame.schema["session"] == pl.Date
    assert frame.schema["timestamp"] == pl.Datetime("us", "UTC")
    assert frame.schema["state"] == pl.Categorical


def test_pandas() -> None:
    frame = build_frame(make_content())
    moment = pd.DatetimeTZDtype("us", "UTC")
    assert frame.dtypes.to_dict() == {
        **dict.fromkeys(("timestamp", "slot_end", "first_known", "revised"), moment),
        **dict.fromkeys(("open", "high", "low", "close"), np.dtype(float)),
        **{name: frame[name].dtype for name in ("symbol", "state", "source", "source_interval")},
        "session": np.dtype("datetime64[s]"),
        "volume": pd.Int64Dtype(),
    }
    assert {str(frame[name].dtype) for name in ("symbol", "state", "source", "source_interval")} == {"category"}
    for name in COLUMNS:
        found = [None if pd.isna(value) else value for value in frame[name]]
        assert found == [pd.Timestamp(row[name]) if name == "session" else row[name] for row in ROWS], name
    assert list(frame["state"].cat.categories) == [state.name.lower() for state in SlotState]
    frame.loc[0, "close"] = 1.0  # the frame can be written to
    frame.loc[0, "timestamp"] = frame.loc[1, "timestamp"]
    frame["volume"] *= 2
    assert frame["close"].tolist()[:2] == [1.0, 11.25]


def test_adjusted_volumes_are_floats() -> None:
    values = {"volume": np.array([0.5, np.nan, 3.0])}
    assert build_frame(make_content(make_bars(values=values)), ["volume"])["volume"].dtype == np.dtype(float)
    table = build_frame(make_content(make_bars(values=values)), ["volume"], "arrow")
    assert table["volume"].to_pylist() == [0.5, None, 3.0]


@pytest.mark.parametrize("format", ["pandas", "polars", "arrow"])
def test_columns_are_chosen_and_ordered_and_no_bars_are_no_error(format: str) -> None:  # noqa: A002
    names = ["close", "symbol", "revised"]
    frame = build_frame(make_content(), names, format)
    assert list(frame.column_names if format == "arrow" else frame.columns) == names
    empty = make_content(make_bars().select(np.zeros(3, bool)), STATES[:0])
    assert build_frame(empty, COLUMNS, format).shape == (0, len(COLUMNS))


def test_a_grid_has_nulls_where_there_is_no_bar() -> None:
    keys = np.arange(LAST - 1, GRID.size + 1)
    with_slot = make_bars().select(np.array([1, 2]))
    filled = fill_grid(with_slot, keys)
    states = np.array([SlotState.MISSING, SlotState.PRESENT, SlotState.NO_TRADE], np.int8)
    table = build_frame(make_content(filled, states), ["timestamp", "close", "volume", "state", "source"], "arrow")
    starts = [datetime(2026, 11, 27, 16, 30, tzinfo=UTC), ROWS[1]["timestamp"], ROWS[2]["timestamp"]]
    assert table.to_pylist() == [
        {"timestamp": starts[0], "close": None, "volume": None, "state": "missing", "source": None},
        {"timestamp": starts[1], "close": 11.25, "volume": 7, "state": "present", "source": "eodhd.com"},
        {"timestamp": starts[2], "close": None, "volume": None, "state": "no_trade", "source": None},
    ]


def test_formats_that_cannot_be_made_say_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"unknown format 'csv'; use one of pandas, polars, arrow"):
        build_frame(make_content(), format="csv")
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(UsageError, match=r"pip install 'backfill_assets\[polars\]'"):
        build_frame(make_content(), format="polars")
