"""``pause`` and ``resume``: nothing is sent to the vendor, whoever asks for it, and everything says so."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.results import Progress
from backfill_assets.backfill.runner import run_backfill
from backfill_assets.live.collector import collect_until_close
from backfill_assets.live.result import LiveRound
from backfill_assets.market.purposes import Purpose
from backfill_assets.market.vendor_errors import SpendingPaused
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.quota.spending_pause import end_pause, start_pause
from backfill_assets_tests.acceptance.conftest import User
from backfill_assets_tests.conftest import make_monday_tuesday_job, read_stored_bars
from backfill_assets_tests.integration.test_backfill_engine import ignore_progress
from backfill_assets_tests.moving_clock import MovingClock, parse_utc

MakeUser = Callable[..., User]
MakeEngine = Callable[..., Engine]
StartSandbox = Callable[..., Sandbox]


def pause_spending(database: Database) -> None:
    start_pause(database, None, "ann@host", "invoice [/b]")


def test_no_command_sends_a_request_until_somebody_resumes(make_user: MakeUser, start_sandbox: StartSandbox) -> None:
    sandbox = start_sandbox()
    user = make_user(sandbox)
    user.run_cli("symbols add AAPL MSFT")
    paused = user.run_cli(["pause", "--for", "1d2h", "--reason", "a  new plan [/b]"])
    assert paused.code == 0
    assert "(a new plan [/b]); to go on: backfill-assets resume" in paused.out
    for command in ("run", "review", "why AAPL 2026-06-02 --ask", "symbols sync"):
        result = user.run_cli(command)
        assert result.code == 4, result
        assert "spending is paused by " in result.out + result.err
        assert "(a new plan [/b]); to go on: backfill-assets resume" in result.out + result.err
    for command in ("report", "plan", "status", "symbols list"):
        assert user.run_cli(command).code == 0
    assert sandbox.stats()["requests"] == 0
    resumed = user.run_cli("resume")
    assert (resumed.code, "resumed; spending had been paused by " in resumed.out) == (0, True)
    calls = 10 + 2 + 2 + 2  # bars, daily rows, splits, dividends
    assert (user.run_cli("run").code, sandbox.stats()["calls"]) == (0, calls)


def test_status_shows_the_pause_and_calls_by_purpose(make_user: MakeUser, start_sandbox: StartSandbox) -> None:
    user = make_user(start_sandbox())
    user.run_cli("symbols add AAPL MSFT")
    fresh = user.run_cli("status --format json").json
    assert (fresh["spending_pause"], fresh["calls_by_purpose"]) == (None, {"today": {}, "past_30_days": {}})
    for command in ("run", "review", "symbols sync"):
        user.run_cli(command)
    user.run_cli(["pause", "--until", "2037-01-01T00:00:00+01:00"])
    status = user.run_cli("status --format json").json
    calls = {"gap": 10, "review": 10, "daily": 2, "splits": 2, "dividends": 2, "reference": 1}
    assert status["calls_by_purpose"] == {"today": calls, "past_30_days": calls}
    assert (status["spending_pause"]["until"], status["spending_pause"]["reason"]) == ("2036-12-31T23:00:00Z", None)
    table = user.run_cli("status").out
    assert "calls today     gap 10 · review 10 · daily 2 · dividends 2 · splits 2 · reference 1\n" in table
    assert "calls 30 days   gap 10 · review 10 · daily 2 · dividends 2 · splits 2 · reference 1\n" in table
    assert "PAUSED          all spending, by " in table
    assert user.run_cli("status --format json", EODHD_API_TOKEN="").json["calls_by_purpose"] is None


def test_a_second_pause_replaces_the_first_and_resume_without_one_does_nothing(make_user: MakeUser) -> None:
    user = make_user(EODHD_API_TOKEN="")  # neither needs a token
    assert user.run_cli("resume").out == "spending was not paused; nothing to do\n"
    user.run_cli("pause --reason first --for 30m")
    assert "until somebody resumes (second)" in user.run_cli("pause --reason second").out
    assert user.run_cli("status --format json").json["spending_pause"]["reason"] == "second"
    assert user.run_cli("resume").code == user.run_cli("resume").code == 0
    both = user.run_cli("pause --for 2h --until 2037-01-01T00:00:00Z")
    assert (both.code, both.error) == (2, "give either --until or --for, not both")


def test_a_run_under_way_stops_after_requests_in_flight_and_stores_them(
    make_engine: MakeEngine, start_sandbox: StartSandbox, database: Database
) -> None:
    sandbox, symbols = start_sandbox(), ("AAPL", "AMZN", "MSFT", "TSLA", "VTI")
    engine = make_engine(sandbox, symbols, in_flight_start=1, in_flight_max=1)
    finished: list[str] = []

    def pause_after_the_first(progress: Progress) -> None:
        finished.append(progress.outcome.ticker.symbol)
        pause_spending(database)

    result = run_backfill(engine, make_monday_tuesday_job(engine), pause_after_the_first)
    assert isinstance(result.stopped, SpendingPaused)
    assert (result.exit_code, result.not_requested) == (4, len(symbols) - len(finished))
    assert [len(read_stored_bars(database, symbol)) for symbol in symbols] == [
        26 if symbol in finished else 0 for symbol in symbols
    ]
    requests = sandbox.stats()["requests"]
    assert requests <= 1 + 2  # the account, and a request in flight beside the first
    again = run_backfill(engine, make_monday_tuesday_job(engine), ignore_progress)
    assert (type(again.stopped), sandbox.stats()["requests"]) == (SpendingPaused, requests)
    with database.transaction() as connection:
        end_pause(connection)
    assert run_backfill(engine, make_monday_tuesday_job(engine), ignore_progress).exit_code == 0


def test_free_requests_are_not_sent_either(make_engine: MakeEngine, start_sandbox: StartSandbox) -> None:
    sandbox = start_sandbox()
    engine = make_engine(sandbox)
    pause_spending(engine.database)

    async def read_account() -> None:
        async with engine.open_vendor_client(Purpose.ACCOUNT) as (_, client):
            await client.fetch_account()

    with pytest.raises(SpendingPaused, match="paused by ann@host since"):
        asyncio.run(read_account())
    assert sandbox.stats()["requests"] == 0


def test_live_rounds_are_skipped_and_go_on_afterwards(make_live_clock: Callable[..., MovingClock]) -> None:
    clock = make_live_clock()
    first, second = parse_utc("2026-06-02 14:00"), parse_utc("2026-06-02 14:05")
    pause_spending(clock.engine.database)
    paused = clock.collect(first)
    assert (paused.kind, paused.exit_code, paused.calls, clock.calls) == ("paused", 4, 0, 0)
    assert "spending is paused by ann@host" in str(paused)
    with clock.engine.database.transaction() as connection:
        assert connection.execute("SELECT FROM backfill.live_rounds").fetchall() == []
    rounds: list[LiveRound] = []

    def resume(_: float) -> None:
        with clock.engine.database.transaction() as connection:
            end_pause(connection)

    def collect() -> LiveRound:
        if len(rounds) == 1:
            return clock.collect(second)
        return clock.collect(first) if not rounds else clock.collect(parse_utc("2026-06-02 22:00"))

    last = collect_until_close(collect, lambda: first, resume, rounds.append)
    assert [r.kind for r in rounds] == ["paused", "sampled", "closed"]
    assert last.kind == "sampled"


def test_waiting_requests_of_a_full_window_end_when_spending_is_paused(
    make_engine: MakeEngine, start_sandbox: StartSandbox, database: Database
) -> None:
    limits: dict[str, Any] = {"requests_per_minute": 2, "minute_share": 1.0, "rate_window_seconds": 0.5}
    engine = make_engine(start_sandbox(), ("AAPL", "AMZN", "MSFT", "TSLA"), **limits)
    result = run_backfill(engine, make_monday_tuesday_job(engine), lambda _: pause_spending(database))
    assert isinstance(result.stopped, SpendingPaused)
    assert 0 < result.written.inserted < 4 * 26
