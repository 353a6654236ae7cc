"""Runs whose process is gone: noticed by Dagster's run monitoring, which fails them.

A power cut or an out-of-memory kill of a whole deployment leaves its runs "started", and one of them holds the queue's
only place: no healing, no checks, no alerts. Dagster's own launcher cannot tell such a run from one at work. Here each
run signs with its process, and the launcher of ``dagster.yaml`` looks for it. Only this host's processes can be looked
for; of others, and of a run that did not sign, the longest run time in ``dagster.yaml`` is the net.
"""

import dagster as dg
from dagster._core.launcher.base import CheckRunHealthResult, WorkerStatus
from dagster._core.launcher.default_run_launcher import DefaultRunLauncher

from backfill_assets.store.processes import get_current_process, get_host_id, is_process_alive

HOST_TAG, PROCESS_TAG, STARTED_TAG = (f"backfill_assets/{name}" for name in ("host", "process", "process_began"))


def tag_run_process(instance: dg.DagsterInstance, run_id: str) -> None:
    """Say that this process is at work on a run."""
    process = get_current_process()
    tags = {HOST_TAG: process.host, PROCESS_TAG: str(process.pid), STARTED_TAG: f"{process.started_at:.2f}"}
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
    return is_process_alive(int(run.tags[PROCESS_TAG]), float(run.tags[STARTED_TAG]))
