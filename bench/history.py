"""A month in which six years of 30 tickers are filled with the calls that are left over (``python -m bench history``).

The same of 8 tickers from 1m rows, which take 19 requests where those of 5m take 4.

A token has 3,000 calls a day. Other programs spend most of them; open sessions, reviews and the reserve come before the
history. Walks meet faults, two are killed, and for two days the vendor refuses the token. The same
month without a history, and without its faults, says when open sessions are stored. Both clocks are moved by hand.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from pydantic import SecretStr

from backfill_assets.backfill.due_work import find_due_work
from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.history.estimate import HistoryEstimate, estimate_history
from backfill_assets.backfill.history.frontier import read_histories
from backfill_assets.backfill.history.spending import COMPLETE, walk_history
from backfill_assets.backfill.job_request import JobRequest, build_job
from backfill_assets.backfill.review import run_review
from backfill_assets.backfill.runner import run_backfill
from backfill_assets.config.settings import Settings, build_child_environment, load_settings
from backfill_assets.market.calendar.tickers import parse_tickers
from backfill_assets.market.exchanges.registry import US
from backfill_assets.sandbox.config import Publication, SandboxConfig
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.postgres.embedded import start_embedded_database
from backfill_assets.store.postgres.migrate import migrate
from backfill_assets.store.symbols import add_symbols
from bench.environment import TOKEN, build_symbols
from bench.figures import Figure, Section

TICKERS, DAILY_CALLS = 30, 3000
TICKERS_OF_1M, DAYS_OF_1M = 8, 10
FROM, BEGIN = date(2020, 10, 12), datetime(2026, 10, 4, 12, tzinfo=UTC)  # a Sunday
HOURS = (0, 2, 5)  # UTC, of ticks: sessions are published three to seven hours after the close
OTHERS, OTHERS_ON_SUNDAY = 1900, 1600  # calls that other programs spend at the beginning of a UTC day
REFUSED = (date(2026, 10, 8), date(2026, 10, 9))  # UTC days
KILLED = (date(2026, 10, 6), date(2026, 10, 10))
LISTED = (*("2021-06-01", "2022-03-15", "2023-05-02", "2024-01-02", "2024-08-05"), *("2025-02-03", "2025-09-02"))
FAULTS = {"status_502": 0.03, "status_429": 0.01, "cut_body": 0.03}
SETTINGS: dict[str, Any] = {
    "daily_calls": DAILY_CALLS,
    "partition_days": 5,
    "requests_per_minute": 100_000,
    "backoff_seconds": (0.0, 0.0),
    "daily_data": False,
    "cross_feed_calls": 0,
}
_LOG = """
SELECT count(*) FILTER (WHERE error = '' OR error IS NULL), count(*) FILTER (WHERE error <> '' AND calls > 0),
       coalesce(sum(calls), 0)
FROM backfill.requests WHERE purpose = 'history' AND endpoint = '/intraday'
"""
# Waiting times after failures go by the server's clock, which stands still between two ticks.
_AGE_RECORDS = """
WITH runs AS (
    UPDATE backfill.runs SET started_at = started_at - interval '1 h', finished_at = finished_at - interval '1 h'
    WHERE finished_at IS NOT NULL
)
UPDATE backfill.requests SET at = at - interval '1 h'
"""
_SEEN = """
SELECT symbol, session_day, published_at FROM backfill.session_evidence JOIN market_symbols USING (symbol_id)
WHERE is_published AND session_day >= %s
"""


@dataclass
class Month:
    """What came of a simulated month.

    Attributes:
        lower_bound: the fewest intraday requests that six years take, by the listings as they are.
        first: the estimate before anything was spent.
        estimates: by UTC day, the first one of the day.
        ends: why each walk ended.
        done_on: the UTC day on which the history was complete.
        answered: intraday requests of the history with an answer, as the log has them.
        billed_faults: those that failed and were billed.
        calls: what both cost.
        lost_calls: those that the ledger has beyond: in flight when a walk was killed.
        unaccounted: calls that the vendor billed, less those of the ledger and of the other programs.
        seen_at: (ticker, session) → when it was first seen published.
        missing: bars that are absent in the end.
    """

    lower_bound: int = 0
    first: HistoryEstimate | None = None
    estimates: dict[date, HistoryEstimate] = field(default_factory=dict)
    ends: dict[datetime, str] = field(default_factory=dict)
    done_on: date | None = None
    answered: int = 0
    billed_faults: int = 0
    calls: int = 0
    lost_calls: int = 0
    unaccounted: int = 0
    seen_at: Mapping[tuple[str, date], datetime] = field(default_factory=dict)
    missing: int = 0


def measure(*, quick: bool) -> Section:  # noqa: ARG001 - has only one size
    """Measure the month with and without a history."""
    with tempfile.TemporaryDirectory(prefix="backfill-bench-", ignore_cleanup_errors=True) as folder:
        databases = [_create(folder, name) for name in ("history", "control", "history_1m", "control_1m")]
        with_history = simulate_month(databases[0], days=30)
        without = simulate_month(databases[1], days=30, has_history=False)
        minutes: dict[str, Any] = {"days": DAYS_OF_1M, "tickers": TICKERS_OF_1M, "source": "1m"}
        with_history_1m = simulate_month(databases[2], **minutes)
        without_1m = simulate_month(databases[3], **minutes, has_history=False)
    figures = [*_describe(with_history, without), *_describe(with_history_1m, without_1m, f"{TICKERS_OF_1M} of 1m: ")]
    return Section(f"A simulated month: {TICKERS} tickers, six years, {DAILY_CALLS:,} calls a day", figures)


def _create(folder: str, name: str) -> Database:
    database = Database(start_embedded_database(Path(folder), name))
    migrate(database)
    return database


def _describe(month: Month, without: Month, what: str = "") -> Iterator[Figure]:
    assert month.done_on is not None, month.ends
    errors = [abs((month.done_on - predicted).days) for predicted in list_predictions(month)]
    ratio = month.answered / month.lower_bound
    yield Figure(f"{what}answered requests relative to the lower bound", "×", [ratio], at_most=1.0)
    yield Figure("… the lower bound", "requests", [month.lower_bound])
    yield Figure("… billed faults beside them", "requests", [month.billed_faults])
    yield Figure("… billed, and lost with killed walks", "requests", [month.lost_calls / 5])
    yield Figure(f"{what}days until it was complete", "days", [(month.done_on - BEGIN.date()).days])
    yield Figure("… the predicted day was wrong by", "days", errors, at_most=1)
    later = len(list_later(month, without))
    yield Figure(f"{what}sessions seen later than without a history", "sessions", [later], at_most=0)
    yield Figure("… bars that are missing in the end", "bars", [month.missing], at_most=0)


def list_predictions(month: Month) -> list[date]:
    """The predicted days: those of days that rest on past days, without the two that nobody could foresee before."""
    found = []
    for day, estimate in month.estimates.items():
        if estimate.done_on is not None and estimate.days_known:
            lost = sum(refused >= day for refused in REFUSED)
            found.append(estimate.done_on + timedelta(days=lost))
    return found


def list_later(month: Month, without: Month) -> list[tuple[str, date]]:
    """The sessions that were seen later with a history, or not at all."""
    never = datetime.max.replace(tzinfo=UTC)
    return [key for key, at in without.seen_at.items() if month.seen_at.get(key, never) > at]


def simulate_month(
    database: Database,
    *,
    days: int,
    has_history: bool = True,
    tickers: int = TICKERS,
    source: str = "5m",
) -> Month:
    """Simulate so many days from ``BEGIN`` on, in a database without symbols.

    Args:
        database: an empty one.
        days: how many.
        has_history: whether a history is wanted.
        tickers: how many, the last of them listed later.
        source: the vendor interval that bars are built from.
    """
    symbols = build_symbols(tickers)
    listed = dict(zip(symbols[-len(LISTED) :], map(date.fromisoformat, LISTED), strict=True))
    config = SandboxConfig(
        symbols=tickers,
        now=BEGIN,
        clock_rate=0.0,
        per_minute=100_000,
        daily=DAILY_CALLS,
        tokens=frozenset({TOKEN}),
        listed=listed,
        publication=Publication((3.0, 6.0), 45.0, draw_per_ticker=True),
    )
    with database.transaction() as connection:
        add_symbols(connection, parse_tickers(symbols))
    with Sandbox(config) as sandbox:
        chosen = {"history_from": FROM, **SETTINGS} if has_history else SETTINGS
        settings = load_settings(
            database_url=SecretStr(database.url),
            token=SecretStr(TOKEN),
            base_url=sandbox.base_url,
            as_of=BEGIN,
            source_interval=source,
            **chosen,
        )
        simulation = _Simulation(Engine(database, settings), sandbox, listed)
        simulation.go(days)
        return simulation.month


class _Simulation:
    """One month; call ``go`` once."""

    def __init__(self, engine: Engine, sandbox: Sandbox, listed: Mapping[str, date]) -> None:
        self._engine, self._sandbox, self._listed = engine, sandbox, listed
        self._others = 0
        self.month = Month()

    def go(self, days: int) -> None:
        """Let the days pass."""
        engine = self._move(BEGIN)
        self._spend(engine, OTHERS_ON_SUNDAY)
        self._fill_gaps(engine)
        run_review(engine, build_job(engine, JobRequest())[0], lambda _: None)
        self.month.lower_bound = sum(
            history.count_requests(
                replace(one, first=max(one.goal, self._listed.get(one.symbol.ticker.symbol, one.goal)))
            )
            for history in read_histories(engine)
            for one in history.symbols
        )
        self.month.first = estimate_history(engine)
        for now in _list_ticks(days):
            self._tick(self._move(now), now)
        self._count()

    def _move(self, now: datetime) -> Engine:
        self._sandbox.move_clock(now)
        settings = self._engine.settings
        token = "refused" if now.date() in REFUSED else TOKEN
        return replace(self._engine, settings=settings.model_copy(update={"as_of": now, "token": SecretStr(token)}))

    def _tick(self, engine: Engine, now: datetime) -> None:
        """What the sensors and schedules do: gaps first, the history afterwards."""
        with engine.database.transaction() as connection:
            connection.execute(_AGE_RECORDS)
        self._spend(engine, OTHERS if now.hour == HOURS[0] else 0)
        self._fill_gaps(engine)
        if now.hour == HOURS[-1] and now.weekday() == 6 and now.date() not in REFUSED:
            run_review(engine, build_job(engine, JobRequest())[0], lambda _: None)
        if engine.settings.history_from is None or self.month.done_on is not None:
            return
        if now.hour == HOURS[1]:
            estimate = estimate_history(engine)
            assert estimate is not None
            self.month.estimates[now.date()] = estimate
        self._sandbox.set_faults(**FAULTS)  # in walks alone: open sessions meet the same vendor in both months
        if now.date() in KILLED and now.hour == HOURS[0]:
            self._walk_and_be_killed(engine.settings)
        ended = walk_history(engine, lambda _: None)
        self.month.ends[now] = ended.describe_end()
        self._sandbox.set_faults(**dict.fromkeys(FAULTS, 0.0))
        if ended.describe_end() == COMPLETE:
            self.month.done_on = now.date()

    def _fill_gaps(self, engine: Engine) -> None:
        due = find_due_work(engine, US, "30m")
        if due.ranges:
            symbols = tuple(one.symbol for one in due.ranges)
            run_backfill(engine, replace(due.job, symbols=symbols), lambda _: None)

    def _walk_and_be_killed(self, settings: Settings) -> None:
        """Start a walk in a process of its own, and kill it once two requests were billed."""
        before = self._sandbox.stats()["calls"]
        process = subprocess.Popen(
            [sys.executable, "-m", "backfill_assets", "history", "start", "--quiet"],
            env={**os.environ, **build_child_environment(settings)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while process.poll() is None and self._sandbox.stats()["calls"] < before + 10:
            time.sleep(0.01)
        process.kill()
        process.wait()

    def _spend(self, engine: Engine, calls: int) -> None:
        """Let other programs spend calls of the token."""
        day = engine.settings.now()
        with httpx.Client(base_url=self._sandbox.base_url, timeout=60) as client:
            for _ in range(calls // 100):
                values = {"api_token": TOKEN, "fmt": "json", "date": f"{day:%Y-%m-%d}"}
                client.get("/eod-bulk-last-day/US", params=values).raise_for_status()
                self._others += 100

    def _count(self) -> None:
        month = self.month
        with self._engine.database.transaction() as connection:
            month.answered, month.billed_faults, month.calls = connection.execute(_LOG).fetchone() or (0, 0, 0)
            (ledger,) = connection.execute("SELECT coalesce(sum(calls), 0) FROM backfill.ledger").fetchone() or (0,)
            (logged,) = connection.execute("SELECT coalesce(sum(calls), 0) FROM backfill.requests").fetchone() or (0,)
            found = connection.execute(_SEEN, [BEGIN.date()]).fetchall()
        month.lost_calls = ledger - logged
        month.unaccounted = self._sandbox.stats()["calls"] - self._others - ledger
        month.seen_at = {(symbol, day): at for symbol, day, at in found}
        engine = self._move(BEGIN)
        job = [
            history.build_job([one.symbol for one in history.symbols], history.sessions)
            for history in read_histories(engine)
        ]
        month.missing = sum(int(engine.measure(one).missing.sum()) for one in job)


def _list_ticks(days: int) -> Iterator[datetime]:
    monday = BEGIN.replace(hour=0) + timedelta(days=1)
    for day in range(days):
        for hour in HOURS:
            yield monday + timedelta(days=day, hours=hour)
