"""What daily data say about absence on an exchange of which nothing is proven: recorded, and nothing follows."""

import logging
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

from backfill_assets.backfill.decisions.inbox import decide, refresh_inbox, undo
from backfill_assets.backfill.engine import BackfillJob, Engine
from backfill_assets.backfill.job_request import JobRequest, build_job
from backfill_assets.backfill.runner import run_backfill
from backfill_assets.market.exchanges.profile import CalendarOverrides
from backfill_assets.market.gaps.slot_states import SlotState
from backfill_assets.sandbox.config import ExchangeConfig
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.evidence.decisions import list_open_decisions
from backfill_assets.store.evidence.findings import CALENDAR_DRIFT, list_findings
from backfill_assets.store.evidence.proposals import Answer
from backfill_assets_tests.conftest import NOW
from backfill_assets_tests.integration.test_backfill_engine import ignore_progress

MONDAY = date(2026, 6, 1)
LEARNED = """
INSERT INTO backfill.compared_days (exchange, session_day, days, untraded, untraded_with_bars, exceeding_volume, ranged,
                                    outside_range, closes, closes_equal, compared_at)
SELECT 'LSE', day::date, 40, 0, 0, 0, 40, 0, 0, 0, now()
FROM generate_series('2026-04-01', '2026-04-20', interval '1 day') day
"""


@pytest.fixture
def open_engine(
    make_engine: Callable[..., Engine], start_sandbox: Callable[..., Sandbox]
) -> Callable[..., tuple[Engine, Sandbox]]:
    """An engine over symbols of London, of which every one is served that ``config`` has."""

    def make(tickers: tuple[str, ...], **config: Any) -> tuple[Engine, Sandbox]:
        sandbox = start_sandbox(symbols=1, exchanges={"LSE": ExchangeConfig(**config)})
        settings = {"exchanges": ("US", "LSE"), "requests_per_minute": 100_000}
        return make_engine(sandbox, tickers, **settings), sandbox

    return make


def run(engine: Engine, exchange: str = "LSE", **options: Any) -> BackfillJob:
    job = build_job(engine, JobRequest(start=MONDAY, end=MONDAY, exchange=exchange, **options))[0]
    run_backfill(engine, job, ignore_progress)
    return job


def list_drift(engine: Engine) -> list[str]:
    with engine.database.transaction() as connection:
        return [finding.subject for finding in list_findings(connection) if finding.kind == CALENDAR_DRIFT]


def test_renames_are_requested_where_the_vendor_lists_them_and_an_end_is_no_finding_yet(
    open_engine: Callable[..., tuple[Engine, Sandbox]],
) -> None:
    engine, sandbox = open_engine(("NOSUCH.LSE", "VOD.LSE", "NOSUCH.US"), symbols=2)
    run(engine)
    counts = sandbox.stats()["by_endpoint"]
    assert (counts["eod"], counts.get("symbol-change-history", 0)) == (1, 0)
    with engine.database.transaction() as connection:
        lives = connection.execute(b"SELECT first_day, last_day, has_ended FROM backfill.listing_lives").fetchall()
        findings = [finding.kind for finding in list_findings(connection)]
    assert lives == [(None, None, False)]
    assert "ended or renamed" not in findings
    run(engine, "US")
    assert sandbox.stats()["by_endpoint"]["symbol-change-history"] == 1


def run_on_closed_day(open_engine: Callable[..., tuple[Engine, Sandbox]], *, is_learned: bool) -> tuple[Engine, int]:
    """A run over a day that London did not trade on; returns how many slots are no trade."""
    names = ("VOD", "BP", "SHEL", "HSBA", "AZN")
    closed = CalendarOverrides(closures=frozenset({MONDAY}))
    engine, _ = open_engine(tuple(f"{name}.LSE" for name in names), symbols=20, overrides=closed)
    with engine.database.transaction() as connection:
        connection.execute(
            b"INSERT INTO market_symbols (symbol, exchange) SELECT 'T' || n, 'LSE' FROM generate_series(1, 15) n"
        )
        if is_learned:
            connection.execute(LEARNED.encode())
    job = run(engine)
    return engine, int(engine.measure(job).counts[:, SlotState.NO_TRADE].sum())


def test_a_day_without_any_data_is_only_logged_before_the_exchange_is_learned(
    open_engine: Callable[..., tuple[Engine, Sandbox]], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        engine, untraded = run_on_closed_day(open_engine, is_learned=False)
    assert "LSE may have been closed on 2026-06-01" in caplog.text
    assert (list_drift(engine), untraded) == ([], 0)
    with engine.database.transaction() as connection:  # what was read counts from then on
        connection.execute(LEARNED.encode())
    job = build_job(engine, JobRequest(start=MONDAY, end=MONDAY, exchange="LSE"))[0]
    assert engine.measure(job).counts[:, SlotState.NO_TRADE].sum() == 5 * 17


def test_a_closed_day_of_a_learned_exchange_is_a_finding_and_a_decision_of_its_own(
    open_engine: Callable[..., tuple[Engine, Sandbox]],
) -> None:
    engine, untraded = run_on_closed_day(open_engine, is_learned=True)
    assert (list_drift(engine), untraded) == (["LSE 2026-06-01"], 20 * 17)
    refresh_inbox(engine.database, NOW)
    with engine.database.transaction() as connection:
        (decision,) = [one for one in list_open_decisions(connection) if one.proposal.kind == "closure"]
    assert decision.proposal.subject == "LSE 2026-06-01 was a closed day"
    assert "BACKFILL_MARKETS_FILE under LSE" in decision.proposal.text
    decide(engine.database, [decision.decision_id], Answer.REJECTED, by="ann@host", note=None, now=NOW)
    assert list_drift(engine) == []
    undo(engine.database, decision.decision_id, by="ann@host", note=None, now=NOW)
    assert list_drift(engine) == ["LSE 2026-06-01"]
