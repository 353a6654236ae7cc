"""A code server that finds the calendars on disk never imports their library, neither when it starts nor in a tick."""

import json
import os
import subprocess
import sys

from backfill_assets.config.settings import Settings, build_child_environment
from backfill_assets.orchestration.build import build_definitions

SCRIPT = """
import json, sys
import dagster as dg
from backfill_assets.backfill.job_request import open_engine
from backfill_assets.config.settings import load_settings
from backfill_assets.definitions import defs

repository = defs().get_repository_def()
skipped = {}
with dg.DagsterInstance.ephemeral() as instance, open_engine(load_settings()) as engine:
    for sensor in repository.sensor_defs:
        context = dg.build_sensor_context(
            instance=instance,
            repository_def=repository,
            sensor_name=sensor.name,
            resources={"backfill_engine": engine},
        )
        skipped[sensor.name] = sensor.evaluate_tick(context).skip_message
print(json.dumps({"ticks": skipped, "library": "exchange_calendars" in sys.modules}))
"""


def test_no_tick_builds_a_calendar(settings: Settings) -> None:
    several = settings.model_copy(update={"exchanges": ("US", "LSE", "AU")})
    build_definitions(several)  # writes the calendars that are not on disk yet
    child = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT],
        env={**os.environ, **build_child_environment(settings), "BACKFILL_EXCHANGES": json.dumps(several.exchanges)},
        capture_output=True,
        text=True,
    )
    assert child.returncode == 0, child.stderr
    said = json.loads(child.stdout.splitlines()[-1])
    assert said["ticks"].keys() >= {"gap_backfill_sensor", "gap_backfill_sensor_LSE", "complete_sessions_sensor_AU"}
    assert said["ticks"]["gap_backfill_sensor_AU"].startswith("no gap in 0 symbols ×")
    assert not said["library"]
