"""Doubts of a window: the check, the report's reasons and the alert's cause, from the store."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from backfill_assets.alerts.causes import find_likely_cause, read_diagnostics
from backfill_assets.backfill.engine import BackfillJob, Engine
from backfill_assets.backfill.runner import run_backfill
from backfill_assets.market.calendar.slots import SlotGrid, build_slot_grid
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.market.plausibility.doubts import Doubt
from backfill_assets.market.plausibility.rules import Rule
from backfill_assets.quality.criteria import Criterion
from backfill_assets.quality.plausibility import SOURCE_ROWS, evaluate_plausibility
from backfill_assets.quality.symbol_reports import read_symbol_reports
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.evidence.doubts import Outcome, end_doubts, list_doubts, record_doubts
from backfill_assets_tests.conftest import NOW, make_monday_tuesday_job
from backfill_assets_tests.integration.test_backfill_engine import ignore_progress

MakeEngine = Callable[..., Engine]
StartSandbox = Callable[..., Sandbox]


@pytest.fixture
def filled(make_engine: MakeEngine, start_sandbox: StartSandbox) -> tuple[Engine, BackfillJob]:
    engine = make_engine(start_sandbox(), ("AAPL", "MSFT"))
    job = make_monday_tuesday_job(engine)
    run_backfill(engine, job, ignore_progress)
    return engine, job


def open_doubt(engine: Engine, job: BackfillJob, rule: Rule, ordinal: int, session: int = 0, slots: int = 1) -> None:
    grid = build_slot_grid(job.window.sessions, job.interval)
    first, last = int(grid.starts[ordinal]), int(grid.starts[ordinal + slots - 1])
    doubt = Doubt(rule, job.symbols[0].symbol_id, session, first, last, {"high": 9999.0})
    with engine.database.transaction() as connection:
        assert record_doubts(connection, [doubt], grid=grid, now=NOW, from_rows=True) == 1


def evaluate(engine: Engine, job: BackfillJob, *, hours: float) -> tuple[Criterion, Coverage]:
    settings = engine.settings.model_copy(update={"as_of": NOW + timedelta(hours=hours)})
    coverage = replace(engine, settings=settings).measure(job)
    return evaluate_plausibility(engine.database, coverage), coverage


def get_grid(job: BackfillJob) -> SlotGrid:
    return build_slot_grid(job.window.sessions, job.interval)


def test_an_open_doubt_fails_after_a_day_with_its_cause_and_its_reasons(filled: tuple[Engine, BackfillJob]) -> None:
    engine, job = filled
    assert evaluate(engine, job, hours=0)[0].passed
    open_doubt(engine, job, Rule.PRICE_SPIKE, 3)
    open_doubt(engine, job, Rule.SESSION_REPEATED, 0, slots=13)
    assert evaluate(engine, job, hours=23)[0].passed
    failed, coverage = evaluate(engine, job, hours=25)
    assert (failed.passed, failed.figure) == (False, 2)
    diagnostics = read_diagnostics(engine.database, engine.settings, coverage)
    assert find_likely_cause("bars_are_plausible", diagnostics) == (
        "the session's prices repeat an earlier session (session_repeated, 1 of 2 open doubts)"
    )
    with engine.database.transaction() as connection:
        aapl, msft = read_symbol_reports(connection, coverage)
    assert (aapl.suspect_bars, aapl.suspect_reasons) == (13, {"price_spike": 1, "session_repeated": 13})
    assert (msft.suspect_bars, msft.suspect_reasons) == (0, {})


def test_a_doubt_that_stands_marks_its_bars_and_does_not_alarm(filled: tuple[Engine, BackfillJob]) -> None:
    engine, job = filled
    open_doubt(engine, job, Rule.PRICE_SPIKE, 3)
    with engine.database.transaction() as connection:
        days = [session.day for session in job.window.sessions]
        (doubt,) = list_doubts(connection, [job.symbols[0].symbol_id], job.interval, days[0], days[-1])
        end_doubts(connection, [doubt.doubt_id], Outcome.STANDS, "repeated", NOW, marks_bar=True)
    criterion, coverage = evaluate(engine, job, hours=48)
    assert (criterion.passed, "1 ended with their bars marked" in criterion.meaning) == (True, True)
    with engine.database.transaction() as connection:
        reports = read_symbol_reports(connection, coverage)
    assert [report.suspect_reasons for report in reports] == [{"price_spike": 1}, {}]


def test_a_doubt_outside_the_window_does_not_count(filled: tuple[Engine, BackfillJob]) -> None:
    engine, job = filled
    open_doubt(engine, job, Rule.PRICE_SPIKE, 3)
    tuesday = replace(job, window=replace(job.window, sessions=job.window.sessions[1:]))
    assert evaluate(engine, tuesday, hours=48)[0].passed


def test_bars_without_a_doubt_are_suspect_because_of_their_rows(filled: tuple[Engine, BackfillJob]) -> None:
    engine, job = filled
    with engine.database.transaction() as connection:
        stamp = int(get_grid(job).starts[5])
        connection.execute("UPDATE market_data SET source_rows = 1 WHERE timestamp = to_timestamp(%s)", [stamp])
    _, coverage = evaluate(engine, job, hours=1)
    with engine.database.transaction() as connection:
        assert [r.suspect_reasons for r in read_symbol_reports(connection, coverage)] == [{SOURCE_ROWS: 1}] * 2
