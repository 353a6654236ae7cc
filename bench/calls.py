"""Calls by purpose: the real engine on the sandbox for a simulated week, scaled to a month of 30.4 days.

Every hour runs what the sensors would start: gaps that are due, and the morning's daily data; on Sunday the review. The
week is an ordinary one: the sessions before it are stored, and two in five symbols pay dividends. Both clocks are moved
by hand, so nothing depends on the machine's speed. Numbers of symbols that would take too long are computed from the
largest measured one: what is paid for each symbol grows with their number, the market's files do not.
"""

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from backfill_assets.backfill.daily_reading import read_daily_data
from backfill_assets.backfill.due_work import find_due_work
from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.job_request import JobRequest, build_job
from backfill_assets.backfill.review import run_review
from backfill_assets.backfill.runner import run_backfill
from backfill_assets.config.settings import load_settings
from backfill_assets.eodhd.pricing import CALL_PRICES
from backfill_assets.market.calendar.tickers import parse_tickers
from backfill_assets.market.exchanges.registry import US
from backfill_assets.market.purposes import Purpose
from backfill_assets.sandbox.actions import ActionRates
from backfill_assets.sandbox.config import DataQuirks, Publication, SandboxConfig
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.postgres.embedded import start_embedded_database
from backfill_assets.store.postgres.migrate import migrate
from backfill_assets.store.symbols import add_symbols
from bench.environment import TOKEN, build_symbols
from bench.figures import Figure, Section
from bench.request_lengths import build_length_figures

MEASURED, COMPUTED = (30, 50, 500), (5_000,)
BEGIN = datetime(2026, 6, 1, 0, 5, tzinfo=UTC)  # a Monday; the week has five sessions
WEEK = timedelta(days=7)
REVIEW_AT = datetime(2026, 6, 7, 16, 5, tzinfo=UTC)
DAYS_A_MONTH = 30.4
RETAINED_SESSIONS = 10
# From how many symbols on a purpose reads the market's files, what these cost a week, and what else it costs.
SESSIONS_A_WEEK = 5
MAX_FILE_CALLS_A_DAY = 100  # of daily data, and by default of each kind of action (BACKFILL_ACTION_CALLS)
MAX_CROSS_FEED_A_DAY = 500  # the default of BACKFILL_CROSS_FEED_CALLS, for a plan of 100,000 calls a day
_FILE_PURPOSES = {
    Purpose.DAILY: CALL_PRICES.bulk_daily,
    Purpose.SPLITS: CALL_PRICES.bulk_splits,
    Purpose.DIVIDENDS: CALL_PRICES.bulk_dividends,
}


def measure(*, quick: bool) -> Section:
    """Measure calls by purpose and month."""
    figures, weeks = list(build_length_figures()), {}
    for count in MEASURED[:1] if quick else MEASURED:
        weeks[count] = simulate_week(count)
        figures += build_figures(count, weeks[count])
    largest = max(weeks)
    for count in () if quick else COMPUTED:
        figures += build_figures(count, scale_week(weeks[largest], largest, count), computed=True)
    return Section(
        "Calls by purpose in a month",
        figures,
        (
            "`daily`: the morning's daily data and lookups of absence. `splits` and `dividends`: each symbol's list"
            " once a week, or from 501 symbols on the market's file of each session. `daily`, `splits` and `dividends`"
            " are at most 100 calls a day each, a new store's history included. `cross_feed`: bounded by its setting."
            " `review`: every symbol once a week. What one ticker costs that needs several requests includes its daily"
            " history, which is read before them for one call.",
        ),
    )


def build_figures(count: int, week: Mapping[str, float], *, computed: bool = False) -> list[Figure]:
    """One figure for each purpose."""
    title = f"{count:,} symbols{', computed' if computed else ''}"
    return [
        Figure(f"{title}: {purpose}", "calls", [round(calls * DAYS_A_MONTH / WEEK.days)])
        for purpose, calls in week.items()
        if calls
    ]


def simulate_week(count: int) -> dict[str, float]:
    """Let a week pass; returns the calls of each purpose."""
    config = SandboxConfig(
        symbols=count,
        now=BEGIN - WEEK,
        clock_rate=0,
        per_minute=10_000_000,
        daily=10_000_000,
        quirks=DataQuirks.build_realistic(),
        action_rates=ActionRates.build_realistic(),
        publication=Publication(hours_after_close=(3.0, 9.0), ticker_delay_minutes=20),
    )
    with tempfile.TemporaryDirectory(prefix="backfill-bench-", ignore_cleanup_errors=True) as folder:
        database = Database(start_embedded_database(Path(folder), "calls"))
        migrate(database)
        with database.transaction() as connection:
            add_symbols(connection, parse_tickers(build_symbols(count)))
        with Sandbox(config) as sandbox:
            settings = load_settings(
                token=TOKEN,
                base_url=sandbox.base_url,
                requests_per_minute=100_000,
                partition_days=RETAINED_SESSIONS,
            )
            engine = Engine(database, settings)
            _prepare(engine, sandbox)
            before = read_calls(database)
            now = BEGIN
            while now < BEGIN + WEEK:
                _run_hour(_move_to(engine, sandbox, now))
                if now == REVIEW_AT:
                    _review(_move_to(engine, sandbox, now))
                now += timedelta(hours=1)
            after = read_calls(database)
        database.close()
    return {purpose: calls - before.get(purpose, 0) for purpose, calls in after.items() if purpose != Purpose.ACCOUNT}


def _prepare(engine: Engine, sandbox: Sandbox) -> None:
    """Store what there is before the week: bars, and what the mornings of the week before read."""
    for days in range(WEEK.days, 0, -1):
        read_daily_data(_move_to(engine, sandbox, BEGIN - timedelta(days=days) + timedelta(hours=12)), US)
    _run_hour(_move_to(engine, sandbox, BEGIN - timedelta(hours=1)))


def read_calls(database: Database) -> dict[str, int]:
    """The calls of each purpose so far."""
    with database.transaction() as connection:
        rows = connection.execute(
            "SELECT purpose, sum(calls)::bigint FROM backfill.ledger_by_purpose GROUP BY 1 ORDER BY 1"
        ).fetchall()
    return {str(purpose): int(calls) for purpose, calls in rows}


def scale_week(week: Mapping[str, float], measured: int, count: int) -> dict[str, float]:
    """A week of more symbols: five files of the market, and the rest in proportion to the symbols."""
    files = {purpose: SESSIONS_A_WEEK * calls for purpose, calls in _FILE_PURPOSES.items()}
    scaled = {}
    for purpose, calls in week.items():
        fixed = files.get(Purpose(purpose), 0)
        scaled[purpose] = fixed + max(0.0, calls - fixed) * count / measured
        if purpose in _FILE_PURPOSES:  # what a file leaves over of its price is spent on single symbols
            scaled[purpose] = min(scaled[purpose], MAX_FILE_CALLS_A_DAY * WEEK.days)
        if purpose == Purpose.CROSS_FEED:
            scaled[purpose] = min(scaled[purpose], MAX_CROSS_FEED_A_DAY * WEEK.days)
    return scaled


def _move_to(engine: Engine, sandbox: Sandbox, now: datetime) -> Engine:
    sandbox.move_clock(now)
    return replace(engine, settings=engine.settings.model_copy(update={"as_of": now}))


def _run_hour(engine: Engine) -> None:
    due = find_due_work(engine, US, "30m")
    if due.ranges:
        run_backfill(engine, replace(due.job, symbols=tuple(r.symbol for r in due.ranges)), lambda _: None)
    read_daily_data(engine, US)


def _review(engine: Engine) -> None:
    run_review(engine, build_job(engine, JobRequest())[0], lambda _: None)
