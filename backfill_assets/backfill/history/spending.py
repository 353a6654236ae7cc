"""Spends calls that are left over on the history: whether any may be spent now, and how long a walk lasts.

Calls are left over if neither open sessions nor reviews may need them today, nor any other purpose
(``backfill.spare_calls``). No step has more requests than are sent in less than a minute, and before each one a walk
gives way to newer gaps that are due. What the calls of past days say about the end is
in ``estimate``.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any
from uuid import uuid4

from backfill_assets.backfill.due_work import explain_standstill, explain_used_up, find_due_work
from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.fetch.fetcher import MAX_CONSECUTIVE_FAILURES
from backfill_assets.backfill.fetch.graceful_shutdown import run_with_graceful_shutdown
from backfill_assets.backfill.fetch.quota_sync import sync_quota
from backfill_assets.backfill.history.frontier import (
    MarketHistory,
    SymbolHistory,
    explain_plan_limits,
    is_history_wanted,
    read_histories,
)
from backfill_assets.backfill.history.listings import read_listings
from backfill_assets.backfill.history.waiting import find_failing, name_position
from backfill_assets.backfill.history.walk import HistoryStep, StepEnd, choose_step, take_step
from backfill_assets.backfill.older_sessions import MAX_SPARE_REQUESTS
from backfill_assets.backfill.results import ProgressListener
from backfill_assets.backfill.spare_calls import count_spare_requests
from backfill_assets.config.counts import format_count
from backfill_assets.market.purposes import Purpose
from backfill_assets.market.vendor_errors import BudgetSpent, VendorError
from backfill_assets.store.history import read_known_lives
from backfill_assets.store.history_state import (
    read_history_calls,
    read_history_state,
    record_history_look,
    record_left_over,
)
from backfill_assets.store.runs import finish_run, start_run

OFF = "BACKFILL_HISTORY_FROM is not set, and no symbol has a first day of its own (symbols add --history-from)"
COMPLETE = "all sessions of the history were requested"
SPENT = "no calls are left over; it goes on when calls are renewed, or open sessions need fewer"
NEWER_FIRST = "gaps of newer sessions come first"
WAITING = "what is left waits: its requests failed, or another process has them"


@dataclass(frozen=True, slots=True)
class HistoryWalk:
    """What a walk did.

    Attributes:
        requests: intraday requests, one a symbol and step, however often one was repeated.
        calls: what they cost, with what was looked up after them.
        inserted: bars that are new in the store.
        reason: why it ended; empty if an error ended it.
        stopped: that error.
    """

    requests: int = 0
    calls: int = 0
    inserted: int = 0
    reason: str = ""
    stopped: VendorError | None = None

    def describe_end(self) -> str:
        """Why it ended, in words."""
        return str(self.stopped) if self.stopped else self.reason

    def as_dict(self) -> dict[str, Any]:
        """The walk as JSON."""
        return {
            "requests": self.requests,
            "calls": self.calls,
            "inserted": self.inserted,
            "ended": self.describe_end(),
        }


def explain_history_standstill(engine: Engine) -> str:
    """Why nothing of the history may be requested now; empty if it may. No vendor calls, and few statements.

    Raises:
        TokenRefused: no token is set.
    """
    if not is_history_wanted(engine):
        return OFF
    with engine.database.transaction() as connection:
        state = read_history_state(connection)
    return state.describe_pause() or explain_standstill(engine)


def explain_newer_gaps(engine: Engine) -> str:
    """What comes first: a run of the gap sensors that is due, of any exchange and interval; empty if none is.

    Raises:
        TokenRefused: no token is set.
    """
    settings = engine.settings
    for market, interval in product(settings.markets, settings.intervals):
        work = find_due_work(engine, market, interval)
        if work.ranges:
            sessions = work.job.window.sessions
            first = sessions[min(one.first_session for one in work.ranges)].day
            last = sessions[max(one.last_session for one in work.ranges)].day
            options = f"--exchange {market.exchange} --interval {interval} --start {first} --end {last}"
            return f"{NEWER_FIRST}: Dagster's sensors request them, or backfill-assets run {options}"
    return ""


def walk_history(
    engine: Engine,
    on_progress: ProgressListener,
    *,
    max_requests: int | None = None,
) -> HistoryWalk:
    """Request what the history lacks, newest first, until calls, requests or gaps are used up; stored as it comes.

    Ends as soon as a run for newer gaps is due.

    Args:
        engine: the parts to work with.
        on_progress: receives a report for each ticker.
        max_requests: about how many intraday requests; None: as many as are left over.

    Raises:
        TokenRefused: no token is set.
        UsageError: BACKFILL_HISTORY_FROM is before all that the vendor has, or the store has bars of another host.
    """
    done = _Walk(engine, on_progress, max_requests).go_on()
    with engine.database.transaction() as connection:
        record_history_look(connection, engine.settings.now(), done.describe_end())
    return done


def explain_no_walk(engine: Engine) -> str:
    """Why no walk would request anything now; empty if one would. No vendor calls.

    What it finds is recorded as a walk's end is.

    Raises:
        TokenRefused: no token is set.
        UsageError: BACKFILL_HISTORY_FROM is before all that the vendor has.
    """
    reason = _explain_and_record_standstill(engine)
    if reason == OFF:
        return reason
    reason = reason or _explain_nothing_to_request(engine)
    if reason:
        with engine.database.transaction() as connection:
            record_history_look(connection, engine.settings.now(), reason)
    return reason


def _explain_nothing_to_request(engine: Engine) -> str:
    histories = read_histories(engine)
    if choose_step(histories, find_failing(engine, histories)) is None:
        return _explain_end(histories)
    return explain_newer_gaps(engine) or ("" if count_left_over(engine) else SPENT)


def _explain_and_record_standstill(engine: Engine) -> str:
    """The same as ``explain_history_standstill``; a day whose calls others have spent counts for the estimate, too."""
    reason = explain_history_standstill(engine)
    if reason and reason == explain_used_up(engine):
        count_left_over(engine)
    return reason


def _explain_end(histories: Sequence[MarketHistory]) -> str:
    left = [(history, one) for history in histories for one in history.symbols if not one.is_done]
    if any(not history.is_beyond_plan(one) for history, one in left):
        return WAITING
    return explain_plan_limits(histories) if left else COMPLETE


def _read_account(engine: Engine) -> VendorError | None:
    """Read what the vendor counted today, so that calls of other programs are not taken for left over; free."""

    async def read() -> VendorError | None:
        async with engine.open_vendor_client(Purpose.ACCOUNT) as (rate_limiter, client):
            try:
                await sync_quota(client, rate_limiter.budget, engine.settings.now())
            except VendorError as error:
                return error
        return None

    return run_with_graceful_shutdown(read(), engine.settings.stop_seconds)


def _record_stop(engine: Engine, stopped: VendorError) -> str | VendorError:
    """Record a run that ended early, as those of ``runner`` are: the next ones wait longer each time."""
    if isinstance(stopped, BudgetSpent):
        return SPENT
    run_id = uuid4()
    with engine.database.transaction() as connection:
        start_run(connection, run_id, "history", 0, engine.vendor_access)
        finish_run(connection, run_id, "stopped", None)
    return stopped


def count_left_over(engine: Engine) -> int:
    """How many requests are left over now; what the day has left over is recorded for the estimate."""
    spare, now, token = count_spare_requests(engine), engine.settings.now(), engine.require_token()
    with engine.database.transaction() as connection:
        calls = read_history_calls(connection, token, now) + spare * engine.prices.intraday
        record_left_over(connection, token, now, calls)
    return spare


class _Walk:
    """One walk; call ``go_on`` once."""

    def __init__(self, engine: Engine, on_progress: ProgressListener, max_requests: int | None) -> None:
        self._engine, self._on_progress = engine, on_progress
        self._max_requests = sys.maxsize if max_requests is None else max_requests
        self._is_account_read = False
        self._requests, self._calls, self._inserted = 0, 0, 0
        self._unanswered = 0  # daily histories in a row
        self._passed_over: set[object] = set()  # symbols that stay where they are during this walk

    def go_on(self) -> HistoryWalk:
        """Take steps until there is a reason to end."""
        while True:
            reason: str | VendorError = self._take_step()
            if reason:
                stopped = reason if isinstance(reason, VendorError) else None
                text = "" if stopped else str(reason)
                return HistoryWalk(self._requests, self._calls, self._inserted, text, stopped)

    def _take_step(self) -> str | VendorError:
        """Take one step; returns why the walk ends, empty if it goes on."""
        engine = self._engine
        if self._requests >= self._max_requests:
            return f"{format_count(self._requests, 'request')} sent, as many as one run may send; the next one goes on"
        if reason := _explain_and_record_standstill(engine):
            return reason
        histories = read_histories(engine)
        step = choose_step(histories, self._passed_over | find_failing(engine, histories).keys())
        if step is None:
            return _explain_end(histories)
        if newer := explain_newer_gaps(engine):
            return newer
        if not self._is_account_read:
            self._is_account_read = True
            if stopped := _read_account(engine):
                return _record_stop(engine, stopped)
        spare = count_left_over(engine)
        if not spare:
            return SPENT
        end = take_step(
            engine, step, self._on_progress, min(spare, self._max_requests - self._requests, MAX_SPARE_REQUESTS)
        )
        if end.unknown:
            affordable = spare * engine.prices.intraday // engine.prices.daily
            return self._read_listings(step.history, end.unknown[:affordable])
        return self._count(step, end)

    def _read_listings(self, history: MarketHistory, unknown: tuple[SymbolHistory, ...]) -> str | VendorError:
        """Read since when symbols are listed; those of which it stays unknown wait for the next walk.

        Many of which none is answered say that it is not about them: the walk ends.
        """
        size = history.count_symbols_a_look(len(history.sessions))
        for first in range(0, len(unknown), size):
            some = unknown[first : first + size]
            if stopped := read_listings(self._engine, history, some):
                return _record_stop(self._engine, stopped)
            with self._engine.database.transaction() as connection:
                known = read_known_lives(connection, [one.symbol.symbol_id for one in some])
            self._passed_over |= {name_position(history, one) for one in some if one.symbol.symbol_id not in known}
            self._unanswered = 0 if known else self._unanswered + len(some)
            if self._unanswered >= MAX_CONSECUTIVE_FAILURES:
                return WAITING
        return ""

    def _count(self, step: HistoryStep, end: StepEnd) -> str | VendorError:
        """Add up what came of a step; symbols without an answer wait for the next walk."""
        self._passed_over |= {name_position(step.history, one) for one in end.waiting}
        result = end.result
        if result is None:
            return ""
        self._requests += len(result.outcomes)
        self._calls += result.calls
        self._inserted += result.written.inserted
        if isinstance(result.stopped, BudgetSpent):  # others were faster
            return SPENT
        return result.stopped or ""
