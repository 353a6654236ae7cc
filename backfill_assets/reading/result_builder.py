"""Makes the frame of a read, and its health, of what was read."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from backfill_assets.market.arrays import Bools, Int64
from backfill_assets.market.gaps.slot_states import SlotState
from backfill_assets.quality.state_counts import count_states_by_session
from backfill_assets.reading.frames import FrameBars, build_frame, fill_grid
from backfill_assets.reading.health import ReadHealth
from backfill_assets.reading.market_notes import describe_market
from backfill_assets.reading.problems import OddSlots
from backfill_assets.reading.request import OnIncomplete
from backfill_assets.reading.requirements import find_refused, raise_refused
from backfill_assets.reading.results import BarsResult
from backfill_assets.reading.slot_reading import SlotReading
from backfill_assets.store.bars.bar_table import BarTable
from backfill_assets.store.bars.read_slots import is_in_ascending
from backfill_assets.store.certificate_values import CertificateKind
from backfill_assets.store.postgres.connection import Connection

_NOTE_OF_KNOWN_AT = "states are those of the bars that were known then, by the evidence that is known now"


def build_result(connection: Connection, reading: SlotReading) -> BarsResult:
    """The frame and its health.

    Args:
        connection: the one that ``reading`` was read with, to say which factor is missing.
        reading: what was read.

    Raises:
        IncompleteBars: slots are not as required.
        PendingSessions: the same, and all of them only wait for the vendor.
        MissingFactor: a bar of the frame needs a factor that is not known.
    """
    builder, request = _Builder(reading), reading.request
    refusal = find_refused(builder.odd_slots, request)
    refused = refusal.find_rows(reading.grid)
    everything = np.arange(len(reading.series.asked))
    kept = np.setdiff1d(everything, refused)
    if len(refused) and (request.on_incomplete is OnIncomplete.RAISE or not len(kept)):
        raise_refused(refusal, builder.build_health(everything), request)
    bars = builder.select_bars(connection, kept)
    health = replace(builder.build_health(kept), **builder.count_left_out(bars))
    if request.grid:
        bars = fill_grid(bars, builder.list_expected(kept))
    names = [str(symbol.ticker) for symbol in reading.series.asked]
    content = FrameBars(bars, names, reading.grid, builder.find_states(bars.slot_key))
    frame = build_frame(content, request.columns, request.format)
    return BarsResult(frame, health, builder.choose_certificates(kept))


@dataclass(frozen=True, eq=False)
class _Builder:
    reading: SlotReading

    @cached_property
    def is_listed(self) -> Bools:
        """Whether each symbol of the read is listed in each session, shape (symbols, sessions)."""
        owner = self.reading.series.owner
        listed = self.reading.coverage.absence_evidence.is_listed
        is_listed: Bools = (owner >= 0) & np.take_along_axis(listed, np.maximum(owner, 0), axis=0)
        return is_listed

    @cached_property
    def odd_slots(self) -> OddSlots:
        """The expected slots of the window that are not present, by the symbols of the read."""
        reading, grid, coverage = self.reading, self.reading.grid, self.reading.coverage
        slots, states = coverage.open_slots, coverage.slot_states
        open_key = grid.get_slot_keys(slots.row, slots.ordinal)
        external = self._list_closed_external(np.sort(open_key))
        count = len(external)
        odd = OddSlots(
            slot_key=np.concatenate([open_key, external]),
            state=np.concatenate([states.state, np.full(count, SlotState.UNVERIFIED, np.int8)]),
            is_explained=np.concatenate([reading.is_explained, np.zeros(count, bool)]),
            is_overdue=np.concatenate([states.overdue, np.zeros(count, bool)]),
            next_request_at=np.concatenate([states.next_request_at, np.full(count, np.inf)]),
        )
        is_odd = (odd.state != SlotState.PRESENT) & reading.window.holds(grid.split_slot_keys(odd.slot_key)[1])
        chosen = np.flatnonzero(is_odd)
        odd = odd.select(chosen[np.argsort(odd.slot_key[chosen], kind="stable")])
        position, key = reading.series.find_slots(odd.slot_key, grid)
        return replace(odd.select(position), slot_key=key)

    def _list_closed_external(self, open_key: Int64) -> Int64:
        """The slots with an external bar that are expected and have no other state; ``open_key`` is ascending."""
        coverage, grid = self.reading.coverage, self.reading.grid
        external = coverage.external_bars.slot_key
        row, ordinal = grid.split_slot_keys(external)
        is_expected = coverage.absence_evidence.is_listed[row, grid.session_index[ordinal]]
        return external[is_expected & ~is_in_ascending(external, open_key)]

    def build_health(self, kept: Int64) -> ReadHealth:
        """The health of some of the symbols (positions, ascending); the others were dropped."""
        reading, grid = self.reading, self.reading.grid
        names = [str(symbol.ticker) for symbol in reading.series.asked]
        new_row = np.full(len(names), -1)
        new_row[kept] = np.arange(len(kept))
        row, ordinal = grid.split_slot_keys(self.odd_slots.slot_key)
        is_kept = new_row[row] >= 0
        odd = self.odd_slots.select(is_kept)
        odd = replace(odd, slot_key=grid.get_slot_keys(new_row[row[is_kept]], ordinal[is_kept]))
        market = reading.request.market
        return ReadHealth(
            symbols=tuple(names[position] for position in kept.tolist()),
            sessions=tuple(session.day for session in grid.sessions),
            counts=self._count_states(kept),
            explained_counts=self._count_explained(odd, len(kept)),
            is_listed=self.is_listed[kept],
            measured_at=reading.coverage.now,
            grid=grid,
            odd_slots=odd,
            dropped=tuple(name for position, name in enumerate(names) if new_row[position] < 0),
            stored_under=reading.series.list_stored_under(grid),
            off_grid=reading.bars.outside,
            not_public=reading.window.not_public * len(kept),
            external_left_out=reading.external_left_out,
            unknown_before=reading.unknown_before,
            notes=(
                *(() if reading.request.known_at is None else (_NOTE_OF_KNOWN_AT,)),
                *describe_market(market, reading.units),
            ),
            exchange=market.exchange,
            is_experimental=market.is_experimental,
            currency=market.currency,
            price_unit=market.price_unit,
            units=reading.units,
        )

    def _count_states(self, kept: Int64) -> Int64:
        window, owner = self.reading.window, self.reading.series.owner[kept]
        counts = count_states_by_session(self.reading.coverage, window.first, window.after)
        of_owner = counts[np.maximum(owner, 0), np.arange(len(window.grid.sessions))]
        expected: Int64 = np.where((owner >= 0)[:, :, None], of_owner, 0)
        return expected

    def _count_explained(self, odd: OddSlots, symbol_count: int) -> Int64:
        grid = self.reading.grid
        row, ordinal = grid.split_slot_keys(odd.slot_key[odd.is_explained])
        shape = (symbol_count, len(grid.sessions))
        cell = row * shape[1] + grid.session_index[ordinal]
        return np.bincount(cell, minlength=shape[0] * shape[1]).reshape(shape)

    def select_bars(self, connection: Connection, kept: Int64) -> BarTable:
        """The bars of the frame, by the symbols of the read, and adjusted.

        Raises:
            MissingFactor: one of them needs a factor that is not known; of those that are left out, none is needed.
        """
        reading, grid = self.reading, self.reading.grid
        position, key = reading.series.find_slots(reading.bars.slot_key, grid)
        chosen = self._is_expected(key, kept)
        if not reading.request.provisional:
            chosen &= self.find_states(key) != SlotState.PROVISIONAL
        bars = reading.bars
        if reading.factors is not None:
            is_needed = np.zeros(len(bars), bool)
            is_needed[position[chosen]] = True
            adjusted = reading.factors.adjust(connection, bars.values, bars.slot_key, grid, is_needed)
            bars = replace(bars, values=adjusted)
        if chosen.all() and reading.series.parts is None:
            return bars
        return bars.select(position[chosen], key[chosen])

    def _is_expected(self, key: Int64, kept: Int64) -> Any:
        """Whether each slot lies in the window and in the listing of a symbol that is kept."""
        grid = self.reading.grid
        row, ordinal = grid.split_slot_keys(key)
        is_kept = np.zeros(len(self.is_listed), bool)
        is_kept[kept] = True
        listed = self.is_listed & is_kept[:, None]
        return self.reading.window.holds(ordinal) & listed[row, grid.session_index[ordinal]]

    def find_states(self, key: Int64) -> Any:
        """The ``SlotState`` of each slot, by ascending keys."""
        odd = self.odd_slots
        state = np.full(len(key), SlotState.PRESENT, np.int8)
        place = np.searchsorted(key, odd.slot_key)  # few odd slots among many keys
        is_there = is_in_ascending(odd.slot_key, key)
        state[place[is_there]] = odd.state[is_there]
        return state

    def list_expected(self, kept: Int64) -> Int64:
        """The keys of all slots of the frame with a row for each."""
        window, grid = self.reading.window, self.reading.grid
        ordinal = np.arange(window.first, window.after)
        listed = self.is_listed[kept][:, grid.session_index[ordinal]]
        key: Int64 = (kept[:, None] * grid.size + ordinal)[listed]
        return key

    def count_left_out(self, bars: BarTable) -> dict[str, Any]:
        """What the health says of bars that are assumed, or not in the frame."""
        reading, point_in_time = self.reading, self.reading.request.point_in_time
        _, key = reading.series.find_slots(reading.bars.slot_key, reading.grid)
        row, ordinal = reading.grid.split_slot_keys(key)
        in_window = reading.window.holds(ordinal)
        not_listed = in_window & ~self.is_listed[row, reading.grid.session_index[ordinal]]
        assumed = 0
        if point_in_time is not None:
            # Also a bar of which nobody knows when it came.
            moment = np.datetime64(point_in_time.replace(tzinfo=None), "us")
            assumed = len(bars) - int((bars.first_known <= moment).sum())
        return {"outside_listing": int(not_listed.sum()), "assumed": assumed}

    def choose_certificates(self, kept: Int64) -> tuple[int, ...]:
        """The certificates that the bars rest on: of each session the one about all its symbols, else all there are.

        One does not count for a symbol whose session is not complete any more, or has other programs' bars since.
        """
        reading = self.reading
        owner = np.where(self.is_listed, reading.series.owner, -1)[kept]
        ids = np.array([symbol.symbol_id for symbol in reading.series.stored], np.int64)
        is_lacking, is_external = self._find_changed_since()
        chosen: set[int] = set()
        for position, session in enumerate(reading.grid.sessions):
            needed = frozenset(ids[owner[:, position][owner[:, position] >= 0]].tolist())
            lacking = frozenset(ids[is_lacking[:, position]].tolist())
            external = frozenset(ids[is_external[:, position]].tolist())
            found = []
            for one in reading.certificates:
                if one.session_day == session.day:
                    covered = one.covered - lacking
                    if one.kind is not CertificateKind.UNVERIFIED:
                        covered -= external
                    if covered & needed:
                        found.append((one.certificate_id, covered >= needed))
            whole = [certificate_id for certificate_id, is_whole in found if is_whole]
            chosen.update(whole[-1:] or [certificate_id for certificate_id, _ in found])
        return tuple(sorted(chosen))

    def _find_changed_since(self) -> tuple[Bools, Bools]:
        """Where no certificate would be written now, and where bars are other programs'; shape (stored, sessions)."""
        reading = self.reading
        is_lacking = reading.coverage.count_by_session(~reading.is_explained) > 0
        is_external = count_states_by_session(reading.coverage)[:, :, SlotState.UNVERIFIED] > 0
        return is_lacking, is_external
