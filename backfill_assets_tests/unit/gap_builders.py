"""Builds request history and evidence of absence for tests: one entry per requested symbol and session."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

import numpy as np

from backfill_assets.market.arrays import Int64
from backfill_assets.market.calendar.sessions import list_previous_sessions
from backfill_assets.market.calendar.slots import SlotGrid, build_slot_grid
from backfill_assets.market.gaps.evidence import AbsenceEvidence, RequestHistory, SlotBaseline
from backfill_assets.market.gaps.gap_rules import GapRules
from backfill_assets.market.gaps.publication_habits import PublicationHabits
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


Lacking = Mapping[int, Mapping[int, Collection[int]]]  # row → session → ordinals, of a grid


def build_slot_baseline(grid: SlotGrid, absent: Lacking, sparse: Lacking = MappingProxyType({})) -> SlotBaseline:
    """What symbols lacked in sessions of ``grid``; those that are named in ``absent`` count."""
    rows = sorted(absent)
    is_published = np.zeros((len(rows), len(grid.sessions)), bool)
    for position, row in enumerate(rows):
        is_published[position, sorted(absent[row])] = True

    def build_keys(lacking: Lacking) -> Int64:
        keys = [row * grid.size + at for row, by_day in lacking.items() for of in by_day.values() for at in of]
        return np.array(sorted(keys), np.int64)

    return SlotBaseline(grid, np.array(rows, np.int64), is_published, build_keys(absent), build_keys(sparse))


def build_habit(grid: SlotGrid, published: Sequence[int], incomplete: Sequence[int]) -> SlotBaseline:
    """Of each symbol as many sessions before ``grid`` as are published; the incomplete ones lack every slot."""
    if not grid.sessions or not max(published):
        return SlotBaseline()
    before = build_slot_grid(list_previous_sessions(grid.sessions[0], max(published)), grid.interval)
    offsets = before.session_offsets.tolist()
    return build_slot_baseline(
        before,
        {
            row: {at: range(offsets[at], offsets[at + 1] if at < lacking else offsets[at]) for at in range(count)}
            for row, (count, lacking) in enumerate(zip(published, incomplete, strict=True))
        },
    )


def build_evidence(tickers: int, grid: SlotGrid, **known: Any) -> AbsenceEvidence:
    """Empty evidence except ``known``: lists, shaped like the attributes of ``AbsenceEvidence``.

    Without ``slot_baseline``, incomplete sessions lacked every slot.
    """
    empty = AbsenceEvidence.create_empty(tickers, len(grid.sessions))
    if {"incomplete_sessions", "published_sessions"} <= known.keys() and "slot_baseline" not in known:
        known |= {"slot_baseline": build_habit(grid, known["published_sessions"], known["incomplete_sessions"])}
    arrays = {
        name: value for name, value in known.items() if not isinstance(value, bool | SlotBaseline | PublicationHabits)
    }
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
