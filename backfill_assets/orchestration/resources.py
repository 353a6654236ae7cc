"""The resource of assets, jobs and sensors: the engine, open during a run or tick."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import MappingProxyType
from typing import Any, ClassVar

import dagster as dg

from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.job_request import open_engine
from backfill_assets.config.log_format import set_log_fields
from backfill_assets.config.settings import Settings, load_settings
from backfill_assets.orchestration.dagster_internals.run_process import find_step_key, is_step_worker, tag_run_process
from backfill_assets.orchestration.resource_key import RESOURCE_KEY as RESOURCE_KEY
from backfill_assets.orchestration.run_beat import keep_beating


class EngineResource(dg.ConfigurableResource[Engine]):
    """The engine for the database and vendor in the environment; no configuration in Dagster.

    Attributes:
        overrides: settings by field name that win over the environment. They are no configuration, because Dagster's UI
            shows that, and the token may be among them.
    """

    overrides: ClassVar[Mapping[str, Any]] = MappingProxyType({})

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator[Engine]:
        """Open the engine, migrating the database if needed, and close it at the end.

        A run is tagged with its process, and beats meanwhile if something watches it.

        Raises:
            UsageError: invalid setting.
            DatabaseUnavailable: no database.
            RunGivenUp: the run has been failed or cancelled while its host was silent.
        """
        is_watched = context.run is not None and context.instance is not None and not is_step_worker()
        if is_watched and context.run and context.instance:  # a tick has no run
            set_log_fields(run=context.run.run_id)
            tag_run_process(context.instance, context.run.run_id)
        settings = load_settings(**self.overrides)
        try:
            with open_engine(settings) as engine, _beat_if_watched(settings, context if is_watched else None):
                yield engine
        finally:
            set_log_fields(run=None)  # a process may do several runs


def _beat_if_watched(settings: Settings, context: dg.InitResourceContext | None) -> AbstractContextManager[None]:
    """Beats cost a connection: only where the daemon looks for them."""
    if context is None or not context.run or not context.instance or not context.instance.run_monitoring_enabled:
        return nullcontext()
    return keep_beating(settings, context.run.run_id, find_step_key())


def build_engine_resource(overrides: Mapping[str, Any]) -> EngineResource:
    """The resource with ``overrides``: in its class, because Dagster copies a resource by its configuration alone."""
    fields = {"overrides": MappingProxyType(dict(overrides)), "__doc__": EngineResource.__doc__, "__module__": __name__}
    resource: EngineResource = type(EngineResource.__name__, (EngineResource,), fields)()
    return resource
