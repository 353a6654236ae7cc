"""Which tickers wait after requests that failed: those with unreadable answers in every run, others for the sensor."""

import json
from collections.abc import Callable, Iterator

import pytest

from backfill_assets.backfill.due_work import find_due_work
from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.results import RunResult
from backfill_assets.backfill.runner import run_backfill
from backfill_assets.market.calendar.tickers import Ticker
from backfill_assets.market.exchanges.registry import US
from backfill_assets.market.vendor_errors import WrongAddress
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets_tests.acceptance.stub_vendor import StubVendor, serve_stub
from backfill_assets_tests.conftest import make_job, make_monday_tuesday_job

MakeEngine = Callable[..., Engine]
StartSandbox = Callable[..., Sandbox]
ACCOUNT = b'{"apiRequests":1,"apiRequestsDate":"2026-06-03","dailyRateLimit":100000,"extraLimit":0}'
UNREADABLE = json.dumps([{"timestamp": "9:30", "open": 1, "high": 1, "low": 1, "close": 1, "volume": 1}]).encode()
MSFT = Ticker("MSFT")


@pytest.fixture
def vendor() -> Iterator[StubVendor]:
    stub = StubVendor(by_path={"user": (200, ACCOUNT)})
    with serve_stub(stub) as url:
        stub.headers["url"] = url
        yield stub


def make_stub_engine(make_engine: MakeEngine, start_sandbox: StartSandbox, vendor: StubVendor) -> Engine:
    url = vendor.headers.pop("url")
    return make_engine(start_sandbox(), ("AAPL", "MSFT"), base_url=url, attempts=1, backoff_seconds=(0.0, 0.0))


def run(engine: Engine, **options: object) -> RunResult:
    return run_backfill(engine, make_monday_tuesday_job(engine, **options), lambda _: None)


def test_unreadable_answer_is_paid_again_only_after_a_while_or_for_a_person(
    make_engine: MakeEngine, start_sandbox: StartSandbox, vendor: StubVendor
) -> None:
    vendor.by_path["intraday/MSFT"] = (200, UNREADABLE)
    engine = make_stub_engine(make_engine, start_sandbox, vendor)
    assert [str(outcome.ticker) for outcome in run(engine).errors] == ["MSFT.US"]
    again = run(engine)
    assert vendor.count_requests("intraday/MSFT") == 1
    assert (again.deferred, again.errors, again.exit_code) == (2, (), 3)
    assert again.skipped[MSFT].startswith("deferred: the vendor's answer could not be read; next try at 20")
    assert find_due_work(engine, US, "30m").reason.endswith("failed recently; backing off")
    run(engine, force=True)
    assert vendor.count_requests("intraday/MSFT") == 2
    run_backfill(engine, make_job(engine, symbols=("MSFT",)), lambda _: None)
    assert vendor.count_requests("intraday/MSFT") == 3


def test_passing_fault_is_requested_again_by_every_run(
    make_engine: MakeEngine, start_sandbox: StartSandbox, vendor: StubVendor
) -> None:
    vendor.by_path["intraday/MSFT"] = (503, b"")
    engine = make_stub_engine(make_engine, start_sandbox, vendor)
    first = run(engine)
    sent = vendor.count_requests("intraday/MSFT")
    second = run(engine)
    assert [type(o.error).__name__ for result in (first, second) for o in result.errors] == ["ServerFault"] * 2
    assert vendor.count_requests("intraday/MSFT") > sent


def test_mended_address_is_used_by_the_sensor_at_once(make_engine: MakeEngine, start_sandbox: StartSandbox) -> None:
    sandbox = start_sandbox()
    mended = make_engine(sandbox, ("AAPL", "MSFT"))
    wrong = make_engine(sandbox, ("AAPL", "MSFT"), base_url=sandbox.base_url.removesuffix("/api"))
    for _ in range(3):
        assert isinstance(run(wrong).stopped, WrongAddress)
    assert find_due_work(wrong, US, "30m").reason.startswith("3 runs in a row ended early")
    due = find_due_work(mended, US, "30m")
    assert (len(due.ranges), due.reason) == (2, "")
