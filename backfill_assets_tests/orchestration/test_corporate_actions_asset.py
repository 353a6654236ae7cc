"""The asset ``corporate_actions``: whatever run reads actions records it, and its own run reads nothing twice."""

from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import dagster as dg

from backfill_assets.orchestration.action_assets import corporate_actions
from backfill_assets.orchestration.daily_data import CORPORATE_ACTIONS
from backfill_assets.orchestration.exchange_names import build_bars_key
from backfill_assets.sandbox.actions import Action, CashDividend, Record
from backfill_assets.store.quota.spending_pause import start_pause
from backfill_assets_tests.conftest import NOW, StartSandbox
from backfill_assets_tests.orchestration.conftest import Deployment

Deploy = Callable[..., Deployment]
SYMBOLS = ("AAPL", "MSFT")
SPLITS = {"AAPL": (date(2026, 6, 2), 4.0)}
TOMORROW = NOW + timedelta(hours=18)  # Wednesday's daily rows are settled


def list_materializations(deployment: Deployment) -> list[dict[str, Any]]:
    """The metadata of each materialization, the newest first."""
    records = deployment.instance.fetch_materializations(CORPORATE_ACTIONS, limit=10).records
    events = [record.asset_materialization for record in records]
    return [{name: value.value for name, value in event.metadata.items()} for event in events if event]


def find_newest_event(deployment: Deployment, key: dg.AssetKey) -> int:
    """The storage id of an asset's newest materialization; later events have greater ones."""
    (newest,) = deployment.instance.fetch_materializations(key, limit=1).records
    return newest.storage_id


def materialize(deployment: Deployment) -> dg.ExecuteInProcessResult:
    return dg.materialize(
        [corporate_actions],
        instance=deployment.instance,
        resources={"backfill_engine": deployment.engine},
        raise_on_error=False,
    )


def run_daily_job(deployment: Deployment) -> bool:
    job = deployment.definitions.resolve_job_def("read_daily_data")
    return job.execute_in_process(
        instance=deployment.instance, resources={"backfill_engine": deployment.engine}
    ).success


def test_the_run_that_reads_records_the_asset_and_the_assets_own_run_reads_nothing_again(
    deploy: Deploy, start_sandbox: StartSandbox
) -> None:
    deployment = deploy(start_sandbox(splits=SPLITS), SYMBOLS, daily_data=True)
    (run,) = deployment.run_gap_sensor()
    assert run.success
    (by_gap_run,) = list_materializations(deployment)
    assert (by_gap_run["splits"], by_gap_run["new"], by_gap_run["revised"], by_gap_run["withdrawn"]) == (1, 1, 0, 0)
    assert by_gap_run["calls"] >= len(SYMBOLS)
    bars = build_bars_key("30m", "US")
    assert find_newest_event(deployment, bars) < find_newest_event(deployment, CORPORATE_ACTIONS), "bars do not wait"
    (newest,) = by_gap_run["newest"].records
    assert (newest.data["ticker"], newest.data["terms"], newest.data["state"]) == ("AAPL.US", "4:1", "effective")
    requests = deployment.sandbox.stats()["calls"]
    assert materialize(deployment).success
    by_itself, _ = list_materializations(deployment)
    assert (by_itself["splits"], by_itself["calls"]) == (1, 0)
    assert run_daily_job(deployment)
    assert len(list_materializations(deployment)) == 2  # nothing was due
    assert deployment.sandbox.stats()["calls"] == requests


def test_the_daily_job_records_it_on_a_day_without_gaps(deploy: Deploy, start_sandbox: StartSandbox) -> None:
    deployment = deploy(start_sandbox(splits=SPLITS), SYMBOLS, daily_data=True)
    deployment.run_gap_sensor()
    deployment.sandbox.move_clock(TOMORROW)
    later = deployment.with_settings(as_of=TOMORROW)
    assert later.tick("daily_data_sensor").run_requests
    assert run_daily_job(later)
    by_job, by_gap_run = list_materializations(later)
    assert (by_job["splits"], by_job["new"]) == (1, 0)
    assert by_gap_run["new"] == 1
    assert not later.tick("daily_data_sensor").run_requests


def test_it_counts_what_the_vendor_corrected_and_withdrew(deploy: Deploy, start_sandbox: StartSandbox) -> None:
    tuesday = date(2026, 6, 2)
    wrong = Record(wrong_value=Decimal("0.62"), corrected_after_days=8)
    gone = Record(withdrawn_after_days=8)
    actions: dict[str, tuple[Action, ...]] = {
        "AAPL": (CashDividend(tuesday, Decimal("0.26"), record=wrong),),
        "MSFT": (CashDividend(tuesday, Decimal("0.75"), record=gone, is_mistake=True),),
    }
    deployment = deploy(start_sandbox(splits={}, actions=actions), SYMBOLS, daily_data=True)
    deployment.run_gap_sensor()
    (first,) = list_materializations(deployment)
    assert (first["splits"], first["dividends"], first["new"]) == (0, 2, 2)
    assert {str(row.data["terms"]) for row in first["newest"].records} == {"0.62 USD, quarterly", "0.75 USD, quarterly"}
    next_week = NOW + timedelta(days=8)  # lists are read weekly
    deployment.sandbox.move_clock(next_week)
    assert run_daily_job(deployment.with_settings(as_of=next_week))
    second = list_materializations(deployment)[0]
    figures = ("dividends", "new", "revised", "withdrawn")
    assert [second[figure] for figure in figures] == [1, 0, 1, 1]
    (newest,) = second["newest"].records
    assert newest.data["terms"] == "0.26 USD, quarterly"


def test_a_stopped_reading_fails_and_records_nothing(deploy: Deploy, start_sandbox: StartSandbox) -> None:
    deployment = deploy(start_sandbox(splits=SPLITS), SYMBOLS, daily_data=True)
    start_pause(deployment.engine.database, None, "the test", None)
    assert not materialize(deployment).success
    assert list_materializations(deployment) == []
