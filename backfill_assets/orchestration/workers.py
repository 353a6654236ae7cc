"""The old path of ``orchestration.dagster_internals.run_launcher``: it stands in people's dagster.yaml."""

from backfill_assets.orchestration.dagster_internals.run_launcher import WatchfulRunLauncher as WatchfulRunLauncher
