"""The resource of assets, jobs and sensors: the engine, open during a run or tick."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, ClassVar

import dagster as dg

from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.job_request import open_engine
from backfill_assets.config.settings import load_settings
from backfill_assets.orchestration.dagster_internals.run_launcher import tag_run_process

# The name of the parameter by which assets, ops and sensors take the resource. A project into which they are merged has
# one name space for all resources, and "engine" is what many call their SQLAlchemy engine.
RESOURCE_KEY = "backfill_engine"


class EngineResource(dg.ConfigurableResource[Engine]):
    """The engine for the database and vendor in the environment; no configuration in Dagster.

    Attributes:
        overrides: settings by field name that win over the environment. They are no configuration, because Dagster's UI
            shows that, and the token may be among them.
    """

    overrides: ClassVar[Mapping[str, Any]] = MappingProxyType({})

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator[Engine]:
        """Open the engine, migrating the database if needed, and close it at the end; tags a run with its process.

        Raises:
            UsageError: invalid setting.
            DatabaseUnavailable: no database.
        """
        if context.run and context.instance:  # a tick has no run
            tag_run_process(context.instance, context.run.run_id)
        with open_engine(load_settings(**self.overrides)) as engine:
            yield engine


def build_engine_resource(overrides: Mapping[str, Any]) -> EngineResource:
    """The resource with ``overrides``: in its class, because Dagster copies a resource by its configuration alone."""
    fields = {"overrides": MappingProxyType(dict(overrides)), "__doc__": EngineResource.__doc__, "__module__": __name__}
    resource: EngineResource = type(EngineResource.__name__, (EngineResource,), fields)()
    return resource
