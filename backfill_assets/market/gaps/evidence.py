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
class RequestHistory:
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
    requested_at: Int64
    request_count: Int64
    no_new_data_since: Floats
    published: Bools
    data_until: Int64
    published_at: Floats
    not_returned_entry: Int64
    not_returned_ordinal: Int64

    def build_entry_index(self, symbol_count: int, session_count: int) -> Int64:
        """The entry that speaks of each ticker and session, −1 for none; shape (tickers, sessions)."""
        entry_index = np.full((symbol_count, session_count), -1, np.int64)
        entry_index[self.row, self.session] = np.arange(len(self.row))
        return entry_index


@dataclass(frozen=True, eq=False)
class AbsenceEvidence:
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

    incomplete_sessions: Int64
    published_sessions: Int64
    traded: NDArray[np.int8]
    first_session: Int64
    last_session: Int64
    first_published_at: Floats
    half_published_at: Floats
    closed: Bools

    @classmethod
    def create_empty(cls, symbol_count: int, session_count: int) -> "AbsenceEvidence":
        """Nothing is known, and everybody is listed for ever."""
        return cls(
            incomplete_sessions=np.zeros(symbol_count, np.int64),
            published_sessions=np.zeros(symbol_count, np.int64),
            traded=np.full((symbol_count, session_count), -1, np.int8),
            first_session=np.zeros(symbol_count, np.int64),
            last_session=np.full(symbol_count, session_count, np.int64),
            first_published_at=np.full(session_count, np.nan),
            half_published_at=np.full(session_count, np.nan),
            closed=np.zeros(session_count, bool),
        )
