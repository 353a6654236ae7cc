"""Expected bars: a window's sessions, cut into slots of one interval from each session's open.

``SlotGrid`` is the only table of expected slots. Everything that counts, compares or requests slots uses it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backfill_assets.market.arrays import Int64
from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.calendar.sessions import Session
from backfill_assets.market.calendar.timestamps import to_datetime, to_epoch_seconds


@dataclass(frozen=True, eq=False)
class SlotGrid:
    """The expected slots of some sessions at one interval, oldest first.

    An *ordinal* is a slot's position in ``starts``. A *row* is a symbol's position in the universe looked at. A
    *slot key* is one integer for a symbol and a slot: row × size + ordinal.

    Attributes:
        interval: the length of a slot; the last slot of a session may be shorter (1h).
        sessions: the sessions, oldest first.
        starts: epoch seconds (UTC) of each slot's open, ascending, shape (slots,).
        ends: epoch seconds of each slot's end, never after its session's close, shape (slots,).
        session_index: position in ``sessions`` of each slot's session, shape (slots,).
        session_offsets: ordinal of each session's first slot, then the number of slots, shape (sessions + 1,).
    """

    interval: Interval
    sessions: tuple[Session, ...]
    starts: Int64
    ends: Int64
    session_index: Int64
    session_offsets: Int64

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
    def session_opens(self) -> Int64:
        """Epoch seconds of each session's open, shape (sessions,)."""
        return self.starts[self.session_offsets[:-1]]

    @property
    def session_closes(self) -> Int64:
        """Epoch seconds of each session's close, shape (sessions,)."""
        return self.ends[self.session_offsets[1:] - 1]

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

    def get_slot_keys(self, row: NDArray[Any], ordinal: NDArray[Any]) -> Int64:
        """The slot key of each pair of a symbol's row and an ordinal."""
        keys: Int64 = row * self.size + ordinal
        return keys

    def split_slot_keys(self, keys: Int64) -> tuple[Int64, Int64]:
        """The row and the ordinal of each slot key."""
        row, ordinal = np.divmod(keys, max(1, self.size))  # a grid without slots has no keys either
        return row, ordinal


def build_slot_grid(sessions: Sequence[Session], interval: Interval) -> SlotGrid:
    """Cut ``sessions`` (ascending) into slots counted from each session's open."""
    starts = [
        np.arange(to_epoch_seconds(s.open), to_epoch_seconds(s.close), interval.seconds, dtype=np.int64)
        for s in sessions
    ]
    ends = [
        np.minimum(begin + interval.seconds, to_epoch_seconds(s.close))
        for begin, s in zip(starts, sessions, strict=True)
    ]
    sizes = np.array([len(begin) for begin in starts], np.int64)
    return SlotGrid(
        interval=interval,
        sessions=tuple(sessions),
        starts=np.concatenate([np.zeros(0, np.int64), *starts]),
        ends=np.concatenate([np.zeros(0, np.int64), *ends]),
        session_index=np.repeat(np.arange(len(sizes), dtype=np.int64), sizes),
        session_offsets=np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)]),
    )
