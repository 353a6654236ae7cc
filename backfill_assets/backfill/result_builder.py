"""Builds the result of a run: what the store contains now, and why requested slots are still without a final bar."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from backfill_assets.backfill.engine import BackfillJob
from backfill_assets.backfill.fetch.fetch_result import FetchResult
from backfill_assets.backfill.fetch.shared_rate_limiter import Usage
from backfill_assets.backfill.planner import Plan
from backfill_assets.backfill.results import RunResult, SlotCounts, TickerOutcome
from backfill_assets.backfill.skip_reasons import HELD_BACK, find_skip_reasons, name_skipped
from backfill_assets.market.arrays import Int64
from backfill_assets.market.equal_runs import sort_distinct
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.market.gaps.slot_states import UNSETTLED_STATES, SlotState

_NOT_EXPECTED = "not expected"
_SETTLED_REASONS = {SlotState.NO_TRADE: "without a trade"}
# Slots in these states have no bar and do not count as missing.
_CLOSED_REASONS = {**_SETTLED_REASONS, SlotState.VENDOR_GAP: "given up", SlotState.PENDING: "pending again"}


@dataclass(frozen=True, slots=True)
class PassResult:
    """What one pass over a plan, or several passes together, did.

    Attributes:
        fetched: what came of the requests.
        claimed_elsewhere: symbol_ids left to another run that had claimed them.
        awaiting_publication: symbol_ids not requested, because probes found that their session is not published.
    """

    fetched: FetchResult
    claimed_elsewhere: frozenset[int] = frozenset()
    awaiting_publication: frozenset[int] = frozenset()

    @property
    def is_complete(self) -> bool:
        """Whether every symbol was answered with rows, or there was none."""
        is_left = self.claimed_elsewhere or self.awaiting_publication or self.fetched.stopped
        return not is_left and len(self.fetched.answered_ids) == len(self.fetched.outcomes)

    def add_later_pass(self, later: "PassResult") -> "PassResult":
        """This result with that of a second pass."""
        return PassResult(
            self.fetched.add_later_pass(later.fetched),
            self.claimed_elsewhere | later.claimed_elsewhere,
            self.awaiting_publication | later.awaiting_publication,
        )


def build_run_result(
    job: BackfillJob,
    plan: Plan,
    before: Coverage,
    after: Coverage,
    passes: PassResult,
    usage: Usage,
    seconds: float,
) -> RunResult:
    """The result of a run from its plan, the coverage before and after it, and what its passes did."""
    fetched = passes.fetched
    planned_ids = frozenset(request.symbol.symbol_id for request in plan.requests)
    awaiting_ids = passes.awaiting_publication - fetched.outcomes.keys()
    not_requested_ids = planned_ids - fetched.outcomes.keys() - passes.claimed_elsewhere - awaiting_ids
    skip_reasons = find_skip_reasons(
        plan, fetched.outcomes.keys(), passes.claimed_elsewhere, awaiting_ids, fetched.stopped
    )
    slot_keys = sort_distinct(plan.slot_keys)
    absent = _count_absence_reasons(before, after, slot_keys, fetched, skip_reasons, plan.held_back)
    explained = _count_without_bar(before, after, slot_keys, _SETTLED_REASONS)
    return RunResult(
        described=job.window.description,
        sessions=len(job.window.sessions),
        before=SlotCounts.from_coverage(before),
        after=SlotCounts.from_coverage(after),
        planned=len(slot_keys),
        stored=len(slot_keys) - sum(absent.values()) - sum(explained.values()),
        absent=absent,
        explained=explained,
        closed_without_bar=_count_closed_without_bar(before, after),
        outcomes=tuple(sorted(fetched.outcomes.values(), key=lambda outcome: outcome.ticker)),
        requests=usage.requests,
        calls=usage.calls,
        rate_limited=usage.rate_limited,
        seconds=seconds,
        written=fetched.written,
        rejected=fetched.rejected,
        refusals=dict(fetched.refusals),
        vendor_warnings={message: len(tickers) for message, tickers in fetched.vendor_warnings.items()},
        claimed_elsewhere=len(passes.claimed_elsewhere),
        deferred=plan.deferred,
        skipped=name_skipped(after.symbols, skip_reasons, plan),
        stopped=fetched.stopped,
        not_requested=len(not_requested_ids),
        awaiting_publication=len(awaiting_ids),
        not_judged=frozenset(symbol.ticker for symbol in after.unserved_symbols),
    )


def _count_absence_reasons(
    before: Coverage,
    after: Coverage,
    slot_keys: Int64,
    fetched: FetchResult,
    skip_reasons: Mapping[int, str],
    held_back: frozenset[int],
) -> dict[str, int]:
    """By reason, the planned slots that still have no final bar; ``held_back`` are symbol_ids, some with requests."""
    slots, classified = after.open_slots, after.slot_states
    is_planned = np.isin(after.grid.get_slot_keys(slots.row, slots.ordinal), slot_keys)
    is_absent = is_planned & np.isin(classified.state, UNSETTLED_STATES)
    reasons: Counter[str] = Counter()
    is_refused = is_absent & np.isin(after.grid.get_slot_keys(slots.row, slots.ordinal), after.absence_evidence.refused)
    if refused := int(is_refused.sum()):
        reasons["refused by market_data"] = refused
    is_absent &= ~is_refused
    rows, sessions = slots.row[is_absent], after.grid.session_index[slots.ordinal[is_absent]]
    is_requested = (_count_requests(after) > _count_requests(before))[rows, sessions]
    groups = np.column_stack([rows, classified.state[is_absent].astype(np.int64), is_requested])
    stop_reason = fetched.stopped.stop_reason if fetched.stopped else None
    for (row, state, requested), count in zip(*np.unique(groups, axis=0, return_counts=True), strict=True):
        symbol_id = after.symbols[row].symbol_id
        left_reason = stop_reason or (HELD_BACK if symbol_id in held_back else None)
        not_requested = skip_reasons.get(symbol_id) or (left_reason if not requested else None)
        reasons[_describe_absence(fetched.outcomes.get(symbol_id), SlotState(state), not_requested)] += int(count)
    if unverified := int(np.isin(after.external_bars.slot_key, slot_keys).sum()):
        reasons["external bar, not verified"] = unverified
    return dict(reasons)


def _count_without_bar(
    before: Coverage, after: Coverage, slot_keys: Int64, reasons: Mapping[SlotState, str]
) -> dict[str, int]:
    """By reason, how many of the slots have no bar: in a state of ``reasons``, or not within the listing life any more.

    A slot that had a trusted bar before still has it, although the listing life may not include it now.
    """
    open_keys = after.grid.get_slot_keys(after.open_slots.row, after.open_slots.ordinal)
    states = after.slot_states.state[np.isin(open_keys, slot_keys)]
    counts = {reason: int((states == state).sum()) for state, reason in reasons.items()}
    was_absent = before.open_slots.stored_state == SlotState.MISSING
    row, ordinal = before.open_slots.row[was_absent], before.open_slots.ordinal[was_absent]
    session, evidence = after.grid.session_index[ordinal], after.absence_evidence
    is_outside = (session < evidence.first_session[row]) | (session > evidence.last_session[row])
    is_outside &= np.isin(after.grid.get_slot_keys(row, ordinal), slot_keys)
    counts[_NOT_EXPECTED] = int(is_outside.sum())
    return {reason: count for reason, count in counts.items() if count}


def _count_closed_without_bar(before: Coverage, after: Coverage) -> dict[str, int]:
    """By reason, the slots of the window that were missing before, and are neither missing nor stored now."""
    slots, was_missing = before.open_slots, before.slot_states.state == SlotState.MISSING
    keys = before.grid.get_slot_keys(slots.row[was_missing], slots.ordinal[was_missing])
    return _count_without_bar(before, after, keys, _CLOSED_REASONS)


def _count_requests(coverage: Coverage) -> Int64:
    """How often each symbol and session was requested, shape (symbols, sessions)."""
    history = coverage.request_history
    counts: Int64 = np.zeros((len(coverage.symbols), len(coverage.grid.sessions)), np.int64)
    counts[history.row, history.session] = history.request_count
    return counts


def _describe_absence(outcome: TickerOutcome | None, state: SlotState, not_requested: str | None) -> str:
    """Why a planned slot is absent; ``not_requested``: why the request that covers it was not sent, if it was not."""
    if outcome is not None and outcome.error is not None:
        return type(outcome.error).__name__
    if not_requested is not None:
        return f"not requested: {not_requested}"
    if outcome is None or outcome.kind == "not published":
        return "not published"
    return f"not available from the vendor ({state.name.lower()})"
