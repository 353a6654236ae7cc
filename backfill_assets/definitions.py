"""The entry point for Dagster: definitions built from the settings in the environment when they are loaded."""

import dagster as dg

from backfill_assets.config.garbage_collection import exclude_loaded_objects


@dg.definitions
def defs() -> dg.Definitions:
    """The definitions for the settings of this process."""
    exclude_loaded_objects()
    from backfill_assets.config.settings import load_settings
    from backfill_assets.orchestration.build import build_definitions

    return build_definitions(load_settings())
