"""While a run goes on: it is seen to be alive, it hears what the day has left, and it asks again for what failed."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import uuid4

import pytest

from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.fetch.heartbeat import maintain_heartbeat
from backfill_assets.backfill.planner import Strategy
from backfill_assets.quality.status import read_status
from backfill_assets.sandbox.config import Faults
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.runs import start_run
from backfill_assets_tests.conftest import monday_and_tuesday
from backfill_assets_tests.integration.scripted_vendor import HTML, Say, ScriptedVendor
from backfill_assets_tests.integration.test_backfill_engine import silent, universe

ACCOUNT = Say(body=b'{"apiRequests":0,"apiRequestsDate":"2026-06-03","dailyRateLimit":100000,"extraLimit":0}')
EngineOn = Callable[..., Engine]
Sandboxed = Callable[..., Sandbox]


def test_status_shows_a_run_while_it_goes_on_and_not_after(engine_on: EngineOn, sandboxed: Sandboxed) -> None:
    engine = engine_on(sandboxed(), ("AAPL", "MSFT"))
    seen: list[list[dict[str, Any]]] = []

    def look(_: object) -> None:
        seen.append(read_status(engine.database, engine.settings)["running"])

    engine.run(monday_and_tuesday(engine), look)
    assert [[run["tickers"] for run in runs] for runs in seen] == [[2], [2]]
    assert read_status(engine.database, engine.settings)["running"] == []


def test_a_run_beats_and_hears_again_and_again_what_the_day_has_left(
    engine_on: EngineOn, sandboxed: Sandboxed, database: Database
) -> None:
    sandbox = sandboxed(daily=5000)
    engine, run_id = engine_on(sandbox), uuid4()
    with database.transaction() as connection:
        start_run(connection, run_id, "a test", 1)

    def beat() -> datetime:
        with database.transaction() as connection:
            (at,) = connection.execute("SELECT heartbeat_at FROM backfill.runs").fetchone() or (None,)
        assert isinstance(at, datetime)
        return at

    first = beat()

    async def story() -> None:
        async with (
            engine.open_vendor_client(run_id) as (pacer, client),
            maintain_heartbeat(database, run_id, pacer, client, heartbeat_seconds=0.01, quota_sync_seconds=0.01),
        ):
            while sandbox.stats()["by_endpoint"].get("user", 0) < 3 or beat() == first:
                await asyncio.sleep(0.01)

    asyncio.run(story())
    assert engine.create_budget().read_status(engine.settings.now()).calls_left_today == 4500


def test_a_hybrid_run_asks_once_more_for_what_failed_and_a_targeted_one_does_not(
    engine_on: EngineOn, sandboxed: Sandboxed
) -> None:
    symbols = tuple(universe(30))
    sandbox = sandboxed(symbols=30, faults=Faults(status_502=0.4))
    engine = engine_on(sandbox, symbols, attempts=1)
    targeted = engine.run(monday_and_tuesday(engine, strategy=Strategy.TARGETED), silent)
    assert 0 < len(targeted.errors) < 30
    assert set(sandbox.stats()["per_ticker"].values()) == {1}

    sandbox.reset_stats()
    hybrid = engine.run(monday_and_tuesday(engine, force=True), silent)
    asked = sandbox.stats()["per_ticker"]
    assert set(asked.values()) == {1, 2}
    assert {str(o.ticker) for o in hybrid.errors} < {ticker for ticker, times in asked.items() if times == 2}
    assert len(hybrid.outcomes) == 30


@pytest.mark.parametrize(
    ("answer", "code", "told"),
    [
        (Say(401, b"Unauthenticated", HTML), 4, "check EODHD_API_TOKEN"),
        (Say(402, b"You exceeded your daily API requests limit.", HTML), 4, "midnight UTC"),
        (Say(403, b"Only EOD data allowed for free users.", HTML), 4, "Only EOD data allowed for free users"),
    ],
    ids=["token", "quota", "plan"],
)
def test_a_refusal_of_the_whole_token_stops_the_run_at_once(
    engine_on: EngineOn, sandboxed: Sandboxed, answer: Say, code: int, told: str
) -> None:
    async def story() -> tuple[Any, int]:
        async with ScriptedVendor(ACCOUNT, answer) as vendor:
            engine = engine_on(sandboxed(), tuple(universe(30)), base_url=vendor.url)
            result = await asyncio.to_thread(engine.run, monday_and_tuesday(engine), silent)
            return result, sum("intraday" in path for path in vendor.paths())

    result, asked = asyncio.run(story())
    assert (result.exit_code, result.stored, result.not_requested) == (code, 0, 30)
    assert 1 <= asked <= 20  # what was in flight, and who was let in before the first refusal was read
    assert told in str(result.stopped)
