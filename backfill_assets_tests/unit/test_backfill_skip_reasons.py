"""Each ticker without a request has its own reason."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from backfill_assets.backfill.failed_requests import defer_unreadable
from backfill_assets.backfill.skip_reasons import (
    count_skipped,
    describe_deferral,
    describe_unreadable,
    find_skip_reasons,
    name_skipped,
)
from backfill_assets.market.calendar.tickers import parse_tickers
from backfill_assets.market.vendor_errors import (
    PlanRefused,
    QuotaExhausted,
    ServerFault,
    TokenRefused,
    Unreachable,
    VendorError,
)
from backfill_assets.store.quota.request_log import FailingTicker
from backfill_assets_tests.unit.test_backfill_planner import build_coverage_with_gaps, make_test_plan

THREE, SEVEN = datetime(2026, 6, 3, 15, 0, tzinfo=UTC), datetime(2026, 6, 3, 19, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("stopped", "reason"),
    [
        (QuotaExhausted(""), "the day's calls are used up"),
        (TokenRefused(""), "the token was refused"),
        (PlanRefused(""), "the token's plan does not include this"),
        (Unreachable(""), "the vendor cannot be reached"),
        (ServerFault(""), "the vendor failed repeatedly"),
        (None, "the run was interrupted"),
    ],
)
def test_find_skip_reasons_tells_claims_probes_and_the_end_of_the_run_apart(
    stopped: VendorError | None, reason: str
) -> None:
    coverage = build_coverage_with_gaps([[1], [1], [1], [1]])
    plan = make_test_plan(coverage)
    requested, claimed, awaiting, rest = (s.symbol_id for s in coverage.symbols)
    assert find_skip_reasons(plan, {requested}, {claimed}, {awaiting}, stopped) == {
        claimed: "claimed by another run",
        awaiting: "waits for first publications (probe)",
        rest: reason,
    }


def test_deferred_tickers_are_counted_together_with_the_first_time() -> None:
    aapl, msft, tsla = parse_tickers(["AAPL", "MSFT", "TSLA"])
    first, second = describe_deferral(THREE), describe_deferral(SEVEN)
    assert count_skipped({aapl: second, msft: first, tsla: "claimed by another run"}) == {
        "deferred by the retry schedule until 2026-06-03 15:00 UTC at the earliest": 2,
        "claimed by another run": 1,
    }
    assert count_skipped({aapl: first, msft: first}) == {first: 2}


def test_tickers_whose_answers_could_not_be_read_are_counted_apart() -> None:
    aapl, msft, tsla = parse_tickers(["AAPL", "MSFT", "TSLA"])
    waiting = {aapl: describe_deferral(THREE), msft: describe_unreadable(SEVEN), tsla: describe_unreadable(THREE)}
    assert count_skipped(waiting) == {
        "deferred: the vendor's answer could not be read; next try at 2026-06-03 15:00 UTC at the earliest": 2,
        "deferred by the retry schedule until 2026-06-03 15:00 UTC": 1,
    }


def test_name_skipped_adds_deferred_tickers() -> None:
    coverage = build_coverage_with_gaps([[1], [1], [1]])
    claimed, deferred, unreadable = coverage.symbols
    plan = replace(
        make_test_plan(coverage),
        deferred_until={deferred.symbol_id: THREE},
        unreadable_until={unreadable.symbol_id: SEVEN},
    )
    assert name_skipped(coverage.symbols, {claimed.symbol_id: "claimed"}, plan) == {
        claimed.ticker: "claimed",
        deferred.ticker: "deferred by the retry schedule until 2026-06-03 15:00 UTC",
        unreadable.ticker: "deferred: the vendor's answer could not be read; next try at 2026-06-03 19:00 UTC",
    }


def test_plan_without_tickers_whose_answers_could_not_be_read_has_no_slots_of_them() -> None:
    coverage = build_coverage_with_gaps([[1, 2], [1], [3]])
    failing = {
        "AAPL.US": FailingTicker(SEVEN, is_unreadable=True),
        "MSFT.US": FailingTicker(SEVEN, is_unreadable=False),
    }
    plan = defer_unreadable(make_test_plan(coverage), failing)
    assert plan.slot_keys.tolist() == [coverage.grid.size + 1, 2 * coverage.grid.size + 3]
    assert [str(request.symbol.ticker) for request in plan.requests] == ["MSFT.US", "SPY.US"]
    assert (plan.unreadable_until, plan.deferred) == ({coverage.symbols[0].symbol_id: SEVEN}, 1)
