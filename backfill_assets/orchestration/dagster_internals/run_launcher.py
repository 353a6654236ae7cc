"""A run launcher that lets Dagster's run monitoring fail the runs whose process has ended.

A power cut or an out-of-memory kill of a whole deployment leaves its runs in status "started". Such a run keeps the
only slot of the pool, so no backfill starts any more. Dagster's default launcher cannot tell it from an active run.
Here each run is tagged with its host and process, and the launcher named in ``dagster.yaml`` checks that process. It
can check processes of its own host only; for other hosts and untagged runs ``max_runtime_seconds`` applies.

Relies on ``DefaultRunLauncher``, ``CheckRunHealthResult`` and ``WorkerStatus``, which exist since
https://github.com/dagster-io/dagster/pull/5197 (2021), and on ``child_process_executor`` being the module whose
function is the target of the process of a step. Upstream: https://github.com/dagster-io/dagster/issues/4319
(open): the default launcher does not check whether a run's process is alive.
"""

import multiprocessing
import os

import dagster as dg
from dagster._core.executor import child_process_executor
from dagster._core.launcher.base import CheckRunHealthResult, WorkerStatus
from dagster._core.launcher.default_run_launcher import DefaultRunLauncher

from backfill_assets.store.processes import get_host_id, identify_process, is_process_alive

HOST_TAG, PROCESS_TAG, STARTED_TAG = (f"backfill_assets/{name}" for name in ("host", "process", "process_began"))


def tag_run_process(instance: dg.DagsterInstance, run_id: str) -> None:
    """Tag a run with this host and the process that executes it."""
    process = identify_process(_find_run_process())
    tags = {HOST_TAG: process.host, PROCESS_TAG: str(process.pid), STARTED_TAG: f"{process.started_at:.2f}"}
    instance.add_run_tags(run_id, tags)


def _find_run_process() -> int:
    """This process, or its parent where Dagster executes each step of a run in a process of its own.

    Such a process ends before its run does. A project of somebody else's has that executor unless it chooses another.
    """
    target = getattr(multiprocessing.current_process(), "_target", None)
    parent = multiprocessing.parent_process()
    is_step = parent is not None and getattr(target, "__module__", None) == child_process_executor.__name__
    return parent.pid if parent is not None and parent.pid and is_step else os.getpid()


class WatchfulRunLauncher(DefaultRunLauncher):
    """Dagster's default launcher that also checks whether a run's process is alive."""

    @property
    def supports_check_run_worker_health(self) -> bool:
        """True: run monitoring calls ``check_run_worker_health``."""
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Running, unless the run is tagged with a process of this host that has ended."""
        if run.tags.get(HOST_TAG) != get_host_id() or _is_process_alive(run):
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        message = f"process {run.tags[PROCESS_TAG]} of the run has ended; stored bars are kept, the next run continues"
        return CheckRunHealthResult(WorkerStatus.FAILED, message)


def _is_process_alive(run: dg.DagsterRun) -> bool:
    """Whether the tagged process is alive, and is not a later process with the same id."""
    return is_process_alive(int(run.tags[PROCESS_TAG]), float(run.tags[STARTED_TAG]))
