"""Expected bars: a window's sessions, cut into slots of one interval on the clock of their market.

``SlotGrid`` is the only table of expected slots. Everything that counts, compares or requests slots uses it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from backfill_assets.market.arrays import Bools, Int64
from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.calendar.sessions import Session
from backfill_assets.market.calendar.timestamps import to_datetime, to_epoch_seconds

_NONE = np.zeros(0, np.int64)
SHORTEST_GRID_SECONDS = 300  # rows of 5m lie on the clock's grid of five minutes, wherever a session opens


@dataclass(frozen=True, eq=False)
class SlotGrid:
    """The expected slots of some sessions at one interval, oldest first.

    An *ordinal* is a slot's position in ``starts``. A *row* is a symbol's position in the universe looked at. A
    *slot key* is one integer for a symbol and a slot: row × size + ordinal.

    Attributes:
        interval: the length of a slot; the last slot of a session or before a break may be shorter, and the first one
            where the session opens beside the clock's grid.
        sessions: the sessions, oldest first.
        starts: epoch seconds (UTC) of each slot's open, ascending, shape (slots,).
        ends: epoch seconds of each slot's end, never after its segment's close, shape (slots,).
        session_index: position in ``sessions`` of each slot's session, shape (slots,).
        session_offsets: ordinal of each session's first slot, then the number of slots, shape (sessions + 1,).
        pauses: epoch seconds from and until of what no row may lie in although it is between a session's first slot and
            its close: breaks, and the time until a session opens within its first slot; ascending, shape (pauses, 2).
    """

    interval: Interval
    sessions: tuple[Session, ...]
    starts: Int64
    ends: Int64
    session_index: Int64
    session_offsets: Int64
    pauses: Int64 = field(default_factory=lambda: np.zeros((0, 2), np.int64))

    @property
    def size(self) -> int:
        """How many slots are expected of one symbol."""
        return len(self.starts)

    @property
    def first_start(self) -> datetime:
        """The open of the first slot, in UTC. The grid must have a slot."""
        return to_datetime(int(self.starts[0]))

    @property
    def last_start(self) -> datetime:
        """The open of the last slot, in UTC. The grid must have a slot."""
        return to_datetime(int(self.starts[-1]))

    @property
    def is_around_the_clock(self) -> bool:
        """Whether the market never closes, so that times count from the end of each slot; false without sessions."""
        return bool(self.sessions) and self.sessions[0].market.is_around_the_clock

    @property
    def session_opens(self) -> Int64:
        """Epoch seconds of the start of each session's first slot, shape (sessions,)."""
        return self.starts[self.session_offsets[:-1]]

    @property
    def session_closes(self) -> Int64:
        """Epoch seconds of each session's close, shape (sessions,)."""
        return self.ends[self.session_offsets[1:] - 1]

    @property
    def session_days(self) -> NDArray[np.datetime64]:
        """Each session's day in the exchange's time zone, ``datetime64[D]``, shape (sessions,)."""
        return np.array([session.day for session in self.sessions], "datetime64[D]")

    @property
    def session_sizes(self) -> Int64:
        """How many slots each session has, shape (sessions,)."""
        return np.diff(self.session_offsets)

    def find_ordinals(self, stamps: Int64) -> Int64:
        """The ordinal of each stamp that is exactly a slot's open, −1 for the others."""
        position = np.searchsorted(self.starts, stamps)
        is_slot_open = np.zeros(len(stamps), bool)
        in_range = position < self.size
        is_slot_open[in_range] = self.starts[position[in_range]] == stamps[in_range]
        return np.where(is_slot_open, position, -1)

    def is_paused(self, stamps: Int64, seconds: int) -> Bools:
        """Whether rows of some length in seconds, by the stamps of their opens, lie wholly in one of the pauses."""
        if not len(self.pauses):
            return np.zeros(len(stamps), bool)
        position = np.searchsorted(self.pauses[:, 0], stamps, side="right") - 1
        is_inside: Bools = (position >= 0) & (stamps + seconds <= self.pauses[position, 1])
        return is_inside

    def count_paused_seconds(self, stamps: Int64) -> Int64:
        """How many seconds of pauses have passed at each moment, counted from the grid's start; shape of ``stamps``."""
        if not len(self.pauses):
            return np.zeros(len(stamps), np.int64)
        begins, ends = self.pauses.T
        passed = np.concatenate([_NONE, [0], np.cumsum(ends - begins)])
        position = np.searchsorted(begins, stamps, side="right")
        last_end = np.concatenate([_NONE, [0], ends])[position]
        seconds: Int64 = passed[position] - np.maximum(0, last_end - stamps) * (position > 0)
        return seconds

    def get_slot_keys(self, row: NDArray[Any], ordinal: NDArray[Any]) -> Int64:
        """The slot key of each pair of a symbol's row and an ordinal."""
        keys: Int64 = row * self.size + ordinal
        return keys

    def split_slot_keys(self, keys: Int64) -> tuple[Int64, Int64]:
        """The row and the ordinal of each slot key."""
        row, ordinal = np.divmod(keys, max(1, self.size))  # a grid without slots has no keys either
        return row, ordinal


def build_slot_grid(sessions: Sequence[Session], interval: Interval) -> SlotGrid:
    """Cut each segment of ``sessions`` (ascending) where the clock of its market begins another interval.

    The clock counts from the profile's ``grid_anchor``. The first slot of a segment that opens beside the clock is
    short: it begins with the row of the vendor in which the segment opens.
    """
    starts: list[Int64] = []
    ends: list[Int64] = []
    sizes, pauses = [], []
    for session in sessions:
        anchor = _find_anchor(session.market.zone, session.market.grid_anchor, session.day)
        closed = None
        size = 0
        for opened, closes in session.segments:
            opens, close = to_epoch_seconds(opened), to_epoch_seconds(closes)
            begin = _cut_segment(opens, close, anchor, interval.seconds)
            starts.append(begin)
            ends.append(np.append(begin[1:], close))
            size += len(begin)
            if closed is not None or begin[0] != opens:
                pauses.append((int(begin[0]) if closed is None else closed, opens))
            closed = close
        sizes.append(size)
    return SlotGrid(
        interval=interval,
        sessions=tuple(sessions),
        starts=np.concatenate([_NONE, *starts]),
        ends=np.concatenate([_NONE, *ends]),
        session_index=np.repeat(np.arange(len(sizes), dtype=np.int64), sizes),
        session_offsets=np.concatenate([np.zeros(1, np.int64), np.cumsum(np.array(sizes, np.int64))]),
        pauses=np.array(pauses, np.int64).reshape(-1, 2),
    )


def count_seconds_beside_clock(session: Session, interval: Interval) -> int:
    """How long before a session's open the clock of its market began the interval in which it opens; mostly 0."""
    anchor = _find_anchor(session.market.zone, session.market.grid_anchor, session.day)
    return (to_epoch_seconds(session.open) - anchor) % interval.seconds


@lru_cache(maxsize=4096)
def _find_anchor(zone: ZoneInfo, at: time, day: date) -> int:
    """Epoch seconds of a time on the clock of a zone."""
    return to_epoch_seconds(datetime.combine(day, at, zone))


def _cut_segment(opens: int, close: int, anchor: int, seconds: int) -> Int64:
    """The starts of the slots of a segment; all epoch seconds but ``seconds``, the length of a slot."""
    beside = (opens - anchor) % seconds
    if not beside:
        return np.arange(opens, close, seconds, dtype=np.int64)
    grain = min(seconds, SHORTEST_GRID_SECONDS)
    return np.append(opens - (opens - anchor) % grain, np.arange(opens - beside + seconds, close, seconds))
