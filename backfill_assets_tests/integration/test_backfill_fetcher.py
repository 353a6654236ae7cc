"""Planned requests fetched from a sandbox over real HTTP and stored, without the run around them."""

import asyncio
from collections.abc import Callable
from datetime import date
from typing import Any
from uuid import uuid4

import pytest

from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.fetch.address_check import AddressCheck
from backfill_assets.backfill.fetch.batch_writer import WriteContext
from backfill_assets.backfill.fetch.fetch_result import FetchResult
from backfill_assets.backfill.fetch.fetcher import MAX_CONSECUTIVE_FAILURES, Fetcher
from backfill_assets.backfill.fetch.progress_tracker import ProgressTracker
from backfill_assets.backfill.fetch.quota_sync import sync_quota
from backfill_assets.backfill.fetch.shared_rate_limiter import Usage
from backfill_assets.backfill.job_request import JobRequest, build_job
from backfill_assets.market.purposes import Purpose
from backfill_assets.market.vendor_errors import ServerFault, UnknownTicker
from backfill_assets.sandbox.config import SandboxConfig
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.sandbox.world.simulation import World
from backfill_assets.store.bars.bar_writer import read_server_time
from backfill_assets.store.runs import start_run

MONDAY = date(2026, 6, 1)
MakeEngine = Callable[..., Engine]
StartSandbox = Callable[..., Sandbox]


def fetch(engine: Engine, in_flight: int = 4, before_requests: Callable[[], None] = lambda: None) -> FetchResult:
    """Plan Monday and fetch every request of the plan; ``before_requests`` is called when the quota is known."""
    job, _ = build_job(engine, JobRequest(start=MONDAY, end=MONDAY))
    plan = engine.plan(job, engine.measure(job))
    settings, usage = engine.settings, Usage()
    with engine.database.transaction() as connection:
        server_clock = read_server_time(connection)
        start_run(connection, run_id := uuid4(), "a test", len(plan.requests))

    async def run() -> FetchResult:
        async with engine.open_vendor_client(Purpose.GAP, usage=usage) as (rate_limiter, client):
            await sync_quota(client, rate_limiter.budget, settings.now())
            claims = engine.create_claims(run_id, job.interval)
            await claims.claim([request.symbol.symbol_id for request in plan.requests], server_clock)
            fetcher = Fetcher(
                database=engine.database,
                contexts=[WriteContext(plan, job.source_interval, "30m", settings.vendor_host, settings.now())],
                run_id=run_id,
                claims=claims,
                rate_limiter=rate_limiter,
                client=client,
                progress=ProgressTracker(lambda _: None, len(plan.requests), usage),
                server_clock=server_clock,
                address=AddressCheck(settings.base_url, has_account=True),
            )
            before_requests()
            return await fetcher.fetch_all(plan.requests, in_flight)

    return asyncio.run(run())


def query(engine: Engine, statement: str) -> list[tuple[Any, ...]]:
    with engine.database.transaction() as connection:
        return connection.execute(statement.encode()).fetchall()


def list_outcomes(result: FetchResult) -> dict[str, str]:
    return {outcome.ticker.symbol: outcome.kind for outcome in result.outcomes.values()}


@pytest.mark.parametrize("in_flight", [1, 8])
def test_every_response_is_stored(make_engine: MakeEngine, start_sandbox: StartSandbox, in_flight: int) -> None:
    engine = make_engine(start_sandbox(), ("AAPL", "MSFT", "SPY"))
    result = fetch(engine, in_flight)
    assert list_outcomes(result) == {"AAPL": "stored", "MSFT": "stored", "SPY": "stored"}
    assert (result.written.inserted, len(result.published_sessions), result.stopped) == (39, 9, None)
    assert query(engine, "SELECT count(*) FROM market_data") == [(39,)]


def test_unknown_ticker_fails_alone_and_counts_as_a_response_without_rows(
    make_engine: MakeEngine, start_sandbox: StartSandbox
) -> None:
    engine = make_engine(start_sandbox(), ("AAPL", "NOSUCH"))
    result = fetch(engine)
    assert list_outcomes(result) == {"AAPL": "stored", "NOSUCH": "error"}
    assert [type(o.error) for o in result.outcomes.values() if o.error] == [UnknownTicker]
    assert result.stopped is None
    assert query(
        engine,
        "SELECT source_rows, not_returned::text FROM backfill.session_evidence"
        " JOIN market_symbols USING (symbol_id) WHERE symbol = 'NOSUCH' AND session_day = '2026-06-01'",
    ) == [(0, "{[0,13)}")]


def test_fetching_stops_after_many_failures_in_a_row(make_engine: MakeEngine, start_sandbox: StartSandbox) -> None:
    symbols = tuple(World(SandboxConfig(symbols=30)).symbols)
    sandbox = start_sandbox()
    engine = make_engine(sandbox, symbols, attempts=1)
    result = fetch(engine, in_flight=1, before_requests=lambda: sandbox.set_faults(status_502=1.0))
    assert isinstance(result.stopped, ServerFault)
    assert list(list_outcomes(result).values()) == ["error"] * MAX_CONSECUTIVE_FAILURES


def test_no_requests_need_no_vendor(make_engine: MakeEngine, start_sandbox: StartSandbox) -> None:
    engine = make_engine(start_sandbox())
    fetch(engine)
    again = fetch(engine)
    assert (again.outcomes, again.written.inserted, again.stopped) == ({}, 0, None)
