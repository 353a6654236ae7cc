"""The health of a read: how many slots were expected, what is there, and what is wrong, by symbol and session.

Counting only. What a read accepts is decided in ``requirements``; the states are those of docs/states.md.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from backfill_assets.market.arrays import Bools, Int64
from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.market.calendar.timestamps import format_timestamp
from backfill_assets.market.exchanges.registry import DEFAULT_EXCHANGE
from backfill_assets.market.gaps.slot_states import SlotState
from backfill_assets.reading.problems import OddSlots, Problems
from backfill_assets.store.price_units import SymbolUnit

if TYPE_CHECKING:
    import pandas as pd


_MAX_NAMES = 5
# As a person reads them, the usual first.
_STATE_ORDER = (
    *(SlotState.PRESENT, SlotState.UNVERIFIED, SlotState.PROVISIONAL, SlotState.SUSPECT, SlotState.NO_TRADE),
    *(SlotState.VENDOR_GAP, SlotState.MISSING, SlotState.PENDING),
)


@dataclass(frozen=True, slots=True)
class StoredUnder:
    """Sessions of a symbol that are stored under another ticker, the one that its instrument had then."""

    symbol: str
    ticker: str
    first_session: date
    last_session: date

    def __str__(self) -> str:
        return f"{self.symbol} was {self.ticker} from {self.first_session} to {self.last_session}"


@dataclass(frozen=True, eq=False)
class ReadHealth:
    """What a read found. ``str()`` is a paragraph about it, ``to_frame()`` a table by symbol and session.

    Attributes:
        symbols: those of the frame, in its order; without the dropped ones.
        sessions: those of which a slot was asked for, oldest first.
        counts: expected slots of the window in each state, shape (symbols, sessions, states), by ``SlotState``.
        explained_counts: how many of them are no trade, a vendor gap, or a bar whose doubt stands, shape (symbols,
            sessions).
        is_listed: whether each symbol is listed in each session, shape (symbols, sessions); no slot is expected
            otherwise.
        measured_at: the moment that the states refer to, UTC.
        dropped: symbols that were left out because they are incomplete.
        stored_under: sessions that come from another ticker (``follow_renames``).
        assumed: with ``point_in_time``: bars that this store first had later than that.
        unknown_before: with ``known_at``: the moment before which deletions were not recorded, UTC, if ``known_at`` is
            earlier; None: everything is known.
        external_left_out: with ``known_at``: bars of other programs that the window has now, left out because nothing
            says when they came.
        outside_listing: bars that are stored, but lie outside of their symbol's listing, left out.
        off_grid: bars between the first and the last session that begin with no slot, as those of extended hours do,
            left out.
        not_public: with ``point_in_time``: slots of the window that had not been published by then, left out.
        notes: what else a reader should know, a sentence each.
        exchange: the vendor's code of the exchange; days are those of its time zone.
        is_experimental: whether what the exchange's data mean is assumed, not proven.
        currency: ISO code of the exchange's prices; None: not known.
        price_unit: what they count, such as GBX for pence; None: not known.
        units: of single symbols, where they are others.
    """

    symbols: tuple[str, ...]
    sessions: tuple[date, ...]
    counts: Int64
    explained_counts: Int64
    is_listed: Bools
    measured_at: datetime
    grid: SlotGrid
    odd_slots: OddSlots
    dropped: tuple[str, ...] = ()
    stored_under: tuple[StoredUnder, ...] = ()
    assumed: int = 0
    unknown_before: datetime | None = None
    external_left_out: int = 0
    outside_listing: int = 0
    off_grid: int = 0
    not_public: int = 0
    notes: tuple[str, ...] = ()
    exchange: str = DEFAULT_EXCHANGE
    is_experimental: bool = False
    currency: str | None = None
    price_unit: str | None = None
    units: tuple[SymbolUnit, ...] = ()

    @cached_property
    def totals(self) -> dict[str, int]:
        """How many expected slots are in each state, by its name in small letters."""
        sums = self.counts.sum(axis=(0, 1)).tolist()
        return {state.name.lower(): sums[state] for state in _STATE_ORDER}

    @property
    def expected(self) -> int:
        """How many slots the window has: of the listed symbols, in the sessions of the calendar."""
        return int(self.counts.sum())

    @property
    def present(self) -> int:
        """How many have a trusted final bar of this store."""
        return self.totals["present"]

    @property
    def explained(self) -> int:
        """How many have none, and a reason: no trade, a vendor gap, or a bar whose doubt stands."""
        return int(self.explained_counts.sum())

    @property
    def is_complete(self) -> bool:
        """Whether every expected slot is present, or no trade."""
        return self.expected == self.totals["present"] + self.totals["no_trade"]

    @cached_property
    def problems(self) -> "Problems":
        """What is neither present nor no trade, by symbol, session and state; the sessions with most slots first."""
        odd = self.odd_slots
        return Problems(odd.select(odd.state != SlotState.NO_TRADE), self.symbols, self.grid)

    def to_frame(self) -> "pd.DataFrame":
        """One row for each symbol and session: whether it is listed, slots expected, explained, and in each state."""
        import pandas as pd

        symbol_count, session_count = self.is_listed.shape
        columns: dict[str, Any] = {
            "symbol": np.repeat(np.array(self.symbols, object), session_count),
            "session": np.tile(np.array(self.sessions, object), symbol_count),
            "listed": self.is_listed.ravel(),
            "expected": self.counts.sum(axis=2).ravel(),
            "explained": self.explained_counts.ravel(),
        }
        columns |= {state.name.lower(): self.counts[:, :, state].ravel() for state in _STATE_ORDER}
        return pd.DataFrame(columns)

    def as_dict(self) -> dict[str, Any]:
        """The totals and notes as JSON has them."""
        return {
            "symbols": len(self.symbols),
            "sessions": len(self.sessions),
            "first_session": str(self.sessions[0]) if self.sessions else None,
            "last_session": str(self.sessions[-1]) if self.sessions else None,
            "measured_at": format_timestamp(self.measured_at),
            "expected": self.expected,
            "explained": self.explained,
            **self.totals,
            "dropped": list(self.dropped),
            "assumed": self.assumed,
            "unknown_before": format_timestamp(self.unknown_before) if self.unknown_before else None,
            "external_left_out": self.external_left_out,
            "outside_listing": self.outside_listing,
            "off_grid": self.off_grid,
            "not_public": self.not_public,
            "stored_under": [str(entry) for entry in self.stored_under],
            "notes": list(self.notes),
            "exchange": self.exchange,
            "is_experimental": self.is_experimental,
            "currency": self.currency,
            "price_unit": self.price_unit,
            "units": [
                {**asdict(unit), "valid_from": str(unit.valid_from) if unit.valid_from else None} for unit in self.units
            ],
        }

    def __str__(self) -> str:
        return " ".join(f"{sentence[0].upper()}{sentence[1:]}." for sentence in self._list_sentences())

    def _list_sentences(self) -> Iterator[str]:
        yield self._describe_counts()
        if self.dropped:
            yield f"left out because they are incomplete: {shorten_list(self.dropped)}"
        not_listed = int((~self.is_listed).sum())
        if not_listed:
            names = [self.symbols[row] for row in np.flatnonzero(~self.is_listed.any(axis=1)).tolist()]
            never = f"; never: {shorten_list(names)}" if names else ""
            yield f"{not_listed:,} sessions of symbols lie outside of their listing, and nothing is expected{never}"
        yield from self._list_clock_sentences()
        if self.outside_listing:
            yield f"{self.outside_listing:,} bars outside of their symbol's listing are left out"
        if self.off_grid:
            yield f"{self.off_grid:,} stored bars that begin with no slot are left out"
        if self.stored_under:
            yield shorten_list([str(entry) for entry in self.stored_under])
        yield from self.notes
        if self.problems:
            yield f"the worst: {self.problems[0]}"

    def _describe_counts(self) -> str:
        noun = "symbol" if len(self.symbols) == 1 else "symbols"
        if not self.sessions:
            return f"{len(self.symbols):,} {noun}, and no session lies in the window"
        states = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in self.totals.items() if count)
        days = f"{self.sessions[0]} to {self.sessions[-1]}" if len(self.sessions) > 1 else f"{self.sessions[0]}"
        sessions = f"{len(self.sessions):,} session{'s' * (len(self.sessions) > 1)}"
        counted = f"{len(self.symbols):,} {noun}, {sessions} ({days}), {self.expected:,} slots expected"
        return f"{counted}: {states}" if states else counted

    def _list_clock_sentences(self) -> Iterator[str]:
        if self.not_public:
            yield f"{self.not_public:,} slots of the window were not published at that point in time and are left out"
        if self.assumed:
            yield f"{self.assumed:,} bars are assumed to have been known at that point in time: they were loaded later"
        if self.unknown_before:
            yield f"deletions before {format_timestamp(self.unknown_before)} are unknown"
        if self.external_left_out:
            yield f"{self.external_left_out:,} bars of other programs are left out: nothing says since when they exist"


def shorten_list(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - _MAX_NAMES:,} more" if len(names) > _MAX_NAMES else ""
    return ", ".join(names[:_MAX_NAMES]) + more
