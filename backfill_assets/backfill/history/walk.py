"""Walks over the history step by step: what one request covers, of symbols that have come equally far, newest first.

Whoever has come least far is next, so that all symbols of all exchanges and intervals are served in turn. A step that
lacks nothing costs nothing. Its requests are those of a run like any other (``backfill.runner``): claimed, so that two
processes request nothing twice, and stored as they come, so that a killed one loses what was in flight. Bars that do
not come are requested once more when that makes them vendor gaps; then the walk begins anew. When a walk may begin,
and how long it lasts, is in ``spending``.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from backfill_assets.backfill.engine import BackfillJob, Engine
from backfill_assets.backfill.history.frontier import MarketHistory, SymbolHistory
from backfill_assets.backfill.history.waiting import name_position
from backfill_assets.backfill.planner import Plan
from backfill_assets.backfill.results import ProgressListener, RunResult
from backfill_assets.backfill.runner import run_backfill
from backfill_assets.store.history import HistoryProgress, write_history_progress
from backfill_assets.store.postgres.bar_partitions import ensure_partitions

LOOK_AGAIN_AFTER = timedelta(days=30)  # over sessions that were walked over: somebody may have deleted bars


@dataclass(frozen=True, eq=False)
class HistoryStep:
    """What one look is about.

    Attributes:
        history: of the exchange and interval.
        symbols: that have come equally far, and go equally far.
        job: over the sessions that one request covers.
        reached: how far the symbols have come once these sessions were walked over.
    """

    history: MarketHistory
    symbols: tuple[SymbolHistory, ...]
    job: BackfillJob
    reached: date

    @property
    def is_last(self) -> bool:
        """Whether nothing is left behind it."""
        return self.reached <= self.symbols[0].goal


@dataclass(frozen=True, slots=True)
class StepEnd:
    """What came of a step.

    Attributes:
        result: of the requests; None without any.
        waiting: the symbols that stay where they are.
        unknown: those of which it has to be read first since when they are listed.
    """

    result: RunResult | None = None
    waiting: tuple[SymbolHistory, ...] = ()
    unknown: tuple[SymbolHistory, ...] = ()


def choose_step(histories: Sequence[MarketHistory], passed_over: Collection[object]) -> HistoryStep | None:
    """The next step: of the symbols that have come least far, as many as one look takes; None if nothing is left.

    ``passed_over`` names symbols as ``name_position`` does.
    """
    groups: dict[tuple[date, int, date], list[SymbolHistory]] = {}
    for number, history in enumerate(histories):
        for one in history.symbols:
            is_left = not one.is_done and not history.is_beyond_plan(one)
            if is_left and name_position(history, one) not in passed_over:
                groups.setdefault((one.reached, -number, one.goal), []).append(one)
    if not groups:
        return None
    reached, number, goal = newest = max(groups)
    history = histories[-number]
    sessions, reached_then = history.cut_step(reached, goal)
    chosen = tuple(groups[newest][: history.count_symbols_a_look(len(sessions))])
    job = history.build_job([one.symbol for one in chosen], sessions)
    return HistoryStep(history, chosen, job, reached_then)


def take_step(engine: Engine, step: HistoryStep, on_progress: ProgressListener, affordable: int) -> StepEnd:
    """Request what the step lacks, at most so many requests, and record how far its symbols have come.

    Nothing is requested while it is unknown since when any symbol is listed that lacks something.
    """
    if not step.job.window.sessions:
        _record(engine, step, {one.symbol.symbol_id: step.reached for one in step.symbols}, {})
        return StepEnd()
    plan = _plan_and_record(engine, step, step.job)
    asked = dict.fromkeys(request.symbol for request in plan.requests)
    if step.history.market.uses_daily_data:
        unknown = tuple(one for one in step.symbols if one.symbol in asked and not one.is_listing_known)
        if unknown:
            return StepEnd(unknown=unknown)
    chosen = tuple(asked)[:affordable]
    if not chosen:
        return StepEnd(waiting=_list_waiting(step, plan))
    job = step.history.build_job(chosen, step.job.window.sessions)
    ensure_partitions(engine.database, engine.settings.now(), since=job.window.sessions[0].open)  # while it has no bars
    result = run_backfill(engine, job, on_progress)
    after = _plan_and_record(engine, step, job)
    return StepEnd(result, _list_waiting(step, after))


def _list_waiting(step: HistoryStep, plan: Plan) -> tuple[SymbolHistory, ...]:
    """The symbols with requests that were not answered, or that must not be sent yet."""
    waiting = {request.symbol.symbol_id for request in plan.requests} | plan.unreadable_until.keys()
    return tuple(one for one in step.symbols if one.symbol.symbol_id in waiting)


def _plan_and_record(engine: Engine, step: HistoryStep, job: BackfillJob) -> Plan:
    """Measure the job, and record how far its symbols have come; returns the requests of those that lack something.

    A symbol whose newest gap lies further back gets on to there, as far as that saves a request: the next step begins
    where it is needed.
    """
    plan = engine.plan(job, engine.measure(job))
    skipped = {} if step.is_last else dict(_find_later_beginnings(step, plan))
    waiting = {request.symbol.symbol_id for request in plan.requests} | plan.unreadable_until.keys()
    reached = {s.symbol_id: step.reached for s in job.symbols if s.symbol_id not in waiting} | skipped
    _record(engine, step, reached, {key: plan.deferred_until.get(key) for key in reached})
    rows = {row for row, symbol in enumerate(job.symbols) if symbol.symbol_id in skipped}
    return plan.leave_out(rows)


def _find_later_beginnings(step: HistoryStep, plan: Plan) -> Iterator[tuple[int, date]]:
    """symbol_id → the day after its newest gap, of symbols without any in the newest sessions of the step."""
    days = [session.day for session in step.job.window.sessions]
    newest: dict[int, int] = {}
    for request in plan.requests:
        key = request.symbol.symbol_id
        newest[key] = max(newest.get(key, -1), request.newest_due_session)
    for key, position in newest.items():
        if position < len(days) - 1:
            yield key, days[position + 1]


def _record(engine: Engine, step: HistoryStep, reached: dict[int, date], again: dict[int, datetime | None]) -> None:
    """Record how far symbols have come, and when their walk begins anew."""
    before = {one.symbol.symbol_id: one for one in step.symbols}
    progress: dict[int, HistoryProgress] = {}
    for key, day in reached.items():
        moments = [moment for moment in (before[key].look_again_at, again.get(key)) if moment is not None]
        if day <= before[key].first:
            moments.append(engine.settings.now() + LOOK_AGAIN_AFTER)
        progress[key] = HistoryProgress(day, min(day, before[key].oldest), min(moments, default=None))
    with engine.database.transaction() as connection:
        write_history_progress(connection, step.history.interval, progress)
