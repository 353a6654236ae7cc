"""One look of the sensor, without Dagster around it: what there is to heal in all sessions that are kept."""

from backfill_assets.backfill.due_work import find_due_work
from backfill_assets.backfill.job_request import open_engine
from backfill_assets.config.settings import load_settings

with open_engine(load_settings()) as engine:
    outlook = find_due_work(engine, "30m")
print(f"{len(outlook.ranges)} tickers to be asked over {len(outlook.job.window.sessions)} sessions")
