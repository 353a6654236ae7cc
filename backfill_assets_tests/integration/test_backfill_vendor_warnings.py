"""Warnings of the vendor are in the result, the printed summary, the JSON and the findings."""

import io
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime
from typing import Any

import pytest
from rich.console import Console

from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.runner import run_backfill
from backfill_assets.cli.rendering import show_run
from backfill_assets.quality.status import read_status
from backfill_assets.sandbox.config import DataQuirks
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets_tests.acceptance.stub_vendor import StubVendor, serve_stub
from backfill_assets_tests.conftest import make_job
from backfill_assets_tests.integration.test_backfill_engine import ignore_progress

MakeEngine = Callable[..., Engine]
StartSandbox = Callable[..., Sandbox]
PLAN_LIMIT = "Data is limited by one year as you have free subscription."
# the year of the free plan begins on the second day
ONE_YEAR_AGO = {"start": date(2025, 6, 2), "end": date(2025, 6, 5)}


def print_run(result: Any) -> str:
    output = io.StringIO()
    show_run(Console(file=output, width=200), result)
    return output.getvalue()


def run_free_plan(make_engine: MakeEngine, start_sandbox: StartSandbox) -> tuple[Engine, Any]:
    sandbox = start_sandbox(free_tokens=frozenset({"test-token-4711"}), quirks=DataQuirks(free_intraday=True))
    engine = make_engine(sandbox)
    return engine, run_backfill(engine, make_job(engine, **ONE_YEAR_AGO), ignore_progress)


def test_plan_limit_is_in_the_result_the_summary_and_the_json(
    make_engine: MakeEngine, start_sandbox: StartSandbox
) -> None:
    _, result = run_free_plan(make_engine, start_sandbox)
    assert result.vendor_warnings == {PLAN_LIMIT: 1}
    assert f"limited data for 1 ticker; the vendor says: {PLAN_LIMIT}" in print_run(result)
    assert result.as_dict()["vendor_warnings"] == {PLAN_LIMIT: 1}


def test_plan_limit_is_recorded_as_a_finding_of_the_exchange_and_the_endpoint(
    make_engine: MakeEngine, start_sandbox: StartSandbox
) -> None:
    engine, _ = run_free_plan(make_engine, start_sandbox)
    findings = read_status(engine.database, engine.settings)["findings"]
    assert sorted((f["kind"], f["subject"], f["detail"]) for f in findings) == [
        ("plan limited", "US", PLAN_LIMIT),
        ("plan limited", "US /eod", PLAN_LIMIT),  # the daily history is limited, too
    ]


def test_run_without_limits_prints_and_records_no_warning(make_engine: MakeEngine, start_sandbox: StartSandbox) -> None:
    engine = make_engine(start_sandbox())
    result = run_backfill(engine, make_job(engine, **ONE_YEAR_AGO), ignore_progress)
    assert "vendor says" not in print_run(result)
    assert "vendor_warnings" not in result.as_dict()
    assert read_status(engine.database, engine.settings)["findings"] == []


def test_limited_daily_data_do_not_say_when_a_listing_begins(
    make_engine: MakeEngine, start_sandbox: StartSandbox
) -> None:
    """The daily histories of a plan of one day begin with 2026-06-02, the sessions of the days before stay expected."""
    engine = make_engine(start_sandbox(quirks=DataQuirks(plan_limit_days=1)), ("AAPL", "MSFT"))
    job = make_job(engine, start=date(2026, 5, 29), end=date(2026, 6, 2))
    run_backfill(engine, job, ignore_progress)
    with engine.database.transaction() as connection:
        lives = connection.execute("SELECT first_day, last_day, has_ended FROM backfill.listing_lives").fetchall()
    assert lives == [(None, date(2026, 6, 2), False)] * 2
    assert engine.measure(job).expected.tolist() == [39, 39]


def build_intraday(first: datetime, *remarks: dict[str, str]) -> bytes:
    """Rows of one half hour."""
    rows = [
        {"timestamp": int(first.timestamp()) + 300 * number, "gmtoffset": 0, "datetime": "", "open": 1.0, "high": 1.0,
         "low": 1.0, "close": 1.0, "volume": 9}
        for number in range(6)
    ]  # fmt: skip
    return json.dumps([*rows, *remarks]).encode()


def build_daily(*remarks: dict[str, str]) -> bytes:
    days = ("1990-01-02", "2026-06-01", "2026-06-02")
    prices = {"open": 1.0, "high": 1.0, "low": 1.0, "close": 1.0, "adjusted_close": 1.0, "volume": 9}
    return json.dumps([*({"date": day, **prices} for day in days), *remarks]).encode()


@pytest.mark.parametrize(("limited", "subject"), [("intraday/AAPL", "US"), ("eod/AAPL", "US /eod")])
def test_plan_limit_is_not_resolved_by_other_answers_of_the_same_run(
    make_engine: MakeEngine, start_sandbox: StartSandbox, limited: str, subject: str
) -> None:
    """The answers of the other symbol and of the other endpoint reach further back and have no remark."""
    opened_at, remark = datetime.fromisoformat("2026-06-01T13:30Z"), {"warning": PLAN_LIMIT}
    account = {"apiRequests": 0, "apiRequestsDate": "2026-06-03", "dailyRateLimit": 100_000, "extraLimit": 0}
    vendor = StubVendor(by_path={
        "user": (200, json.dumps(account).encode()),
        limited: (200, build_intraday(opened_at, remark) if "intraday" in limited else build_daily(remark)),
        "intraday": (200, build_intraday(opened_at)),
        "eod/": (200, build_daily()),
    })  # fmt: skip
    with serve_stub(vendor) as url:
        engine = make_engine(start_sandbox(), ("AAPL", "MSFT"), base_url=url)
        run_backfill(engine, make_job(engine, start=date(2026, 6, 1), end=date(2026, 6, 2)), ignore_progress)
    assert vendor.count_requests("eod/") == 2
    findings = read_status(engine.database, engine.settings)["findings"]
    assert [(f["subject"], f["detail"]) for f in findings if f["kind"] == "plan limited"] == [(subject, PLAN_LIMIT)]


def test_tickers_are_left_out_of_the_summary_if_requests_finished_none(
    make_engine: MakeEngine, start_sandbox: StartSandbox
) -> None:
    """A run that stops early has sent requests, so it must not say that there were none."""
    engine = make_engine(start_sandbox())
    result = replace(run_backfill(engine, make_job(engine, **ONE_YEAR_AGO), ignore_progress), outcomes=())
    assert (result.requests, "tickers:" in print_run(result)) == (2, False)
    assert "tickers: no requests\n" in print_run(replace(result, requests=0))
