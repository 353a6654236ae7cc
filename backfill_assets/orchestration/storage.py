"""The old path of ``orchestration.dagster_internals.storage``: it stands in people's dagster.yaml."""

from backfill_assets.orchestration.dagster_internals.storage import BackfillStorage as BackfillStorage
