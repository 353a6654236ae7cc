"""Where rows of a session lie: in its segments, on the clock's grid of five minutes, not in its breaks."""

from functools import lru_cache

import numpy as np

from backfill_assets.market.arrays import Int64
from backfill_assets.market.calendar.sessions import Session
from backfill_assets.market.calendar.slots import SHORTEST_GRID_SECONDS
from backfill_assets.market.calendar.timestamps import to_epoch_seconds


@lru_cache(maxsize=4096)
def list_stamps(session: Session, seconds: int) -> Int64:
    """The stamps of a session's rows of so many seconds, epoch seconds, ascending.

    A segment that opens beside the grid begins with the row in which it opens. All segments but the last have whole
    rows of five minutes.
    """
    parts = []
    for opened, closes in session.segments:
        opens = to_epoch_seconds(opened)
        parts.append(
            np.arange(opens - opens % SHORTEST_GRID_SECONDS, to_epoch_seconds(closes), seconds, dtype=np.int64)
        )
    stamps = np.concatenate(parts)
    stamps.setflags(write=False)
    return stamps


def list_break_stamps(session: Session, seconds: int) -> Int64:
    """The stamps of rows of so many seconds in the session's breaks."""
    parts = [np.zeros(0, np.int64)]
    for (_, closes), (opened, _) in zip(session.segments[:-1], session.segments[1:], strict=True):
        parts.append(np.arange(to_epoch_seconds(closes), to_epoch_seconds(opened), seconds, dtype=np.int64))
    return np.concatenate(parts)
