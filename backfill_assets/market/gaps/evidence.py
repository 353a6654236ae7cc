"""What is known about absent bars, as arrays: past requests with their results, and the vendor's daily data.

Values only. ``store.evidence.evidence_reader`` reads them, ``slot_states`` applies them. A symbol's *row* is its
position in the universe looked at; a *session* is a position in the grid's sessions.
"""

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backfill_assets.market.arrays import Bools, Floats, Int8, Int64
from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.market.gaps.publication_habits import PublicationHabits

NO_ENTRY = -1  # in the place of an entry's position: the history has no entry


@dataclass(frozen=True, eq=False)
class RequestHistory:
    """Past requests and what they returned: parallel arrays with one entry per symbol and session requested.

    Attributes:
        row: the symbol, shape (entries,) like all that follow.
        session: the session.
        requested_at: epoch seconds of the newest request.
        request_count: how many requests there were.
        no_new_data_since: epoch seconds since when requests have returned no new data; NaN where no slot is missing
            from the newest response.
        published: whether the session was seen published to its end.
        data_until: epoch seconds to which the vendor's rows reached, 0 if there were none.
        published_at: epoch seconds when the session was first seen published to its end; NaN before.
        not_returned_entry: of each slot that was requested and not returned, the position of its entry,
            shape (slots not returned,).
        not_returned_ordinal: of each such slot, its ordinal in the grid.
        probe_row: the symbol that is requested every half hour (``ask_times``); None: none of these.
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
    probe_row: int | None = None

    @classmethod
    def create_empty(cls) -> "RequestHistory":
        """Nothing was ever requested."""
        none, no_moment = np.zeros(0, np.int64), np.zeros(0)
        return cls(none, none, none, none, no_moment, np.zeros(0, bool), none, no_moment, none, none)

    def build_entry_index(self, symbol_count: int, session_count: int) -> Int64:
        """The position of each symbol's and session's entry, or ``NO_ENTRY``; shape (symbols, sessions)."""
        entry_index = np.full((symbol_count, session_count), NO_ENTRY, np.int64)
        entry_index[self.row, self.session] = np.arange(len(self.row))
        return entry_index


def look_up(values: NDArray[Any], entry: Int64, default: Any) -> NDArray[Any]:
    """The value of each entry, ``default`` for ``NO_ENTRY``. ``values`` has the shape (entries,), ``entry`` any."""
    return np.append(values, np.array(default, values.dtype))[entry]  # position −1 is the default


class DayTrading(IntEnum):
    """Whether a symbol traded on a day, as far as the vendor's daily data show it."""

    UNKNOWN = -1
    NO_VOLUME = 0  # its row has the volume 0
    TRADED = 1
    NOT_IN_MARKET_FILE = 2  # no row of its own, and none in the market's file of the day
    NO_ROW_AS_USUAL = 3  # no row, as on many other days


UNTRADED_DAYS = (DayTrading.NO_VOLUME, DayTrading.NOT_IN_MARKET_FILE, DayTrading.NO_ROW_AS_USUAL)


@dataclass(frozen=True, eq=False)
class HaltedSlots:
    """Slots in which nothing traded although the day did (see ``halts``): parallel arrays of the shape (slots,).

    Attributes:
        slot_key: the key of each slot in a grid, ascending (see ``SlotGrid.get_slot_keys``).
        is_outside_hours: whether the day's only trading was outside regular hours; else trading was halted.
        next_request_at: epoch seconds from when both feeds are asked again, ∞ where the halt is final.
    """

    slot_key: Int64
    is_outside_hours: Bools
    next_request_at: Floats

    @classmethod
    def create_empty(cls) -> "HaltedSlots":
        """No halt is known."""
        return cls(np.zeros(0, np.int64), np.zeros(0, bool), np.zeros(0))

    def find(self, slot_key: Int64) -> Int64:
        """The position of each slot key, ``NO_ENTRY`` for slots that are no halt."""
        position = np.minimum(np.searchsorted(self.slot_key, slot_key), len(self.slot_key) - 1)
        return np.where(np.append(self.slot_key, -1)[position] == slot_key, position, NO_ENTRY)


@dataclass(frozen=True, eq=False)
class SlotBaseline:
    """Which slots were absent or sparse in the last published sessions of symbols that often lack some.

    It has a grid of its own, because these sessions may be older than the window looked at, and because the same slot
    of two sessions is found by the market's clock, not by its ordinal. A slot key is one of that grid.

    Attributes:
        grid: the slots of all these sessions, whichever symbol they count for; None: nothing is known.
        rows: the symbols, ascending, shape (baseline symbols,).
        is_published: which of the grid's sessions count for each, shape (baseline symbols, sessions of the grid).
        absent: the slot keys of what was requested and not returned, ascending.
        sparse: the slot keys of bars built from few source rows, or within which the rows of a session end, ascending;
            read only for symbols with such bars in the window looked at.
    """

    grid: SlotGrid | None = None
    rows: Int64 = field(default_factory=lambda: np.zeros(0, np.int64))
    is_published: Bools = field(default_factory=lambda: np.zeros((0, 0), bool))
    absent: Int64 = field(default_factory=lambda: np.zeros(0, np.int64))
    sparse: Int64 = field(default_factory=lambda: np.zeros(0, np.int64))


@dataclass(frozen=True, eq=False)
class AbsenceEvidence:
    """What else explains absence.

    Attributes:
        incomplete_sessions: how many of each symbol's last 20 published sessions lacked a slot, shape (symbols,).
        published_sessions: how many published sessions that refers to, at most 20, shape (symbols,).
        traded: a ``DayTrading`` each, shape (symbols, sessions).
        first_session: the first session of each symbol's listing life, shape (symbols,).
        last_session: its last session; the number of sessions or more if the listing goes on.
        first_published_at: epoch seconds when any symbol was first seen published, NaN before; shape (sessions,).
        half_published_at: epoch seconds when half of the universe had been seen published, NaN before;
            shape (sessions,).
        closed: sessions of the calendar that the market did not hold, shape (sessions,).
        refused: slot keys of bars that the vendor returned and ``market_data`` refused.
        unserved_asked_at: epoch seconds of the newest request for each symbol that the vendor does not serve (−∞ if
            there was none), NaN for all others; shape (symbols,), or empty if there is none.
        halts: slots in which nothing traded although the day did.
        judges_by_daily: whether the daily data may say that nothing traded (``market.exchanges.learned``).
        judges_by_habit: whether lacking slots may be usual for a symbol: not where many rows are left out of bars and
            nobody knows yet what they mean, nor where the market's profile forbids it.
        slot_baseline: what symbols that often lack slots lacked, slot by slot.
        holes: ordinals of slots that none of many tickers has, each published beyond it (``thin_symbols``), ascending.
        habits: how long after the close each symbol's sessions come; None: nothing is learned of it, or nothing waits.
    """

    incomplete_sessions: Int64
    published_sessions: Int64
    traded: Int8
    first_session: Int64
    last_session: Int64
    first_published_at: Floats
    half_published_at: Floats
    closed: Bools
    refused: Int64 = field(default_factory=lambda: np.zeros(0, np.int64))
    unserved_asked_at: Floats = field(default_factory=lambda: np.zeros(0))
    halts: HaltedSlots = field(default_factory=HaltedSlots.create_empty)
    judges_by_daily: bool = True
    judges_by_habit: bool = True
    slot_baseline: SlotBaseline = field(default_factory=SlotBaseline)
    holes: Int64 = field(default_factory=lambda: np.zeros(0, np.int64))
    habits: PublicationHabits | None = None

    @property
    def is_unserved(self) -> Bools:
        """Whether the vendor does not serve each symbol: it is requested weekly and not judged; shape (symbols,)."""
        if not len(self.unserved_asked_at):
            return np.zeros(len(self.published_sessions), bool)
        unserved: Bools = ~np.isnan(self.unserved_asked_at)
        return unserved

    @property
    def is_untraded(self) -> Bools:
        """Whether the daily data show that nothing traded, shape (symbols, sessions)."""
        return np.isin(self.traded, UNTRADED_DAYS) & self.judges_by_daily

    @property
    def is_listed(self) -> Bools:
        """Whether each symbol is listed in each session, shape (symbols, sessions)."""
        session = np.arange(self.traded.shape[1])
        listed: Bools = (self.first_session[:, None] <= session) & (session <= self.last_session[:, None])
        return listed

    @classmethod
    def create_empty(cls, symbol_count: int, session_count: int) -> "AbsenceEvidence":
        """Nothing is known; every symbol is listed without end."""
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
