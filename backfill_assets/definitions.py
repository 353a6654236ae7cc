"""The entry point for Dagster: definitions built from the settings in the environment when they are loaded."""

import dagster as dg


@dg.definitions
def defs() -> dg.Definitions:
    """The definitions for the settings of this process."""
    from backfill_assets.config.settings import load_settings
    from backfill_assets.orchestration.build import build_definitions

    return build_definitions(load_settings())
