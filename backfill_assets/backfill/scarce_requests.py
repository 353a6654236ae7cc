"""What exchanges need of requests that do not suffice for all, and the plan of one without what it leaves to others.

Nothing is measured with one exchange, nor while the day's calls suffice whatever the others need. How requests are
shared is in ``market.exchange_order``. A person who names symbols gets them.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from uuid import UUID

import numpy as np

from backfill_assets.backfill.engine import BackfillJob, Engine
from backfill_assets.backfill.planner import Plan, PlannedRequest
from backfill_assets.eodhd.pricing import REQUEST_LIMITS
from backfill_assets.errors import UsageError
from backfill_assets.market.arrays import Int64
from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.calendar.sessions import Session, list_overlapping_sessions
from backfill_assets.market.calendar.windows import MIN_ASKABLE_SESSIONS, Window
from backfill_assets.market.exchange_order import Need, allot_requests
from backfill_assets.market.exchanges.profile import MarketProfile
from backfill_assets.market.gaps.ask_times import compute_turns
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.market.gaps.gap_rules import GapRules
from backfill_assets.market.gaps.slot_states import IMPROVABLE_STATES
from backfill_assets.market.purposes import Purpose
from backfill_assets.store.job_universe import read_job_universe
from backfill_assets.store.runs import list_active_runs
from backfill_assets.store.symbol_counts import count_active_rows

_RECENT = timedelta(days=14)  # longer than any closure: holds the newest sessions of an exchange
_DAY = timedelta(days=1)
_OVERDUE, _SOON, _HISTORY = range(3)


def hold_back(
    engine: Engine, job: BackfillJob, coverage: Coverage, plan: Plan, later: Sequence[BackfillJob] = ()
) -> Plan:
    """The plan without the requests that are left to other exchanges; ``Plan.held_back`` names their symbols.

    Args:
        engine: the parts to work with.
        job: of the plan.
        coverage: of the job, measured now.
        plan: all its requests.
        later: jobs of other exchanges that the same command does afterwards; their history counts, too.
    """
    plan = _leave_out_probe(engine, job, coverage, plan, later)
    if not _is_shared(engine, job, plan):
        return plan
    budget = engine.create_budget().read_status(engine.settings.now())
    available = budget.calls_left_today // engine.prices.intraday
    turns = count_turns(engine, job.market, job.interval, len(job.symbols), budget.resets_at)
    own_later = max(len(job.symbols), turns)
    is_plenty = available >= len(plan.requests) + _bound_others(engine, job, later) + own_later
    if is_plenty or available <= 0:  # with nothing left to share the budget says so
        return plan
    ranks = rank_requests(plan.requests, coverage, _find_recent_begin(engine, job.market, job.interval))
    own = _count_ranks(ranks)
    waiting = _count_waiting(engine, job, coverage, own, budget.resets_at)
    needs = {job.market.exchange: replace(own, soon=own.soon + waiting)}
    history = {other.market.exchange: _measure_job(engine, other).history for other in later}
    for market in engine.settings.markets:
        if market.exchange not in needs:
            recent = _measure_recent(engine, market, job.interval, budget.resets_at)
            needs[market.exchange] = replace(recent, history=history.get(market.exchange, 0))
    in_order = {exchange: needs[exchange] for exchange in engine.settings.exchanges if exchange in needs}
    allotted = allot_requests(in_order, available, engine.settings.exchange_order)
    share = allotted.get(job.market.exchange, len(plan.requests))
    return keep_urgent(plan, ranks, share - min(waiting, max(0, share - own.overdue - own.soon)))


def leave_history_to_older_runs(engine: Engine, job: BackfillJob, coverage: Coverage, plan: Plan, run_id: UUID) -> Plan:
    """The plan without history if calls are scarce and another run, of any process, began before this one.

    Each of two runs that begin together finds the same calls unspent, and would fill its history with those that others
    need. So it is one run at a time that does, and the others do so in their next run. ``run_id`` must be recorded.
    """
    if not _is_shared(engine, job, plan):
        return plan
    with engine.database.transaction() as connection:
        older = list(takewhile(lambda run: run.run_id != run_id, list_active_runs(connection)))
    if not older:
        return plan
    available = engine.create_budget().read_status(engine.settings.now()).calls_left_today // engine.prices.intraday
    planned = len(plan.requests) + sum(run.tickers for run in older)
    if available >= planned + _bound_others(engine, job, ()) + len(job.symbols):
        return plan
    ranks = rank_requests(plan.requests, coverage, _find_recent_begin(engine, job.market, job.interval))
    return keep_urgent(plan, ranks, int((ranks != _HISTORY).sum()))


def _leave_out_probe(
    engine: Engine, job: BackfillJob, coverage: Coverage, plan: Plan, later: Sequence[BackfillJob]
) -> Plan:
    """The plan without the probe of a market around the clock before its turn, unless calls suffice for all turns."""
    probe = coverage.request_history.probe_row
    if probe is None or job.user_selected or job.force or all(request.row != probe for request in plan.requests):
        return plan
    now, rules = coverage.now, _build_rules(engine, job.market, job.interval)
    history, is_recent = replace(coverage.request_history, probe_row=None), ~coverage.is_session_overdue
    turn = float(compute_turns(history, is_recent, len(coverage.symbols), rules, now.timestamp())[probe])
    if turn <= now.timestamp():
        return plan
    budget = engine.create_budget().read_status(now)
    with engine.database.transaction() as connection:  # the job may have the symbols that are due, and no others
        count = max(len(job.symbols), count_active_rows(connection, job.market.exchange))
    needed = count_turns(engine, job.market, job.interval, count, budget.resets_at, with_probe=False)
    others = _bound_others(engine, job, later) if len(engine.settings.exchanges) > 1 else 0
    if budget.calls_left_today // engine.prices.intraday > needed + others:
        return plan
    until = {coverage.symbols[probe].symbol_id: datetime.fromtimestamp(turn, UTC)}
    return replace(plan.leave_out({probe}), deferred_until={**plan.deferred_until, **until})


def _is_shared(engine: Engine, job: BackfillJob, plan: Plan) -> bool:
    """Whether the plan has anything to share with other exchanges."""
    is_alone = len(engine.settings.exchanges) == 1
    return not is_alone and bool(plan.requests) and not job.user_selected and job.purpose is Purpose.GAP


def rank_requests(requests: Sequence[PlannedRequest], coverage: Coverage, recent_begin: datetime) -> Int64:
    """How urgent each request is, the most urgent ones lowest; shape (requests,).

    Args:
        requests: of a plan for the coverage.
        coverage: of the job's window.
        recent_begin: the open of the first session that must not wait when it is overdue; older ones are history.
    """
    opens = [session.open for session in coverage.grid.sessions]
    first = sum(opened < recent_begin for opened in opens)
    last = int(coverage.is_session_overdue.sum()) - 1
    newest = np.array([request.newest_due_session for request in requests], np.int64)
    has_overdue = np.isin([request.row for request in requests], _find_rows_with_overdue(coverage))
    oldest = np.array([request.oldest_due_session for request in requests], np.int64)
    is_soon = (oldest > last) & ~has_overdue
    ranks: Int64 = np.where(newest < first, _HISTORY, np.where(is_soon, _SOON, _OVERDUE)).astype(np.int64)
    return ranks


def _find_rows_with_overdue(coverage: Coverage) -> Int64:
    """The symbols with a due slot that is overdue: around the clock others of the same session may not be yet."""
    if not coverage.grid.is_around_the_clock:
        return np.zeros(0, np.int64)
    slots = coverage.open_slots
    return np.unique(slots.row[coverage.slot_states.due & coverage.is_slot_overdue[slots.ordinal]])


def keep_urgent(plan: Plan, ranks: Int64, count: int) -> Plan:
    """The plan with its ``count`` most urgent requests, in their order."""
    if count >= len(plan.requests):
        return plan
    kept = set(np.argsort(ranks, kind="stable")[:count].tolist())
    requests = tuple(request for position, request in enumerate(plan.requests) if position in kept)
    left = frozenset(request.symbol.symbol_id for position, request in enumerate(plan.requests) if position not in kept)
    return replace(plan, requests=requests, held_back=plan.held_back | left)


def count_unsettled(engine: Engine, market: MarketProfile, interval: Interval) -> int:
    """How many symbols of an exchange may need a request today: those with a gap in a recent session."""
    resets_at = engine.create_budget().read_status(engine.settings.now()).resets_at
    need = _measure_recent(engine, market, interval, resets_at)
    return need.overdue + need.soon


def count_turns(
    engine: Engine,
    market: MarketProfile,
    interval: Interval,
    symbols: int,
    until: datetime,
    *,
    with_probe: bool = True,
) -> int:
    """How many requests so many symbols of a market around the clock make until then; 0 for other markets."""
    if not market.is_around_the_clock or not symbols:
        return 0
    rules = _build_rules(engine, market, interval)
    left = until - engine.settings.now()
    return symbols * math.ceil(left / rules.ask_every) + with_probe * math.ceil(left / rules.probe_every)


def _build_rules(engine: Engine, market: MarketProfile, interval: Interval) -> GapRules:
    return engine.settings.build_gap_rules(market, engine.settings.choose_source(market, interval))


def _count_waiting(engine: Engine, job: BackfillJob, coverage: Coverage, own: Need, until: datetime) -> int:
    """How many requests the job's own exchange needs today about sessions that cannot be asked for yet.

    None for a job about older sessions alone: a person chose them.
    """
    if not coverage.overdue_at or coverage.overdue_at[-1] <= coverage.now:
        return 0
    return max(0, _measure_recent(engine, job.market, job.interval, until).soon - own.soon)


def _bound_others(engine: Engine, job: BackfillJob, later: Sequence[BackfillJob]) -> int:
    """At most so many requests the other exchanges need; one statement an exchange."""
    bound = sum(len(other.symbols) * _count_spans(engine, other.window, other.source_interval) for other in later)
    others = [market for market in engine.settings.markets if market.exchange != job.market.exchange]
    with engine.database.transaction() as connection:
        symbols = {market: count_active_rows(connection, market.exchange) for market in others}
    now = engine.settings.now()
    return bound + sum(
        max(count, count_turns(engine, market, job.interval, count, now + _DAY)) for market, count in symbols.items()
    )


def _count_spans(engine: Engine, window: Window, source: Interval) -> int:
    """How many requests a symbol with gaps everywhere needs, at most."""
    if not window.sessions:
        return 0
    longest = engine.get_max_span(source)
    if window.sessions[0].is_whole_day:  # the rows of an answer set the limit sooner
        longest = min(longest, REQUEST_LIMITS.get_max_trading(source.seconds))
    return 1 + (window.sessions[-1].day - window.sessions[0].day) // max(_DAY, longest)


def _count_ranks(ranks: Int64) -> Need:
    overdue, soon, history = np.bincount(ranks, minlength=3).tolist()
    return Need(overdue, soon, history)


def _measure_job(engine: Engine, job: BackfillJob) -> Need:
    coverage = engine.measure(job)
    recent_begin = _find_recent_begin(engine, job.market, job.interval)
    return _count_ranks(rank_requests(engine.plan(job, coverage).requests, coverage, recent_begin))


def _find_recent_begin(engine: Engine, market: MarketProfile, interval: Interval) -> datetime:
    """The open of the second last session that is overdue now: the default window holds those from there on."""
    recent = _list_recent(engine, market, interval, engine.settings.now())[0]
    return recent[0].open if recent else engine.settings.now()


def _list_recent(
    engine: Engine, market: MarketProfile, interval: Interval, until: datetime
) -> tuple[tuple[Session, ...], bool]:
    """The last two overdue sessions and those after them that have opened, and whether a later one is overdue then.

    None of an exchange whose calendar has ended. ``until`` is when calls are renewed.
    """
    now = engine.settings.now()
    rules = _build_rules(engine, market, interval)
    try:
        sessions = list_overlapping_sessions(market, now - _RECENT, until)
    except UsageError:
        return (), False
    opened = [session for session in sessions if session.open <= now]
    count = sum(rules.compute_overdue_at(session) > now for session in opened)
    opens_later = any(session.open > now and rules.compute_overdue_at(session) <= until for session in sessions)
    return tuple(opened[-(MIN_ASKABLE_SESSIONS + count) :]), opens_later


def _measure_recent(engine: Engine, market: MarketProfile, interval: Interval, until: datetime) -> Need:
    """What an exchange needs for its newest sessions: those overdue, and those that are overdue by ``until``."""
    sessions, opens_later = _list_recent(engine, market, interval, until)
    with engine.database.transaction() as connection:
        symbols = read_job_universe(connection, market.exchange, engine.settings.as_of).active
    if not symbols or not sessions:
        return Need()
    job = BackfillJob(Window(market, sessions, ""), symbols, interval, engine.settings.choose_source(market, interval))
    coverage = engine.measure(job)
    overdue = _count_ranks(rank_requests(engine.plan(job, coverage).requests, coverage, sessions[0].open)).overdue
    if asks := count_turns(engine, market, interval, len(symbols), until):
        return Need(overdue, max(0, asks - overdue))
    if opens_later:
        return Need(overdue, len(symbols) - overdue)
    is_soon = np.array([at <= until for at in coverage.overdue_at], bool)[coverage.grid.session_index]
    is_unsettled = coverage.has_state(*IMPROVABLE_STATES) & is_soon[coverage.open_slots.ordinal]
    unsettled = len(np.unique(coverage.open_slots.row[is_unsettled]))
    return Need(overdue, max(0, unsettled - overdue))
