"""The launchers for Celery, Docker and Kubernetes: Dagster's own, with runs that are watched."""

import importlib
import sys
from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest
from dagster._core.launcher.base import CheckRunHealthResult, WorkerStatus

from backfill_assets.errors import UsageError
from backfill_assets.orchestration.dagster_internals.celery_run_launcher import WatchfulCeleryRunLauncher
from backfill_assets.orchestration.dagster_internals.docker_run_launcher import WatchfulDockerRunLauncher
from backfill_assets.orchestration.dagster_internals.run_health import WatchesRuns
from backfill_assets_tests.orchestration.test_run_beats import (
    ELSEWHERE,
    FAILED,
    STARTED,
    Watched,
    mixed_job,
    own_job,
    watched,
)

INTERNALS = "backfill_assets.orchestration.dagster_internals"
LAUNCHERS = {
    "celery": ("WatchfulCeleryRunLauncher", "dagster_celery.launcher"),
    "docker": ("WatchfulDockerRunLauncher", "dagster_docker.docker_run_launcher"),
    "k8s": ("WatchfulK8sRunLauncher", "dagster_k8s.launcher"),
}
pytestmark = pytest.mark.filterwarnings("ignore")
__all__ = ["watched"]  # the fixture, with the instance below


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    """With runs as tasks of Celery, and a broker in this process that nobody listens to."""
    launcher = {
        "module": WatchfulCeleryRunLauncher.__module__,
        "class": WatchfulCeleryRunLauncher.__name__,
        "config": {"broker": "memory://", "backend": "cache+memory://"},
    }
    overrides = {"run_launcher": launcher, "run_monitoring": {"enabled": True, "poll_interval_seconds": 10}}
    with dg.DagsterInstance.local_temp(str(tmp_path_factory.mktemp("instance")), overrides) as opened_instance:
        yield opened_instance


@pytest.mark.parametrize("extra", LAUNCHERS)
def test_a_launcher_extends_that_of_dagster_and_says_which_extra_it_needs(
    extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, upstream = LAUNCHERS[extra]
    module = importlib.import_module(f"{INTERNALS}.{extra}_run_launcher")
    launcher = getattr(module, name)
    base = getattr(importlib.import_module(upstream), name.removeprefix("Watchful"))
    assert issubclass(launcher, WatchesRuns)
    assert issubclass(launcher, base)
    assert set(launcher.config_type()) == set(base.config_type())
    monkeypatch.setitem(sys.modules, upstream, None)
    monkeypatch.delitem(sys.modules, module.__name__)
    with pytest.raises(UsageError, match=rf'pip install "backfill_assets\[{extra}\]"'):
        importlib.import_module(module.__name__)


def test_celery_is_not_asked_about_a_run_of_ours(watched: Watched) -> None:
    """A broker that has lost its memory takes every run for unknown, and Dagster fails those."""
    task = {"dagster-celery/task_id": "forgotten"}
    watched.start(own_job, tags=task)
    assert watched.look() is STARTED
    watched.start(own_job, tags={**ELSEWHERE, **task})
    watched.beat()
    assert watched.look_every_10_s(200) == 90
    watched.start(mixed_job, tags=task)
    assert watched.look() is FAILED  # as with Dagster's own launcher


def test_a_cancelled_run_of_celery_is_marked_so(watched: Watched) -> None:
    for tags in ({}, {"dagster-celery/task_id": "unknown"}):
        watched.start(own_job, tags=tags)
        assert watched.instance.run_launcher.terminate(watched.run_id) is bool(tags)
        run = watched.instance.get_run_by_id(watched.run_id)
        assert run is not None
        assert run.status is dg.DagsterRunStatus.CANCELING


def test_a_container_that_has_ended_is_found_before_its_silence_is_long(
    watched: Watched,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What Docker says counts as soon as the run no longer beats, and an error of Docker's does not end a run."""
    launcher = WatchfulDockerRunLauncher()
    launcher.register_instance(watched.instance)
    answers: list[Any] = []
    monkeypatch.setattr(
        "dagster_docker.docker_run_launcher.DockerRunLauncher.check_run_worker_health", lambda *_: answers[0]
    )
    watched.start(own_job, tags=ELSEWHERE)
    watched.beat()
    run = watched.instance.get_run_by_id(watched.run_id)
    assert run is not None
    answers[:] = [CheckRunHealthResult(WorkerStatus.FAILED, "Container status is exited.")]
    assert launcher.check_run_worker_health(run).status is WorkerStatus.RUNNING
    watched.pass_time(20)
    answers[:] = [CheckRunHealthResult(WorkerStatus.UNKNOWN, "no answer")]
    assert launcher.check_run_worker_health(run).status is WorkerStatus.RUNNING
    answers[:] = [CheckRunHealthResult(WorkerStatus.FAILED, "Container status is exited.")]
    assert launcher.check_run_worker_health(run).msg == "Container status is exited."
    launcher.dispose()
