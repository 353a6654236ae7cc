"""A code server and its run workers have the same first day, even if a worker loads the definitions later."""

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
from backfill_assets_tests.conftest import Sandboxed
from backfill_assets_tests.orchestration.conftest import BARS, Deployment, partitions

Deployed = Callable[..., Deployment]
OLDEST, TUESDAY = "2026-06-01", "2026-06-02"
LATER = datetime(2026, 6, 5, 14, tzinfo=UTC)  # two sessions have opened since


@pytest.fixture(autouse=True)
def _process() -> Iterator[None]:
    """As at the start of a process: no definitions were loaded yet, and none are afterwards."""
    before = DefinitionsLoadContext._instance
    DefinitionsLoadContext._instance = None
    yield
    DefinitionsLoadContext._instance = before


def loaded() -> ReconstructableRepository:
    """The definitions as a code server loads them."""
    origin = LoadableTargetOrigin(module_name="backfill_assets.definitions")
    served = LoadedRepositories(origin, entry_point=["dagster"], container_image=None, container_context=None)
    (repository,) = served.reconstructables_by_name.values()
    return repository


def days_of(repository: dg.RepositoryDefinition) -> set[str]:
    held = repository.asset_graph.get(BARS).partitions_def
    assert isinstance(held, dg.MultiPartitionsDefinition)
    return set(list_day_keys(held))


def requested(instance: dg.DagsterInstance, server: ReconstructableRepository, tags: dict[str, str]) -> dg.DagsterRun:
    """A run that the server made, with its plan as the server gives it to be stored."""
    repository = server.get_definition()
    job = repository.get_implicit_job_def_for_assets([BARS])
    assert job is not None
    of_bars = job.get_subset(asset_selection={BARS})
    return instance.create_run_for_job(
        of_bars,
        execution_plan=create_execution_plan(of_bars, repository_load_data=repository.repository_load_data),
        tags=tags,
        asset_selection=frozenset({BARS}),
        repository_load_data=repository.repository_load_data,
    )


@pytest.mark.parametrize("whole_range", [True, False])
def test_a_run_over_the_code_servers_oldest_day_works_after_a_new_session_has_opened(
    deployed: Deployed, sandboxed: Sandboxed, monkeypatch: pytest.MonkeyPatch, whole_range: bool
) -> None:
    deployment = deployed(sandboxed(), ("AAPL", "MSFT"))
    server = loaded()
    ends = {"start": f"{OLDEST}|AAPL.US", "end": f"{TUESDAY}|MSFT.US"}
    ranged = {f"dagster/asset_partition_range_{end}": key for end, key in ends.items()}
    run = requested(deployment.instance, server, ranged if whole_range else {"dagster/partition": ends["start"]})
    monkeypatch.setenv("BACKFILL_AS_OF", LATER.isoformat())
    DefinitionsLoadContext._instance = None  # the worker is another process
    worker = ReconstructableRepository(server.pointer).get_reconstructable_job(run.job_name)
    list(core_execute_run(worker, run, deployment.instance, inject_env_vars=False))
    assert deployment.instance.get_run_by_id(run.run_id).is_success  # type: ignore[union-attr]
    expected = partitions(("AAPL", "MSFT"), (OLDEST, TUESDAY)) if whole_range else {f"{OLDEST}|AAPL.US"}
    assert deployment.green >= expected


def test_a_reloaded_code_server_starts_at_a_later_day(
    deployed: Deployed, sandboxed: Sandboxed, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployed(sandboxed(), ("AAPL",))
    assert min(days_of(loaded().get_definition())) == OLDEST
    monkeypatch.setenv("BACKFILL_AS_OF", LATER.isoformat())
    assert min(days_of(loaded().get_definition())) == "2026-06-03"
