"""The resource of assets, jobs and sensors: the engine, open during a run or tick."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.job_request import open_engine
from backfill_assets.config.settings import load_settings
from backfill_assets.orchestration.dagster_internals.run_launcher import tag_run_process


class EngineResource(dg.ConfigurableResource[Engine]):
    """The engine for the database and vendor in the environment; no configuration in Dagster."""

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator[Engine]:
        """Open the engine, migrating the database if needed, and close it at the end; tags a run with its process.

        Raises:
            UsageError: invalid setting.
            DatabaseUnavailable: no database.
        """
        if context.run and context.instance:  # a tick has no run
            tag_run_process(context.instance, context.run.run_id)
        with open_engine(load_settings()) as engine:
            yield engine
