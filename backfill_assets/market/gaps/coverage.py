"""The result of comparing what a store holds with a grid: the state of every slot of every symbol.

A value without I/O. ``store.coverage`` measures it, ``slot_states`` decides the states.
"""

from dataclasses import dataclass, field
from datetime import datetime

import numpy as np

from backfill_assets.market.arrays import Bools, Floats, Int64
from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.market.calendar.tickers import Symbol
from backfill_assets.market.equal_runs import find_run_starts
from backfill_assets.market.gaps.evidence import AbsenceEvidence, RequestHistory
from backfill_assets.market.gaps.slot_states import OpenSlots, SlotState, SlotStates


@dataclass(frozen=True, eq=False)
class ExternalBars:
    """Bars that another program wrote, as parallel arrays.

    Attributes:
        slot_key: the key of each bar's slot in a grid (see ``SlotGrid.get_slot_keys``), ascending.
        fingerprint: a hash of the values stored when the bar was read.
    """

    slot_key: Int64
    fingerprint: Int64

    @classmethod
    def create_empty(cls) -> "ExternalBars":
        """No external bars, or none were read."""
        return cls(np.zeros(0, np.int64), np.zeros(0, np.int64))


@dataclass(frozen=True, eq=False)
class Coverage:
    """The state of every slot of a window, for every symbol of a universe, as of ``now``.

    A symbol's *row* is its position in ``symbols``.

    Attributes:
        symbols: the universe.
        grid: the slots of the window.
        now: the moment that the states refer to.
        expected: slots within each symbol's listing life, shape (symbols,).
        counts: expected slots per symbol and ``SlotState``, shape (symbols, states).
        missing: ``estimated_missing_bars`` per symbol: missing slots, and overdue ones with a provisional bar.
        first_bar_at: epoch seconds of each symbol's first bar in the window, −1 without one.
        last_bar_at: epoch seconds of each symbol's last bar in the window, −1 without one.
        open_slots: the expected slots without a trusted final bar.
        slot_states: the state of each open slot.
        request_history: past requests. Complete for symbols with open slots, else of the newest sessions only.
        absence_evidence: what else explains absence. ``published_sessions``, ``incomplete_sessions`` and ``traded``
            are filled only for symbols with open slots.
        duplicates: slots that have a bar under both spellings of the interval.
        askable_at: from when a request may return bars of each session.
        overdue_at: from when absent bars of each session count as missing, all of them, at the latest.
        external_bars: bars that another program wrote, if the caller requested them.
        slot_askable_at: the same as ``askable_at`` of each slot, epoch seconds, shape (slots,); None: as its session.
        slot_overdue_at: the same as ``overdue_at``.
    """

    symbols: tuple[Symbol, ...]
    grid: SlotGrid
    now: datetime
    expected: Int64
    counts: Int64
    missing: Int64
    first_bar_at: Int64
    last_bar_at: Int64
    open_slots: OpenSlots
    slot_states: SlotStates
    request_history: RequestHistory
    absence_evidence: AbsenceEvidence
    duplicates: int
    askable_at: tuple[datetime, ...]
    overdue_at: tuple[datetime, ...]
    external_bars: ExternalBars = field(default_factory=ExternalBars.create_empty)
    slot_askable_at: Floats | None = None
    slot_overdue_at: Floats | None = None

    @property
    def is_session_askable(self) -> Bools:
        """Whether a request may return bars of each session by ``now``, shape (sessions,)."""
        return np.array([at <= self.now for at in self.askable_at], bool)

    @property
    def is_session_overdue(self) -> Bools:
        """Whether absent bars of each session count as missing for every symbol by ``now``, shape (sessions,)."""
        return np.array([at <= self.now for at in self.overdue_at], bool)

    @property
    def is_slot_askable(self) -> Bools:
        """Whether a request may return the bar of each slot by ``now``, shape (slots,)."""
        if self.slot_askable_at is None:
            return self.is_session_askable[self.grid.session_index]
        askable: Bools = self.slot_askable_at <= self.now.timestamp()
        return askable

    @property
    def is_slot_overdue(self) -> Bools:
        """Whether the absence of each slot's bar counts for every symbol by ``now``, shape (slots,)."""
        if self.slot_overdue_at is None:
            return self.is_session_overdue[self.grid.session_index]
        overdue: Bools = self.slot_overdue_at <= self.now.timestamp()
        return overdue

    @property
    def unserved_symbols(self) -> tuple[Symbol, ...]:
        """The symbols that the vendor does not serve: requested weekly, and not judged by the criteria."""
        return tuple(self.symbols[row] for row in np.flatnonzero(self.absence_evidence.is_unserved).tolist())

    def count_slots(self, state: SlotState) -> int:
        """How many slots of all symbols are in ``state``."""
        return int(self.counts[:, state].sum())

    def has_state(self, *states: SlotState) -> Bools:
        """Whether each open slot is in one of ``states``, shape (open slots,)."""
        return np.isin(self.slot_states.state, states)

    def count_by_session(self, selected: Bools) -> Int64:
        """How many of the selected open slots each symbol has in each session, shape (symbols, sessions).

        ``selected`` has the shape (open slots,), for example ``has_state(SlotState.MISSING)``. Present and unverified
        slots are not open, so they cannot be counted by session.
        """
        shape = (len(self.symbols), len(self.grid.sessions))
        session = self.grid.session_index[self.open_slots.ordinal[selected]]
        cell = self.open_slots.row[selected] * shape[1] + session
        return np.bincount(cell, minlength=shape[0] * shape[1]).reshape(shape)

    def find_newest_final(self) -> Int64:
        """Epoch seconds of each symbol's newest final bar, −1 without one."""
        slots, newest = self.open_slots, self.last_bar_at.copy()
        last_ordinals = self.grid.find_ordinals(newest)
        has_provisional = np.isin(slots.row, slots.row[slots.stored_state == SlotState.PROVISIONAL])
        not_final = np.flatnonzero(has_provisional & (slots.stored_state != SlotState.SUSPECT))
        not_final = not_final[np.argsort(slots.row[not_final], kind="stable")]
        for of_row in np.split(not_final, find_run_starts(slots.row[not_final])[1:]) if len(not_final) else ():
            row = slots.row[of_row[0]]
            final = np.setdiff1d(np.arange(last_ordinals[row] + 1), slots.ordinal[of_row])
            newest[row] = self.grid.starts[final[-1]] if len(final) else -1
        return newest

    def find_newest_missing(self) -> Int64:
        """Epoch seconds of each symbol's newest missing slot, −1 without one."""
        newest = np.full(len(self.symbols), -1, np.int64)
        is_missing = self.has_state(SlotState.MISSING)
        np.maximum.at(newest, self.open_slots.row[is_missing], self.grid.starts[self.open_slots.ordinal[is_missing]])
        return newest

    def find_oldest_missing(self) -> int:
        """Epoch seconds of the oldest slot of any symbol that counts in ``missing``, −1 without one."""
        states = self.slot_states
        counts = self.has_state(SlotState.MISSING) | (states.overdue & self.has_state(SlotState.PROVISIONAL))
        return int(self.grid.starts[self.open_slots.ordinal[counts].min()]) if counts.any() else -1

    def find_newest_overdue(self) -> int:
        """Epoch seconds of the newest slot whose absence counts for every symbol, −1 without one."""
        overdue_starts = self.grid.starts[self.is_slot_overdue]
        return int(overdue_starts[-1]) if len(overdue_starts) else -1
