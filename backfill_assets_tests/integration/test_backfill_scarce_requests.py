"""Calls that do not suffice for all exchanges: nobody's overdue session waits while another's history is filled."""

from collections.abc import Callable
from datetime import date
from typing import Any
from uuid import uuid4

import pytest

from backfill_assets.backfill.due_work import find_due_work
from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.job_request import JobRequest, build_job
from backfill_assets.backfill.planner import Plan
from backfill_assets.backfill.runner import run_backfill
from backfill_assets.backfill.scarce_requests import hold_back, leave_history_to_older_runs
from backfill_assets.backfill.skip_reasons import HELD_BACK, find_skip_reasons
from backfill_assets.config.settings import Settings
from backfill_assets.market.calendar.tickers import Ticker
from backfill_assets.sandbox.config import ExchangeConfig
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.runs import start_run
from backfill_assets.store.symbols import add_symbols

HISTORY: dict[str, Any] = {"start": date(2026, 4, 6), "end": date(2026, 4, 10)}
US_NAMES, AU_NAMES = ("AAPL", "BHP", "KO", "MSFT"), ("BHP", "CBA", "RIO")


@pytest.fixture
def make_scarce(database: Database, settings: Settings) -> Callable[..., Engine]:
    """Make an engine whose budget has a number of requests left, with symbols of New York and Sydney."""

    def make(requests: int, **overrides: object) -> Engine:
        with database.transaction() as connection:
            add_symbols(
                connection, [Ticker(name, "US") for name in US_NAMES] + [Ticker(name, "AU") for name in AU_NAMES]
            )
        chosen = {"exchanges": ("US", "AU"), "daily_calls": 5 * requests, "collector_reserve": 0.0, **overrides}
        return Engine(database, settings.model_copy(update=chosen))

    return make


def plan_job(engine: Engine, exchange: str, later: tuple[str, ...] = (), **options: Any) -> Plan:
    job, _ = build_job(engine, JobRequest(exchange=exchange, **options))
    following = [build_job(engine, JobRequest(exchange=other, **options))[0] for other in later]
    coverage = engine.measure(job)
    return hold_back(engine, job, coverage, engine.plan(job, coverage), following)


def list_names(plan: Plan) -> list[str]:
    return [request.symbol.ticker.symbol for request in plan.requests]


def test_history_leaves_the_calls_that_another_exchange_needs_today(make_scarce: Callable[..., Engine]) -> None:
    plan = plan_job(make_scarce(5), "US", **HISTORY)
    assert list_names(plan) == ["AAPL", "BHP"]
    assert len(plan.held_back) == 2
    reasons = find_skip_reasons(plan, [request.symbol.symbol_id for request in plan.requests], (), (), None)
    assert reasons == dict.fromkeys(plan.held_back, HELD_BACK)


def test_what_is_overdue_is_shared_fairly(make_scarce: Callable[..., Engine]) -> None:
    assert len(plan_job(make_scarce(6), "US").requests) == 3
    assert len(plan_job(make_scarce(6), "AU").requests) == 3


def test_with_enough_calls_nothing_is_held_back(make_scarce: Callable[..., Engine]) -> None:
    assert list_names(plan_job(make_scarce(7), "US", **HISTORY)) == list(US_NAMES)


@pytest.mark.parametrize(("order", "count"), [("fair", 3), ("listed", 4)])
def test_history_of_exchanges_in_one_command(make_scarce: Callable[..., Engine], order: str, count: int) -> None:
    """Sydney's overdue sessions need three of nine requests; six are left for the history of four and three symbols."""
    engine = make_scarce(9, exchange_order=order)
    assert len(plan_job(engine, "US", later=("AU",), **HISTORY).requests) == count


def test_a_person_who_names_symbols_gets_them(make_scarce: Callable[..., Engine]) -> None:
    assert list_names(plan_job(make_scarce(2), "US", symbols=["AAPL", "BHP", "KO"], **HISTORY)) == ["AAPL", "BHP", "KO"]


def test_one_exchange_alone_measures_nothing(make_scarce: Callable[..., Engine]) -> None:
    engine = make_scarce(2, exchanges=("US",))
    job, _ = build_job(engine, JobRequest(**HISTORY))
    coverage = engine.measure(job)
    plan = engine.plan(job, coverage)
    assert hold_back(engine, job, coverage, plan) is plan


def test_the_sensor_says_for_whom_it_waits(make_scarce: Callable[..., Engine]) -> None:
    engine = make_scarce(1)
    due = find_due_work(engine, engine.settings.get_market("AU"), "30m")
    assert due.ranges == ()
    assert due.reason == f"3 symbols wait: {HELD_BACK}"  # the one request goes to the exchange listed first


def test_of_runs_that_begin_together_only_the_older_one_fills_history(make_scarce: Callable[..., Engine]) -> None:
    """Six calls: Sydney's overdue sessions need three. Two histories, each measured alone, would take three each."""
    engine = make_scarce(6)
    job, _ = build_job(engine, JobRequest(exchange="US", **HISTORY))
    coverage = engine.measure(job)
    plan = hold_back(engine, job, coverage, engine.plan(job, coverage))
    assert len(plan.requests) == 3
    runs = [uuid4(), uuid4()]
    for run_id in runs:
        with engine.database.transaction() as connection:
            start_run(connection, run_id, "a run", len(plan.requests))
    kept = [leave_history_to_older_runs(engine, job, coverage, plan, run_id) for run_id in runs]
    assert kept[0] == plan
    assert (kept[1].requests, len(kept[1].held_back)) == ((), 4)
    overdue, _ = build_job(engine, JobRequest(exchange="AU"))
    coverage = engine.measure(overdue)
    plan = engine.plan(overdue, coverage)
    assert leave_history_to_older_runs(engine, overdue, coverage, plan, uuid4()).requests == plan.requests
    plenty = make_scarce(100)
    plan = plenty.plan(job, plenty.measure(job))
    assert leave_history_to_older_runs(plenty, job, plenty.measure(job), plan, runs[1]) is plan


def test_without_any_call_left_the_budget_says_so(make_scarce: Callable[..., Engine]) -> None:
    assert plan_job(make_scarce(0), "US").held_back == frozenset()


def test_held_back_slots_are_not_said_to_be_absent_at_the_vendor(
    make_engine: Callable[..., Engine], start_sandbox: Callable[..., Sandbox]
) -> None:
    """Two requests for one symbol; Sydney's overdue sessions leave calls for one of them."""
    sandbox = start_sandbox(history_from=date(2025, 11, 3), exchanges={"AU": ExchangeConfig(symbols=3)})
    engine = make_engine(
        sandbox, exchanges=("US", "AU"), collector_reserve=0.0, daily_calls=20, daily_data=False, max_span_days=120
    )
    with engine.database.transaction() as connection:
        add_symbols(connection, [Ticker("AAPL", "US")] + [Ticker(name, "AU") for name in AU_NAMES])
    job, _ = build_job(engine, JobRequest(exchange="US", start=date(2025, 11, 10), end=date(2026, 5, 8)))
    result = run_backfill(engine, job, lambda _: None)
    assert result.requests <= 2  # one of them for the account
    assert (list(result.absent), result.written.inserted > 0) == ([f"not requested: {HELD_BACK}"], True)
