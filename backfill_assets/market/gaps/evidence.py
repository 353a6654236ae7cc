"""What is known about absent slots, as arrays: what was asked and came, and what the daily data say.

Values only. Reading them is ``store.coverage``'s, judging by them ``gaps``'s. *row* is a ticker's
position in the universe looked at, *session* an index into the grid's sessions.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Int64 = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Asked:
    """What was asked and what came, as parallel arrays, one entry a ticker and session asked.

    Attributes:
        row: the ticker.
        session: the session.
        asked_at: epoch seconds of the newest ask.
        asks: how many there were.
        silent_since: epoch seconds from when asks brought nothing new; NaN where nothing is withheld.
        published: whether the session was seen published to its end.
        reached: epoch seconds to which the vendor's rows reached, 0 if none came.
        seen_at: epoch seconds when the session was first seen published to its end; NaN before.
        withheld_entry: for each slot that was asked for and did not come, its entry above.
        withheld_ordinal: and its slot in the grid.
    """

    row: Int64
    session: Int64
    asked_at: Int64
    asks: Int64
    silent_since: Floats
    published: Bools
    reached: Int64
    seen_at: Floats
    withheld_entry: Int64
    withheld_ordinal: Int64

    def entries(self, tickers: int, sessions: int) -> Int64:
        """The entry that speaks of each ticker and session, −1 for none; shape (tickers, sessions)."""
        found = np.full((tickers, sessions), -1, np.int64)
        found[self.row, self.session] = np.arange(len(self.row))
        return found


@dataclass(frozen=True, eq=False)
class Facts:
    """What else explains absence.

    Attributes:
        skips: how many of each ticker's last 20 published sessions lacked a slot, shape (tickers,).
        known: how many published sessions that is out of, shape (tickers,).
        traded: 1 if the daily data show volume, 0 if they show that nothing traded, −1 if they are not
            known; shape (tickers, sessions).
        first_day: index of the first session of each ticker's listing life, shape (tickers,).
        last_day: index of its last session; the number of sessions and more if it goes on.
        first_seen_at: epoch seconds when anybody was first seen published, NaN before; shape (sessions,).
        half_seen_at: epoch seconds when half of the universe had been seen published, NaN before;
            shape (sessions,).
        closed: sessions that the market did not hold although the calendar has them, shape (sessions,).
    """

    skips: Int64
    known: Int64
    traded: NDArray[np.int8]
    first_day: Int64
    last_day: Int64
    first_seen_at: Floats
    half_seen_at: Floats
    closed: Bools

    @classmethod
    def none(cls, tickers: int, sessions: int) -> "Facts":
        """Nothing is known, and everybody is listed for ever."""
        return cls(
            skips=np.zeros(tickers, np.int64),
            known=np.zeros(tickers, np.int64),
            traded=np.full((tickers, sessions), -1, np.int8),
            first_day=np.zeros(tickers, np.int64),
            last_day=np.full(tickers, sessions, np.int64),
            first_seen_at=np.full(sessions, np.nan),
            half_seen_at=np.full(sessions, np.nan),
            closed=np.zeros(sessions, bool),
        )
