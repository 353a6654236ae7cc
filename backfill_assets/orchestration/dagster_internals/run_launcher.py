"""Runs whose process is gone: noticed by Dagster's run monitoring, which fails them.

A power cut or an out-of-memory kill of a whole deployment leaves its runs "started", and one of them holds the queue's
only place: no healing, no checks, no alerts. Dagster's own launcher cannot tell such a run from one at work. Here each
run signs with its process, and the launcher of ``dagster.yaml`` looks for it. Only this host's processes can be looked
for; of others, and of a run that did not sign, the longest run time in ``dagster.yaml`` is the net.
"""

import os

import dagster as dg
import psutil
from dagster._core.launcher.base import CheckRunHealthResult, WorkerStatus
from dagster._core.launcher.default_run_launcher import DefaultRunLauncher

from backfill_assets.store.runs import get_host_id

HOST_TAG, PROCESS_TAG, STARTED_TAG = (f"backfill_assets/{name}" for name in ("host", "process", "process_began"))
START_TIME_TOLERANCE_SECONDS = 1.0


def tag_run_process(instance: dg.DagsterInstance, run_id: str) -> None:
    """Say that this process is at work on a run."""
    started_at = psutil.Process().create_time()
    tags = {HOST_TAG: get_host_id(), PROCESS_TAG: str(os.getpid()), STARTED_TAG: f"{started_at:.2f}"}
    instance.add_run_tags(run_id, tags)


class WatchfulRunLauncher(DefaultRunLauncher):
    """Dagster's own launcher, which also knows whether a run's process is still there."""

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Run monitoring may ask."""
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Running, unless the process that signed the run on this host has ended."""
        if run.tags.get(HOST_TAG) != get_host_id() or _is_process_alive(run):
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        message = f"its process {run.tags[PROCESS_TAG]} is gone; what it stored stays, the next run goes on from there"
        return CheckRunHealthResult(WorkerStatus.FAILED, message)


def _is_process_alive(run: dg.DagsterRun) -> bool:
    """Whether the process is there and is not a later one of the same number."""
    try:
        process = psutil.Process(int(run.tags[PROCESS_TAG]))
        is_same_process = abs(process.create_time() - float(run.tags[STARTED_TAG])) < START_TIME_TOLERANCE_SECONDS
        return is_same_process and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
