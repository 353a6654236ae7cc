"""Runs against an address where something other than the vendor answers: an error of configuration, and no trace."""

import asyncio
from collections.abc import Callable

import pytest

from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.results import Progress, ProgressListener, RunResult
from backfill_assets.backfill.runner import run_backfill
from backfill_assets.market.vendor_errors import (
    BrokenAnswer,
    InvalidTicker,
    PlanRefused,
    ProxyRefused,
    UnknownTicker,
    VendorError,
    WrongAddress,
)
from backfill_assets.sandbox.absences import Absences
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets_tests.acceptance.stub_vendor import StubVendor, serve_stub
from backfill_assets_tests.conftest import make_monday_tuesday_job
from backfill_assets_tests.integration.scripted_vendor import HTML, ScriptedResponse, ScriptedVendor
from backfill_assets_tests.integration.test_backfill_vendor_warnings import print_run

TEXT = "text/plain; charset=UTF-8"
TRIO = ("AAPL", "MSFT", "TSLA")
MakeEngine = Callable[..., Engine]
StartSandbox = Callable[..., Sandbox]


def run(engine: Engine, on_progress: ProgressListener = lambda _: None, **options: object) -> RunResult:
    return run_backfill(engine, make_monday_tuesday_job(engine, **options), on_progress)


def count_traces(engine: Engine) -> list[int]:
    """Rows of evidence, listing lives and findings."""
    tables = ("session_evidence", "listing_lives", "findings")
    with engine.database.transaction() as connection:
        return [
            connection.execute(f"SELECT count(*) FROM backfill.{table}".encode()).fetchall()[0][0] for table in tables
        ]


def test_wrong_address_is_told_instead_of_the_tickers(make_engine: MakeEngine, start_sandbox: StartSandbox) -> None:
    sandbox = start_sandbox()
    steps: list[Progress] = []
    wrong_url = sandbox.base_url.removesuffix("/api")
    result = run(make_engine(sandbox, TRIO, base_url=wrong_url), steps.append)
    output = print_run(result)
    assert (len(result.errors), steps) == (3, [])
    assert "stopped: " in output
    assert "check the spelling" not in output


def test_unknown_ticker_is_told_when_another_request_shows_that_the_vendor_answers(
    make_engine: MakeEngine, start_sandbox: StartSandbox
) -> None:
    steps: list[Progress] = []
    with serve_stub(StubVendor(status=404, body=b"", by_path={"intraday/MSFT": (200, b"[]")})) as url:
        engine = make_engine(start_sandbox(), ("AAPL", "MSFT"), base_url=url, in_flight_max=1, in_flight_start=1)
        result = run(engine, steps.append)
    assert [(step.done, step.outcome.kind) for step in steps] == [(1, "not published"), (2, "error")]
    assert "AAPL.US: AAPL.US /intraday: " in print_run(result)


def run_against(make_engine: MakeEngine, start_sandbox: StartSandbox, *responses: ScriptedResponse) -> RunResult:
    """Run the trio against a scripted vendor; nothing may be recorded."""

    async def scenario() -> RunResult:
        async with ScriptedVendor(*responses) as vendor:
            engine = make_engine(start_sandbox(), TRIO, base_url=vendor.url, backoff_seconds=(0.0, 0.0), attempts=2)
            result = await asyncio.to_thread(run, engine)
            assert count_traces(engine) == [0, 0, 0]
            return result

    return asyncio.run(scenario())


@pytest.mark.parametrize(
    ("response", "kind", "exit_code"),
    [
        (ScriptedResponse(404, b"<html><title>404 Not Found</title></html>", HTML), WrongAddress, 2),
        (ScriptedResponse(404, b'{"message":"Not Found"}'), WrongAddress, 2),
        (ScriptedResponse(403, b"Forbidden", TEXT), WrongAddress, 2),
        (ScriptedResponse(403, b"<html><title>Blocked by your administrator</title></html>", HTML), WrongAddress, 2),
        (ScriptedResponse(301, b"", HTML, {"location": "https://eodhd.com/api/"}), WrongAddress, 2),
        (ScriptedResponse(407, b"", HTML), ProxyRefused, 6),
    ],
)
def test_refusals_by_a_wrong_address_or_a_proxy_leave_no_trace(
    make_engine: MakeEngine,
    start_sandbox: StartSandbox,
    response: ScriptedResponse,
    kind: type[VendorError],
    exit_code: int,
) -> None:
    result = run_against(make_engine, start_sandbox, response)
    assert type(result.stopped) is kind
    assert result.exit_code == exit_code


def test_token_whose_plan_forbids_every_ticker_leaves_no_trace(
    make_engine: MakeEngine, start_sandbox: StartSandbox
) -> None:
    account = b'{"apiRequests":1,"apiRequestsDate":"2026-06-03","dailyRateLimit":100000,"extraLimit":0}'
    forbidden = ScriptedResponse(403, b"Forbidden", TEXT)
    result = run_against(make_engine, start_sandbox, ScriptedResponse(200, account), forbidden)
    assert type(result.stopped) is PlanRefused
    assert result.exit_code == 4


def test_wrong_host_that_answers_with_pages_is_named(make_engine: MakeEngine, start_sandbox: StartSandbox) -> None:
    result = run_against(make_engine, start_sandbox, ScriptedResponse(200, b"<html>Welcome</html>", HTML))
    assert (result.exit_code, len(result.errors)) == (4, 3)
    assert {type(outcome.error) for outcome in result.errors} == {BrokenAnswer}
    assert all("http://127.0.0.1" in str(o.error) and "; check EODHD_BASE_URL" in str(o.error) for o in result.errors)


def test_unknown_tickers_beside_a_working_account_are_evidence_whatever_their_page(
    make_engine: MakeEngine, start_sandbox: StartSandbox
) -> None:
    engine = make_engine(start_sandbox(absences=Absences(invalid=frozenset({"BAD"}))), ("NOSUCH", "BAD"))
    result = run(engine)
    assert (result.stopped, result.exit_code) == (None, 3)
    assert [type(outcome.error) for outcome in result.outcomes] == [InvalidTicker, UnknownTicker]
    assert count_traces(engine)[0] == 2 * 4  # two sessions and the two before them
