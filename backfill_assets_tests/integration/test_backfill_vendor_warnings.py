"""Warnings of the vendor are in the result, the printed summary, the JSON and the findings."""

import io
from collections.abc import Callable
from datetime import date
from typing import Any

from rich.console import Console

from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.runner import run_backfill
from backfill_assets.cli.rendering import show_run
from backfill_assets.quality.status import read_status
from backfill_assets.sandbox.config import DataQuirks
from backfill_assets.sandbox.server.serve import Sandbox
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
    assert f"limited data for 1 tickers; the vendor says: {PLAN_LIMIT}" in print_run(result)
    assert result.as_dict()["vendor_warnings"] == {PLAN_LIMIT: 1}


def test_plan_limit_is_recorded_as_a_finding_of_the_exchange(
    make_engine: MakeEngine, start_sandbox: StartSandbox
) -> None:
    engine, _ = run_free_plan(make_engine, start_sandbox)
    findings = read_status(engine.database, engine.settings)["findings"]
    assert [(f["kind"], f["subject"], f["detail"]) for f in findings] == [("plan limited", "US", PLAN_LIMIT)]


def test_run_without_limits_prints_and_records_no_warning(make_engine: MakeEngine, start_sandbox: StartSandbox) -> None:
    engine = make_engine(start_sandbox())
    result = run_backfill(engine, make_job(engine, **ONE_YEAR_AGO), ignore_progress)
    assert "vendor says" not in print_run(result)
    assert "vendor_warnings" not in result.as_dict()
    assert read_status(engine.database, engine.settings)["findings"] == []
