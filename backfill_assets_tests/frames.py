"""Builds bars from frames, into frames: tests shuffle, change and compare them easily."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from backfill_assets.market.bars import bar_builder
from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.market.columns import Columns
from backfill_assets.market.plausibility.doubts import Doubt


@dataclass(frozen=True, eq=False)
class FramesBuilt:
    """``BuiltBars`` with frames in the place of tables."""

    bars: pd.DataFrame
    sessions: pd.DataFrame
    rejects: pd.DataFrame
    ignored_rows: dict[str, int]
    doubts: Sequence[Doubt]


def build_bars(rows: pd.DataFrame, grid: SlotGrid, source: Interval, **options: Any) -> FramesBuilt:
    built = bar_builder.build_bars(Columns(rows), grid, source, **options)
    tables = (to_frame(table) for table in (built.bars, built.sessions, built.rejects))
    return FramesBuilt(*tables, built.ignored_rows, built.doubts)


def to_frame(columns: Columns) -> pd.DataFrame:
    return pd.DataFrame(dict(columns))
