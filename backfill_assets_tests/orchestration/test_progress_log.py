"""A run's log says how far it is, and while nothing happens what is waited for."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.results import Progress, TickerOutcome
from backfill_assets.market.calendar.tickers import parse_tickers
from backfill_assets.orchestration.progress_log import ProgressLog, log_progress
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.quota.budget import BudgetStatus, PermitSettlement
from backfill_assets_tests.conftest import NOW, monday_and_tuesday

FREE = BudgetStatus(100_000, 0, NOW, 12, 240, 0, None)


class Spoken:
    """What a log of 1,000 tickers says on a clock that the test moves; the budget lets 240 through a minute."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.clock = 0.0
        self.log = ProgressLog(self.lines.append, lambda: self.clock, requests_per_window=240, window_seconds=60.0)

    def ended(self, tickers: int, at: float) -> None:
        self.clock = at
        (ticker,) = parse_tickers(["AAPL"])
        self.log(Progress(tickers, 1_000, 26 * tickers, 5 * tickers, TickerOutcome(ticker, "stored", 26)))

    def silent(self, at: float, budget: BudgetStatus = FREE) -> None:
        self.clock = at
        self.log.log_stall(budget)


@pytest.fixture
def spoken() -> Spoken:
    return Spoken()


def test_what_is_left_takes_as_many_windows_as_the_budget_needs(spoken: Spoken) -> None:
    spoken.ended(240, at=10)
    spoken.ended(960, at=240)
    spoken.ended(1_000, at=241)
    assert spoken.lines == [
        "240/1,000 tickers · 6,240 bars · 1,200 calls · about 230 s left",
        "960/1,000 tickers · 24,960 bars · 4,800 calls · about 10 s left",
        "1,000/1,000 tickers · 26,000 bars · 5,000 calls · about 0 s left",
    ]


def test_while_nothing_happens_it_says_why(spoken: Spoken) -> None:
    spoken.silent(at=5)
    assert spoken.lines == []
    spoken.silent(at=7)
    spoken.ended(240, at=10)
    spoken.silent(at=15)
    spoken.silent(at=20, budget=replace(FREE, requests_in_window=240))
    spoken.silent(at=22, budget=replace(FREE, requests_in_window=240))
    spoken.silent(at=30, budget=replace(FREE, paused_until=datetime(2026, 6, 3, 14, 0, 40, tzinfo=UTC)))
    spoken.ended(1_000, at=300)
    spoken.silent(at=400)
    assert [line for line in spoken.lines if "without" in line] == [
        "no ticker yet · 7 s without an answer: the budget holds nothing back, 12 of 240 requests of 60 s are spent",
        "240/1,000 tickers · 10 s without an answer: 240 of 240 requests of 60 s are spent,"
        " asking goes on as they expire",
        "240/1,000 tickers · 20 s without an answer: the vendor refused for the rate, asking goes on at 14:00:40 UTC",
    ]


def test_a_run_that_waits_for_a_pause_says_so(
    engine_on: Callable[..., Engine], sandboxed: Callable[..., Sandbox]
) -> None:
    engine = engine_on(sandboxed(), ("AAPL", "MSFT"))
    permits = engine.create_budget().take_permits(1, 5, NOW).permits
    engine.create_budget().settle_permits(PermitSettlement(permits, pause_seconds=1.5), NOW)
    lines: list[str] = []
    with log_progress(engine, lines.append, stall_seconds=0.1) as listen:
        assert engine.run(monday_and_tuesday(engine), listen).after.missing == 0
    assert any("s without an answer: the vendor refused for the rate, asking goes on at " in line for line in lines)
    assert lines[-1].startswith("2/2 tickers · 52 bars · 10 calls")
