"""Makes a frame and its health of daily rows: the state of each session, what is returned, and by what it is adjusted.

Which arguments there are is in ``daily``, what a read accepts in ``requirements``. Each session is one slot.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backfill_assets.market.actions.adjustment import Adjustment
from backfill_assets.market.arrays import Bools
from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.market.calendar.tickers import Symbol
from backfill_assets.market.daily_prices import SETTLED_AFTER
from backfill_assets.market.gaps.slot_states import SlotState
from backfill_assets.reading.frames import FrameBars, build_frame, fill_grid
from backfill_assets.reading.health import ReadHealth
from backfill_assets.reading.market_notes import describe_market
from backfill_assets.reading.problems import OddSlots
from backfill_assets.reading.request import ReadRequest
from backfill_assets.reading.window import ReadWindow
from backfill_assets.store.bars.bar_factors import read_bar_factors
from backfill_assets.store.bars.bar_stream import NO_VOLUME, PRICES
from backfill_assets.store.bars.bar_table import NO_ORIGIN, BarTable
from backfill_assets.store.evidence.daily_series import DailySeries
from backfill_assets.store.postgres.connection import Connection
from backfill_assets.store.price_units import SymbolUnit

_VALUES = (*PRICES, "volume")
_REQUESTED = (SlotState.PENDING, SlotState.PROVISIONAL, SlotState.MISSING)
_MICROSECONDS = 1_000_000


@dataclass(frozen=True, eq=False)
class DailyReading:
    """What was read for the symbols of a frame, in its order, and the moment that states refer to.

    Symbols that were ``dropped`` are no part of the series.
    """

    request: ReadRequest
    window: ReadWindow
    symbols: tuple[Symbol, ...]
    series: DailySeries
    now: datetime
    units: tuple[SymbolUnit, ...] = ()
    dropped: tuple[str, ...] = ()

    @property
    def grid(self) -> SlotGrid:
        """The sessions, one slot each."""
        return self.window.grid

    def drop(self, rows: Sequence[int]) -> "DailyReading":
        """The same without some symbols."""
        kept = [row for row in range(len(self.symbols)) if row not in set(rows)]
        return replace(
            self,
            symbols=tuple(self.symbols[row] for row in kept),
            series=self.series.select(kept),
            dropped=tuple(str(self.symbols[row].ticker) for row in rows),
        )

    @cached_property
    def states(self) -> NDArray[np.int8]:
        """The state of every cell, shape (symbols, sessions), whether it is listed or not."""
        series = self.series
        is_quiet = series.is_without_trade & (series.is_settled | ~series.has_row)
        is_answered = series.is_answered | series.is_settled
        is_over = np.broadcast_to(self._settled_at <= self.now.timestamp(), series.close.shape)
        has_no_close = np.isnan(series.close)
        states = np.select(
            [
                is_quiet,
                has_no_close & is_over & is_answered,
                has_no_close & is_over,
                has_no_close,
                series.is_unclear,
                series.is_settled,
            ],
            [
                SlotState.NO_TRADE,
                SlotState.VENDOR_GAP,
                SlotState.MISSING,
                SlotState.PENDING,
                SlotState.SUSPECT,
                SlotState.PRESENT,
            ],
            SlotState.PROVISIONAL,
        )
        return states.astype(np.int8)

    @cached_property
    def odd_slots(self) -> OddSlots:
        """The expected cells that are not present."""
        key = np.flatnonzero(self.series.is_listed & (self.states != SlotState.PRESENT))
        state = self.states.ravel()[key]
        settled_at = self._settled_at[self.grid.split_slot_keys(key)[1]]
        return OddSlots(
            slot_key=key,
            state=state,
            is_explained=np.isin(state, (SlotState.NO_TRADE, SlotState.VENDOR_GAP)),
            is_overdue=settled_at <= self.now.timestamp(),
            next_request_at=np.where(np.isin(state, _REQUESTED), settled_at, np.inf),
        )

    @property
    def _settled_at(self) -> Any:
        return self.grid.ends + SETTLED_AFTER.total_seconds()

    def build_health(self) -> ReadHealth:
        """What was found."""
        counts = (self.states[:, :, None] == np.arange(len(SlotState))) & self.series.is_listed[:, :, None]
        explained = np.zeros(self.states.size, np.int64)
        explained[self.odd_slots.slot_key[self.odd_slots.is_explained]] = 1
        return ReadHealth(
            symbols=tuple(str(symbol.ticker) for symbol in self.symbols),
            sessions=tuple(session.day for session in self.grid.sessions),
            counts=counts.astype(np.int64),
            explained_counts=explained.reshape(self.states.shape),
            is_listed=self.series.is_listed,
            measured_at=self.now,
            grid=self.grid,
            odd_slots=self.odd_slots,
            dropped=self.dropped,
            assumed=self._count_assumed(),
            not_public=self.window.not_public * len(self.symbols),
            notes=(*self._list_notes(), *describe_market(self.request.market, self.units)),
            exchange=self.request.exchange,
            is_experimental=self.request.market.is_experimental,
            currency=self.request.market.currency,
            price_unit=self.request.market.price_unit,
            units=self.units,
        )

    def build_frame(self, connection: Connection) -> Any:
        """The rows, adjusted as asked for.

        Raises:
            MissingFactor: one of them needs a factor that is not known.
        """
        rows = self._build_rows(connection)
        if self.request.grid:
            rows = fill_grid(rows, np.flatnonzero(self.series.is_listed))
        names = [str(symbol.ticker) for symbol in self.symbols]
        content = _DailyFrame(rows, names, self.grid, self.states.ravel()[rows.slot_key])
        return build_frame(content, self.request.columns, self.request.format)

    def _build_rows(self, connection: Connection) -> BarTable:
        key, request = np.flatnonzero(self._is_row), self.request
        values: dict[str, NDArray[Any]] = {name: getattr(self.series, name).ravel()[key] for name in _VALUES}
        if request.adjustment is Adjustment.NONE:
            volume = values["volume"]
            values["volume"] = np.where(np.isnan(volume), NO_VOLUME, np.round(volume)).astype(np.int64)
        else:
            factors = read_bar_factors(connection, self.symbols, request.adjustment, request.point_in_time)
            values = factors.adjust(connection, values, key, self.grid)
        count, read_at = len(key), self.series.read_at.ravel()[key]
        no_moment = np.full(count, np.datetime64("NaT", "us"))
        moments = (np.nan_to_num(read_at) * _MICROSECONDS).astype(np.int64).view("datetime64[us]")
        return BarTable(
            slot_key=key,
            values=values,
            origin=np.full(count, NO_ORIGIN, np.int16),
            origins=(),
            source_rows=np.zeros(count, np.int16),
            is_provisional=np.zeros(count, bool),
            first_known=np.where(np.isnan(read_at), no_moment, moments),
            revised=no_moment,
        )

    @cached_property
    def _is_row(self) -> Bools:
        """Where there are figures to return, shape (symbols, sessions)."""
        returned = [
            SlotState.PRESENT,
            SlotState.SUSPECT,
            *([SlotState.PROVISIONAL] if self.request.provisional else []),
        ]
        is_row: Bools = np.isin(self.states, returned) & self.series.is_listed
        return is_row

    def _count_assumed(self) -> int:
        if self.request.point_in_time is None:
            return 0
        return int((self._is_row & ~(self.series.read_at <= self.request.point_in_time.timestamp())).sum())

    def _list_notes(self) -> tuple[str, ...]:
        unknown = int((self._is_row & np.isnan(self.series.volume)).sum())
        if not unknown:
            return ()
        return (f"{unknown:,} volumes are null: the vendor gave none, or the splits since are not known",)


class _DailyFrame(FrameBars):
    """Daily rows: when the store first knew one is not recorded, only when it was read last."""

    def build_column(self, name: str) -> Any:
        return super().build_column("first_known" if name == "read_at" else name)
