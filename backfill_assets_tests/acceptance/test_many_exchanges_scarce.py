"""Exchanges that share too few calls: nobody's overdue session waits while another's history is filled."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from backfill_assets.backfill.due_work import find_due_work
from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.job_request import JobRequest, build_jobs
from backfill_assets.backfill.runner import run_backfill
from backfill_assets.market.gaps.slot_states import SlotState
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets_tests.acceptance.many_exchanges import ManyExchanges, build_sandbox_options, utc

pytestmark = [pytest.mark.no_cover, pytest.mark.long]

CODES, TICKERS = ("US", "LSE", "AU"), 4
ROUND_HOURS = (0.5, 8.1, 12, 19.6, 23.1)  # of a UTC day: when Sydney, London and New York can be asked for, and between
SPAN = timedelta(days=20)  # of one request about older sessions


def count_old_bars(engine: Engine, now: datetime) -> dict[str, int]:
    """How many bars are stored that no request about a recent session reads, by exchange."""
    with engine.database.transaction() as connection:
        found = connection.execute(
            "SELECT s.exchange, count(*) FROM market_data d JOIN market_symbols s USING (symbol_id)"
            " WHERE d.timestamp < %s GROUP BY 1",
            [now - SPAN - timedelta(days=10)],
        )
        return dict(found.fetchall())


def count_overdue(engine: Engine) -> dict[str, int]:
    """How many bars of the newest sessions are missing, by exchange."""
    jobs, _ = build_jobs(engine, JobRequest())
    return {job.market.exchange: engine.measure(job).count_slots(SlotState.MISSING) for job in jobs}


@pytest.mark.parametrize(("requests", "days"), [(14, 4), (8, 6)])
def test_history_waits_for_what_is_overdue(
    make_engine: Callable[..., Engine], start_sandbox: Callable[..., Sandbox], requests: int, days: int
) -> None:
    """The newest sessions need 12 requests a day. With 14 none is ever overdue; with 8 history has the weekend."""
    start = utc("2024-03-12 00:00")
    calls = 5 * requests + 4  # four for /eod
    sandbox = start_sandbox(now=start, daily=calls, **build_sandbox_options(CODES, TICKERS))
    settings = {"requests_per_minute": 100_000, "exchanges": CODES, "as_of": start, "collector_reserve": 0.0}
    exchanges = ManyExchanges(make_engine(sandbox, (), **settings, partition_days=3), sandbox, CODES)
    exchanges.add_tickers(TICKERS)
    for day in range(days):
        old_bars: dict[str, int] = {}
        for hour in ROUND_HOURS[int(day == 0) :]:
            now = start + timedelta(days=day, hours=hour)
            engine = exchanges.move_to(now)
            if day > 0:  # somebody wants more history
                longer = {"partition_days": 60, "max_span_days": SPAN.days}
                engine = replace(engine, settings=engine.settings.model_copy(update=longer))
            old_bars = old_bars or count_old_bars(engine, now)
            for code in CODES:
                due = find_due_work(engine, engine.settings.get_market(code), "30m")
                symbols = tuple(found.symbol for found in due.ranges)
                if symbols:
                    run_backfill(engine, replace(due.job, symbols=symbols), lambda _: None)
        grown = {code: count - old_bars.get(code, 0) for code, count in count_old_bars(engine, now).items()}
        overdue = count_overdue(exchanges.move_to(start + timedelta(days=day, hours=23.9)))
        assert not any(overdue.values()) or not any(grown.values()), (day, grown, overdue)
        assert requests < 12 or not any(overdue.values()), (day, overdue)
    assert any(grown.values())
