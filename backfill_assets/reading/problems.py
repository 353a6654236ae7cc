"""What is wrong with the slots of a read, by symbol and session. Values only; ``health`` and ``errors`` show them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, overload
from zoneinfo import ZoneInfo

import numpy as np

from backfill_assets.market.arrays import Bools, Floats, Int8, Int64
from backfill_assets.market.calendar.intervals import DEFAULT_INTERVAL, INTERVALS
from backfill_assets.market.calendar.moment_style import name_city
from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.market.calendar.tickers import shorten_ticker
from backfill_assets.market.calendar.timestamps import to_datetime
from backfill_assets.market.exchanges.registry import DEFAULT_EXCHANGE
from backfill_assets.market.gaps.slot_states import SlotState

_MAX_SHOWN_SLOTS = 3
_ACCEPTED_BY = {SlotState.UNVERIFIED: "unverified=True", SlotState.PROVISIONAL: "provisional=True"}
_EXPLAINED = 'require="explained"'


@dataclass(frozen=True, eq=False)
class OddSlots:
    """The expected slots of a read that are not simply present: parallel arrays of the shape (slots,).

    Attributes:
        slot_key: of each slot, by the symbols of the read, ascending.
        state: a ``SlotState`` each.
        is_explained: whether nothing is left to find out: no trade, a vendor gap, or a bar whose doubt stands.
        is_overdue: whether a final bar should be there by now.
        next_request_at: epoch seconds from when it is requested, ∞ where no request helps.
    """

    slot_key: Int64
    state: Int8
    is_explained: Bools
    is_overdue: Bools
    next_request_at: Floats

    def select(self, chosen: Any) -> "OddSlots":
        """Some of them, in this order."""
        return OddSlots(
            self.slot_key[chosen],
            self.state[chosen],
            self.is_explained[chosen],
            self.is_overdue[chosen],
            self.next_request_at[chosen],
        )


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with one session of one symbol.

    Attributes:
        symbol: the ticker, as ``AAPL.US``.
        session: its date.
        state: the state of the slots (docs/states.md), in small letters.
        slots: where each of them starts, UTC, ascending.
        accepted_by: the argument with which a read accepts them; empty if only ``require="any"`` does.
        interval: of the slots.
        zone: of the times in the text: UTC for the US, else the exchange's.
    """

    symbol: str
    session: date
    state: str
    slots: tuple[datetime, ...]
    accepted_by: str = ""
    interval: str = DEFAULT_INTERVAL
    zone: ZoneInfo | None = None

    @property
    def command(self) -> str:
        """The command that says why."""
        is_other = self.interval in INTERVALS and self.interval != DEFAULT_INTERVAL  # it shows the daily row with any
        option = f" --interval {self.interval}" if is_other else ""
        return f"backfill-assets why {shorten_ticker(self.symbol)} {self.session}{option}"

    def __str__(self) -> str:
        shown = ", ".join(f"{slot.astimezone(self.zone or UTC):%H:%M}" for slot in self.slots[:_MAX_SHOWN_SLOTS])
        where = f"in {name_city(self.zone)}" if self.zone else "UTC"
        more = f" and {len(self.slots) - _MAX_SHOWN_SLOTS} more" if len(self.slots) > _MAX_SHOWN_SLOTS else ""
        noun = "slot" if len(self.slots) == 1 else "slots"
        return (
            f"{self.symbol} {self.session}: {len(self.slots)} {noun} {self.state} ({shown}{more} {where});"
            f" {self.command}"
        )


class Problems(Sequence[Problem]):
    """What is wrong, by symbol, session and state; the sessions with most slots first.

    Each is made when it is looked at: a year of 500 symbols without a bar has 126,000 of them.
    """

    def __init__(self, odd: OddSlots, symbols: Sequence[str], grid: SlotGrid) -> None:
        """``odd`` are slots that are wrong, all of them; ``symbols`` are those of their keys."""
        row, self._ordinal = grid.split_slot_keys(odd.slot_key)
        self._row, self._odd, self._symbols, self._grid = row, odd, symbols, grid
        session = grid.session_index[self._ordinal]
        group = (row * max(1, len(grid.sessions)) + session) * len(SlotState) + odd.state
        self._order = np.argsort(group, kind="stable")
        begins = np.flatnonzero(np.diff(group[self._order], prepend=-1))
        sizes = np.diff(begins, append=len(group))
        worst = np.argsort(-sizes, kind="stable")
        self._begins, self._sizes = begins[worst], sizes[worst]

    def __len__(self) -> int:
        return len(self._begins)

    @overload
    def __getitem__(self, position: int) -> Problem: ...
    @overload
    def __getitem__(self, position: slice) -> Sequence[Problem]: ...
    def __getitem__(self, position: int | slice) -> Problem | Sequence[Problem]:
        if isinstance(position, slice):
            return [self[at] for at in range(*position.indices(len(self)))]
        begin, size = self._begins[position], self._sizes[position]
        slots = self._order[begin : begin + size]
        ordinal, state = self._ordinal[slots], SlotState(int(self._odd.state[slots[0]]))
        explained = _EXPLAINED if bool(self._odd.is_explained[slots].all()) else ""
        session = self._grid.sessions[self._grid.session_index[ordinal[0]]]
        return Problem(
            symbol=self._symbols[self._row[slots[0]]],
            session=session.day,
            state=state.name.lower(),
            slots=tuple(to_datetime(start) for start in self._grid.starts[ordinal].tolist()),
            accepted_by=_ACCEPTED_BY.get(state, explained),
            interval=self._grid.interval.name,
            zone=None if session.exchange == DEFAULT_EXCHANGE else session.market.zone,
        )
