"""One UTC day of 40 symbols on the sandbox: hourly runs of what is due, the morning's daily file, and the review.

Nothing here is random or depends on the machine's speed: the sandbox is seeded, and both clocks are moved by hand.
Used by ``test_calls_of_a_day`` with the current code and by ``database_0009/record.py`` with the code of commit
65d0aca, so it may only use what both have.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from backfill_assets.backfill.due_work import build_retained_sessions_job, find_due_work
from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.job_request import JobRequest, build_job
from backfill_assets.backfill.review import run_review
from backfill_assets.backfill.runner import run_backfill
from backfill_assets.market.exchanges.registry import US
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.sandbox.config import DataQuirks, Publication, SandboxConfig
from backfill_assets.sandbox.server.serve import Sandbox

TUESDAY = date(2026, 6, 2)
RECORDED_AT = datetime(2026, 6, 2, 23, 30, tzinfo=UTC)  # the history ends on Tuesday evening in New York
DAY_BEGINS = datetime(2026, 6, 3, 0, 5, tzinfo=UTC)
MORNING, REVIEW_AT = (datetime(2026, 6, 3, hour, 15, tzinfo=UTC) for hour in (12, 16))
RETAINED_SESSIONS = 10
SYMBOL_COUNT = 40
SETTINGS: dict[str, Any] = {"partition_days": RETAINED_SESSIONS, "requests_per_minute": 100_000}


def build_sandbox_config(symbols: tuple[str, ...], now: datetime) -> SandboxConfig:
    """A vendor with the usual irregularities, and one symbol of each kind that costs further calls."""
    late, never, ended, renamed, thin = symbols[-5:]
    return SandboxConfig(
        symbols=SYMBOL_COUNT,
        now=now,
        clock_rate=0.0,
        per_minute=100_000,
        quirks=DataQuirks.build_realistic(),
        publication=Publication(
            hours_after_close=(3.0, 9.0),
            draw_per_ticker=True,
            sessions_late={late: 1},
            never_published=frozenset({(never, TUESDAY)}),
        ),
        delisted={ended: date(2026, 5, 28)},
        renamed={renamed: ("NEWNAME", date(2026, 5, 29))},
        thin=frozenset({thin}),
    )


def run_history(engine: Engine, sandbox: Sandbox) -> None:
    """Fill the store as it was on Tuesday evening: two runs, the second after the close."""
    for now in (RECORDED_AT - timedelta(hours=12), RECORDED_AT):
        _run_due(_move_to(engine, sandbox, now))


def run_day(engine: Engine, sandbox: Sandbox, read_daily_data: Callable[[Engine, Coverage], object]) -> Iterator[str]:
    """Let the day pass; yields the purpose of the calls spent since the last yield: gap, daily or review.

    ``read_daily_data`` is what the morning's report does first; it is another one in each of the two commits.
    """
    for hour in range(24):
        now = DAY_BEGINS + timedelta(hours=hour)
        _run_due(_move_to(engine, sandbox, now))
        yield "gap"
        if now <= MORNING < now + timedelta(hours=1):
            engine_now = _move_to(engine, sandbox, MORNING)
            read_daily_data(engine_now, engine_now.measure(build_retained_sessions_job(engine_now, US, "30m")))
            yield "daily"
        if now <= REVIEW_AT < now + timedelta(hours=1):
            engine_now = _move_to(engine, sandbox, REVIEW_AT)
            run_review(engine_now, build_job(engine_now, JobRequest())[0], lambda _: None)
            yield "review"


def _move_to(engine: Engine, sandbox: Sandbox, now: datetime) -> Engine:
    sandbox.move_clock(now)
    return replace(engine, settings=engine.settings.model_copy(update={"as_of": now}))


def _run_due(engine: Engine) -> None:
    """Run what the sensor would start a run for."""
    due = find_due_work(engine, US, "30m")
    if due.ranges:
        run_backfill(engine, replace(due.job, symbols=tuple(r.symbol for r in due.ranges)), lambda _: None)
