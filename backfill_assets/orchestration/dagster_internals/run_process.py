"""The process that carries out a run or a step: who it is, and in the tags of the run.

What follows from a process that has ended is decided in ``run_health``.

Relies on ``child_process_executor`` being the module whose function is the target of the process of a step, with a
command that has the step's key, and on the command ``dagster api execute_step``, with which executors start a step
elsewhere. Upstream: no issue found; it would be "tell which process carries out a run".
"""

import multiprocessing
import os
import sys
from typing import Any

import dagster as dg
from dagster._core.executor import child_process_executor

from backfill_assets.store.processes import get_host_id, identify_process, is_process_alive

HOST_TAG, PROCESS_TAG, STARTED_TAG = (f"backfill_assets/{name}" for name in ("host", "process", "process_began"))
# The run whose process it is: a retry has the tags of the run that it repeats.
RUN_TAG = "backfill_assets/process_run"
_STEP_COMMAND = "execute_step"


def tag_run_process(instance: dg.DagsterInstance, run_id: str) -> None:
    """Tag a run with this host and the process that executes it."""
    process = identify_process(_find_run_process())
    tags = {HOST_TAG: process.host, PROCESS_TAG: str(process.pid), STARTED_TAG: f"{process.started_at:.2f}"}
    instance.add_run_tags(run_id, {**tags, RUN_TAG: run_id})


def is_step_worker() -> bool:
    """Whether this process carries out a step for an executor on another machine or in another container.

    Its executor watches it, and its end says nothing about the run.
    """
    return _STEP_COMMAND in sys.argv


def find_step_key() -> str | None:
    """The step that this process carries out for an executor in its parent process; None: the whole run."""
    arguments = getattr(multiprocessing.current_process(), "_args", ())
    keys = (getattr(argument, "step_key", None) for argument in arguments) if _is_step_process() else ()
    return next((key for key in keys if isinstance(key, str)), None)


def is_tagged(run: dg.DagsterRun) -> bool:
    """Whether the run's own process has tagged it, on any host."""
    return HOST_TAG in run.tags and run.tags.get(RUN_TAG, run.run_id) == run.run_id


def is_run_process_alive(run: dg.DagsterRun) -> bool | None:
    """Whether the process that the run is tagged with is alive; None if it is not of this host, or there is no tag.

    A later process with its id is another one.
    """
    if not is_tagged(run) or run.tags[HOST_TAG] != get_host_id():
        return None
    return is_process_alive(int(run.tags[PROCESS_TAG]), float(run.tags[STARTED_TAG]))


def _find_run_process() -> int:
    """This process, or its parent where Dagster executes each step of a run in a process of its own.

    Such a process ends before its run does. A project of somebody else's has that executor unless it chooses another.
    """
    parent = multiprocessing.parent_process()
    return parent.pid if parent is not None and parent.pid and _is_step_process() else os.getpid()


def _is_step_process() -> bool:
    target: Any = getattr(multiprocessing.current_process(), "_target", None)
    is_of_executor = getattr(target, "__module__", None) == child_process_executor.__name__
    return is_of_executor and multiprocessing.parent_process() is not None
