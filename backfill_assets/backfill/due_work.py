"""Finds the work that is due now, over all retained sessions that are healed; the sensor starts runs for it.

A run plans again when it starts, since the state may have changed by then.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from backfill_assets.backfill.engine import BackfillJob, Engine
from backfill_assets.backfill.failed_requests import MAX_BACKOFF, read_failing_tickers
from backfill_assets.backfill.planner import PlannedRequest
from backfill_assets.backfill.probing import SECONDS_BETWEEN_ROUNDS, is_probe_due, split_requests
from backfill_assets.backfill.scarce_requests import hold_back
from backfill_assets.backfill.skip_reasons import HELD_BACK
from backfill_assets.config.counts import format_count
from backfill_assets.market.calendar.intervals import Interval, parse_interval
from backfill_assets.market.calendar.tickers import Symbol
from backfill_assets.market.calendar.windows import (
    Window,
    build_session_window,
    count_healed_sessions,
    limit_partition_sessions,
)
from backfill_assets.market.exchanges.profile import MarketProfile
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.market.vendor_errors import SpendingPaused
from backfill_assets.store.bars.interval_spellings import adopt_spellings
from backfill_assets.store.job_universe import JobUniverse, read_job_universe
from backfill_assets.store.quota.spending_pause import read_pause
from backfill_assets.store.runs import count_failed_runs


@dataclass(frozen=True, slots=True)
class DueRange:
    """A symbol to request, and the first and last session (positions in the window) with a gap of it."""

    symbol: Symbol
    first_session: int
    last_session: int


@dataclass(frozen=True, eq=False)
class DueWork:
    """What a run would request.

    Attributes:
        job: over all retained sessions; ``first_session`` and ``last_session`` of a range index its window.
        coverage: the state of every slot of the job.
        ranges: the symbols to request.
        reason: why there are none; empty if there are some.
    """

    job: BackfillJob
    coverage: Coverage
    ranges: tuple[DueRange, ...]
    reason: str


def build_retained_sessions_job(engine: Engine, market: MarketProfile, interval_name: str) -> BackfillJob:
    """The job over all sessions that are partitions, of the active symbols and of those that ended in these."""
    settings = engine.settings
    with engine.database.transaction() as connection:
        (interval,) = adopt_spellings(connection, [parse_interval(interval_name)])
        universe = read_job_universe(connection, market.exchange, settings.as_of)
    session_count = limit_partition_sessions(settings.partition_days, len(universe.active))
    return _build_job(engine, universe, interval, build_session_window(market, settings.now(), session_count))


def build_watched_partitions_job(engine: Engine, market: MarketProfile, interval_name: str) -> BackfillJob:
    """The same over those of the sessions that are healed: all, unless BACKFILL_HEAL_SESSIONS says fewer."""
    job = build_retained_sessions_job(engine, market, interval_name)
    count = count_healed_sessions(engine.settings.heal_sessions, len(job.window.sessions))
    if count >= len(job.window.sessions):
        return job
    with engine.database.transaction() as connection:
        universe = read_job_universe(connection, market.exchange, engine.settings.as_of)
    window = build_session_window(market, engine.settings.now(), count)
    return _build_job(engine, universe, job.interval, window)


def _build_job(engine: Engine, universe: JobUniverse, interval: Interval, window: Window) -> BackfillJob:
    return BackfillJob(
        window=window,
        symbols=universe.list_since(window.sessions[0].day if window.sessions else None),
        interval=interval,
        source_interval=engine.settings.choose_source(window.market, interval),
        universe_note=universe.note,
    )


def find_due_work(engine: Engine, market: MarketProfile, interval_name: str) -> DueWork:
    """Measure the store and plan what a run would request; no vendor calls.

    Raises:
        TokenRefused: no token is set.
    """
    return find_due_work_of_job(engine, build_watched_partitions_job(engine, market, interval_name))


def find_due_work_of_job(engine: Engine, job: BackfillJob) -> DueWork:
    """The same of the symbols and sessions of a job.

    Raises:
        TokenRefused: no token is set.
    """
    coverage = engine.measure(job)
    requests, reason = _select_requests(engine, job, coverage)
    return DueWork(job, coverage, tuple(_build_due_ranges(coverage, requests)), reason)


def _select_requests(engine: Engine, job: BackfillJob, coverage: Coverage) -> tuple[list[PlannedRequest], str]:
    if not coverage.slot_states.due.any():
        return [], _explain_nothing_due(coverage)
    if reason := explain_standstill(engine):
        return [], reason
    plan = hold_back(engine, job, coverage, engine.plan(job, coverage))
    if plan.held_back and not plan.requests:
        return [], f"{format_count(len(plan.held_back), 'symbol waits', 'symbols wait')}: {HELD_BACK}"
    if not plan.requests and coverage.request_history.probe_row is not None and plan.deferred_until:
        resumes = _format_time(min(plan.deferred_until.values()))
        return [], f"every symbol waits for its turn, or for the retry schedule; the first is due at {resumes}"
    certain, tentative = split_requests(plan.requests, coverage)
    requests = [*certain, *(tentative if is_probe_due(coverage) else [])]
    if tentative and not requests:
        waiting = format_count(len(tentative), "symbol waits", "symbols wait")
        return [], f"{waiting} for the next probe; no publication seen yet"
    with engine.database.transaction() as connection:
        failing_names = read_failing_tickers(connection, engine.vendor_access).keys()
    selected = [request for request in requests if str(request.tickers[0]) not in failing_names]
    if selected and coverage.grid.is_around_the_clock and not _is_round_due(coverage, selected):
        waiting = format_count(len(selected), "symbol waits", "symbols wait")
        return [], f"{waiting} for the next round; there is one every half hour"
    return (
        selected,
        "" if selected else f"requests for {format_count(len(failing_names), 'symbol')} failed recently; backing off",
    )


def explain_standstill(engine: Engine) -> str:
    """Why nothing may be requested now, whatever is due: a pause, failed runs, the day's calls; empty if it may.

    Raises:
        TokenRefused: no token is set.
    """
    return _explain_pause(engine) or _explain_backoff(engine) or explain_used_up(engine)


def explain_used_up(engine: Engine) -> str:
    """That the day's calls are used up, and until when; empty if they are not.

    Raises:
        TokenRefused: no token is set.
    """
    budget_status = engine.create_budget().read_status(engine.settings.now())
    if budget_status.calls_left_today < engine.prices.intraday:
        return f"daily call quota is used up; requests resume at {_format_time(budget_status.resets_at)}"
    return ""


def _is_round_due(coverage: Coverage, requests: Sequence[PlannedRequest]) -> bool:
    """Whether requests for a market around the clock are to be sent; those for new symbols at once.

    Nobody waits for more than half an hour, however often a person requests other symbols meanwhile.
    """
    rows = {request.row for request in requests}
    if is_probe_due(coverage) or not rows <= set(coverage.request_history.row):
        return True
    states = coverage.slot_states
    is_requested = states.due & np.isin(coverage.open_slots.row, list(rows))
    due_since = states.next_request_at[is_requested].min(initial=np.inf)
    return bool(due_since <= coverage.now.timestamp() - SECONDS_BETWEEN_ROUNDS)


def _explain_nothing_due(coverage: Coverage) -> str:
    scope = f"{format_count(len(coverage.symbols), 'symbol')} × {format_count(len(coverage.grid.sessions), 'session')}"
    gaps = coverage.slot_states.gap
    if not gaps.any():
        return f"no gap in {scope}"
    next_request_at = coverage.slot_states.next_request_at[gaps]
    when = f"the first is due at {_format_time(datetime.fromtimestamp(float(next_request_at.min()), UTC))}"
    return f"{int(gaps.sum())} slots in {scope} wait for their next request; {when}"


def _explain_pause(engine: Engine) -> str:
    with engine.database.transaction() as connection:
        pause = read_pause(connection)
    return str(SpendingPaused(str(pause))) if pause else ""


def _explain_backoff(engine: Engine) -> str:
    """Wait twice as long after each run in a row that ended early."""
    with engine.database.transaction() as connection:
        failed_count, elapsed = count_failed_runs(connection, engine.vendor_access)
    backoff = min(timedelta(minutes=2 ** min(failed_count, 10)), MAX_BACKOFF)
    if failed_count and elapsed < backoff:
        return (
            f"{format_count(failed_count, 'run', 'runs in a row')} ended early;"
            f" the next may start in {int((backoff - elapsed).total_seconds())} s"
        )
    return ""


def _build_due_ranges(coverage: Coverage, requests: list[PlannedRequest]) -> list[DueRange]:
    """For each requested symbol, the first and last session with a gap; one request covers them all.

    Around the clock a request leaves out gaps that are not due.
    """
    states = coverage.slot_states
    gaps = np.flatnonzero(states.due if coverage.grid.is_around_the_clock else states.gap)
    rows, sessions = coverage.open_slots.row[gaps], coverage.grid.session_index[coverage.open_slots.ordinal[gaps]]
    first = np.full(len(coverage.symbols), len(coverage.grid.sessions))
    last = np.full(len(coverage.symbols), -1)
    np.minimum.at(first, rows, sessions)
    np.maximum.at(last, rows, sessions)
    requested_ids = {request.symbol.symbol_id for request in requests}
    return [
        DueRange(symbol, int(first[row]), int(last[row]))
        for row, symbol in enumerate(coverage.symbols)
        if symbol.symbol_id in requested_ids
    ]


def _format_time(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
