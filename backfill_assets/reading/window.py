"""The slots of a read: which sessions its window touches, and from which slot to which."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from backfill_assets.errors import UsageError
from backfill_assets.market.arrays import Int64
from backfill_assets.market.calendar.sessions import list_overlapping_sessions
from backfill_assets.market.calendar.slots import SlotGrid, build_slot_grid
from backfill_assets.market.calendar.timestamps import DAY_SECONDS
from backfill_assets.reading.request import ReadRequest

_SAMPLE = timedelta(days=364)
_MAX_SLOTS = 20_000_000  # symbols × slots: 500 symbols over 12 years, some 2 GB in memory


@dataclass(frozen=True, eq=False)
class ReadWindow:
    """The slots of a read.

    Attributes:
        grid: whole sessions: those of which a slot lies in the window.
        first: the ordinal of the first slot in it.
        after: the one after the last.
        not_public: how many more slots of the window had not been published at the point in time.
    """

    grid: SlotGrid
    first: int
    after: int
    not_public: int = 0

    def holds(self, ordinal: Int64) -> Any:
        """Whether each slot lies in the window."""
        return (ordinal >= self.first) & (ordinal < self.after)


def build_window(request: ReadRequest) -> ReadWindow:
    """The slots that begin at ``start`` or later and end by ``end``, and had been published by the point in time."""
    sessions = list_overlapping_sessions(request.market, request.start, request.end)
    whole = build_slot_grid(sessions, request.interval)
    first, after = _find_bounds(whole, request.start, request.end)
    public = after if request.point_in_time is None else _find_bounds(whole, request.start, _find_published(request))[1]
    public = max(first, min(after, public))
    # A session that the window only cuts may have no whole slot in it.
    touched = np.unique(whole.session_index[first:public])
    grid = build_slot_grid([sessions[position] for position in touched.tolist()], request.interval)
    begin = int(whole.session_offsets[touched[0]]) if len(touched) else first
    return ReadWindow(grid, first - begin, public - begin, after - public)


def require_readable_size(request: ReadRequest, symbol_count: int) -> None:
    """Refuse a read that would not fit into memory, before its sessions are listed.

    Raises:
        UsageError: says how large it is.
    """
    days = (request.end - request.start) / timedelta(days=1)
    if symbol_count * days * max(1, DAY_SECONDS / request.interval.seconds) <= _MAX_SLOTS:
        return  # whatever the exchange's hours
    size = int(symbol_count * days * _count_slots_a_day(request))
    if size > _MAX_SLOTS:
        raise UsageError(
            f"{symbol_count:,} symbols from {request.start:%Y-%m-%d} to {request.end:%Y-%m-%d} have some {size:,} slots"
            f" of {request.interval.name}, more than one read can hold ({_MAX_SLOTS:,}); read fewer symbols at once, or"
            " a shorter window"
        )


def _count_slots_a_day(request: ReadRequest) -> float:
    """How many slots a day of the calendar has on the exchange, days without a session included."""
    end = min(request.end, request.start + _SAMPLE)
    sessions = list_overlapping_sessions(request.market, request.start, end)
    return build_slot_grid(sessions, request.interval).size / ((end - request.start) / timedelta(days=1))


def _find_bounds(grid: SlotGrid, start: datetime, end: datetime) -> tuple[int, int]:
    """The first ordinal that begins at ``start`` or later, and the one after the last that ends by ``end``."""
    first = int(np.searchsorted(grid.starts, start.timestamp()))
    return first, max(first, int(np.searchsorted(grid.ends, end.timestamp(), side="right")))


def _find_published(request: ReadRequest) -> datetime:
    """By when a slot must have ended to count at the point in time."""
    assert request.point_in_time is not None  # noqa: S101 - the caller has looked
    delay = request.publication_delay
    return request.point_in_time - (request.market.publication_delay if delay is None else delay)
