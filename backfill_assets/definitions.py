"""The entry points for Dagster: the definitions of the code location, and those for somebody's own project.

Nothing is read when this module is imported; settings and database are read when its functions are called.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from backfill_assets.config.garbage_collection import collect_less_often, exclude_loaded_objects


@dg.definitions
def defs() -> dg.Definitions:
    """The definitions of the code location ``backfill_assets``, for the settings of this process."""
    collect_less_often()
    exclude_loaded_objects()
    from backfill_assets.config.settings import load_settings
    from backfill_assets.orchestration.json_logs import configure_json_logs

    configure_json_logs(load_settings())
    executor = dg.Definitions(executor=dg.in_process_executor)  # a run has few steps, and a process takes 3 s to start
    return dg.Definitions.merge(_build({}, is_own_location=True), executor)


def build_backfill_definitions(
    *,
    exchanges: str | Sequence[str] | None = None,
    intervals: str | Sequence[str] | None = None,
    universes: str | Sequence[str] | None = None,
    **settings: Any,
) -> dg.Definitions:
    """All assets, checks, sensors, schedules and jobs, to be merged into a project with ``dg.Definitions.merge``.

    They have one resource, ``backfill_engine``, and neither an executor nor a logger. What is given here wins over the
    environment, in the code server and in each run.

    Args:
        exchanges: the vendor's codes, such as ``["US", "LSE"]``; None: BACKFILL_EXCHANGES, by default US.
        intervals: of the bars, such as ``["30m"]``; None: BACKFILL_INTERVALS.
        universes: names of universes whose complete sessions are an asset; None: BACKFILL_UNIVERSES.
        settings: any other setting of docs/configuration.md, by its variable or by its name in ``config.fields``, such
            as ``partition_days=30`` or ``owners=["team:data"]``.

    Raises:
        UsageError: an unknown exchange or setting, or an invalid value.
        DatabaseUnavailable: no database; the number of symbols decides how many days are partitions.
    """
    from backfill_assets.orchestration.project_settings import collect_overrides

    overrides = collect_overrides(exchanges, {"intervals": intervals, "universes": universes, **settings})
    return _build(overrides, is_own_location=False)


def _build(overrides: Mapping[str, Any], *, is_own_location: bool) -> dg.Definitions:
    from backfill_assets.config.settings import load_settings
    from backfill_assets.orchestration.build import build_definitions

    settings = load_settings(**overrides)
    renews = is_own_location if settings.renew_definitions is None else settings.renew_definitions
    return build_definitions(settings, overrides, renews=renews)
