"""Celery: a run launcher of Dagster with runs that are watched.

Needs the extra ``celery``. Its configuration is that of Dagster's launcher.

Relies on ``CeleryRunLauncher`` of dagster_celery.launcher. Upstream: https://github.com/dagster-io/dagster/pull/33493
(open): a run whose worker host is lost stays started.
"""

import dagster as dg

from backfill_assets.errors import UsageError
from backfill_assets.orchestration.dagster_internals.run_health import WatchesRuns

try:
    from dagster_celery.launcher import CeleryRunLauncher
    from dagster_celery.tags import DAGSTER_CELERY_TASK_ID_TAG
except ModuleNotFoundError as error:
    raise UsageError(
        f"dagster.yaml names a run launcher for Celery, but {error.name} is not installed; on every machine that"
        ' reads this dagster.yaml: pip install "backfill_assets[celery]"'
    ) from error


class WatchfulCeleryRunLauncher(WatchesRuns, CeleryRunLauncher):
    """Starts runs as tasks of Celery, and watches them.

    What the broker knows of a run of ours is not asked: it takes a task on a lost host for started, and one that it has
    forgotten for failed.
    """

    trusts_engine = False

    def terminate(self, run_id: str) -> bool:
        """Cancel the run: its task is revoked, and its process interrupted; whether there was something to cancel."""
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return False
        self._instance.report_run_canceling(run)
        return DAGSTER_CELERY_TASK_ID_TAG in run.tags and super().terminate(run_id)

    def get_run_worker_debug_info(self, run: dg.DagsterRun, include_container_logs: bool | None = True) -> str | None:  # noqa: ARG002 - the signature is Dagster's
        """The task, without asking the broker, which may have been lost together with the worker."""
        task_id = run.tags.get(DAGSTER_CELERY_TASK_ID_TAG)
        return f"Celery task {task_id}" if task_id else None
