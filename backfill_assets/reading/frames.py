"""Makes frames of the bars of a read: pandas, polars or Arrow, without copies where the library allows it.

Which bars these are is decided in ``slot_reading``. No value is changed or made up: a slot without a bar has nulls.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backfill_assets.errors import UsageError
from backfill_assets.market.arrays import Bools, Int64
from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.market.gaps.slot_states import SlotState
from backfill_assets.store.bars.bar_stream import NO_VOLUME
from backfill_assets.store.bars.bar_table import MOMENTS, NO_ORIGIN, VALUES, BarTable

COLUMNS = (
    *("symbol", "timestamp", "slot_end", "session", "open", "high", "low", "close", "volume"),
    *("state", "source", "source_interval", *MOMENTS),
)
_MICROSECONDS = 1_000_000
_STATES = tuple(state.name.lower() for state in SlotState)  # by number


@dataclass(frozen=True, eq=False)
class FrameBars:
    """The bars of a frame, in its order.

    Attributes:
        bars: with the values and moments that the frame has; null values are NaN, ``NO_VOLUME`` or NaT.
        tickers: of the symbols, by the row of a slot key.
        grid: of the slot keys.
        state: a ``SlotState`` for each bar.
    """

    bars: BarTable
    tickers: Sequence[str]
    grid: SlotGrid
    state: NDArray[Any]

    def build_column(self, name: str) -> "NDArray[Any] | _Texts":
        """A column of the frame: numbers, ``datetime64`` in microseconds (UTC) or in days, or texts."""
        bars = self.bars
        row, ordinal = self._places
        if name in VALUES:
            return bars.values[name]
        if name in MOMENTS:
            return np.ascontiguousarray(getattr(bars, name))
        if name in ("timestamp", "slot_end"):
            of_slots = self.grid.starts if name == "timestamp" else self.grid.ends
            return (of_slots * _MICROSECONDS)[ordinal].view("datetime64[us]")
        if name == "session":
            days = np.array([session.day for session in self.grid.sessions], "datetime64[D]")
            return days[self.grid.session_index[ordinal]]
        if name == "symbol":
            return _Texts(row, tuple(self.tickers))
        if name == "state":
            return _Texts(self.state, _STATES)
        found = [origin[("source", "source_interval").index(name)] for origin in bars.origins]
        texts = sorted({text for text in found if text is not None})
        codes = [-1 if text is None else texts.index(text) for text in found]
        return _Texts(np.array([*codes, -1], np.int64)[bars.origin], tuple(texts))

    @cached_property
    def _places(self) -> tuple[Int64, Int64]:
        return self.grid.split_slot_keys(self.bars.slot_key)


class _Texts:
    """Few different texts for many bars: positions in ``texts``, −1 for null."""

    def __init__(self, codes: NDArray[Any], texts: tuple[str, ...]) -> None:
        kinds: tuple[Any, ...] = (np.int8, np.int16, np.int32)
        self.codes: NDArray[Any] = codes.astype(next(kind for kind in kinds if len(texts) <= np.iinfo(kind).max))
        self.texts = texts


def fill_grid(bars: BarTable, slot_key: Int64) -> BarTable:
    """A row for each of ``slot_key`` (ascending, with those of ``bars``), with nulls where there is no bar."""
    place = np.searchsorted(slot_key, bars.slot_key)

    def spread(values: NDArray[Any], null: Any) -> NDArray[Any]:
        filled = np.full(len(slot_key), null, values.dtype)
        filled[place] = values
        return filled

    nulls = {np.dtype(np.int64): NO_VOLUME, np.dtype(np.float64): np.nan}
    return BarTable(
        slot_key=slot_key,
        values={name: spread(values, nulls[values.dtype]) for name, values in bars.values.items()},
        origin=spread(bars.origin, NO_ORIGIN),
        origins=bars.origins,
        source_rows=spread(bars.source_rows, 0),
        is_provisional=spread(bars.is_provisional, False),
        first_known=spread(bars.first_known, np.datetime64("NaT")),
        revised=spread(bars.revised, np.datetime64("NaT")),
        duplicates=bars.duplicates,
        outside=bars.outside,
    )


def build_frame(content: FrameBars, columns: Sequence[str] = COLUMNS, format: str = "pandas") -> Any:  # noqa: A002
    """A frame with a row for each bar.

    Args:
        content: the bars.
        columns: those of ``COLUMNS`` that the frame has, in its order.
        format: ``pandas``, ``polars`` or ``arrow``.

    Returns:
        A ``pandas.DataFrame``: moments are ``datetime64[us, UTC]``, ``session`` is ``datetime64[s]`` without a zone,
        prices ``float64``, ``volume`` ``Int64``, or ``float64`` if it is adjusted or the store's column has decimals,
        and text is ``category``. Or a ``pyarrow.Table`` or ``polars.DataFrame``: ``session`` is a date there, text a
        dictionary or ``Categorical``.

    Raises:
        UsageError: polars is not installed, or an unknown format.
    """
    if format == "pandas":
        return _build_pandas(content, columns)
    if format not in ("arrow", "polars"):
        raise UsageError(f"unknown format {format[:20]!r}; use one of pandas, polars, arrow")
    polars = load_polars() if format == "polars" else None
    table = _build_arrow(content, columns)
    return polars.from_arrow(table) if polars else table


def load_polars() -> Any:
    """The module polars.

    Raises:
        UsageError: it is not installed.
    """
    try:
        import polars
    except ImportError:
        raise UsageError(
            "the format polars needs the package polars, which is not installed; install it:"
            " pip install 'backfill_assets[polars]', or use the format pandas or arrow"
        ) from None
    return polars


def _build_pandas(content: FrameBars, columns: Sequence[str]) -> Any:
    """From arrays and not from Arrow, whose zero-copy columns cannot be written to."""
    import pandas as pd

    def convert(values: NDArray[Any] | _Texts) -> Any:
        if isinstance(values, _Texts):
            return pd.Categorical.from_codes(values.codes, dtype=pd.CategoricalDtype(list(values.texts)))
        if values.dtype == np.int64:
            return pd.arrays.IntegerArray(values, values == NO_VOLUME)
        if values.dtype == "datetime64[us]":
            return pd.array(values, dtype=pd.DatetimeTZDtype("us", "UTC"), copy=False)
        return values.astype("datetime64[s]") if values.dtype == "datetime64[D]" else values

    return pd.DataFrame({name: convert(content.build_column(name)) for name in columns}, copy=False)


def _build_arrow(content: FrameBars, columns: Sequence[str]) -> Any:
    import pyarrow as pa

    def convert(values: NDArray[Any] | _Texts) -> Any:
        if isinstance(values, _Texts):
            codes = pa.array(values.codes, mask=_find_mask(np.less(values.codes, 0)))
            return pa.DictionaryArray.from_arrays(codes, pa.array(values.texts, pa.string()))
        if values.dtype == "datetime64[us]":
            moments = pa.array(values.view(np.int64), mask=_find_mask(np.isnat(values)))
            return moments.view(pa.timestamp("us", "UTC"))
        if values.dtype == "datetime64[D]":
            return pa.array(values)
        is_null = np.isnan(values) if values.dtype == np.float64 else values == NO_VOLUME
        return pa.array(values, mask=_find_mask(is_null))

    return pa.table({name: convert(content.build_column(name)) for name in columns})


def _find_mask(is_null: Bools) -> Bools | None:
    """None if nothing is null: with a mask, a column is copied."""
    return is_null if is_null.any() else None
