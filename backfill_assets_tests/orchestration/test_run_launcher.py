"""Runs whose process is gone are failed, by Dagster's own monitoring; runs at work are left alone."""

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
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
from backfill_assets_tests.orchestration.test_storage import instance_at

STARTED, FAILED = dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.FAILURE
pytestmark = pytest.mark.filterwarnings("ignore")


@dg.op
def look(engine: dg.ResourceParam[Any]) -> None:
    """Works with the engine."""
    assert engine.database


@dg.job
def looking() -> None:
    """Nothing else."""
    look()


@pytest.fixture
def instance(
    new_database: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dg.DagsterInstance]:
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", new_database(None))
    with instance_at(tmp_path) as made:
        yield made


@pytest.fixture
def gone() -> dict[str, str]:
    """The signature of a process that was killed."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as process:
        signature = signature_of(psutil.Process(process.pid))
        process.kill()
    return signature


def signature_of(process: psutil.Process) -> dict[str, str]:
    return {HOST_TAG: get_host_id(), PROCESS_TAG: str(process.pid), STARTED_TAG: f"{process.create_time():.2f}"}


def monitored(instance: dg.DagsterInstance, tags: dict[str, str]) -> dg.DagsterRunStatus:
    """What becomes of a started run when run monitoring looks at it."""
    run = instance.create_run_for_job(looking, tags=tags, status=STARTED)
    (record,) = instance.get_run_records(dg.RunsFilter(run_ids=[run.run_id]))
    workspace: Any = None  # is for runs that are resumed
    monitor_started_run(instance, workspace, record, logging.getLogger("monitoring"))
    after = instance.get_run_by_id(run.run_id)
    assert after is not None
    return after.status


def test_a_run_whose_process_is_gone_is_failed_and_says_so(instance: dg.DagsterInstance, gone: dict[str, str]) -> None:
    assert monitored(instance, gone) is FAILED
    (run,) = instance.get_runs()
    said = [entry.user_message or entry.message for entry in instance.all_logs(run.run_id)]
    assert any(f"process {gone[PROCESS_TAG]} is gone" in words for words in said)


def test_a_number_that_another_process_got_is_no_sign_of_life(instance: dg.DagsterInstance) -> None:
    mine = signature_of(psutil.Process())
    assert monitored(instance, mine | {STARTED_TAG: f"{float(mine[STARTED_TAG]) - 60:.2f}"}) is FAILED


@pytest.mark.parametrize("changed", [{}, {HOST_TAG: "another", PROCESS_TAG: "1"}, None])
def test_a_run_that_may_be_at_work_is_left_alone(instance: dg.DagsterInstance, changed: dict[str, str] | None) -> None:
    """This process is there; another host's cannot be seen; who did not sign is not known."""
    tags = {} if changed is None else signature_of(psutil.Process()) | changed
    assert monitored(instance, tags) is STARTED


def test_a_run_signs_with_its_process(
    instance: dg.DagsterInstance, database_url: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("BACKFILL_HOME", str(home))
    result = looking.execute_in_process(instance=instance, resources={"engine": EngineResource()})
    run = instance.get_run_by_id(result.run_id)
    assert run is not None
    assert signature_of(psutil.Process()).items() <= run.tags.items()
    assert run.tags[PROCESS_TAG] == str(os.getpid())
    tag_run_process(instance, run.run_id)  # signing again changes nothing
    again = instance.get_run_by_id(run.run_id)
    assert again is not None
    assert again.tags == run.tags
