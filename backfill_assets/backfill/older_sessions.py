"""Finds what is due in healed sessions older than those that are partitions, one block of symbols after another.

A look at every symbol would take too long where there are many, so each goes on where the last one ended. A block is
all older sessions of some symbols, because one request covers many sessions of a symbol. Gaps of watched sessions
(``watched_sessions``) are requested like any others, those of the others with calls that are left over, newest first:
one request a symbol, then it is the next symbol's turn.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date

from backfill_assets.backfill.due_work import (
    build_retained_sessions_job,
    explain_standstill,
    find_due_work_of_job,
)
from backfill_assets.backfill.engine import BackfillJob, Engine
from backfill_assets.backfill.failed_requests import read_failing_tickers
from backfill_assets.backfill.planner import Plan, PlannedRequest
from backfill_assets.backfill.scarce_requests import hold_back
from backfill_assets.backfill.spare_calls import count_spare_requests
from backfill_assets.backfill.watched_sessions import record_watched
from backfill_assets.config.counts import format_count
from backfill_assets.market.arrays import Int64
from backfill_assets.market.calendar.tickers import Symbol
from backfill_assets.market.calendar.windows import (
    Window,
    build_session_window,
    count_healed_sessions,
)
from backfill_assets.market.exchanges.profile import MarketProfile
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.market.purposes import Purpose
from backfill_assets.store.job_universe import read_job_universe
from backfill_assets.store.watched_sessions import read_watched

MAX_BLOCK_CELLS = 50_000  # symbols × sessions: a tick then takes a few seconds of processor time, whatever is absent
MAX_SPARE_REQUESTS = 250  # of one run: it holds back those that are due meanwhile for less than a minute


@dataclass(frozen=True, slots=True)
class OlderRange:
    """What one run is to request.

    Attributes:
        symbols: at least one.
        first_day: the oldest session with a gap that is due.
        last_day: the newest one.
        purpose: of the requests: ``HISTORY`` for sessions that were not watched before.
    """

    symbols: tuple[Symbol, ...]
    first_day: date
    last_day: date
    purpose: Purpose


@dataclass(frozen=True, slots=True)
class OlderWork:
    """What was found in a block.

    Attributes:
        range: to request, None if there is none.
        reason: why there is none; empty if there is one.
        after: the ticker after which the next block begins; empty: at the first one.
    """

    range: OlderRange | None
    reason: str
    after: str


@dataclass(frozen=True, slots=True)
class OlderSessions:
    """The healed sessions that are no partitions.

    Attributes:
        job: over all of them, of all symbols.
        newer: over the sessions after them, which are the partitions.
    """

    job: BackfillJob
    newer: BackfillJob


def find_older_sessions(engine: Engine, retained: BackfillJob) -> OlderSessions | None:
    """The healed sessions before those of a job over the retained ones; None if there are none.

    None unless BACKFILL_HEAL_SESSIONS is larger than the number of sessions that are partitions.
    """
    window, settings = retained.window, engine.settings
    count = count_healed_sessions(settings.heal_sessions, len(window.sessions))
    if not window.sessions or count <= len(window.sessions):
        return None
    healed = build_session_window(retained.market, settings.now(), count).sessions
    older = tuple(session for session in healed if session.day < window.sessions[0].day)
    if not older:  # before them the vendor has no data
        return None
    with engine.database.transaction() as connection:
        universe = read_job_universe(connection, retained.market.exchange, settings.as_of)
    description = f"{format_count(len(older), 'session')} before {window.sessions[0].day}"
    older_window = Window(retained.market, older, description)
    job = replace(retained, window=older_window, symbols=universe.list_since(older[0].day))
    return OlderSessions(job, retained)


def count_older_missing(engine: Engine, market: MarketProfile, interval_name: str) -> int:
    """How many bars watched sessions lack that are no partitions, as the last looks at them found it.

    Nothing is measured: a look at all of them takes many ticks.
    """
    if engine.settings.heal_sessions is None:
        return 0
    older = find_older_sessions(engine, build_retained_sessions_job(engine, market, interval_name))
    if older is None:
        return 0
    with engine.database.transaction() as connection:
        ids = [symbol.symbol_id for symbol in older.job.symbols]
        return sum(one.missing for one in read_watched(connection, ids, older.job.interval).values())


def find_older_work(engine: Engine, older: OlderSessions, after: str, *, may_spend_spare: bool) -> OlderWork:
    """Measure the block after the ticker ``after``, record what is watched in it, and plan what to request of it.

    Args:
        engine: the parts to work with.
        older: the sessions.
        after: as the last look returned it; a ticker that is gone is no harm.
        may_spend_spare: whether calls that are left over may be spent now.

    Raises:
        TokenRefused: no token is set.
    """
    symbols, next_after = take_block(older.job.symbols, after, len(older.job.window.sessions))
    if not symbols:
        return OlderWork(None, "there are no active symbols", "")
    job = replace(older.job, symbols=symbols)
    coverage = engine.measure(job)
    first_watched = record_watched(engine, coverage, older.newer.window.sessions[0])
    where = f"{symbols[0].ticker} to {symbols[-1].ticker}, {job.window.description}"
    if not coverage.slot_states.due.any():
        return OlderWork(None, f"nothing is due in {where}", next_after)
    if reason := explain_standstill(engine):
        return OlderWork(None, reason, after)
    planner = _BlockPlanner(engine, job, coverage, first_watched, engine.plan(job, coverage))
    if watched := planner.select_watched():
        return OlderWork(planner.build_range(watched, Purpose.GAP), "", next_after)
    spare = planner.select_spare()
    if not spare:
        return OlderWork(None, f"the gaps that are due in {where} failed recently, or are left to others", next_after)
    affordable = count_spare_requests(engine) if may_spend_spare else 0
    if may_spend_spare and not affordable:
        return OlderWork(None, f"{where}: gaps that were not watched before wait for calls that are left", next_after)
    if not affordable or find_due_work_of_job(engine, older.newer).ranges:
        return OlderWork(None, f"{where}: gaps that were not watched before wait for newer ones", next_after)
    chosen = spare[: min(affordable, MAX_SPARE_REQUESTS)]
    reached = next_after if len(chosen) == len(spare) else str(chosen[-1].symbol.ticker)
    return OlderWork(planner.build_range(chosen, Purpose.HISTORY), "", reached)


def take_block(symbols: Sequence[Symbol], after: str, session_count: int) -> tuple[tuple[Symbol, ...], str]:
    """The symbols of the next block, and the ticker after which the one behind it begins.

    Args:
        symbols: all; the order of blocks is that of their tickers.
        after: the ticker before the block; empty, or none of the tickers left: the block is the first one.
        session_count: sessions of each symbol.
    """
    size = max(1, MAX_BLOCK_CELLS // max(1, session_count))
    ordered = sorted(symbols, key=lambda symbol: str(symbol.ticker))
    names = [str(symbol.ticker) for symbol in ordered]
    begin = bisect_right(names, after) % max(1, len(names))
    end = begin + size
    return tuple(ordered[begin:end]), "" if end >= len(names) else names[end - 1]


@dataclass(frozen=True, eq=False)
class _BlockPlanner:
    """Plans the requests of a block; ``first_watched`` is a position in the sessions for each symbol."""

    engine: Engine
    job: BackfillJob
    coverage: Coverage
    first_watched: Int64
    plan: Plan

    def select_watched(self) -> list[PlannedRequest]:
        """The requests for gaps of watched sessions; others of the same symbols come with them at the same price."""
        requests = self.plan.requests
        unwatched = {r.row for r in requests} - {r.row for r in requests if self._is_watched(r)}
        plan = hold_back(self.engine, self.job, self.coverage, self.plan.leave_out(unwatched))
        return self._leave_out_failing([request for request in plan.requests if self._is_watched(request)])

    def select_spare(self) -> list[PlannedRequest]:
        """The newest request of each symbol."""
        newest = {request.row: request for request in self.plan.requests}
        return self._leave_out_failing([newest[row] for row in sorted(newest)])

    def build_range(self, requests: Sequence[PlannedRequest], purpose: Purpose) -> OlderRange:
        """The symbols of these requests, with all days that make one of them due."""
        sessions = self.job.window.sessions
        symbols = dict.fromkeys(request.symbol for request in requests)
        first = min(request.oldest_due_session for request in requests)
        last = max(request.newest_due_session for request in requests)
        return OlderRange(tuple(symbols), sessions[first].day, sessions[last].day, purpose)

    def _is_watched(self, request: PlannedRequest) -> bool:
        return bool(request.newest_due_session >= self.first_watched[request.row])

    def _leave_out_failing(self, requests: Sequence[PlannedRequest]) -> list[PlannedRequest]:
        with self.engine.database.transaction() as connection:
            failing = read_failing_tickers(connection, self.engine.vendor_access).keys()
        return [request for request in requests if str(request.tickers[0]) not in failing]
