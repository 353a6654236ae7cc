"""What Dagster loads: the definitions, built from the environment's settings when Dagster asks for them."""

import dagster as dg

from backfill_assets.orchestration.building import build_definitions
from backfill_assets.settings import load_settings


@dg.definitions
def defs() -> dg.Definitions:
    """Everything, for the settings of this process."""
    return build_definitions(load_settings())
