"""The check ``splits_are_consistent`` and its findings, over a sandbox whose tickers have every kind of action."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from backfill_assets.alerts.causes import find_likely_cause, read_diagnostics
from backfill_assets.backfill.actions.action_proof import prove_actions
from backfill_assets.backfill.daily_reading import read_daily_data
from backfill_assets.backfill.due_work import build_retained_sessions_job
from backfill_assets.backfill.engine import BackfillJob, Engine
from backfill_assets.backfill.job_request import JobRequest, build_job
from backfill_assets.backfill.runner import run_backfill
from backfill_assets.market.actions.adjusted_closes import Cause
from backfill_assets.market.actions.proof import Verdict
from backfill_assets.market.exchanges.registry import US
from backfill_assets.quality.corporate_actions import evaluate_corporate_actions
from backfill_assets.quality.criteria import Criterion
from backfill_assets.sandbox.actions import CashDividend, Record, SpinOff, Split
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.actions.adjusted_close_reader import read_adjusted_closes
from backfill_assets.store.actions.closes_compared import ClosesCompared, compare_closes
from backfill_assets.store.actions.spinoffs import list_spinoffs
from backfill_assets.store.actions.split_verdicts import judge_stored_splits
from backfill_assets.store.evidence.findings import (
    ADJUSTED_CLOSES_DIFFER,
    COMMON_PRICE_FACTOR,
    DIVIDEND_IN_OTHER_CURRENCY,
    SPLIT_WITHOUT_STEP,
    list_findings,
)
from backfill_assets_tests.integration.test_backfill_engine import ignore_progress

MakeEngine = Callable[..., Engine]
StartSandbox = Callable[..., Sandbox]
MakeMarket = Callable[..., tuple[Engine, BackfillJob]]
FIRST = date(2026, 4, 13)
EX, LATER = date(2026, 5, 5), date(2026, 5, 19)
ACTIONS = {
    "NVDA": (Split(EX, 10), CashDividend(LATER, Decimal("0.5"))),
    "AAPL": (Split(EX, 105, 100), CashDividend(EX, Decimal("0.26"))),
    "NFLX": (Split(EX, 1, 15), CashDividend(LATER, Decimal("3.1"), period="Special")),
    "MSFT": (CashDividend(LATER, Decimal("0.83")), SpinOff(EX, 2.39)),
    "AMZN": (SpinOff(LATER, 1.08),),
    "GOOGL": (Split(EX, 10, record=Record(copies=2)),),
    "META": (CashDividend(EX, Decimal("0.11"), currency="EUR", exchange_rate=Decimal("1.1")),),
    "TSLA": (),
}


@pytest.fixture
def make_market(make_engine: MakeEngine, start_sandbox: StartSandbox) -> MakeMarket:
    """Fill a store from a sandbox with actions, and read its daily data."""

    def make(actions: dict[str, Any] | None = None) -> tuple[Engine, BackfillJob]:
        chosen = ACTIONS if actions is None else actions
        sandbox = start_sandbox(actions=chosen, per_minute=100_000)
        engine = make_engine(sandbox, tuple(chosen), requests_per_minute=100_000, daily_data=True, partition_days=40)
        job, _ = build_job(engine, JobRequest(start=FIRST, end=date(2026, 6, 2)))
        run_backfill(engine, job, ignore_progress)
        read_daily_data(engine, US)
        return engine, job

    return make


def evaluate(engine: Engine, job: BackfillJob) -> Criterion:
    return evaluate_corporate_actions(engine.database, engine.measure(job))


def compare(engine: Engine, job: BackfillJob) -> dict[str, ClosesCompared]:
    coverage = engine.measure(job)
    names = {symbol.symbol_id: symbol.ticker.symbol for symbol in job.symbols}
    with engine.database.transaction() as connection:
        compared = compare_closes(read_adjusted_closes(connection, names, coverage.grid))
    return {names[item.symbol_id]: item for item in compared}


def judge(engine: Engine, job: BackfillJob) -> dict[str, Verdict]:
    names = {symbol.symbol_id: symbol.ticker.symbol for symbol in job.symbols}
    with engine.database.transaction() as connection:
        splits = judge_stored_splits(connection, names, job.interval, engine.settings.now())
    assert all(abs(np.log(s.adjusted_step)) < abs(np.log(s.raw_step)) for s in splits if s.ratio in (10, 1 / 15))
    return {names[split.symbol_id]: split.verdict for split in splits}


def list_open(engine: Engine) -> list[tuple[str, str]]:
    with engine.database.transaction() as connection:
        return [(finding.kind, finding.subject) for finding in list_findings(connection)]


def query(engine: Engine, statement: str) -> list[Any]:
    with engine.database.transaction() as connection:
        return connection.execute(statement.encode()).fetchall()


def test_actions_of_all_kinds_are_consistent(make_market: MakeMarket) -> None:
    engine, job = make_market()
    criterion = evaluate(engine, job)
    assert (criterion.passed, criterion.offenders) == (True, ())
    assert criterion.meaning.startswith(
        "0 splits are without a step in the prices (4 applied, 0 not judged), 0 other inconsistencies; 272 adjusted"
    )
    assert set(judge(engine, job).values()) == {Verdict.APPLIED}
    compared = compare(engine, job)
    assert max(item.worst_bps for item in compared.values()) < 0.1  # spin-offs, too, which are derived
    assert {name: item.days for name, item in compared.items()} == dict.fromkeys(ACTIONS, 36) | {"META": 20}
    (missing,) = compared["META"].missing
    assert (missing.ex_date, missing.is_in_other_currency, missing.is_inconsistent) == (EX, True, False)
    assert list_open(engine) == [(DIVIDEND_IN_OTHER_CURRENCY, "META.US")]
    with engine.database.transaction() as connection:
        spinoffs = list_spinoffs(connection, {symbol.symbol_id for symbol in job.symbols})
    assert [(s.ex_date, round(s.factor, 6)) for s in spinoffs] == [(EX, 0.41841), (LATER, 0.925926)]


def test_a_split_by_mistake_fails_with_its_cause_and_ends_when_it_is_withdrawn(make_market: MakeMarket) -> None:
    mistakes = {
        "NVDA": (Split(EX, 4, is_mistake=True),),
        "AAPL": (Split(EX, 2), Split(LATER, 2, is_mistake=True)),
        "MSFT": (),
    }
    engine, job = make_market(mistakes)
    criterion = evaluate(engine, job)
    assert (criterion.passed, criterion.figure) == (False, 2)
    offender = f"NVDA.US: split 4 of {EX}: without step (step 0.9"
    assert [text for text in criterion.offenders if text.startswith(offender)]
    assert list_open(engine) == [(SPLIT_WITHOUT_STEP, "AAPL.US"), (SPLIT_WITHOUT_STEP, "NVDA.US")]
    diagnostics = read_diagnostics(engine.database, engine.settings, engine.measure(job))
    cause = find_likely_cause("splits_are_consistent", diagnostics)
    assert cause == "the vendor lists a split that the prices do not show: AAPL.US, NVDA.US"

    query(engine, f"UPDATE backfill.splits SET withdrawn_at = now() WHERE ex_date = '{LATER}' OR ratio = 4 RETURNING 1")
    prove_actions(engine, build_retained_sessions_job(engine, US, "30m"))
    assert list_open(engine) == []


@pytest.mark.parametrize(
    ("statement", "cause"),
    [
        ("DELETE FROM backfill.dividends RETURNING 1", Cause.NOT_AMONG_ACTIONS),
        ("UPDATE backfill.dividends SET amount = amount * 1.2 RETURNING 1", Cause.OTHER_FACTOR),
        (f"UPDATE backfill.dividends SET ex_date = '{EX}' RETURNING 1", Cause.NOT_AMONG_ACTIONS),
        ("UPDATE backfill.daily_prices SET adjusted_close = close_price RETURNING 1", Cause.VENDOR_LACKS_IT),
        ("UPDATE backfill.dividend_reads SET known_until = '2026-05-18' RETURNING 1", None),
    ],
)
def test_what_differs_from_the_vendor_is_named(make_market: MakeMarket, statement: str, cause: Cause | None) -> None:
    engine, job = make_market({"NVDA": (CashDividend(LATER, Decimal("2.5")),)})
    assert evaluate(engine, job).passed
    query(engine, statement)
    (item,) = compare(engine, job).values()
    assert {difference.cause for difference in item.differences} - {Cause.VENDOR_LACKS_IT} <= {cause}
    assert bool(item.differences) == (cause is not None)
    is_explained = cause in (None, Cause.VENDOR_LACKS_IT)
    assert evaluate(engine, job).passed == is_explained


def test_of_contradictory_ratios_the_one_that_the_prices_show_is_applied(make_market: MakeMarket) -> None:
    twice = Split(EX, 10, record=Record(wrong_value=Decimal(12)))
    engine, job = make_market({"NVDA": (twice,), "MSFT": ()})
    assert evaluate(engine, job).passed
    assert judge(engine, job) == {"NVDA": Verdict.APPLIED}


def test_contradictory_amounts_fail_and_have_no_factor(make_market: MakeMarket) -> None:
    record = Record(wrong_value=Decimal("0.4"))
    engine, job = make_market({"NVDA": (CashDividend(LATER, Decimal("2.5"), period=None, record=record),)})
    (offender,) = evaluate(engine, job).offenders
    assert offender.startswith(f"NVDA.US: dividend of {LATER} has no factor: the vendor lists it as ")


def test_what_older_sessions_show_is_a_finding_that_fails_the_check_of_newer_ones(make_market: MakeMarket) -> None:
    engine, _ = make_market({"NVDA": (CashDividend(LATER, Decimal("2.5")),)})
    query(engine, "UPDATE backfill.dividends SET amount = amount * 1.2 RETURNING 1")
    retained = build_retained_sessions_job(engine, US, "30m")
    prove_actions(engine, retained)
    assert list_open(engine) == [(ADJUSTED_CLOSES_DIFFER, "NVDA.US")]
    newest, _ = build_job(engine, JobRequest(start=date(2026, 6, 1), end=date(2026, 6, 2)))
    (offender,) = evaluate(engine, newest).offenders
    assert offender.startswith("NVDA.US: adjusted closes differ: closes up to 2026-05-18 are 1.00")
    query(engine, "UPDATE backfill.dividends SET amount = amount / 1.2 RETURNING 1")
    prove_actions(engine, retained)
    assert evaluate(engine, newest).passed


def test_figures_far_beyond_any_price_do_not_stop_it(make_market: MakeMarket) -> None:
    engine, job = make_market({"NVDA": (Split(EX, 10), Split(LATER, 105, 100))})
    query(engine, "UPDATE backfill.daily_prices SET close_price = 1e-300, adjusted_close = 1e300 RETURNING 1")
    assert evaluate(engine, job).figure == 3  # the small split has no step, and both are not in the closes
    query(engine, "UPDATE backfill.daily_prices SET close_price = 1e300, adjusted_close = 1e-320 RETURNING 1")
    prove_actions(engine, build_retained_sessions_job(engine, US, "30m"))
    assert evaluate(engine, job).judged


def test_without_daily_data_nothing_is_judged(make_engine: MakeEngine, start_sandbox: StartSandbox) -> None:
    engine = make_engine(start_sandbox(), ("AAPL",))
    job, _ = build_job(engine, JobRequest(start=date(2026, 6, 1), end=date(2026, 6, 2)))
    run_backfill(engine, job, ignore_progress)
    criterion = evaluate(engine, job)
    assert (criterion.judged, criterion.passed) == (False, True)


@pytest.mark.no_cover
def test_morning_by_morning_a_spin_off_is_found_two_sessions_after_it(
    make_engine: MakeEngine, start_sandbox: StartSandbox
) -> None:
    """Rows that were read before it show nothing: the close that a reading changes has all rows read again, once."""
    sandbox = start_sandbox(actions={"MSFT": (SpinOff(LATER, 1.25),)}, per_minute=100_000)
    engine = make_engine(sandbox, ("MSFT", "AAPL"), requests_per_minute=100_000, daily_data=True, partition_days=12)
    found, requested = {}, {}
    for day in (15, 18, 19, 20, 21, 22, 26):
        now = datetime(2026, 5, day, 23, tzinfo=UTC) + timedelta(hours=11)
        sandbox.move_clock(now)
        engine = replace(engine, settings=engine.settings.model_copy(update={"as_of": now}))
        job = build_retained_sessions_job(engine, US, "30m")
        run_backfill(engine, job, ignore_progress)
        requested[day] = [read_daily_data(engine, US).requested for _ in range(3)]
        with engine.database.transaction() as connection:
            found[day] = [s.ex_date for s in list_spinoffs(connection, {s.symbol_id for s in job.symbols})]
        assert list_open(engine) == ([(COMMON_PRICE_FACTOR, "MSFT.US")] if day in (18, 19) else [])
        assert query(engine, "SELECT rule FROM backfill.doubts WHERE ended_at IS NULL") == []
    assert found == {15: [], 18: [], 19: [], 20: [LATER], 21: [LATER], 22: [LATER], 26: [LATER]}
    assert requested[18] == [2, 1, 0]  # in the morning of the ex-date the vendor has adjusted its rows
