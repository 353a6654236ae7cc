"""The morning's reading of daily data, which bars are compared with: once for each settled session.

Up to a number of symbols one request for each, beyond it the market's file. On days without a file, such as Sundays,
symbols are requested that have bars of sessions whose files do not cover them, because they were added later. Nothing
is requested of an exchange whose daily data neither explain nor judge, and no actions where there are none. Whatever
comes first reads: a run, the morning's report, or the sensor that finds it due. What is absent is looked up in
``absence``, which also reads daily data; a row that it read when it was settled is not read again here.
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta
from typing import Any

from backfill_assets.backfill.absence.ended_overnight import look_up_renames
from backfill_assets.backfill.absence.market_file import fetch_market_file
from backfill_assets.backfill.actions.action_proof import prove_actions
from backfill_assets.backfill.actions.action_reading import create_action_readings
from backfill_assets.backfill.daily_requests import DailyRequests
from backfill_assets.backfill.decisions.inbox import refresh_inbox
from backfill_assets.backfill.due_work import build_retained_sessions_job
from backfill_assets.backfill.engine import BackfillJob, Engine
from backfill_assets.backfill.fetch.graceful_shutdown import run_with_graceful_shutdown
from backfill_assets.backfill.fetch.quota_sync import sync_quota
from backfill_assets.backfill.findings import record_bars_outside_listing
from backfill_assets.backfill.learning import compare_with_daily_data
from backfill_assets.backfill.optional_endpoints import DAILY_FILE
from backfill_assets.backfill.plausibility.judge import judge_job
from backfill_assets.backfill.unit_changes import find_changed_units
from backfill_assets.config.counts import format_count
from backfill_assets.market.calendar.intervals import DEFAULT_INTERVAL
from backfill_assets.market.calendar.sessions import Session
from backfill_assets.market.calendar.tickers import Symbol
from backfill_assets.market.calendar.windows import Window
from backfill_assets.market.daily_prices import SETTLED_AFTER
from backfill_assets.market.exchanges.profile import MarketProfile
from backfill_assets.market.purposes import Purpose
from backfill_assets.market.vendor import VendorClient
from backfill_assets.market.vendor_errors import VendorError
from backfill_assets.store.evidence.daily_reads import (
    count_daily_requests,
    find_read_files,
    read_file_days,
)
from backfill_assets.store.evidence.rows_to_read_again import find_first_days
from backfill_assets.store.evidence.unserved_symbols import list_unserved

RETRY_AFTER = timedelta(hours=20)  # a request that failed waits for the next morning
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DueReading:
    """What the morning's reading lacks.

    Attributes:
        job: over all active symbols and retained sessions of one exchange.
        settled: its sessions whose daily rows are settled.
        uses_file: whether the market's file is read instead of one request a symbol.
        file_session: whose file is due; None if none is.
        first_days: symbol_id → the oldest day to request, of symbols that are requested one by one.
        has_actions: whether corporate actions are due on a day without a file; on others they are read with the rows.
    """

    job: BackfillJob
    settled: tuple[Session, ...]
    uses_file: bool
    file_session: Session | None = None
    first_days: Mapping[int, date] = field(default_factory=dict)
    has_actions: bool = False

    def __bool__(self) -> bool:
        return self.file_session is not None or bool(self.first_days) or self.has_actions


@dataclass(frozen=True, slots=True)
class DailyReading:
    """What a reading did.

    Attributes:
        file_day: the day of the market's file that was requested.
        requested: how many symbols were requested one by one.
        failed: for how many of them there was no answer.
        splits_requested: how many symbols' splits were requested, one by one.
        splits_day: the newest day of the market's splits that were requested.
        dividends_requested: how many symbols' dividends were requested, one by one.
        dividends_day: the newest day of the market's dividends that were requested.
        closes_requested: how many symbols' daily closes were requested because a dividend or split needs them.
        renamed: the tickers that the vendor's list of renamed symbols has, of those whose daily data have ended.
        stopped: the error that ended the reading.
    """

    file_day: date | None = None
    requested: int = 0
    failed: int = 0
    splits_requested: int = 0
    splits_day: date | None = None
    dividends_requested: int = 0
    dividends_day: date | None = None
    closes_requested: int = 0
    renamed: tuple[str, ...] = ()
    stopped: VendorError | None = None

    def __bool__(self) -> bool:
        counts = (self.requested, self.splits_requested, self.dividends_requested, self.closes_requested)
        return any((*counts, self.file_day, self.splits_day, self.dividends_day, self.stopped))

    def as_dict(self) -> dict[str, Any]:
        """The reading as a JSON object."""
        days = {"file": self.file_day, "splits_file": self.splits_day, "dividends_file": self.dividends_day}
        return {
            "symbols": self.requested,
            "failed": self.failed,
            "splits": self.splits_requested,
            "dividends": self.dividends_requested,
            "closes": self.closes_requested,
            "renamed": list(self.renamed),
            **{name: day.isoformat() if day else None for name, day in days.items()},
            "stopped": str(self.stopped) if self.stopped else None,
        }

    def __str__(self) -> str:
        parts = []
        if self.file_day:
            parts.append(f"the market's file of {self.file_day}")
        if self.requested:
            failed = f" ({self.failed} without an answer)" if self.failed else ""
            parts.append(f"{format_count(self.requested, 'symbol')}{failed}")
        for name, requested, day in (
            ("splits", self.splits_requested, self.splits_day),
            ("dividends", self.dividends_requested, self.dividends_day),
        ):
            if requested:
                parts.append(f"{name} of {format_count(requested, 'symbol')}")
            if day:
                parts.append(f"the market's {name} of {day}")
        if self.closes_requested:
            parts.append(f"closes before dividends and splits of {format_count(self.closes_requested, 'symbol')}")
        if self.renamed:
            parts.append(f"renamed: {', '.join(self.renamed)}")
        if self.stopped:
            parts.append(f"stopped: {self.stopped}")
        return ", ".join(parts) or "nothing due"


def find_due_reading(engine: Engine, market: MarketProfile, *, symbols: tuple[Symbol, ...] | None = None) -> DueReading:
    """What the morning's reading lacks now; no vendor calls.

    Args:
        engine: the parts to work with.
        market: the exchange.
        symbols: of these only, and never the market's file; by default of every active symbol.

    Raises:
        TokenRefused: no token is set.
    """
    settings, job = engine.settings, build_retained_sessions_job(engine, market, DEFAULT_INTERVAL)
    now = settings.now()
    settled = tuple(s for s in job.window.sessions if s.close + SETTLED_AFTER <= now)
    uses_file = _uses_file(engine, market, len(job.symbols))
    due = DueReading(job, settled, uses_file)
    if not settings.daily_data or not settled or not market.uses_daily_data:
        return due
    file_session = _find_file_session(engine, settled, now) if uses_file and symbols is None else None
    if file_session is not None or (uses_file and _is_file_day(job.window.sessions, now)):
        return replace(due, file_session=file_session)
    reads_actions = uses_file and symbols is None and market.has_actions
    readings = create_action_readings(engine, job.symbols, settled, uses_file=uses_file) if reads_actions else ()
    has_actions = any(reading.has_due() for reading in readings)
    return replace(due, first_days=_find_first_days(engine, due, symbols or job.symbols), has_actions=has_actions)


def read_daily_data(
    engine: Engine,
    market: MarketProfile,
    *,
    symbols: tuple[Symbol, ...] | None = None,
    max_in_flight: int | None = None,
) -> DailyReading:
    """Read what is due, then the splits that its volumes need, and judge the bars by them; nothing if nothing is due.

    Errors are logged: comparing bars can wait a day.

    Args:
        engine: the parts to work with.
        market: the exchange.
        symbols: as for ``find_due_reading``.
        max_in_flight: at most this many requests at once; by default BACKFILL_IN_FLIGHT_MAX.

    Raises:
        TokenRefused: no token is set.
    """
    due = find_due_reading(engine, market, symbols=symbols)
    if not due:
        return DailyReading()
    in_flight = min(max_in_flight or engine.settings.in_flight_max, engine.settings.in_flight_max)
    reading = run_with_graceful_shutdown(_read(engine, due, in_flight), engine.settings.stop_seconds)
    compare_with_daily_data(engine, due.job)
    find_changed_units(engine, due.job)
    judge_job(engine, due.job)
    prove_actions(engine, due.job)
    record_bars_outside_listing(engine.database, engine.settings.now())
    refresh_inbox(engine.database, engine.settings.now())
    if reading.stopped:
        _log.warning("daily data are read another day: %s", reading.stopped)
    return reading


async def _read(engine: Engine, due: DueReading, in_flight: int) -> DailyReading:
    async with engine.open_vendor_client(Purpose.DAILY) as (rate_limiter, client):
        try:
            await sync_quota(client, rate_limiter.budget, engine.settings.now())
            reading = await _read_rows(engine, due, client, in_flight)
        except VendorError as error:
            return DailyReading(stopped=error)
        reading = await _look_up_renames(engine, due, client, reading)
        if reading.stopped or not due.job.market.has_actions:
            return reading
        splits, dividends = create_action_readings(engine, due.job.symbols, due.settled, uses_file=due.uses_file)
        stopped = await splits.read(client, in_flight) or await dividends.read(client, in_flight)
        return replace(
            reading,
            splits_requested=splits.requested,
            splits_day=max(splits.file_days, default=None),
            dividends_requested=dividends.requested,
            dividends_day=max(dividends.file_days, default=None),
            closes_requested=dividends.closes_requested,
            stopped=stopped,
        )


async def _read_rows(engine: Engine, due: DueReading, client: VendorClient, in_flight: int) -> DailyReading:
    if due.file_session is not None:
        session_job = replace(due.job, window=Window(due.file_session.market, (due.file_session,), ""))
        coverage = await asyncio.to_thread(engine.measure, session_job)
        max_age = coverage.now - (due.file_session.close + SETTLED_AFTER)
        is_requested = await fetch_market_file(client, engine.database, coverage, 0, max_age=max_age)
        return DailyReading(file_day=due.file_session.day if is_requested else None)
    requests = DailyRequests(engine, client, due.job, due.settled[-1])
    stopped = await requests.send(due.first_days, RETRY_AFTER, in_flight)
    return DailyReading(requested=requests.requested, failed=requests.failed, stopped=stopped)


async def _look_up_renames(
    engine: Engine, due: DueReading, client: VendorClient, reading: DailyReading
) -> DailyReading:
    if reading.stopped:
        return reading
    try:
        renamed = await look_up_renames(engine, client, due.job, due.settled)
    except VendorError as error:
        return replace(reading, stopped=error)
    return replace(reading, renamed=tuple(str(symbol.ticker) for symbol in renamed))


def _uses_file(engine: Engine, market: MarketProfile, symbol_count: int) -> bool:
    settings = engine.settings
    is_wanted = settings.bulk_daily and market.has_market_file and symbol_count >= settings.daily_file_symbols
    return is_wanted and engine.create_optional_endpoints().is_available(DAILY_FILE)


def _find_file_session(engine: Engine, settled: tuple[Session, ...], now: datetime) -> Session | None:
    """The newest session without its file; an older one, missed in an outage, on a day without another file."""
    with engine.database.transaction() as connection:
        read_days = find_read_files(connection, settled, now - RETRY_AFTER)
        first_day, read_today = read_file_days(connection, settled[-1].exchange, _find_midnight(now))
    unread = [s for s in settled if s.day not in read_days]
    if settled[-1] in unread:
        return settled[-1]
    missed = [s for s in unread if first_day is not None and s.day > first_day]
    return missed[-1] if missed and not read_today else None


def _is_file_day(sessions: tuple[Session, ...], now: datetime) -> bool:
    """Whether a session's daily rows settle today (UTC): its file takes the calls of the day."""
    return any((session.close + SETTLED_AFTER).date() == now.date() for session in sessions)


def _find_first_days(engine: Engine, due: DueReading, symbols: tuple[Symbol, ...]) -> dict[int, date]:
    """What to request; no more symbols a day than the market's file would cost, and than a file of today has left."""
    now, prices = engine.settings.now(), engine.prices
    today = _find_midnight(now)
    with engine.database.transaction() as connection:
        unserved = list_unserved(connection)
        ids = [symbol.symbol_id for symbol in symbols if symbol.symbol_id not in unserved]
        _, files_today = read_file_days(connection, due.settled[-1].exchange, today) if due.uses_file else (None, 0)
        own = ids if len(engine.settings.exchanges) > 1 else None  # each exchange has its own limit
        limit = (1 - files_today) * prices.bulk_daily // prices.daily - count_daily_requests(connection, today, own)
        if limit <= 0:
            return {}
        return find_first_days(connection, ids, due.settled, now - RETRY_AFTER, limit, with_rows=due.uses_file)


def _find_midnight(now: datetime) -> datetime:
    """The begin of the day (UTC)."""
    return datetime.combine(now.date(), time(), now.tzinfo)
