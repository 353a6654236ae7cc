"""What the vendor answers right now about one session of one ticker; stores nothing."""

import asyncio

import numpy as np
import pandas as pd

from backfill_assets.backfill.engine import Engine, Job
from backfill_assets.eodhd.parsing import IntradayRows
from backfill_assets.market.bars.bar_builder import BuiltBars, build_bars
from backfill_assets.market.bars.source_rows import CLOSING_SECONDS, COLUMNS
from backfill_assets.market.calendar.slots import slot_grid


def ask_now(engine: Engine, job: Job) -> BuiltBars:
    """Ask for the job's one symbol and one session (5 calls) and build its bars.

    Raises:
        VendorError: the vendor did not answer.
    """
    grid = slot_grid(job.window.sessions, job.interval)
    rows = asyncio.run(_rows(engine, job, int(grid.starts[0]), int(grid.ends[-1]) + CLOSING_SECONDS - 60))
    table = pd.DataFrame({name: getattr(rows, name) for name in COLUMNS[1:]})
    return build_bars(table.assign(ticker=np.int64(0)), grid, job.source)


async def _rows(engine: Engine, job: Job, start: int, end: int) -> IntradayRows:
    async with engine.asking() as (_, client):
        return await client.intraday(str(job.symbols[0].ticker), job.source.name, start, end)
