"""Run monitoring fails runs whose process has ended, and does not change active runs."""

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import psycopg
import pytest
from dagster._daemon.monitoring.run_monitoring import monitor_started_run

from backfill_assets.orchestration.dagster_internals.run_launcher import (
    HOST_TAG,
    PROCESS_TAG,
    STARTED_TAG,
    tag_run_process,
)
from backfill_assets.orchestration.resources import EngineResource
from backfill_assets.store.processes import get_host_id
from backfill_assets_tests.orchestration.test_storage import open_instance

STARTED, FAILED = dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.FAILURE
pytestmark = pytest.mark.filterwarnings("ignore")


@dg.op
def use_engine(backfill_engine: dg.ResourceParam[Any]) -> None:
    """Use the engine."""
    assert backfill_engine.database


@dg.job
def engine_job() -> None:
    """Run one op that uses the engine."""
    use_engine()


@dg.job(executor_def=dg.multiprocess_executor, resource_defs={"backfill_engine": EngineResource()})
def job_of_processes() -> None:
    """Run the op in a process of its own, as a project does that chooses no executor."""
    use_engine()


@pytest.fixture
def instance(
    create_database: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dg.DagsterInstance]:
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", create_database(None))
    with open_instance(tmp_path) as opened_instance:
        yield opened_instance


@pytest.fixture
def ended_process() -> dict[str, str]:
    """The run tags of a process that was killed."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as process:
        tags = build_process_tags(psutil.Process(process.pid))
        process.kill()
    return tags


def build_process_tags(process: psutil.Process) -> dict[str, str]:
    return {HOST_TAG: get_host_id(), PROCESS_TAG: str(process.pid), STARTED_TAG: f"{process.create_time():.2f}"}


def monitor_run(instance: dg.DagsterInstance, tags: dict[str, str]) -> dg.DagsterRunStatus:
    """Create a started run with tags, monitor it and return its status."""
    run = instance.create_run_for_job(engine_job, tags=tags, status=STARTED)
    (record,) = instance.get_run_records(dg.RunsFilter(run_ids=[run.run_id]))
    workspace: Any = None  # used for resumed runs only
    monitor_started_run(instance, workspace, record, logging.getLogger("monitoring"))
    after = instance.get_run_by_id(run.run_id)
    assert after is not None
    return after.status


def test_a_run_whose_process_has_ended_is_failed_with_a_message(
    instance: dg.DagsterInstance, ended_process: dict[str, str]
) -> None:
    assert monitor_run(instance, ended_process) is FAILED
    (run,) = instance.get_runs()
    messages = [entry.user_message or entry.message for entry in instance.all_logs(run.run_id)]
    assert any(f"process {ended_process[PROCESS_TAG]} of the run has ended" in message for message in messages)


def test_a_reused_process_id_does_not_count_as_alive(instance: dg.DagsterInstance) -> None:
    tags = build_process_tags(psutil.Process())
    assert monitor_run(instance, tags | {STARTED_TAG: f"{float(tags[STARTED_TAG]) - 60:.2f}"}) is FAILED


@pytest.mark.parametrize("changed", [{}, {HOST_TAG: "another", PROCESS_TAG: "1"}, None])
def test_a_run_that_may_be_active_is_not_failed(instance: dg.DagsterInstance, changed: dict[str, str] | None) -> None:
    """This process is alive; processes of other hosts and runs without tags cannot be checked."""
    tags = {} if changed is None else build_process_tags(psutil.Process()) | changed
    assert monitor_run(instance, tags) is STARTED


def test_a_run_is_tagged_with_its_process(
    instance: dg.DagsterInstance, database_url: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("BACKFILL_HOME", str(home))
    result = engine_job.execute_in_process(instance=instance, resources={"backfill_engine": EngineResource()})
    run = instance.get_run_by_id(result.run_id)
    assert run is not None
    assert build_process_tags(psutil.Process()).items() <= run.tags.items()
    assert run.tags[PROCESS_TAG] == str(os.getpid())
    tag_run_process(instance, run.run_id)  # tagging again changes nothing
    run_after = instance.get_run_by_id(run.run_id)
    assert run_after is not None
    assert run_after.tags == run.tags


@pytest.mark.long
def test_a_run_whose_steps_are_processes_is_tagged_with_the_process_that_executes_it(
    tmp_path: Path, database_url: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process of a step ends before the run does, which must not look like the end of the run."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("BACKFILL_HOME", str(home))
    with dg.DagsterInstance.local_temp(str(tmp_path), {"run_monitoring": {"enabled": True}}) as instance:
        result = dg.execute_job(dg.reconstructable(job_of_processes), instance=instance, raise_on_error=True)
        run = instance.get_run_by_id(result.run_id)
    assert run is not None
    assert run.tags[PROCESS_TAG] == str(os.getpid())
    with psycopg.connect(database_url) as connection:
        rows = connection.execute("SELECT run_id, step_key, pid, ended_at IS NOT NULL FROM backfill.run_beats")
        ((run_id, step_key, pid, has_ended),) = rows.fetchall()
    assert (run_id, step_key, has_ended) == (run.run_id, "use_engine", True)
    assert pid != os.getpid()
