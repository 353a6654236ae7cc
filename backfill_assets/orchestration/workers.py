"""Former path of ``orchestration.dagster_internals.run_launcher``, kept because users' dagster.yaml names it."""

from backfill_assets.orchestration.dagster_internals.run_launcher import WatchfulRunLauncher as WatchfulRunLauncher
