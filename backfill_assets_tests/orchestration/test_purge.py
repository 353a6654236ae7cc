"""Purging Dagster's history on a real instance in PostgreSQL: what goes, and that nothing goes that is still shown."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import psycopg
import pytest
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluation,
    AssetCheckEvaluationPlanned,
)
from dagster._core.definitions.events import AssetKey
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.events import DagsterEvent
from dagster._core.remote_origin import (
    ManagedGrpcPythonEnvCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    SensorInstigatorData,
    TickData,
    TickStatus,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

from backfill_assets.config.settings import Settings
from backfill_assets.errors import UsageError
from backfill_assets.orchestration.build import build_definitions
from backfill_assets.orchestration.dagster_internals import history
from backfill_assets.orchestration.purge import JOB_NAME, SCHEDULE_NAME, add_purge
from backfill_assets_tests.conftest import NOW, StartSandbox
from backfill_assets_tests.orchestration.conftest import BARS, Deployment, build_partition_keys
from backfill_assets_tests.orchestration.test_storage import open_instance

Deploy = Callable[..., Deployment]
MONDAY, TUESDAY = "2026-06-01", "2026-06-02"
UNIVERSE = AssetKey("market_symbols")
SENSORS = (  # and their code locations
    ("alert_sensor", "bars"),
    ("healing_sensor", "bars"),
    ("sensor_of_others", "bars"),
    ("elsewhere", "others"),
)
# What was recorded now becomes old: only the times of recording are moved, in the tables of the instance.
MAKE_OLD = """
UPDATE event_logs SET timestamp = timestamp - interval '30 days';
UPDATE asset_check_executions SET create_timestamp = create_timestamp - interval '30 days';
UPDATE runs SET update_timestamp = update_timestamp - interval '30 days';
"""
OF_MONDAY = "partition LIKE '2026-06-01|%'"
TAGS_OF_MONDAY = "key = 'dagster/partition/day' AND value = '2026-06-01'"


@pytest.fixture
def url(create_database: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> str:
    """The database of the instance."""
    created = create_database(None)
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", created)
    return created


@pytest.fixture
def instance(url: str, tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """An instance in PostgreSQL."""
    with open_instance(tmp_path) as opened:
        yield opened


def make_old(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(MAKE_OLD.encode())


def count(url: str, table: str, condition: str = "true") -> int:
    with psycopg.connect(url) as connection:
        return int(connection.execute(f"SELECT count(*) FROM {table} WHERE {condition}".encode()).fetchall()[0][0])


def build_check_event(run_id: str, about: AssetCheckEvaluation | AssetCheckEvaluationPlanned) -> dg.EventLogEntry:
    """An event of one evaluation of a check, as a run writes it."""
    is_planned = isinstance(about, AssetCheckEvaluationPlanned)
    kind = (
        dg.DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED if is_planned else dg.DagsterEventType.ASSET_CHECK_EVALUATION
    )
    event = DagsterEvent(kind.value, "verify", event_specific_data=about)
    return dg.EventLogEntry(
        error_info=None, level="INFO", user_message="", run_id=run_id, timestamp=time.time(), dagster_event=event
    )


def add_sensor(instance: dg.DagsterInstance, name: str, location: str) -> InstigatorState:
    """A running sensor of a code location, with a cursor."""
    location_origin = ManagedGrpcPythonEnvCodeLocationOrigin(
        LoadableTargetOrigin(module_name="backfill_assets.definitions"), location
    )
    origin = RemoteInstigatorOrigin(RemoteRepositoryOrigin(location_origin, "__repository__"), name)
    state = InstigatorState(origin, InstigatorType.SENSOR, InstigatorStatus.RUNNING, SensorInstigatorData(cursor="7"))
    return instance.add_instigator_state(state)


def build_tick(state: InstigatorState, at: datetime) -> TickData:
    return TickData(
        state.instigator_origin_id,
        state.instigator_name,
        InstigatorType.SENSOR,
        TickStatus.SKIPPED,
        at.timestamp(),
        selector_id=state.selector_id,
    )


def purge(deployment: Deployment) -> str:
    """Run the job; returns the id of the run."""
    job = deployment.definitions.resolve_job_def(JOB_NAME)
    ran = job.execute_in_process(instance=deployment.instance, resources={"backfill_engine": deployment.engine})
    return ran.run_id


def test_without_the_setting_definitions_stay_as_they_are(settings: Settings) -> None:
    definitions = dg.Definitions()
    assert add_purge(definitions, settings, {}) is definitions


@pytest.mark.long
def test_what_is_shown_stays_and_what_is_not_goes(deploy: Deploy, start_sandbox: StartSandbox, url: str) -> None:
    """A day that is a partition, the newest results of checks, and their runs stay; a day that has dropped out goes."""
    deployment = deploy(start_sandbox(), ("AAPL", "MSFT"), purge_days=7)
    assert deployment.definitions.get_repository_def().has_schedule_def(SCHEDULE_NAME)
    (filled,) = deployment.run_gap_sensor()
    verified = [deployment.verify().run_id for _ in range(2)]
    tomorrow = deployment.with_settings(as_of=NOW + timedelta(days=1))
    tomorrow = replace(tomorrow, definitions=build_definitions(tomorrow.engine.settings))
    first_purge = purge(tomorrow)  # everything is too young
    shown = build_partition_keys(("AAPL", "MSFT"), (MONDAY, TUESDAY))
    results = count(url, "asset_check_executions")
    make_old(url)
    second_purge = purge(deployment)
    assert deployment.materialized == shown
    assert {run.run_id for run in deployment.instance.get_runs()} == {filled.run_id, verified[1], second_purge}
    assert first_purge != second_purge
    assert count(url, "asset_check_executions") < results
    assert count(url, "asset_check_executions", f"run_id = '{verified[1]}'") > 0
    assert count(url, "asset_event_tags", TAGS_OF_MONDAY) == 2
    purge(tomorrow)
    assert deployment.materialized == build_partition_keys(("AAPL", "MSFT"), (TUESDAY,))
    assert (count(url, "event_logs", OF_MONDAY), count(url, "asset_event_tags", TAGS_OF_MONDAY)) == (0, 0)
    assert count(url, "event_logs", "partition LIKE '2026-06-02|%'") == 4  # planned and materialized


def test_events_go_by_their_day_in_small_transactions(
    instance: dg.DagsterInstance, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for day in (MONDAY, TUESDAY):
        for ticker in ("AAPL.US", "BTC-USD.CC", "BRK-B.US"):
            instance.report_runless_asset_event(dg.AssetMaterialization(BARS, partition=f"{day}|{ticker}"))
    instance.report_runless_asset_event(dg.AssetMaterialization(UNIVERSE))
    monkeypatch.setattr(history, "EVENTS_PER_TRANSACTION", 2)
    now = datetime.now(UTC)
    assert history.purge_partition_events(instance, BARS, date(2026, 6, 2), now - timedelta(days=1)) == 0
    make_old(url)
    assert history.purge_partition_events(instance, UNIVERSE, date(2026, 6, 2), now) == 0
    assert history.purge_partition_events(instance, BARS, date(2026, 6, 2), now) == 3
    assert {key[:10] for key in instance.get_materialized_partitions(BARS)} == {TUESDAY}
    assert instance.get_latest_materialization_event(UNIVERSE) is not None


def test_runs_of_others_and_the_newest_of_each_asset_stay(instance: dg.DagsterInstance, url: str) -> None:
    @dg.asset(key=UNIVERSE)
    def universe() -> None: ...

    @dg.op
    def work() -> None: ...

    @dg.job
    def job_of_others() -> None:
        work()

    materialized = [dg.materialize([universe], instance=instance, selection=[UNIVERSE]).run_id for _ in range(2)]
    other = job_of_others.execute_in_process(instance=instance).run_id
    make_old(url)
    assert history.purge_runs(instance, None, {JOB_NAME}, {BARS}, datetime.now(UTC)) == 0
    job_name = instance.get_runs()[-1].job_name
    assert history.purge_runs(instance, None, {job_name}, {BARS}, datetime.now(UTC)) == 1
    assert {run.run_id for run in instance.get_runs()} == {materialized[1], other}
    assert count(url, "event_logs", f"run_id = '{materialized[0]}'") == 0


def test_the_newest_result_stays_when_later_evaluations_never_ended(instance: dg.DagsterInstance, url: str) -> None:
    key = dg.AssetCheckKey(UNIVERSE, "is_fresh")
    for number, ends in enumerate((True, True, False, False)):
        run_id = f"run {number}"
        instance.event_log_storage.store_event(
            build_check_event(run_id, AssetCheckEvaluationPlanned(asset_key=UNIVERSE, check_name="is_fresh"))
        )
        if ends:
            result = AssetCheckEvaluation(asset_key=UNIVERSE, check_name="is_fresh", passed=True)
            instance.event_log_storage.store_event(build_check_event(run_id, result))
    make_old(url)
    assert history.purge_check_results(instance, {UNIVERSE}, datetime.now(UTC)) == 2
    (summary,) = instance.event_log_storage.get_asset_check_summary_records([key]).values()
    assert summary.last_completed_run_id == "run 1"
    assert summary.last_run_id == "run 3"
    assert count(url, "event_logs", "dagster_event_type = 'ASSET_CHECK_EVALUATION'") == 1


def test_the_newest_tick_of_each_stays_and_what_a_sensor_remembers(instance: dg.DagsterInstance) -> None:
    now = datetime.now(UTC)
    states = {name: add_sensor(instance, name, location) for name, location in SENSORS}
    for state in states.values():
        for days in (40, 30, 20):
            instance.create_tick(build_tick(state, now - timedelta(days=days)))
    instance.create_tick(build_tick(states["healing_sensor"], now))
    label = states["alert_sensor"].origin.repository_origin.get_label()
    history.purge_ticks(instance, label, {"alert_sensor", "healing_sensor"}, now - timedelta(days=10))

    def list_ages(name: str) -> list[int]:
        ticks = instance.get_ticks(states[name].instigator_origin_id, states[name].selector_id)
        return [round((now.timestamp() - tick.timestamp) / 86400) for tick in ticks]

    assert [list_ages(name) for name in ("alert_sensor", "healing_sensor")] == [[20], [0]]
    assert [list_ages(name) for name in ("sensor_of_others", "elsewhere")] == [[20, 30, 40]] * 2
    assert {state.instigator_data.cursor for state in instance.all_instigator_state()} == {"7"}


def test_an_instance_without_postgres_is_refused() -> None:
    with (
        dg.DagsterInstance.ephemeral() as ephemeral,
        pytest.raises(UsageError, match="BACKFILL_PURGE_DAYS needs Dagster's storage in PostgreSQL"),
    ):
        history.purge_partition_events(ephemeral, BARS, date(2026, 6, 2), NOW)
