"""One look of the sensor, without Dagster around it: what there is to heal in all sessions that are kept."""

from backfill_assets.backfill.due_work import look_ahead
from backfill_assets.backfill.job_request import opened_engine
from backfill_assets.config.settings import load_settings

with opened_engine(load_settings()) as engine:
    outlook = look_ahead(engine, "30m")
print(f"{len(outlook.spans)} tickers to be asked over {len(outlook.job.window.sessions)} sessions")
