"""Three exchanges in one deployment: each with symbols, days, runs and sensors of its own; one job checks them all."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from backfill_assets.market.calendar.sessions import SessionsUnknown
from backfill_assets.orchestration.build import build_definitions
from backfill_assets.orchestration.exchange_loop import ExchangesFailed
from backfill_assets.orchestration.exchange_names import build_bars_key
from backfill_assets.orchestration.partitions import list_day_keys
from backfill_assets.orchestration.quality_report import OVERVIEW_KEY
from backfill_assets.orchestration.resources import RESOURCE_KEY
from backfill_assets.sandbox.config import ExchangeConfig
from backfill_assets_tests.conftest import StartSandbox, read_stored_bars
from backfill_assets_tests.orchestration.conftest import BARS, Deployment

pytestmark = pytest.mark.filterwarnings("ignore")
LSE_BARS, AU_BARS = build_bars_key("30m", "LSE"), build_bars_key("30m", "AU")
SYMBOLS = ("AAPL", "VOD.LSE", "BHP.AU")
MONDAY, TUESDAY, WEDNESDAY = "2026-06-01", "2026-06-02", "2026-06-03"
DeployExchanges = Callable[..., Deployment]


@pytest.fixture
def deploy_exchanges(deploy: Callable[..., Deployment], start_sandbox: StartSandbox) -> DeployExchanges:
    """A deployment of US, LSE and AU with a symbol of each, on a sandbox that serves them."""

    def create(**overrides: Any) -> Deployment:
        sandbox = start_sandbox(exchanges={"LSE": ExchangeConfig(), "AU": ExchangeConfig()})
        return deploy(sandbox, SYMBOLS, **{"exchanges": ("US", "LSE", "AU"), **overrides})

    return create


def list_days(deployment: Deployment, exchange: str) -> frozenset[str]:
    partitions = deployment.definitions.get_repository_def().asset_graph.get(build_bars_key("30m", exchange))
    assert isinstance(partitions.partitions_def, dg.MultiPartitionsDefinition)
    return list_day_keys(partitions.partitions_def)


def list_checked_assets(result: dg.ExecuteInProcessResult) -> dict[str, int]:
    counts: dict[str, int] = {}
    for evaluation in result.get_asset_check_evaluations():
        name = evaluation.asset_key.to_user_string()
        counts[name] = counts.get(name, 0) + 1
    return counts


def test_each_exchange_has_its_symbols_and_days(deploy_exchanges: DeployExchanges) -> None:
    deployment = deploy_exchanges(partition_days=30)
    dg.Definitions.validate_loadable(deployment.definitions)
    found = {name: deployment.instance.get_dynamic_partitions(name) for name in ("symbol", "symbol_LSE", "symbol_AU")}
    assert found == {"symbol": ["AAPL.US"], "symbol_LSE": ["VOD.LSE"], "symbol_AU": ["BHP.AU"]}
    holiday = "2026-05-04"  # of London alone; on 25 May New York is closed, too
    days = {exchange: list_days(deployment, exchange) for exchange in ("US", "LSE", "AU")}
    assert [exchange for exchange in days if holiday in days[exchange]] == ["US", "AU"]
    assert [exchange for exchange in days if "2026-05-25" in days[exchange]] == ["AU"]
    assert {max(of_exchange) for of_exchange in days.values()} == {WEDNESDAY}
    assert deployment.tick("symbol_partitions_sensor").skip_message == "; ".join(
        f"{exchange}: 1 symbol: 0 partitions added, 0 removed" for exchange in days
    )


def test_london_is_filled_certified_and_reported_on_its_own(deploy_exchanges: DeployExchanges) -> None:
    deployment = deploy_exchanges()
    cursor = deployment.tick("complete_sessions_sensor_LSE").cursor
    key = dg.MultiPartitionKey({"symbol_LSE": "VOD.LSE", "day": TUESDAY})
    result = deployment.materialize({"dagster/partition": key}, LSE_BARS)
    assert result.success
    assert set(deployment.instance.get_materialized_partitions(LSE_BARS)) == {f"{TUESDAY}|VOD.LSE"}
    assert deployment.materialized == set()
    assert list_checked_assets(result) == {"bars_30m_LSE": 10}
    stamps = [datetime.fromtimestamp(bar[0], UTC) for bar in read_stored_bars(deployment.engine.database, "VOD")]
    hours = [(stamp.hour, stamp.minute) for stamp in stamps]
    assert (len(hours), hours[0], hours[16]) == (34, (7, 0), (15, 0))  # 08:00 to 16:00, and Monday with the request
    assert read_stored_bars(deployment.engine.database, "AAPL") == []
    check_certificates(deployment, cursor)
    check_reports(deployment)


def check_certificates(deployment: Deployment, cursor: str | None) -> None:
    result = deployment.tick("complete_sessions_sensor_LSE", cursor=cursor)
    events = [(event.asset_key.to_user_string(), event.partition) for event in result.asset_events]
    assert events == [("complete_sessions/LSE/all", day) for day in (MONDAY, TUESDAY)]
    (request,) = result.run_requests or []
    assert request.run_config["ops"]["judge_sessions"]["config"]["exchange"] == "LSE"
    assert deployment.tick("complete_sessions_sensor").asset_events == []


def check_reports(deployment: Deployment) -> None:
    result = dg.materialize(
        [asset for asset in deployment.definitions.assets or [] if isinstance(asset, dg.AssetsDefinition)],
        selection=dg.AssetSelection.assets("data_quality_report_LSE", OVERVIEW_KEY),  # as the schedule does
        instance=deployment.instance,
        resources={RESOURCE_KEY: deployment.engine},
    )
    (london,) = result.asset_materializations_for_node("data_quality_report_LSE")
    assert (london.metadata["symbols"].value, london.metadata["estimated_missing_bars"].value) == (1, 0)
    assert str(london.metadata["experimental"].value).startswith("LSE is experimental.")
    (whole,) = result.asset_materializations_for_node("data_quality_overview")
    lines = [record.data for record in whole.metadata["exchanges"].value.records]  # type: ignore[union-attr]
    assert [(line["exchange"], line["status"], line["estimated_missing_bars"] == 0) for line in lines] == [
        ("US (United States)", "verified", False),
        ("LSE (London Stock Exchange)", "experimental", True),
        ("AU (Australian Securities Exchange)", "experimental", False),
    ]
    assert whole.metadata["symbols"].value == 3


def test_the_gap_sensor_of_an_exchange_starts_runs_for_it_alone(deploy_exchanges: DeployExchanges) -> None:
    deployment = deploy_exchanges()
    (request,) = deployment.tick("gap_backfill_sensor_AU").run_requests
    assert list(request.asset_selection) == [AU_BARS]
    ends = [request.tags[f"dagster/asset_partition_range_{end}"] for end in ("start", "end")]
    assert ends == [f"{MONDAY}|BHP.AU", f"{WEDNESDAY}|BHP.AU"]  # Sydney has closed, London and New York have not
    assert deployment.run(request).success
    assert set(deployment.instance.get_materialized_partitions(AU_BARS)) == {
        f"{day}|BHP.AU" for day in (MONDAY, TUESDAY, WEDNESDAY)
    }
    assert deployment.tick("gap_backfill_sensor_AU").skip_message == "no gap in 1 symbol × 3 sessions"
    for name, key in (("gap_backfill_sensor", BARS), ("gap_backfill_sensor_LSE", LSE_BARS)):
        (waiting,) = deployment.tick(name).run_requests
        assert list(waiting.asset_selection) == [key]


def test_one_run_evaluates_the_checks_of_all_exchanges(deploy_exchanges: DeployExchanges) -> None:
    deployment = deploy_exchanges()
    result = deployment.verify()
    assert result.success
    assert list_checked_assets(result) == {"bars_30m": 9, "bars_30m_LSE": 10, "bars_30m_AU": 10}
    failed = {
        e.asset_key.to_user_string()
        for e in result.get_asset_check_evaluations()
        if e.check_name == "no_missing_bars" and not e.passed
    }
    assert failed == {"bars_30m", "bars_30m_LSE", "bars_30m_AU"}
    assert deployment.tick("alert_sensor").skip_message == "following check results and runs from now on"


def test_an_exchange_that_fails_does_not_stop_the_others(
    deploy: Callable[..., Deployment], start_sandbox: StartSandbox, tmp_path: Path
) -> None:
    markets_file = tmp_path / "markets.toml"
    markets_file.write_text(
        '[AU]\ncalendar = "XSES"\n'
    )  # Singapore's ends on 2026-12-31, and takes little time to build
    deployment = deploy(start_sandbox(), ("AAPL", "BHP.AU"))
    after_its_end = datetime(2027, 1, 5, 14, tzinfo=UTC)
    later = deployment.with_settings(as_of=after_its_end, exchanges=("AU", "US"), markets_file=markets_file)
    result = later.verify()
    assert list_checked_assets(result) == {"bars_30m": 9}
    (failure,) = (event.step_failure_data.error for event in result.all_events if event.is_step_failure)
    assert failure is not None
    assert "AU: the calendar of exchange AU" in str(failure.cause or failure)
    later.tick("symbol_partitions_sensor")  # needs no session of the present
    reading = later.with_settings(daily_data=True)
    (request,) = reading.tick("daily_data_sensor").run_requests
    assert request.run_key == "2027-01-04 at 2027-01-05 14 h UTC"  # of the US
    with pytest.raises(ExchangesFailed, match="AU: the calendar of exchange AU"):
        reading.with_settings(exchanges=("AU", "LSE")).tick("daily_data_sensor")


def test_definitions_are_loaded_after_a_calendar_has_ended_and_before_the_first_data(
    deploy: Callable[..., Deployment], start_sandbox: StartSandbox, tmp_path: Path
) -> None:
    markets_file = tmp_path / "markets.toml"
    markets_file.write_text('[AU]\ncalendar = "XSES"\n')  # ends on 2026-12-31
    deployment = deploy(start_sandbox(), ("AAPL",))
    after_its_end = datetime(2027, 1, 5, 14, tzinfo=UTC)
    ended = deployment.with_settings(as_of=after_its_end, exchanges=("US", "AU"), markets_file=markets_file)
    later = replace(ended, definitions=build_definitions(ended.engine.settings))
    assert max(list_days(later, "US")) == "2027-01-04"  # the last one that has opened
    assert "2026-12-31" in list_days(later, "AU")
    early = ended.with_settings(as_of=datetime(2024, 6, 5, 14, tzinfo=UTC), exchanges=("US", "TW"))
    early = replace(early, definitions=build_definitions(early.engine.settings))
    assert list_days(early, "TW") == {"2024-06-05"}  # its data begin in 2025
    early.tick("symbol_partitions_sensor")
    assert early.tick("gap_backfill_sensor_TW").run_requests == []


def test_an_exchange_whose_breaks_nobody_gave_has_no_assets_and_the_others_are_loaded(
    deploy: Callable[..., Deployment], start_sandbox: StartSandbox, caplog: pytest.LogCaptureFixture
) -> None:
    deployment = deploy(start_sandbox(), ("AAPL", "BBCA.JK"))
    both = deployment.with_settings(exchanges=("US", "JK"))
    both = replace(both, definitions=build_definitions(both.engine.settings))
    dg.Definitions.validate_loadable(both.definitions)
    keys = {key.to_user_string() for key in both.definitions.resolve_all_asset_keys()}
    assert {"bars_30m", "data_quality_overview"} <= keys
    assert not [key for key in keys if "JK" in key]
    (line,) = [record.message for record in caplog.records if "no assets" in record.message]
    assert "for exchange JK: the hours of exchange JK" in line
    assert "markets probe JK" in line
    result = both.verify()
    assert list_checked_assets(result) == {"bars_30m": 9}
    assert not result.success  # the alert names what failed
    with pytest.raises(SessionsUnknown, match="JK"):
        build_definitions(deployment.with_settings(exchanges=("JK",)).engine.settings)


def test_daily_data_of_all_exchanges_are_one_run(deploy_exchanges: DeployExchanges) -> None:
    deployment = deploy_exchanges(daily_data=True)
    (request,) = deployment.tick("daily_data_sensor").run_requests
    assert request.run_key == "2026-06-02, LSE 2026-06-02, AU 2026-06-02 at 2026-06-03 14 h UTC"
    job = deployment.definitions.resolve_job_def("read_daily_data")
    assert job.execute_in_process(instance=deployment.instance, resources={RESOURCE_KEY: deployment.engine}).success
    assert not deployment.tick("daily_data_sensor").run_requests
    assert deployment.instance.get_latest_materialization_event(dg.AssetKey("corporate_actions")) is not None


def test_a_chosen_window_is_filled_on_the_exchanges_of_its_symbols(deploy_exchanges: DeployExchanges) -> None:
    deployment = deploy_exchanges()
    window = {"start": MONDAY, "end": TUESDAY}
    assert deployment.launch(**window, dry_run=True).success
    assert deployment.sandbox.stats()["calls"] == 0
    result = deployment.launch(**window, symbols=["AAPL", "BHP.AU"])
    assert result.success
    assert deployment.materialized == {f"{day}|AAPL.US" for day in (MONDAY, TUESDAY)}
    assert set(deployment.instance.get_materialized_partitions(AU_BARS)) == {
        f"{day}|BHP.AU" for day in (MONDAY, TUESDAY)
    }
    assert list_checked_assets(result) == {"bars_30m": 9, "bars_30m_AU": 10}


def test_the_catalog_says_what_an_exchange_is(deploy_exchanges: DeployExchanges) -> None:
    specs = {spec.key: spec for spec in deploy_exchanges().definitions.resolve_all_asset_specs()}
    metadata = specs[LSE_BARS].metadata
    names = ("exchange", "status of the exchange", "time zone", "currency", "price unit")
    assert [metadata[name] for name in names] == [
        "LSE (London Stock Exchange)",
        "experimental",
        "Europe/London",
        "GBP",
        "GBX",
    ]
    assert "Exchange LSE (London Stock Exchange), experimental" in str(specs[LSE_BARS].description)
    assert metadata["dagster/table_name"] == specs[BARS].metadata["dagster/table_name"]
    assert "Exchange" not in str(specs[BARS].description)
