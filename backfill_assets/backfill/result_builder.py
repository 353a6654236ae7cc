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
from backfill_assets.market.arrays import Int64
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.market.gaps.slot_states import UNSETTLED_STATES, SlotState


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
    requested_ids = frozenset(request.symbol.symbol_id for request in plan.requests)
    awaiting_ids = passes.awaiting_publication - fetched.outcomes.keys()
    not_requested_ids = requested_ids - fetched.outcomes.keys() - passes.claimed_elsewhere - awaiting_ids
    slot_keys = np.unique(plan.slot_keys)
    absent = _count_absence_reasons(after, slot_keys, fetched.outcomes)
    return RunResult(
        described=job.window.description,
        sessions=len(job.window.sessions),
        before=SlotCounts.from_coverage(before),
        after=SlotCounts.from_coverage(after),
        planned=len(slot_keys),
        stored=len(slot_keys) - sum(absent.values()),
        absent=absent,
        outcomes=tuple(sorted(fetched.outcomes.values(), key=lambda outcome: outcome.ticker)),
        requests=usage.requests,
        calls=usage.calls,
        rate_limited=usage.rate_limited,
        seconds=seconds,
        written=fetched.written,
        rejected=fetched.rejected,
        unparsable_rows=fetched.unparsable_rows,
        vendor_warnings={message: len(tickers) for message, tickers in fetched.vendor_warnings.items()},
        claimed_elsewhere=len(passes.claimed_elsewhere),
        deferred=plan.deferred,
        stopped=fetched.stopped,
        not_requested=len(not_requested_ids),
        awaiting_publication=len(awaiting_ids),
    )


def _count_absence_reasons(after: Coverage, slot_keys: Int64, outcomes: Mapping[int, TickerOutcome]) -> dict[str, int]:
    """By reason, the requested slots that still have no final bar."""
    slots, classified = after.open_slots, after.slot_states
    is_planned = np.isin(after.grid.get_slot_keys(slots.row, slots.ordinal), slot_keys)
    is_absent = is_planned & np.isin(classified.state, UNSETTLED_STATES)
    pairs = np.column_stack([slots.row[is_absent], classified.state[is_absent].astype(np.int64)])
    reasons: Counter[str] = Counter()
    for (row, state), count in zip(*np.unique(pairs, axis=0, return_counts=True), strict=True):
        outcome = outcomes.get(after.symbols[row].symbol_id)
        reasons[_describe_absence(outcome, SlotState(state))] += int(count)
    if unverified := int(np.isin(after.external_bars.slot_key, slot_keys).sum()):
        reasons["external bar, not verified"] = unverified
    return dict(reasons)


def _describe_absence(outcome: TickerOutcome | None, state: SlotState) -> str:
    if outcome is None:
        return "skipped (claimed by another run, or not published yet)"
    if outcome.error is not None:
        return type(outcome.error).__name__
    if outcome.kind == "not published":
        return "not published"
    return f"not available from the vendor ({state.name.lower()})"
