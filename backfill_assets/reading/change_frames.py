"""Makes frames of the changes of a read. Which bars changed is found in ``changes``, which loads this with pyarrow."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.reading.frames import load_polars
from backfill_assets.store.bars.bar_changes import IN_NEW, IN_OLD, NO_VOLUME, PRICES
from backfill_assets.store.postgres.array_reader import POSTGRES_EPOCH, to_whole_unix_seconds

_MICROSECONDS = 1_000_000
_STAMP = pa.timestamp("us", "UTC")
_CHANGES = {IN_NEW: "added", IN_OLD: "deleted", IN_OLD | IN_NEW: "revised"}


def build_change_frame(found: dict[str, NDArray[Any]], tickers: Sequence[str], grid: SlotGrid, format: str) -> Any:  # noqa: A002
    """A frame of what ``store.bars.bar_changes`` found.

    Args:
        found: its columns.
        tickers: of the symbols, by ``row``.
        grid: with the slots of all bars that begin with one.
        format: ``pandas``, ``polars`` or ``arrow``.
    """
    return _convert(_build_table(found, tickers, grid), format)


def _build_table(found: dict[str, NDArray[Any]], tickers: Sequence[str], grid: SlotGrid) -> pa.Table:
    starts = to_whole_unix_seconds(found["stamp"])
    ordinal = grid.find_ordinals(starts)
    is_slot = ordinal >= 0
    ends = np.where(is_slot, np.append(grid.ends, 0)[ordinal], starts + grid.interval.seconds)
    days = np.array([*(session.day for session in grid.sessions), None], "datetime64[D]")
    session = days[np.where(is_slot, np.append(grid.session_index, 0)[ordinal], -1)]
    columns: dict[str, Any] = {
        "symbol": pa.DictionaryArray.from_arrays(
            pa.array(found["row"].astype(np.int32)), pa.array(tickers, pa.string())
        ),
        "timestamp": _to_moments(starts * _MICROSECONDS),
        "slot_end": _to_moments(ends * _MICROSECONDS),
        "session": pa.array(session),
        "change": pa.array([_CHANGES[held] for held in found["held"].tolist()], pa.string()).dictionary_encode(),
        "cause": _to_texts(found["cause"]),
        "changed_at": _to_moments(found["changed_at"] + POSTGRES_EPOCH * _MICROSECONDS),
    }
    for when, bit in (("old", IN_OLD), ("new", IN_NEW)):
        for price in PRICES:
            columns[f"{when}_{price}"] = pa.array(found[f"{when}_{price}"], from_pandas=True)
        volume = found[f"{when}_volume"]
        columns[f"{when}_volume"] = pa.array(volume, mask=volume == NO_VOLUME)
        columns[f"{when}_source_interval"] = _to_texts(found[f"{when}_source_interval"])
        is_absent = np.equal(found["held"] & bit, 0)
        columns[f"{when}_provisional"] = pa.array(found[f"{when}_provisional"].astype(bool), mask=is_absent)
    return pa.table(columns)


def _to_moments(microseconds: NDArray[np.int64]) -> pa.Array:
    return pa.array(microseconds, pa.int64()).cast(_STAMP)


def _to_texts(texts: NDArray[Any]) -> pa.Array:
    """Few different texts; null where they are empty."""
    return pa.array([text or None for text in texts], pa.string()).dictionary_encode()


def _convert(table: pa.Table, format: str) -> Any:  # noqa: A002
    if format == "arrow":
        return table
    if format == "polars":
        return load_polars().from_arrow(table)
    import pandas as pd  # slow to load

    nullable = {pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}
    return table.to_pandas(types_mapper=nullable.get, date_as_object=False)
