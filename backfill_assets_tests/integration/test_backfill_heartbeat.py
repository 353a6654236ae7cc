"""A run in progress: heartbeat, quota sync, second pass, and errors that stop it."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import uuid4

import pytest

from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.fetch.heartbeat import maintain_heartbeat
from backfill_assets.backfill.planner import Strategy
from backfill_assets.backfill.runner import run_backfill
from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.purposes import Purpose
from backfill_assets.quality.status import read_status
from backfill_assets.sandbox.config import Faults
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.runs import start_run
from backfill_assets_tests.conftest import make_monday_tuesday_job
from backfill_assets_tests.integration.scripted_vendor import HTML, ScriptedResponse, ScriptedVendor
from backfill_assets_tests.integration.test_backfill_engine import ignore_progress, list_sandbox_symbols

ACCOUNT = ScriptedResponse(
    body=b'{"apiRequests":0,"apiRequestsDate":"2026-06-03","dailyRateLimit":100000,"extraLimit":0}'
)
MakeEngine = Callable[..., Engine]
StartSandbox = Callable[..., Sandbox]


def test_status_shows_a_run_only_while_it_is_running(make_engine: MakeEngine, start_sandbox: StartSandbox) -> None:
    engine = make_engine(start_sandbox(), ("AAPL", "MSFT"))
    snapshots: list[list[dict[str, Any]]] = []

    def record_status(_: object) -> None:
        snapshots.append(read_status(engine.database, engine.settings)["running"])

    run_backfill(engine, make_monday_tuesday_job(engine), record_status)
    assert [[run["tickers"] for run in runs] for runs in snapshots] == [[2], [2]]
    assert read_status(engine.database, engine.settings)["running"] == []


def test_running_backfill_records_heartbeats_and_syncs_the_quota(
    make_engine: MakeEngine, start_sandbox: StartSandbox, database: Database
) -> None:
    sandbox = start_sandbox(daily=5000)
    engine, run_id = make_engine(sandbox), uuid4()
    with database.transaction() as connection:
        start_run(connection, run_id, "a test", 1)

    def read_heartbeat() -> datetime:
        with database.transaction() as connection:
            (heartbeat_at,) = connection.execute("SELECT heartbeat_at FROM backfill.runs").fetchone() or (None,)
        assert isinstance(heartbeat_at, datetime)
        return heartbeat_at

    first, claims = read_heartbeat(), engine.create_claims(run_id, INTERVALS["30m"])

    async def scenario() -> None:
        async with (
            engine.open_vendor_client(Purpose.GAP, run_id) as (rate_limiter, client),
            maintain_heartbeat(claims, rate_limiter, client, heartbeat_seconds=0.01, quota_sync_seconds=0.01),
        ):
            while sandbox.stats()["by_endpoint"].get("user", 0) < 3 or read_heartbeat() == first:
                await asyncio.sleep(0.01)

    asyncio.run(scenario())
    assert engine.create_budget().read_status(engine.settings.now()).calls_left_today == 4500


def test_only_hybrid_run_repeats_failed_requests_once(make_engine: MakeEngine, start_sandbox: StartSandbox) -> None:
    symbols = tuple(list_sandbox_symbols(30))
    sandbox = start_sandbox(symbols=30, faults=Faults(status_502=0.4))
    engine = make_engine(sandbox, symbols, attempts=1)
    targeted = run_backfill(engine, make_monday_tuesday_job(engine, strategy=Strategy.TARGETED), ignore_progress)
    assert 0 < len(targeted.errors) < 30
    assert set(sandbox.stats()["per_ticker"].values()) == {1}

    sandbox.reset_stats()
    hybrid = run_backfill(engine, make_monday_tuesday_job(engine, force=True), ignore_progress)
    request_counts = sandbox.stats()["per_ticker"]
    assert set(request_counts.values()) == {1, 2}
    assert {str(o.ticker) for o in hybrid.errors} < {ticker for ticker, count in request_counts.items() if count == 2}
    assert len(hybrid.outcomes) == 30


@pytest.mark.parametrize(
    ("response", "code", "message"),
    [
        (ScriptedResponse(401, b"Unauthenticated", HTML), 4, "check EODHD_API_TOKEN"),
        (ScriptedResponse(402, b"You exceeded your daily API requests limit.", HTML), 4, "midnight UTC"),
        (
            ScriptedResponse(403, b"Only EOD data allowed for free users.", HTML),
            4,
            "Only EOD data allowed for free users",
        ),
    ],
    ids=["token", "quota", "plan"],
)
def test_permanent_refusal_stops_the_run_at_once(
    make_engine: MakeEngine, start_sandbox: StartSandbox, response: ScriptedResponse, code: int, message: str
) -> None:
    async def scenario() -> tuple[Any, int]:
        async with ScriptedVendor(ACCOUNT, response) as vendor:
            engine = make_engine(start_sandbox(), tuple(list_sandbox_symbols(30)), base_url=vendor.url)
            result = await asyncio.to_thread(run_backfill, engine, make_monday_tuesday_job(engine), ignore_progress)
            return result, sum("intraday" in path for path in vendor.list_paths())

    result, request_count = asyncio.run(scenario())
    assert (result.exit_code, result.stored, result.not_requested) == (code, 0, 30)
    assert 1 <= request_count <= 20  # what was in flight, and requests admitted before the first refusal was read
    assert message in str(result.stopped)
