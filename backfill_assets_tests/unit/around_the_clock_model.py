"""A model of a store and a vendor around the clock: which slots came, what is recorded of requests, and what they cost.

The states and the plan are the program's own; the model keeps what the store would hold.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import numpy as np

from backfill_assets.backfill.planner import Plan, PlanOptions, make_plan
from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.sessions import list_sessions
from backfill_assets.market.calendar.slots import build_slot_grid
from backfill_assets.market.calendar.tickers import Symbol, Ticker
from backfill_assets.market.exchanges.registry import get_profile
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.market.gaps.gap_rules import GapRules
from backfill_assets.market.gaps.slot_states import SlotState, classify_slots, count_states
from backfill_assets_tests.unit.gap_builders import Entry, build_evidence, build_history, build_open_slots

CRYPTO = get_profile("CC")
RULES = GapRules(askable_after=timedelta(hours=6), overdue_after=timedelta(hours=24))
HasSlot = Callable[[int, int, datetime], bool]  # row, start of a slot in epoch seconds, now: the vendor has it


@dataclass
class World:
    """Pairs of some days; ``has_slot`` is the vendor, ``requests`` are (when, row, first slot's start)."""

    first: datetime
    days: int
    pairs: int
    has_slot: HasSlot
    requests: list[tuple[datetime, int]] = field(default_factory=list)
    entries: dict[tuple[int, int], Entry] = field(default_factory=dict)

    def __post_init__(self) -> None:
        sessions = list_sessions(CRYPTO, self.first.date(), (self.first + timedelta(days=self.days - 1)).date())
        self.grid = build_slot_grid(sessions, INTERVALS["30m"])
        self.stored = np.zeros((self.pairs, self.grid.size), bool)
        self.requested_slots: list[tuple[int, int]] = []

    def measure(self, now: datetime) -> Coverage:
        """The coverage of the days that have begun."""
        grid = build_slot_grid([s for s in self.grid.sessions if s.open <= now], INTERVALS["30m"])
        absent = [(int(r), int(o), SlotState.MISSING) for r, o in np.argwhere(~self.stored[:, : grid.size])]
        slots, history = build_open_slots(absent), build_history(list(self.entries.values()))
        history = replace(history, probe_row=self._find_probe())
        evidence = build_evidence(self.pairs, grid)
        states = classify_slots(slots, history, evidence, grid, RULES, now)
        expected = np.full(self.pairs, grid.size, np.int64)
        counts = count_states(slots, states, expected, np.zeros(self.pairs, np.int64))
        bars = [np.flatnonzero(line[: grid.size]) for line in self.stored]
        return Coverage(
            symbols=tuple(Symbol(key, Ticker(f"P{key}-USD", "CC"), is_active=True) for key in range(1, self.pairs + 1)),
            grid=grid,
            now=now,
            expected=expected,
            counts=counts,
            missing=counts[:, SlotState.MISSING],
            first_bar_at=np.array([grid.starts[one[0]] if len(one) else -1 for one in bars], np.int64),
            last_bar_at=np.array([grid.starts[one[-1]] if len(one) else -1 for one in bars], np.int64),
            open_slots=slots,
            slot_states=states,
            request_history=history,
            absence_evidence=evidence,
            duplicates=0,
            askable_at=tuple(map(RULES.compute_askable_at, grid.sessions)),
            overdue_at=tuple(map(RULES.compute_overdue_at, grid.sessions)),
            slot_askable_at=RULES.compute_slot_askable_at(grid),
            slot_overdue_at=RULES.compute_slot_overdue_at(grid),
        )

    def send(self, plan: Plan, now: datetime) -> None:
        """Answer every request of a plan as the vendor does, and record it as the store does."""
        for request in plan.requests:
            self.requests.append((now, request.row))
            for session in range(request.first_session, request.last_session + 1):
                # The grid of the plan begins with the overlap.
                own = self.grid.sessions.index(plan.grid.sessions[session])
                self.answer(request.row, own, now)

    def answer(self, row: int, session: int, now: datetime) -> None:
        """Answer for one pair and one day, and record it."""
        begin, end = self.grid.session_offsets[session : session + 2].tolist()
        has = [self.has_slot(row, int(self.grid.starts[at]), now) for at in range(begin, end)]
        self.stored[row, begin:end] |= has
        known = self.entries.get((row, session))
        not_returned = [at for at, came in zip(range(begin, end), has, strict=True) if not came]
        at, came = int(now.timestamp()), np.flatnonzero(has)
        has_new = known is None or set(known.not_returned) - set(not_returned)
        data_until = max(known.data_until if known else 0, int(self.grid.ends[begin + came[-1]]) if len(came) else 0)
        published = any(self.has_slot(row, int(start), now) for start in self.grid.starts[end - 1 :])
        self.entries[row, session] = Entry(
            row=row,
            session=session,
            requested_at=at,
            no_new_data_since=at if has_new or known is None else known.no_new_data_since,
            published=published or bool(known and known.published),
            data_until=data_until,
            published_at=known.published_at if known and known.published else at if published else np.nan,
            not_returned=not_returned,
        )

    def _find_probe(self) -> int | None:
        reach: dict[int, int] = {}
        for (row, _), entry in self.entries.items():
            reach[row] = max(reach.get(row, 0), entry.data_until)
        return max(sorted(reach), key=lambda row: reach[row]) if reach else None


def make_world_plan(coverage: Coverage) -> Plan:
    """The requests that a run would send."""
    return make_plan(coverage, PlanOptions(calls_per_request=5, overlap_sessions=0, max_span=timedelta(days=600)))
