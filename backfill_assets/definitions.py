"""What Dagster loads: the definitions, built from the environment's settings when Dagster asks for them."""

import gc

import dagster as dg


@dg.definitions
def defs() -> dg.Definitions:
    """Everything, for the settings of this process."""
    gc.freeze()  # what Dagster has loaded lives on: walking through it while ours is loaded costs 80 ms
    from backfill_assets.orchestration.building import build_definitions
    from backfill_assets.settings import load_settings

    return build_definitions(load_settings())
