"""What there is to heal now: over every open session, not only a window's, and only where asking is sensible.

The sensor starts runs by it. A run itself decides again, with what is true by then.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from backfill_assets.backfill import probing
from backfill_assets.backfill.engine import BackfillJob, Engine
from backfill_assets.backfill.planner import CALLS_PER_REQUEST, PlannedRequest
from backfill_assets.market.calendar.intervals import choose_source_interval, parse_interval
from backfill_assets.market.calendar.tickers import DEFAULT_EXCHANGE, Symbol
from backfill_assets.market.calendar.windows import build_session_window, limit_partition_sessions
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.store.quota.request_log import find_failing_tickers
from backfill_assets.store.runs import count_failed_runs
from backfill_assets.store.symbols import list_symbols

MAX_BACKOFF = timedelta(hours=1)  # after runs or requests that failed again and again


@dataclass(frozen=True, slots=True)
class DueRange:
    """A ticker that is to be asked, and the sessions (positions in the window) between which its gaps lie."""

    symbol: Symbol
    first_session: int
    last_session: int


@dataclass(frozen=True, eq=False)
class DueWork:
    """What a run would ask for.

    Attributes:
        job: over every session that is kept; ``first`` and ``last`` of a span index its sessions.
        coverage: the state of everything.
        spans: who is to be asked.
        reason: if nobody is, why.
    """

    job: BackfillJob
    coverage: Coverage
    ranges: tuple[DueRange, ...]
    reason: str


def build_retained_sessions_job(engine: Engine, interval_name: str) -> BackfillJob:
    """The job over every active symbol and every session that is a partition."""
    settings = engine.settings
    interval = parse_interval(interval_name)
    with engine.database.transaction() as connection:
        symbols = tuple(list_symbols(connection, DEFAULT_EXCHANGE))
    session_count = limit_partition_sessions(settings.partition_days, len(symbols))
    window = build_session_window(DEFAULT_EXCHANGE, settings.now(), session_count, settings.load_calendar_overrides())
    return BackfillJob(
        window=window,
        symbols=symbols,
        interval=interval,
        source_interval=choose_source_interval(interval, settings.source_interval),
    )


def find_due_work(engine: Engine, interval_name: str) -> DueWork:
    """Measure everything and say whom a run would ask; spends nothing.

    Raises:
        TokenRefused: no token is set.
    """
    job = build_retained_sessions_job(engine, interval_name)
    coverage = engine.measure(job)
    requests, reason = _select_requests(engine, job, coverage)
    return DueWork(job, coverage, tuple(_build_due_ranges(coverage, requests)), reason)


def _select_requests(engine: Engine, job: BackfillJob, coverage: Coverage) -> tuple[list[PlannedRequest], str]:
    if not coverage.slot_states.due.any():
        return [], _explain_nothing_due(coverage)
    if reason := _explain_backoff(engine):
        return [], reason
    budget_status = engine.create_budget().read_status(engine.settings.now())
    if budget_status.calls_left_today < CALLS_PER_REQUEST:
        return [], f"the day's calls are spent; asking goes on at {_format_time(budget_status.resets_at)}"
    certain, tentative = probing.split_requests(engine.plan(job, coverage).requests, coverage)
    requests = [*certain, *(tentative if probing.is_probe_due(coverage) else [])]
    if not requests:
        return [], f"{len(tentative)} tickers wait for the next probe: nothing was seen published yet"
    with engine.database.transaction() as connection:
        failing_names = find_failing_tickers(connection, MAX_BACKOFF)
    selected = [request for request in requests if str(request.symbol.ticker) not in failing_names]
    return (
        selected,
        "" if selected else f"requests for {len(failing_names)} tickers failed lately and are left alone a while",
    )


def _explain_nothing_due(coverage: Coverage) -> str:
    scope = f"{len(coverage.symbols)} symbols × {len(coverage.grid.sessions)} sessions"
    gaps = coverage.slot_states.gap
    if not gaps.any():
        return f"no gap in {scope}"
    next_request_at = coverage.slot_states.next_request_at[gaps]
    when = f"the next at {_format_time(datetime.fromtimestamp(float(next_request_at.min()), UTC))}"
    return f"{int(gaps.sum())} slots in {scope} are not to be asked for again yet, {when}"


def _explain_backoff(engine: Engine) -> str:
    """After runs that ended early, wait longer and longer before the next."""
    with engine.database.transaction() as connection:
        failed_count, elapsed = count_failed_runs(connection)
    backoff = min(timedelta(minutes=2 ** min(failed_count, 10)), MAX_BACKOFF)
    if failed_count and elapsed < backoff:
        return f"{failed_count} runs in a row ended early; the next may start in {int((backoff - elapsed).total_seconds())} s"
    return ""


def _build_due_ranges(coverage: Coverage, requests: list[PlannedRequest]) -> list[DueRange]:
    """The sessions between which the gaps of each ticker lie: one request covers them all."""
    gaps = np.flatnonzero(coverage.slot_states.gap)
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
