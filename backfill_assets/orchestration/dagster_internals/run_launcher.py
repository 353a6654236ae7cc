"""Dagster's default run launcher, with runs that are watched.

A power cut or an out-of-memory kill of a whole deployment leaves its runs in status "started". Such a run keeps the
only slot of the pool, so no backfill starts any more. Dagster's default launcher cannot tell it from an active run.

Relies on ``DefaultRunLauncher``. Upstream: https://github.com/dagster-io/dagster/issues/4319 (open): the default
launcher does not check whether a run's process is alive.
"""

from dagster._core.launcher.default_run_launcher import DefaultRunLauncher

from backfill_assets.orchestration.dagster_internals.run_health import WatchesRuns
from backfill_assets.orchestration.dagster_internals.run_process import HOST_TAG as HOST_TAG
from backfill_assets.orchestration.dagster_internals.run_process import PROCESS_TAG as PROCESS_TAG
from backfill_assets.orchestration.dagster_internals.run_process import STARTED_TAG as STARTED_TAG
from backfill_assets.orchestration.dagster_internals.run_process import tag_run_process as tag_run_process


class WatchfulRunLauncher(WatchesRuns, DefaultRunLauncher):
    """Starts runs on the code server, as Dagster does by default, and watches them."""
