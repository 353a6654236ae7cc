"""Builds request history and evidence of absence for tests: one entry per requested symbol and session."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.market.gaps.evidence import AbsenceEvidence, RequestHistory
from backfill_assets.market.gaps.gap_rules import GapRules
from backfill_assets.market.gaps.retry_schedule import Recheck
from backfill_assets.market.gaps.slot_states import OpenSlots, SlotState, SlotStates, classify_slots

RULES = GapRules(askable_after=timedelta(hours=3), overdue_after=timedelta(hours=16))
HOUR = 3600
Slot = tuple[int, int, SlotState]  # row, ordinal, stored state


@dataclass(frozen=True)
class Entry:
    """The request history of one symbol and session; ``not_returned`` holds ordinals of the grid.

    Without ``no_new_data_since`` it is the newest request, if any slot was not returned.
    """

    row: int = 0
    session: int = 0
    requested_at: int = 0
    request_count: int = 1
    no_new_data_since: int | None = None
    published: bool = False
    data_until: int = 0
    published_at: float = np.nan
    not_returned: Sequence[int] = ()

    @property
    def effective_no_new_data_since(self) -> float:
        if not self.not_returned:
            return np.nan
        return self.requested_at if self.no_new_data_since is None else self.no_new_data_since


def build_open_slots(slots: Sequence[Slot], rejected: Collection[Slot] | None = None) -> OpenSlots:
    """Open slots; a row of ``rejected`` ones was rejected."""
    return OpenSlots(
        np.array([s[0] for s in slots], np.int64),
        np.array([s[1] for s in slots], np.int64),
        np.array([s[2] for s in slots], np.int8),
        None if rejected is None else np.array([s in rejected for s in slots], bool),
    )


def build_history(entries: Sequence[Entry]) -> RequestHistory:
    not_returned = [(at, ordinal) for at, entry in enumerate(entries) for ordinal in entry.not_returned]
    return RequestHistory(
        row=np.array([e.row for e in entries], np.int64),
        session=np.array([e.session for e in entries], np.int64),
        requested_at=np.array([e.requested_at for e in entries], np.int64),
        request_count=np.array([e.request_count for e in entries], np.int64),
        no_new_data_since=np.array([e.effective_no_new_data_since for e in entries], np.float64),
        published=np.array([e.published for e in entries], bool),
        data_until=np.array([e.data_until for e in entries], np.int64),
        published_at=np.array([e.published_at for e in entries], np.float64),
        not_returned_entry=np.array([w[0] for w in not_returned], np.int64),
        not_returned_ordinal=np.array([w[1] for w in not_returned], np.int64),
    )


def build_evidence(tickers: int, grid: SlotGrid, **known: Any) -> AbsenceEvidence:
    """Empty evidence except ``known``: lists, shaped like the attributes of ``AbsenceEvidence``."""
    empty = AbsenceEvidence.create_empty(tickers, len(grid.sessions))
    arrays = {name: value for name, value in known.items() if not isinstance(value, bool)}
    return replace(empty, **known | {name: np.array(arrays[name], getattr(empty, name).dtype) for name in arrays})


def classify(
    slots: Sequence[Slot],
    entries: Sequence[Entry],
    now: datetime,
    grid: SlotGrid,
    tickers: int = 2,
    rejected: Collection[Slot] | None = None,
    recheck: Recheck | None = None,
    **known: Any,
) -> SlotStates:
    open_slots = build_open_slots(slots, rejected)
    if recheck is not None:
        open_slots = replace(open_slots, recheck=np.full(len(slots), recheck, np.int8))
    return classify_slots(
        open_slots,
        build_history(entries),
        build_evidence(tickers, grid, **known),
        grid,
        RULES,
        now,
    )
