"""The history in Dagster: its schedule gives way to newer sessions, and its asset shows which months are complete."""

from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from backfill_assets.backfill.history.spending import COMPLETE, NEWER_FIRST, OFF, walk_history
from backfill_assets.config.settings import Settings
from backfill_assets.errors import UsageError
from backfill_assets.orchestration.build import build_definitions
from backfill_assets.sandbox.config import Publication
from backfill_assets.store.history_state import read_history_state, start_history_pause
from backfill_assets_tests.conftest import StartSandbox
from backfill_assets_tests.orchestration.conftest import BARS, Deployment

pytestmark = pytest.mark.filterwarnings("ignore")
Deploy = Callable[..., Deployment]
HISTORY: dict[str, Any] = {"history_from": date(2026, 3, 2), "max_span_days": 100}
KEY = dg.AssetKey("history")


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """An instance with files: a schedule's tick opens it by a reference, which an ephemeral one does not have."""
    with dg.instance_for_test(temp_dir=str(tmp_path)) as opened:
        yield opened


def tick(deployment: Deployment) -> Any:
    """Evaluate the schedule once."""
    repository = deployment.definitions.get_repository_def()
    context = dg.build_schedule_context(
        instance=deployment.instance, repository_def=repository, resources={"backfill_engine": deployment.engine}
    )
    return repository.get_schedule_def("history_schedule").evaluate_tick(context)


def fill(deployment: Deployment) -> dg.ExecuteInProcessResult:
    return deployment.definitions.resolve_job_def("fill_history").execute_in_process(
        instance=deployment.instance, resources={"backfill_engine": deployment.engine}, raise_on_error=False
    )


def list_months(deployment: Deployment) -> set[str]:
    return set(deployment.instance.get_materialized_partitions(KEY))


def test_the_schedule_gives_way_to_newer_sessions_and_the_asset_shows_complete_months(
    deploy: Deploy, start_sandbox: StartSandbox
) -> None:
    deployment = deploy(start_sandbox(), ("AAPL", "MSFT"), **HISTORY)
    assert str(tick(deployment).skip_message).startswith(NEWER_FIRST)
    deployment.run_gap_sensor()
    (request,) = tick(deployment).run_requests
    assert request.tags["dagster/priority"] == "-1"
    assert fill(deployment).success
    assert list_months(deployment) == {"2026-03", "2026-04", "2026-05"}
    record = deployment.instance.get_latest_materialization_event(KEY)
    assert record is not None
    assert record.asset_materialization is not None
    assert record.asset_materialization.metadata["symbols"].value == 2
    (shown,) = deployment.instance.fetch_observations(KEY, limit=1).records
    assert shown.asset_observation is not None
    metadata = shown.asset_observation.metadata
    assert metadata["summary"].value == "complete"
    assert str(metadata["months of the whole store"].value).splitlines()[2].startswith("| 2026 |  |  | ")
    assert "since 2026-03-02" in str(metadata["whole store"].value)
    assert tick(deployment).skip_message == COMPLETE
    with deployment.engine.database.transaction() as connection:
        assert read_history_state(connection).said == COMPLETE


def test_a_month_that_lacks_bars_is_not_green(deploy: Deploy, start_sandbox: StartSandbox) -> None:
    hole = frozenset({("AAPL", date(2026, 4, 7))})
    deployment = deploy(start_sandbox(publication=Publication(never_published=hole)), ("AAPL",), **HISTORY)
    deployment.run_gap_sensor()
    assert fill(deployment).success
    assert list_months(deployment) == {"2026-03", "2026-05"}


def test_months_that_other_runs_complete_become_green_by_the_job_of_the_checks(
    deploy: Deploy, start_sandbox: StartSandbox
) -> None:
    deployment = deploy(start_sandbox(), ("AAPL",), **HISTORY)
    deployment.run_gap_sensor()
    walk_history(deployment.engine, lambda _: None)  # as a terminal does
    assert tick(deployment).skip_message == COMPLETE
    assert list_months(deployment) == set()
    job = deployment.definitions.resolve_job_def("verify_window")
    assert job.execute_in_process(
        instance=deployment.instance, resources={"backfill_engine": deployment.engine}
    ).success
    assert list_months(deployment) == {"2026-03", "2026-04", "2026-05"}
    shown = deployment.definitions.get_repository_def().asset_graph.get(KEY).metadata
    (reference,) = shown["dagster/code_references"].code_references
    assert reference.file_path.endswith("orchestration/history_asset.py")


def test_runs_that_wait_or_are_at_work_keep_it_from_starting(deploy: Deploy, start_sandbox: StartSandbox) -> None:
    deployment = deploy(start_sandbox(), ("AAPL",), **HISTORY)
    deployment.run_gap_sensor()
    definitions, instance = deployment.definitions, deployment.instance
    job = definitions.resolve_implicit_global_asset_job_def()
    newer = instance.create_run_for_job(
        job, tags={"dagster/partition": "2026-06-02|AAPL.US"}, asset_selection=frozenset({BARS}),
        status=dg.DagsterRunStatus.STARTED,
    )  # fmt: skip
    assert tick(deployment).skip_message == "an unfinished run fills newer sessions"
    instance.report_run_canceled(newer)
    own = instance.create_run_for_job(definitions.resolve_job_def("fill_history"), status=dg.DagsterRunStatus.STARTED)
    assert tick(deployment).skip_message == "an unfinished run fills the history"
    instance.report_run_canceled(own)
    with deployment.engine.database.transaction() as connection:
        start_history_pause(connection, "ann@host", None)
    assert "paused by ann@host" in tick(deployment).skip_message
    assert list_months(deployment) == set()


def test_a_refused_token_fails_the_run_and_holds_back_the_next_ones(
    deploy: Deploy, start_sandbox: StartSandbox
) -> None:
    deployment = deploy(start_sandbox(), ("AAPL",), **HISTORY)
    deployment.run_gap_sensor()
    refused = deployment.with_settings(base_url=start_sandbox(tokens=frozenset({"another"})).base_url)
    refused = refused.with_settings(source_host="127.0.0.1")
    assert not fill(refused).success
    with deployment.engine.database.transaction() as connection:
        assert "check EODHD_API_TOKEN" in read_history_state(connection).said
    assert tick(refused).skip_message.startswith("1 run ended early")


def test_without_a_day_there_is_no_asset_and_nothing_is_looked_at(deploy: Deploy, start_sandbox: StartSandbox) -> None:
    deployment = deploy(start_sandbox(), ("AAPL",))
    assert tick(deployment).skip_message == OFF
    keys = {
        key.to_user_string() for key in deployment.definitions.get_repository_def().asset_graph.get_all_asset_keys()
    }
    assert not any(key.startswith("history") for key in keys)


def test_each_exchange_and_interval_has_an_asset_of_its_own(settings: Settings) -> None:
    changed = {"history_from": date(2024, 5, 6), "exchanges": ("US", "LSE"), "intervals": ("30m", "1h")}
    graph = build_definitions(settings.model_copy(update=changed)).get_repository_def().asset_graph
    keys = {key.to_user_string() for key in graph.get_all_asset_keys()}
    assert keys >= {"history", "history_1h", "history_LSE", "history_1h_LSE"}
    partitions = graph.get(KEY).partitions_def
    assert partitions is not None
    assert partitions.get_first_partition_key() == "2024-05"
    with pytest.raises(UsageError, match="is before the vendor's first"):
        build_definitions(settings.model_copy(update={"history_from": date(2019, 1, 2)}))
