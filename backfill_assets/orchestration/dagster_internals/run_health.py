"""Whether the worker of a run is alive: what every run launcher of ours adds to the one of Dagster that it extends.

A run's life is judged by its beats in the database of the bars, from any host. The process table of the own host, and
an engine such as Docker or Kubernetes, tell sooner that a process has ended, once it no longer beats: a host's name and
process ids may repeat. A run of somebody else's job is left to the launcher that is extended.

Relies on ``CheckRunHealthResult``, ``WorkerStatus`` and ``RunLauncher``, which exist since
https://github.com/dagster-io/dagster/pull/5197 (2021), and on the statistics of steps, the granularity of
pools and the snapshot of a run's job.
Upstream: https://github.com/dagster-io/dagster/issues/4319 (open): the default launcher does not check whether a run's
process is alive.
"""

import logging
import time
from collections.abc import Callable
from typing import ClassVar, TypeVar

import dagster as dg
import psycopg
from dagster._core.execution.stats import StepEventStatus
from dagster._core.instance.config import PoolGranularity
from dagster._core.launcher.base import CheckRunHealthResult, ResumeRunContext, RunLauncher, WorkerStatus

from backfill_assets.config.settings import load_settings
from backfill_assets.errors import DatabaseUnavailable
from backfill_assets.orchestration.dagster_internals.run_process import PROCESS_TAG, is_run_process_alive, is_tagged
from backfill_assets.orchestration.resource_key import RESOURCE_KEY
from backfill_assets.store.postgres.connection import Connection, Database
from backfill_assets.store.run_beats import (
    BEAT_SECONDS,
    Beat,
    end_beats,
    forget_run,
    give_up,
    has_beats,
    read_beats,
    request_end,
)

# Executors whose steps run in the run's process or in one of its children; others start them where no one beats.
_OWN_EXECUTORS = frozenset({"in_process", "multiprocess", "multi_or_in_process_executor"})
FRESH_SECONDS = 3 * BEAT_SECONDS  # a process that was heard of by then is alive, whatever others say
UNHEARD_SECONDS = 180.0  # from a run's start to its first sign of life; loading a project takes seconds
CANCEL_SECONDS = 30.0  # for what ends a cancelled run first: the launcher's own signal, and the container's grace
_PATIENCE_SECONDS = 5.0
_PAUSE_SECONDS = 10.0  # one run waits for a database that does not answer; those that are looked at next do not
_ADVICE = "stored bars are kept, the next run continues"
_RUNNING = CheckRunHealthResult(WorkerStatus.RUNNING)
_GONE = frozenset({WorkerStatus.FAILED, WorkerStatus.NOT_FOUND})
_log = logging.getLogger(__name__)
T = TypeVar("T")


class WatchesRuns(RunLauncher):
    """Mixin of run launchers: lets Dagster's run monitoring fail the runs whose worker is gone."""

    trusts_engine: ClassVar[bool] = True  # whether the launcher that is extended knows when a worker has ended
    _database: Database | None = None
    _next_attempt_at = float("-inf")
    _clock: Callable[[], float] = staticmethod(time.monotonic)

    @property
    def supports_check_run_worker_health(self) -> bool:
        """True: run monitoring calls ``check_run_worker_health``."""
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Running, unless the run's process has ended, or is lost with its host."""
        if self._clock() < self._next_attempt_at:
            return _RUNNING
        try:
            beats, was_heard = self._use_database(lambda connection: _read(connection, run.run_id)) or ([], False)
        except (DatabaseUnavailable, psycopg.Error) as error:
            _log.warning("whether run %s is alive cannot be seen now: %s", run.run_id, error)
            self._next_attempt_at = self._clock() + _PAUSE_SECONDS
            return _RUNNING
        if beats := self._leave_out_ended_steps(run, beats):
            return self._judge_beats(run, beats)
        if was_heard or is_tagged(run):
            return self._judge_by_process(run) or self._ask_engine(run)
        return self._judge_unheard(run)

    def terminate(self, run_id: str) -> bool:
        """Cancel the run as the extended launcher does; a process that it does not reach ends itself."""
        try:
            run = self._instance.get_run_by_id(run_id)
            if run is not None and self._is_own(run):  # steps of others may need longer to clean up
                self._use_database(lambda connection: request_end(connection, run_id, CANCEL_SECONDS))
        except (DatabaseUnavailable, psycopg.Error) as error:
            _log.warning("run %s cannot be told by the database that it is cancelled: %s", run_id, error)
        return bool(super().terminate(run_id))  # type: ignore[safe-super]  # a mixin: the launcher that it extends

    def resume_run(self, context: ResumeRunContext) -> None:
        """Resume the run in another process; the former one ends itself when it comes back."""
        self._use_database(lambda connection: forget_run(connection, context.dagster_run.run_id))
        super().resume_run(context)

    def dispose(self) -> None:
        """Close the connection."""
        if self._database is not None:
            self._database.close()
        super().dispose()

    def _judge_beats(self, run: dg.DagsterRun, beats: list[Beat]) -> CheckRunHealthResult:
        newest = min(beats, key=lambda beat: beat.seconds)
        if newest.seconds < FRESH_SECONDS and not newest.must_end:
            return _RUNNING
        by_process = self._judge_by_process(run)
        if by_process is None and not newest.must_end and not newest.is_lost:
            result = self._ask_engine(run)
            by_process = CheckRunHealthResult(WorkerStatus.FAILED, result.msg) if result.status in _GONE else _RUNNING
        result = by_process or CheckRunHealthResult(WorkerStatus.FAILED, _describe_loss(newest))
        if result.status is not WorkerStatus.FAILED:
            return result
        is_given_up = self._use_database(lambda connection: give_up(connection, run.run_id, FRESH_SECONDS))
        return result if is_given_up else _RUNNING  # it was heard of meanwhile

    def _judge_by_process(self, run: dg.DagsterRun) -> CheckRunHealthResult | None:
        """By the process table of this host; None if the run's process is elsewhere."""
        is_alive = is_run_process_alive(run)
        if is_alive is None:
            return None
        message = f"process {run.tags[PROCESS_TAG]} of the run has ended; {_ADVICE}"
        return _RUNNING if is_alive else CheckRunHealthResult(WorkerStatus.FAILED, message)

    def _ask_engine(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """What the extended launcher says; running if it cannot say anything about a run that beats."""
        if not super().supports_check_run_worker_health or (not self.trusts_engine and self._is_own(run)):
            return _RUNNING
        return super().check_run_worker_health(run)

    def _judge_unheard(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """A run of ours is heard of as soon as its first step begins; one that is not was lost before."""
        result = self._ask_engine(run)
        if result.status is not WorkerStatus.RUNNING or not self._must_beat(run):
            return result
        waiting = self.__dict__.setdefault("_unheard_since", {})
        seconds = self._clock() - waiting.setdefault(run.run_id, self._clock())
        if seconds < UNHEARD_SECONDS:
            return _RUNNING
        del waiting[run.run_id]
        message = f"the run has started, and was not heard of for {seconds:.0f} s; {_ADVICE}"
        return CheckRunHealthResult(WorkerStatus.FAILED, message)

    def _must_beat(self, run: dg.DagsterRun) -> bool:
        """Whether the run beats once it has started: its first step is ours, begins at once, and in its own process."""
        if not self._is_own(run) or self._may_wait_for_a_pool(run) or run.execution_plan_snapshot_id is None:
            return False
        plan = self._instance.get_execution_plan_snapshot(run.execution_plan_snapshot_id)
        return plan.executor_name in _OWN_EXECUTORS

    def _is_own(self, run: dg.DagsterRun) -> bool:
        """Whether every op of the run's job works with the engine."""
        known = self.__dict__.setdefault("_own_jobs", {})
        snapshot_id = run.job_snapshot_id
        if snapshot_id is None:
            return False
        if snapshot_id not in known:
            ops = self._instance.get_job_snapshot(snapshot_id).node_defs_snapshot.op_def_snaps
            known[snapshot_id] = bool(ops) and all(RESOURCE_KEY in op.required_resource_keys for op in ops)
        return bool(known[snapshot_id])

    def _may_wait_for_a_pool(self, run: dg.DagsterRun) -> bool:
        """Whether the run's steps wait for places of their pools after the run has started, before they beat."""
        granularity = self._instance.get_concurrency_config().pool_config.pool_granularity
        has_pools = run.run_op_concurrency is not None and bool(run.run_op_concurrency.all_pools)
        return has_pools and granularity is not PoolGranularity.RUN

    def _leave_out_ended_steps(self, run: dg.DagsterRun, beats: list[Beat]) -> list[Beat]:
        """Without processes whose step Dagster knows to have ended: their executor is alive, and goes on without."""
        silent = {b.step_key: b.worker_id for b in beats if b.step_key is not None and b.seconds >= FRESH_SECONDS}
        if not silent:
            return beats
        stats = self._instance.get_run_step_stats(run.run_id, list(silent))
        active = {step.step_key for step in stats if step.status is StepEventStatus.IN_PROGRESS}
        ended_ids = [worker_id for key, worker_id in silent.items() if key not in active]
        if ended_ids:
            self._use_database(lambda connection: end_beats(connection, ended_ids))
        return [beat for beat in beats if beat.worker_id not in ended_ids]

    def _use_database(self, work: Callable[[Connection], T]) -> T | None:
        """Do ``work`` on the database of the bars; None on the embedded server, whose processes are all of this host.

        Raises:
            DatabaseUnavailable: it cannot be reached now.
        """
        if self._database is None:
            url = load_settings().database_url
            if url is None:
                return None
            self._database = Database(url.get_secret_value(), max_connections=1, max_wait_seconds=_PATIENCE_SECONDS)
        return self._database.retry_transaction(work)


def _read(connection: Connection, run_id: str) -> tuple[list[Beat], bool]:
    beats = read_beats(connection, run_id)
    return beats, bool(beats) or has_beats(connection, run_id)


def _describe_loss(beat: Beat) -> str:
    place = beat.host.split(" ")[0]
    return f"not heard of for {beat.seconds:.0f} s: process {beat.pid} on {place} is lost or cut off; {_ADVICE}"
