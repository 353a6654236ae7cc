"""One evaluation of the gap sensor without Dagster: finds the work due in all retained sessions."""

from backfill_assets.backfill.due_work import find_due_work
from backfill_assets.backfill.job_request import open_engine
from backfill_assets.config.settings import load_settings
from backfill_assets.market.exchanges.registry import US

with open_engine(load_settings()) as engine:
    due_work = find_due_work(engine, US, "30m")
print(f"{len(due_work.ranges)} tickers to request over {len(due_work.job.window.sessions)} sessions")
