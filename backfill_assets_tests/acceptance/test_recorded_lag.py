"""A recorded lag of publication: 29 of 50 tickers by 02:00 in New York, the rest from 12:00 to 15:00 of the next day.

Runs are hourly, as they were; nothing is known of former sessions.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.job_request import JobRequest, build_job
from backfill_assets.backfill.runner import run_backfill
from backfill_assets.market.calendar.sessions import list_sessions
from backfill_assets.market.exchanges.registry import US
from backfill_assets.market.purposes import Purpose
from backfill_assets.sandbox.config import Publication, SandboxConfig
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.sandbox.world.publication import PublicationSchedule
from backfill_assets.sandbox.world.session_index import SessionIndex
from bench.environment import build_symbols

pytestmark = pytest.mark.no_cover

TUESDAY = date(2026, 6, 2)
CLOSE = datetime(2026, 6, 2, 20, 0, tzinfo=UTC)  # 16:00 in New York
BY_NIGHT, NEXT_NOON = (9.0, 10.0), (20.0, 23.0)  # hours after the close
PUBLICATION = Publication(draw_per_ticker=True, scattered=((0.58, BY_NIGHT), (0.42, NEXT_NOON)))
SEED = 16  # of a draw with 29 and 21 tickers


def test_the_recorded_tail_is_stored_within_three_hours(
    start_sandbox: Callable[..., Sandbox], make_engine: Callable[..., Engine]
) -> None:
    names = build_symbols(50)
    options: dict[str, Any] = {"symbols": 50, "publication": PUBLICATION, "seed": SEED, "per_minute": 100_000}
    (session,) = list_sessions(US, TUESDAY, TUESDAY)
    schedule = PublicationSchedule(SandboxConfig(**options), SessionIndex(date(2026, 5, 1)))
    published = {name: schedule.get_times(name, name, session, "5m").first_at for name in names}
    hours = (np.array(list(published.values())) - CLOSE.timestamp()) / 3600
    assert ((hours <= 10).sum(), ((hours >= 20) & (hours <= 23)).sum()) == (29, 21)
    sandbox = start_sandbox(now=CLOSE, **options)
    engine = make_engine(sandbox, tuple(names), requests_per_minute=100_000)
    for hour in range(3, 27):
        now = CLOSE + timedelta(hours=hour)
        sandbox.move_clock(now)
        engine_now = replace(engine, settings=engine.settings.model_copy(update={"as_of": now}))
        job, _ = build_job(engine_now, JobRequest(start=TUESDAY, end=TUESDAY))
        run_backfill(engine_now, job, lambda _: None)
    with engine.database.transaction() as connection:
        seen = connection.execute(
            "SELECT symbol, extract(epoch FROM published_at)::float8 FROM backfill.session_evidence"
            " JOIN market_symbols USING (symbol_id) WHERE is_published AND session_day = %s",
            [TUESDAY],
        ).fetchall()
        purposes = {purpose for (purpose,) in connection.execute("SELECT DISTINCT purpose FROM backfill.requests")}
    assert len(seen) == len(names)
    assert max((at - published[symbol]) / 3600 for symbol, at in seen) <= 3
    assert Purpose.CROSS_FEED not in purposes  # what is only late is not asked of the other feed
    assert sandbox.stats()["calls"] <= 450  # one request of each costs 250
