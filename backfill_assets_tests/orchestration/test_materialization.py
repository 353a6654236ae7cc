"""One run over a partition range: its requests, the materialized partitions and its result."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import dagster as dg
import pytest

from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.orchestration.dagster_internals.materialization_events import record_partitions
from backfill_assets.sandbox.config import Publication
from backfill_assets.store.bars.bar_writer import delete_bars
from backfill_assets.store.certificates import read_certificates_after
from backfill_assets.store.symbols import deactivate_symbols, list_symbols
from backfill_assets_tests.conftest import StartSandbox, read_stored_bars
from backfill_assets_tests.orchestration.conftest import BARS, Deployment, build_partition_keys, parse_tickers

Deploy = Callable[..., Deployment]
SYMBOLS = ("AAPL", "MSFT", "AMZN", "TSLA")
MONDAY, TUESDAY = "2026-06-01", "2026-06-02"
TODAY = "2026-06-03"
OTHER_FEED = 1  # request: after the first feed was asked twice in vain, 1m is asked once


def build_range_tags(first_day: str, first: str, last_day: str, last: str) -> dict[str, str]:
    return {
        "dagster/asset_partition_range_start": f"{first_day}|{first}.US",
        "dagster/asset_partition_range_end": f"{last_day}|{last}.US",
    }


def read_run_metadata(deployment: Deployment) -> dict[str, Any]:
    """Read the metadata of the newest run observation, as shown in the UI."""
    record = deployment.instance.fetch_observations(BARS, limit=1).records[0]
    return {name: value.value for name, value in record.asset_observation.metadata.items()}


def test_a_partition_range_is_filled_by_one_request_per_ticker(deploy: Deploy, start_sandbox: StartSandbox) -> None:
    deployment = deploy(start_sandbox(), SYMBOLS)
    run = deployment.materialize(build_range_tags(MONDAY, "AAPL", TUESDAY, "TSLA"))
    assert run.success
    assert deployment.sandbox.stats()["by_endpoint"]["intraday"] == 4
    assert deployment.materialized == build_partition_keys(SYMBOLS, (MONDAY, TUESDAY))
    assert len(read_stored_bars(deployment.engine.database, "AAPL")) == 26
    figures = read_run_metadata(deployment)
    assert (figures["calls"], figures["inserted"], figures["partitions recorded"]) == (20, 104, 8)
    assert (figures["missing before"], figures["missing after"], figures["leftovers"]) == (104, 0, {})
    with deployment.engine.database.transaction() as connection:
        certified = [str(certificate.session_day) for certificate in read_certificates_after(connection, 0)]
    assert certified == [MONDAY, TUESDAY]


def read_partition_metadata(deployment: Deployment, partition: str) -> dict[str, Any]:
    """Read the metadata of the newest materialization of a partition."""
    records_filter = dg.AssetRecordsFilter(BARS, asset_partitions=[partition])
    event = deployment.instance.fetch_materializations(records_filter, limit=1).records[0].asset_materialization
    assert event is not None
    assert event.partition == partition
    return {name: value.value for name, value in event.metadata.items()}


def test_a_partition_has_its_bar_counts_and_source_as_metadata(deploy: Deploy, start_sandbox: StartSandbox) -> None:
    deployment = deploy(start_sandbox(), SYMBOLS)
    deployment.materialize(build_range_tags(MONDAY, "MSFT", MONDAY, "MSFT"))
    metadata = read_partition_metadata(deployment, f"{MONDAY}|MSFT.US")
    assert metadata.pop("fetched_at") > 0
    rows = {"bars": 13, "dagster/partition_row_count": 13}
    assert metadata == {**rows, "expected": 13, "no_trade": 0, "source": "127.0.0.1 5m"}


def test_a_partition_without_bars_has_source_none(deploy: Deploy, start_sandbox: StartSandbox) -> None:
    deployment = deploy(start_sandbox(listed={"MSFT": date(2026, 6, 2)}), SYMBOLS)
    deployment.materialize(build_range_tags(MONDAY, "MSFT", TUESDAY, "MSFT"))
    assert read_partition_metadata(deployment, f"{MONDAY}|MSFT.US") == {
        "bars": 0,
        "dagster/partition_row_count": 0,
        "expected": 0,
        "no_trade": 0,
        "source": "none",
    }
    with deployment.engine.database.transaction() as connection:
        connection.execute("UPDATE market_data SET source = NULL, source_interval = NULL, fetched_at = NULL")
    deployment.materialize(build_range_tags(TUESDAY, "MSFT", TUESDAY, "MSFT"))
    assert read_partition_metadata(deployment, f"{TUESDAY}|MSFT.US")["source"] == "external"


def test_only_missing_slots_are_requested(deploy: Deploy, start_sandbox: StartSandbox) -> None:
    deployment = deploy(start_sandbox(), SYMBOLS)
    for ticker in ("MSFT", "TSLA"):
        deployment.materialize({"dagster/partition": f"{MONDAY}|{ticker}.US"})
    assert deployment.sandbox.stats()["by_endpoint"]["intraday"] == 2
    deployment.materialize(build_range_tags(MONDAY, "AAPL", MONDAY, "TSLA"))
    assert deployment.sandbox.stats()["per_ticker"] == {f"{ticker}.US": 1 for ticker in SYMBOLS}
    assert deployment.materialized == build_partition_keys(SYMBOLS, (MONDAY,))


def test_unfilled_gaps_leave_the_partition_missing_and_fail_the_check(
    deploy: Deploy, start_sandbox: StartSandbox
) -> None:
    unpublished = Publication(never_published=frozenset({("AAPL", date(2026, 6, 2))}))
    deployment = deploy(start_sandbox(publication=unpublished), SYMBOLS)
    run = deployment.materialize(build_range_tags(MONDAY, "AAPL", TUESDAY, "TSLA"))
    assert run.success
    assert deployment.materialized == build_partition_keys(SYMBOLS, (MONDAY, TUESDAY)) - {f"{TUESDAY}|AAPL.US"}
    assert read_run_metadata(deployment)["leftovers"] == {"not available from the vendor (missing)": 13}
    results = {check.check_name: check for check in run.get_asset_check_evaluations()}
    assert not results["no_missing_bars"].passed
    assert results["no_missing_bars"].metadata["offenders"].value == "AAPL.US (13)"
    assert results["no_missing_bars"].metadata["figure"].value == 13
    assert not results["newest_bar_is_fresh"].passed
    assert results["every_symbol_has_recent_bars"].passed
    assert results["no_rate_limit_errors"].passed


def test_a_manual_run_ignores_the_retry_schedule_of_the_sensor(deploy: Deploy, start_sandbox: StartSandbox) -> None:
    unpublished = Publication(never_published=frozenset({("AAPL", date(2026, 6, 2))}))
    deployment = deploy(start_sandbox(publication=unpublished), SYMBOLS)
    tags = build_range_tags(MONDAY, "AAPL", TUESDAY, "TSLA")
    deployment.materialize(tags)
    deployment.materialize({**tags, "dagster/sensor_name": "gap_backfill_sensor"})
    assert deployment.sandbox.stats()["per_ticker"]["AAPL.US"] == 1
    deployment.materialize(tags)
    assert deployment.sandbox.stats()["per_ticker"] == {
        "AAPL.US": 2 + OTHER_FEED,
        "MSFT.US": 1,
        "AMZN.US": 1,
        "TSLA.US": 1,
    }


def test_re_executing_a_sensor_run_counts_as_a_manual_run(deploy: Deploy, start_sandbox: StartSandbox) -> None:
    unpublished = Publication(never_published=frozenset({("AAPL", date(2026, 6, 2))}))
    deployment = deploy(start_sandbox(publication=unpublished), SYMBOLS)
    sensor_tags = {**build_range_tags(MONDAY, "AAPL", TUESDAY, "TSLA"), "dagster/sensor_name": "gap_backfill_sensor"}
    first = deployment.materialize(sensor_tags)
    reexecution_tags = {**sensor_tags, "dagster/parent_run_id": first.run_id, "dagster/root_run_id": first.run_id}
    deployment.materialize({**reexecution_tags, "dagster/retry_number": "1"})  # an automatic retry of Dagster
    assert deployment.sandbox.stats()["per_ticker"]["AAPL.US"] == 1
    deployment.materialize(reexecution_tags)
    assert deployment.sandbox.stats()["per_ticker"] == {
        "AAPL.US": 2 + OTHER_FEED,
        "MSFT.US": 1,
        "AMZN.US": 1,
        "TSLA.US": 1,
    }


def test_a_window_chosen_in_the_launchpad_is_requested_once_more(deploy: Deploy, start_sandbox: StartSandbox) -> None:
    unpublished = Publication(never_published=frozenset({("AAPL", date(2026, 6, 2))}))
    deployment = deploy(start_sandbox(publication=unpublished), SYMBOLS)
    deployment.run_gap_sensor()
    chosen = {"start": MONDAY, "end": TUESDAY}
    for window, request_count in (({}, 1), (chosen, 2 + OTHER_FEED), ({"hours_back": 48.0}, 3 + OTHER_FEED)):
        assert deployment.launch(**window).success
        assert deployment.sandbox.stats()["per_ticker"]["AAPL.US"] == request_count
    assert deployment.sandbox.stats()["per_ticker"]["MSFT.US"] == 1


def test_an_open_session_is_not_requested(deploy: Deploy, start_sandbox: StartSandbox) -> None:
    deployment = deploy(start_sandbox(), SYMBOLS)
    run = deployment.materialize(build_range_tags(TODAY, "AAPL", TODAY, "TSLA"))
    assert run.success
    assert deployment.sandbox.stats()["requests"] == 0
    assert deployment.materialized == set()


def test_an_inactive_symbol_is_not_requested(deploy: Deploy, start_sandbox: StartSandbox) -> None:
    deployment = deploy(start_sandbox(), SYMBOLS)
    with deployment.engine.database.transaction() as connection:
        deactivate_symbols(connection, parse_tickers(["MSFT", "AMZN"]))
    deployment.materialize(build_range_tags(MONDAY, "AAPL", MONDAY, "TSLA"))
    assert set(deployment.sandbox.stats()["per_ticker"]) == {"AAPL.US", "TSLA.US"}
    assert deployment.materialized == build_partition_keys(("AAPL", "TSLA"), (MONDAY,))


def test_an_invalid_token_fails_the_run_without_exposing_the_token(deploy: Deploy, start_sandbox: StartSandbox) -> None:
    sandbox = start_sandbox(tokens=frozenset({"another"}))
    deployment = deploy(sandbox, SYMBOLS)
    run = deployment.materialize(build_range_tags(MONDAY, "AAPL", MONDAY, "TSLA"))
    assert not run.success
    (failure,) = [event for event in run.all_events if event.is_step_failure]
    assert "401" in str(failure.step_failure_data.error) or "token" in str(failure.step_failure_data.error)
    assert "test-token-4711" not in str(run.all_events)
    assert [check.passed for check in run.get_asset_check_evaluations()].count(False) >= 2


def test_an_exhausted_quota_fails_the_run_and_stores_fetched_bars(deploy: Deploy, start_sandbox: StartSandbox) -> None:
    deployment = deploy(start_sandbox(daily=12), SYMBOLS, in_flight_start=1, in_flight_max=1, collector_reserve=0.0)
    run = deployment.materialize(build_range_tags(MONDAY, "AAPL", TUESDAY, "TSLA"))
    assert not run.success
    assert deployment.materialized == build_partition_keys(("AAPL", "AMZN"), (MONDAY, TUESDAY))


def test_force_requests_complete_sessions_again(deploy: Deploy, start_sandbox: StartSandbox) -> None:
    deployment = deploy(start_sandbox(), SYMBOLS)
    tags = build_range_tags(MONDAY, "AAPL", TUESDAY, "AMZN")
    deployment.materialize(tags)
    deployment.materialize(tags)
    assert deployment.sandbox.stats()["by_endpoint"]["intraday"] == 2
    deployment.materialize(tags, force=True)
    assert deployment.sandbox.stats()["by_endpoint"]["intraday"] == 4
    assert read_run_metadata(deployment)["unchanged"] == 52


def test_checks_can_run_without_a_materialization(deploy: Deploy, start_sandbox: StartSandbox) -> None:
    deployment = deploy(start_sandbox(), SYMBOLS)
    run = deployment.verify()
    assert run.success
    results = {check.check_name: check.passed for check in run.get_asset_check_evaluations()}
    assert results["every_symbol_has_recent_bars"] is False
    assert results["no_rate_limit_errors"] is True
    assert deployment.sandbox.stats()["requests"] == 0
    assert deployment.materialized == set()


def test_checks_do_not_wait_for_a_backfill(deploy: Deploy, start_sandbox: StartSandbox) -> None:
    deployment = deploy(start_sandbox(), SYMBOLS)

    def pools(job: dg.JobDefinition) -> set[str]:
        limits = deployment.instance.create_run_for_job(job).run_op_concurrency
        return set(limits.all_pools or ()) if limits else set()

    assert pools(deployment.definitions.resolve_job_def("backfill_gaps")) == {"eodhd"}
    assert pools(deployment.definitions.resolve_job_def("verify_window")) == set()


@pytest.mark.parametrize("only_checks", [True, False])
def test_an_invalid_window_fails_the_run_before_any_check(
    deploy: Deploy, start_sandbox: StartSandbox, only_checks: bool
) -> None:
    deployment = deploy(start_sandbox(), SYMBOLS)
    if only_checks:
        run = deployment.verify(hours_back=-1.0)
    else:
        run = deployment.materialize(build_range_tags(MONDAY, "AAPL", TUESDAY, "TSLA"), hours_back=-1.0)
    assert not run.success
    (failure,) = [event for event in run.all_events if event.is_step_failure]
    assert "--hours-back must lie between 0 and 87840, not -1" in str(failure.step_failure_data.error)
    assert not run.get_asset_check_evaluations()
    assert deployment.sandbox.stats()["requests"] == 0


def test_without_active_symbols_no_check_is_judged(deploy: Deploy, start_sandbox: StartSandbox) -> None:
    deployment = deploy(start_sandbox(), ("AAPL",))
    with deployment.engine.database.transaction() as connection:
        deactivate_symbols(connection, parse_tickers(["AAPL"]))
    results = deployment.verify().get_asset_check_evaluations()
    assert {(r.passed, r.description) for r in results} == {(True, "not judged: there are no active symbols")}
    assert {r.metadata["judged"].value for r in results} == {False}


def test_backfill_gaps_fills_a_window_and_a_dry_run_requests_nothing(
    deploy: Deploy, start_sandbox: StartSandbox
) -> None:
    deployment = deploy(start_sandbox(), SYMBOLS)
    assert deployment.launch(start=MONDAY, end=MONDAY, dry_run=True).success
    assert deployment.sandbox.stats()["requests"] == 0
    assert deployment.launch(start=MONDAY, end=MONDAY, symbols=["AAPL", "MSFT"]).success
    assert deployment.materialized == build_partition_keys(("AAPL", "MSFT"), (MONDAY,))
    latest = deployment.instance.event_log_storage.get_latest_asset_check_execution_by_key(
        [dg.AssetCheckKey(BARS, "no_missing_bars")]
    )
    assert [execution.status.value for execution in latest.values()] == ["FAILED"]


def test_active_symbols_become_partitions(deploy: Deploy, start_sandbox: StartSandbox) -> None:
    deployment = deploy(start_sandbox(), SYMBOLS)
    with deployment.engine.database.transaction() as connection:
        deactivate_symbols(connection, parse_tickers(["AAPL"]))
    (symbols_asset,) = (
        a
        for a in deployment.definitions.assets or []
        if isinstance(a, dg.AssetsDefinition) and dg.AssetKey("market_symbols") in a.keys
    )
    run = dg.materialize(
        [symbols_asset], instance=deployment.instance, resources={"backfill_engine": deployment.engine}
    )
    assert run.success
    assert list(deployment.instance.get_dynamic_partitions("symbol")) == ["AMZN.US", "MSFT.US", "TSLA.US"]


def test_the_report_has_figures_and_a_table_as_metadata(deploy: Deploy, start_sandbox: StartSandbox) -> None:
    deployment = deploy(start_sandbox(), SYMBOLS)
    deployment.materialize(build_range_tags(MONDAY, "AAPL", TUESDAY, "AMZN"))
    (report,) = (
        a
        for a in deployment.definitions.assets or []
        if isinstance(a, dg.AssetsDefinition) and dg.AssetKey("data_quality_report") in a.keys
    )
    run = dg.materialize([report], instance=deployment.instance, resources={"backfill_engine": deployment.engine})
    (event,) = run.get_asset_materialization_events()
    metadata = {name: value.value for name, value in event.materialization.metadata.items()}
    report_text = metadata.pop("report")
    assert metadata["estimated_missing_bars"] == 52
    assert (metadata["bar_count"], metadata["symbols"]) == (52, 4)
    assert report_text.splitlines()[2].startswith("| MSFT | 0 | 39 | 26 |")


def test_materialization_events_have_the_tags_for_filters_of_the_ui(
    deploy: Deploy, start_sandbox: StartSandbox, instance: dg.DagsterInstance
) -> None:
    @dg.op
    def step(context: dg.OpExecutionContext) -> None:
        record_partitions(context, BARS, [(f"S{n}.US", MONDAY, {"bars": n}) for n in range(1200)])

    @dg.job
    def job() -> None:
        step()

    assert job.execute_in_process(instance=instance).success
    assert len(instance.get_materialized_partitions(BARS)) == 1200
    record = instance.fetch_materializations(BARS, limit=1).records[0]
    assert record.asset_materialization is not None
    assert record.asset_materialization.tags == {
        "dagster/partition/day": MONDAY,
        "dagster/partition/symbol": "S1199.US",
    }


def test_a_deleted_bar_is_restored_by_the_next_run(deploy: Deploy, start_sandbox: StartSandbox) -> None:
    deployment = deploy(start_sandbox(), SYMBOLS)
    deployment.run_gap_sensor()
    stamp = datetime(2026, 6, 1, 15, 30, tzinfo=UTC)
    with deployment.engine.database.transaction() as connection:
        (symbol,) = [s for s in list_symbols(connection, "US") if s.ticker.symbol == "AMZN"]
        assert delete_bars(connection, symbol.symbol_id, INTERVALS["30m"], [stamp]) == 1
    (run,) = deployment.run_gap_sensor()
    assert run.success
    assert deployment.sandbox.stats()["per_ticker"]["AMZN.US"] == 2
    assert read_run_metadata(deployment)["inserted"] == 1


def test_the_morning_report_reads_the_bulk_file_once_and_compares_closes(
    deploy: Deploy, start_sandbox: StartSandbox
) -> None:
    deployment = deploy(start_sandbox(), SYMBOLS, daily_data=True, daily_file_symbols=4)
    deployment.run_gap_sensor()
    (report,) = (
        a
        for a in deployment.definitions.assets or []
        if isinstance(a, dg.AssetsDefinition) and dg.AssetKey("data_quality_report") in a.keys
    )
    for _ in range(2):
        run = dg.materialize([report], instance=deployment.instance, resources={"backfill_engine": deployment.engine})
        assert run.success
    assert deployment.sandbox.stats()["by_endpoint"]["eod-bulk-last-day"] == 1
    (closes,) = [
        c for c in deployment.verify().get_asset_check_evaluations() if c.check_name == "sessions_agree_with_eod"
    ]
    assert closes.passed
    assert closes.description is not None
    assert closes.description.startswith("0 of 4 compared closes")
