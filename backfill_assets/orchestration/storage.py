"""Former path of ``orchestration.dagster_internals.storage``, kept because users' dagster.yaml names it."""

from backfill_assets.orchestration.dagster_internals.storage import BackfillStorage as BackfillStorage
