"""The log of a run: its progress, and the reason of a stall."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.results import Progress, TickerOutcome
from backfill_assets.backfill.runner import run_backfill
from backfill_assets.market.calendar.tickers import parse_tickers
from backfill_assets.orchestration.progress_log import ProgressLog, log_progress
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.quota.budget import BudgetStatus, PermitSettlement
from backfill_assets_tests.conftest import NOW, make_monday_tuesday_job

NOT_LIMITED = BudgetStatus(100_000, 0, NOW, 12, 240, 0, None)


class LoggedRun:
    """The log of a run over 1,000 tickers with 240 requests per minute, on a clock that the test sets."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.clock = 0.0
        self.log = ProgressLog(self.lines.append, lambda: self.clock, requests_per_window=240, window_seconds=60.0)

    def finish(self, tickers: int, at: float) -> None:
        self.clock = at
        (ticker,) = parse_tickers(["AAPL"])
        self.log(Progress(tickers, 1_000, 26 * tickers, 5 * tickers, TickerOutcome(ticker, "stored", 26)))

    def stall(self, at: float, budget: BudgetStatus | None = NOT_LIMITED) -> None:
        self.clock = at
        self.log.log_stall(budget)


@pytest.fixture
def logged_run() -> LoggedRun:
    return LoggedRun()


def test_time_left_is_computed_from_the_required_rate_windows(logged_run: LoggedRun) -> None:
    logged_run.finish(240, at=10)
    logged_run.finish(960, at=240)
    logged_run.finish(1_000, at=241)
    assert logged_run.lines == [
        "240/1,000 tickers · 6,240 bars · 1,200 calls · about 230 s left",
        "960/1,000 tickers · 24,960 bars · 4,800 calls · about 10 s left",
        "1,000/1,000 tickers · 26,000 bars · 5,000 calls · about 0 s left",
    ]


def test_a_stall_is_logged_with_its_reason(logged_run: LoggedRun) -> None:
    logged_run.stall(at=5)
    assert logged_run.lines == []
    logged_run.stall(at=7)
    logged_run.finish(240, at=10)
    logged_run.stall(at=15)
    logged_run.stall(at=20, budget=replace(NOT_LIMITED, requests_in_window=240))
    logged_run.stall(at=22, budget=replace(NOT_LIMITED, requests_in_window=240))
    logged_run.stall(at=30, budget=replace(NOT_LIMITED, paused_until=datetime(2026, 6, 3, 14, 0, 40, tzinfo=UTC)))
    logged_run.stall(at=50, budget=None)
    logged_run.finish(1_000, at=300)
    logged_run.stall(at=400)
    assert [line for line in logged_run.lines if "without" in line] == [
        "no ticker finished yet · 7 s without an answer: not rate limited, 12 of 240 requests in 60 s used",
        "240/1,000 tickers · 10 s without an answer: 240 of 240 requests in 60 s used, requests resume as these expire",
        "240/1,000 tickers · 20 s without an answer: rate limited by the vendor, requests resume at 14:00:40 UTC",
        "240/1,000 tickers · 40 s without an answer: the database does not answer",
    ]


def test_a_run_paused_by_the_rate_limit_logs_it(
    make_engine: Callable[..., Engine], start_sandbox: Callable[..., Sandbox]
) -> None:
    engine = make_engine(start_sandbox(), ("AAPL", "MSFT"))
    permits = engine.create_budget().take_permits(1, 5, NOW).permits
    engine.create_budget().settle_permits(PermitSettlement(permits, pause_seconds=1.5), NOW)
    lines: list[str] = []
    with log_progress(engine, lines.append, stall_seconds=0.1) as listener:
        assert run_backfill(engine, make_monday_tuesday_job(engine), listener).after.missing == 0
    assert any("s without an answer: rate limited by the vendor, requests resume at " in line for line in lines)
    assert lines[-1].startswith("2/2 tickers · 52 bars · 10 calls")
