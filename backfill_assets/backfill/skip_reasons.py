"""Why a run sent no request for a ticker that has gaps: one reason for each such ticker, in words.

Pure functions of a plan and of what became of it. Why a requested slot is absent is in ``backfill.result_builder``.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from datetime import datetime

from backfill_assets.backfill.planner import Plan
from backfill_assets.market.calendar.tickers import Symbol, Ticker
from backfill_assets.market.vendor_errors import VendorError

CLAIMED = "claimed by another run"
WAITS_FOR_PROBES = "waits for first publications (probe)"
INTERRUPTED = "the run was interrupted"
HELD_BACK = "the day's calls are left to other exchanges, whose recent sessions lack bars (BACKFILL_EXCHANGE_ORDER)"
_DEFERRED = "deferred by the retry schedule"
_UNREADABLE = "deferred: the vendor's answer could not be read"


def describe_deferral(until: datetime) -> str:
    """The reason of a ticker that was requested too recently."""
    return f"{_DEFERRED} until {until:%Y-%m-%d %H:%M} UTC"


def describe_unreadable(until: datetime) -> str:
    """The reason of a ticker whose newest answer could not be read."""
    return f"{_UNREADABLE}; next try at {until:%Y-%m-%d %H:%M} UTC"


def find_skip_reasons(
    plan: Plan,
    requested_ids: Collection[int],
    claimed_elsewhere: Collection[int],
    awaiting_publication: Collection[int],
    stopped: VendorError | None,
) -> dict[int, str]:
    """By symbol_id, why a planned ticker was not requested.

    Args:
        plan: the requests.
        requested_ids: symbol_ids that were requested.
        claimed_elsewhere: symbol_ids left to another run.
        awaiting_publication: symbol_ids held back, because probes found that their session is not published.
        stopped: the error that ended the run early.
    """
    other_reason = stopped.stop_reason if stopped else INTERRUPTED
    reasons = dict.fromkeys(plan.held_back.difference(requested_ids), HELD_BACK)
    for request in plan.requests:
        symbol_id = request.symbol.symbol_id
        if symbol_id in claimed_elsewhere:
            reasons[symbol_id] = CLAIMED
        elif symbol_id in awaiting_publication:
            reasons[symbol_id] = WAITS_FOR_PROBES
        elif symbol_id not in requested_ids:
            reasons[symbol_id] = other_reason
    return reasons


def name_skipped(symbols: Collection[Symbol], reasons: Mapping[int, str], plan: Plan) -> dict[Ticker, str]:
    """By ticker, why it was not requested, those included that the plan deferred."""
    all_reasons = {
        **{symbol_id: describe_deferral(until) for symbol_id, until in plan.deferred_until.items()},
        **{symbol_id: describe_unreadable(until) for symbol_id, until in plan.unreadable_until.items()},
        **reasons,
    }
    return {s.ticker: all_reasons[s.symbol_id] for s in symbols if s.symbol_id in all_reasons}


def count_skipped(skipped: Mapping[Ticker, str]) -> dict[str, int]:
    """By reason, the number of tickers; those deferred for the same reason together, with the time of the first."""
    reasons = Counter(skipped.values())
    for kind in (_DEFERRED, _UNREADABLE):
        deferred = sorted(reason for reason in reasons if reason.startswith(kind))
        if len(deferred) > 1:
            reasons[f"{deferred[0]} at the earliest"] = sum(reasons.pop(reason) for reason in deferred)
    return dict(reasons.most_common())
