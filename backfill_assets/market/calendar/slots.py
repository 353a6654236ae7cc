"""The slots that ought to hold a bar: a window's sessions cut into intervals from each open.

``SlotGrid`` is the one table of expected slots that everything else counts against.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.calendar.sessions import Session

Int64 = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class SlotGrid:
    """The expected slots of some sessions at one interval, oldest first.

    A slot is named by its *ordinal*, its position in ``starts``.

    Attributes:
        interval: the length of a slot; the last slot of a session may be shorter (1h).
        sessions: the sessions, oldest first.
        starts: epoch seconds (UTC) of each slot's open, ascending, shape (slots,).
        ends: epoch seconds of each slot's end, never after its session's close, shape (slots,).
        session_of: index into ``sessions`` of each slot, shape (slots,).
        first_of: ordinal of each session's first slot, and the total, shape (sessions + 1,).
    """

    interval: Interval
    sessions: tuple[Session, ...]
    starts: Int64
    ends: Int64
    session_index: Int64
    session_offsets: Int64

    @property
    def size(self) -> int:
        """How many slots are expected."""
        return len(self.starts)

    def find_ordinals(self, stamps: Int64) -> Int64:
        """The ordinal of each stamp that is exactly a slot's open, −1 for the others."""
        position = np.searchsorted(self.starts, stamps)
        is_slot_open = np.zeros(len(stamps), bool)
        in_range = position < self.size
        is_slot_open[in_range] = self.starts[position[in_range]] == stamps[in_range]
        return np.where(is_slot_open, position, -1)


def build_slot_grid(sessions: Sequence[Session], interval: Interval) -> SlotGrid:
    """Cut ``sessions`` (ascending) into slots counted from each session's open."""
    starts = [
        np.arange(_to_epoch_seconds(s.open), _to_epoch_seconds(s.close), interval.seconds, dtype=np.int64)
        for s in sessions
    ]
    ends = [
        np.minimum(begin + interval.seconds, _to_epoch_seconds(s.close))
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


def _to_epoch_seconds(moment: datetime) -> int:
    return int(moment.timestamp())
