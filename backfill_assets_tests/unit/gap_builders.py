"""What is known about absence, as tests write it down: one entry a ticker and session asked."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.market.gaps.evidence import AbsenceEvidence, RequestHistory
from backfill_assets.market.gaps.gap_rules import GapRules
from backfill_assets.market.gaps.slot_states import OpenSlots, SlotState, SlotStates, classify_slots

RULES = GapRules(askable_after=timedelta(hours=3), overdue_after=timedelta(hours=16))
HOUR = 3600
Slot = tuple[int, int, SlotState]  # row, ordinal, what stands there


@dataclass(frozen=True)
class Entry:
    """What is known of one ticker and session; ``withheld`` in ordinals of the grid.

    Without ``silent_since`` asking has brought nothing since the newest ask, if anything is withheld.
    """

    row: int = 0
    session: int = 0
    asked_at: int = 0
    asks: int = 1
    silent_since: int | None = None
    published: bool = False
    reached: int = 0
    seen_at: float = np.nan
    withheld: Sequence[int] = ()

    @property
    def silence(self) -> float:
        if not self.withheld:
            return np.nan
        return self.asked_at if self.silent_since is None else self.silent_since


def slots_of(slots: Sequence[Slot]) -> OpenSlots:
    return OpenSlots(
        np.array([s[0] for s in slots], np.int64),
        np.array([s[1] for s in slots], np.int64),
        np.array([s[2] for s in slots], np.int8),
    )


def asked_of(entries: Sequence[Entry]) -> RequestHistory:
    withheld = [(at, ordinal) for at, entry in enumerate(entries) for ordinal in entry.withheld]
    return RequestHistory(
        row=np.array([e.row for e in entries], np.int64),
        session=np.array([e.session for e in entries], np.int64),
        requested_at=np.array([e.asked_at for e in entries], np.int64),
        request_count=np.array([e.asks for e in entries], np.int64),
        no_new_data_since=np.array([e.silence for e in entries], np.float64),
        published=np.array([e.published for e in entries], bool),
        data_until=np.array([e.reached for e in entries], np.int64),
        published_at=np.array([e.seen_at for e in entries], np.float64),
        not_returned_entry=np.array([w[0] for w in withheld], np.int64),
        not_returned_ordinal=np.array([w[1] for w in withheld], np.int64),
    )


def facts_of(tickers: int, grid: SlotGrid, **known: Any) -> AbsenceEvidence:
    """Nothing is known but ``known``: lists, shaped as the attributes of ``Facts``."""
    nothing = AbsenceEvidence.create_empty(tickers, len(grid.sessions))
    return replace(nothing, **{name: np.array(value, getattr(nothing, name).dtype) for name, value in known.items()})


def judged(
    slots: Sequence[Slot], entries: Sequence[Entry], now: datetime, grid: SlotGrid, tickers: int = 2, **known: Any
) -> SlotStates:
    return classify_slots(slots_of(slots), asked_of(entries), facts_of(tickers, grid, **known), grid, RULES, now)
