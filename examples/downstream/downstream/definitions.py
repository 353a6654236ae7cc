"""The code location: the assets, the bars they read, and the sensor that starts them."""

import dagster as dg

from backfill_assets.reading.dagster import BarsResource
from downstream.assets import features, volume_profile

defs = dg.Definitions(
    assets=[volume_profile, features],
    # A certificate also covers slots that are explained, so that is what is read. The database can be named here, too:
    # database_url=dg.EnvVar("BARS_DATABASE_URL"); else DATABASE_URL names it.
    resources={"bars": BarsResource(universe="all", exchange="US", require="explained")},
    # Dagster makes such a sensor by itself, but leaves it stopped until somebody starts it in the UI.
    sensors=[
        dg.AutomationConditionSensorDefinition(
            "run_on_complete_sessions", target="*", default_status=dg.DefaultSensorStatus.RUNNING
        )
    ],
)
