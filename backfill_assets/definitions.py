"""What Dagster loads: the definitions, built from the environment's settings when Dagster asks for them."""

import gc

import dagster as dg


@dg.definitions
def defs() -> dg.Definitions:
    """Everything, for the settings of this process."""
    gc.freeze()  # what Dagster has loaded lives on: walking through it while ours is loaded costs 80 ms
    from backfill_assets.config.settings import load_settings
    from backfill_assets.orchestration.build import build_definitions

    return build_definitions(load_settings())
