"""A code server and its run workers have the same first day, even if a worker starts later."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import dagster as dg
import pytest
from dagster._core.definitions.definitions_load_context import DefinitionsLoadContext
from dagster._core.definitions.reconstruct import ReconstructableRepository
from dagster._core.execution.api import create_execution_plan
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._grpc.impl import core_execute_run
from dagster._grpc.server import LoadedRepositories

from backfill_assets.orchestration.partitions import list_day_keys
from backfill_assets_tests.conftest import StartSandbox
from backfill_assets_tests.orchestration.conftest import BARS, Deployment, build_partition_keys

Deploy = Callable[..., Deployment]
OLDEST, TUESDAY = "2026-06-01", "2026-06-02"
LATER = datetime(2026, 6, 5, 14, tzinfo=UTC)  # two sessions have opened since


@pytest.fixture(autouse=True)
def _reset_definitions_context() -> Iterator[None]:
    """Reset the load context, as at the start of a process."""
    before = DefinitionsLoadContext._instance
    DefinitionsLoadContext._instance = None
    yield
    DefinitionsLoadContext._instance = before


def load_repository() -> ReconstructableRepository:
    """Load the definitions like a code server."""
    origin = LoadableTargetOrigin(module_name="backfill_assets.definitions")
    repositories = LoadedRepositories(origin, entry_point=["dagster"], container_image=None, container_context=None)
    (repository,) = repositories.reconstructables_by_name.values()
    return repository


def list_partition_days(repository: dg.RepositoryDefinition) -> set[str]:
    partitions_def = repository.asset_graph.get(BARS).partitions_def
    assert isinstance(partitions_def, dg.MultiPartitionsDefinition)
    return set(list_day_keys(partitions_def))


def create_run(
    instance: dg.DagsterInstance, code_server: ReconstructableRepository, tags: dict[str, str]
) -> dg.DagsterRun:
    """Create a run with its execution plan, like a code server."""
    repository = code_server.get_definition()
    job = repository.get_implicit_job_def_for_assets([BARS])
    assert job is not None
    bars_job = job.get_subset(asset_selection={BARS})
    return instance.create_run_for_job(
        bars_job,
        execution_plan=create_execution_plan(bars_job, repository_load_data=repository.repository_load_data),
        tags=tags,
        asset_selection=frozenset({BARS}),
        repository_load_data=repository.repository_load_data,
    )


@pytest.mark.parametrize("whole_range", [True, False])
def test_a_run_over_the_oldest_day_succeeds_after_new_sessions_opened(
    deploy: Deploy, start_sandbox: StartSandbox, monkeypatch: pytest.MonkeyPatch, whole_range: bool
) -> None:
    deployment = deploy(start_sandbox(), ("AAPL", "MSFT"))
    code_server = load_repository()
    ends = {"start": f"{OLDEST}|AAPL.US", "end": f"{TUESDAY}|MSFT.US"}
    ranged = {f"dagster/asset_partition_range_{end}": key for end, key in ends.items()}
    run = create_run(deployment.instance, code_server, ranged if whole_range else {"dagster/partition": ends["start"]})
    monkeypatch.setenv("BACKFILL_AS_OF", LATER.isoformat())
    DefinitionsLoadContext._instance = None  # the worker is another process
    worker = ReconstructableRepository(code_server.pointer).get_reconstructable_job(run.job_name)
    list(core_execute_run(worker, run, deployment.instance, inject_env_vars=False))
    assert deployment.instance.get_run_by_id(run.run_id).is_success  # type: ignore[union-attr]
    expected = build_partition_keys(("AAPL", "MSFT"), (OLDEST, TUESDAY)) if whole_range else {f"{OLDEST}|AAPL.US"}
    assert deployment.materialized >= expected


def test_a_reloaded_code_server_has_a_later_first_day(
    deploy: Deploy, start_sandbox: StartSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy(start_sandbox(), ("AAPL",))
    assert min(list_partition_days(load_repository().get_definition())) == OLDEST
    monkeypatch.setenv("BACKFILL_AS_OF", LATER.isoformat())
    assert min(list_partition_days(load_repository().get_definition())) == "2026-06-03"
