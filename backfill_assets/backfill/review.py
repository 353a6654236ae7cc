"""The weekly review: recent sessions of every ticker are read again for corrections (DESIGN.md, decision 2).

It has the lowest priority: it spends only calls of the day that nothing open may need. Who was reviewed longest
ago goes first, one request each. What differs from the store is a revision, as in any run.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from backfill_assets.backfill.engine import Engine, Job
from backfill_assets.backfill.fetch.quota_sync import read_account
from backfill_assets.backfill.planner import CALLS_PER_REQUEST, Strategy
from backfill_assets.backfill.results import Listener, Progress, RunResult, TickerOutcome
from backfill_assets.eodhd.errors import VendorError
from backfill_assets.market.calendar.sessions import Session
from backfill_assets.market.calendar.tickers import DEFAULT_EXCHANGE
from backfill_assets.market.calendar.windows import Window, window_of_sessions
from backfill_assets.market.gaps.slot_states import State
from backfill_assets.store.bars.bar_writer import WriteCounts
from backfill_assets.store.coverage import Coverage
from backfill_assets.store.evidence.review_log import last_reviews, record_reviews
from backfill_assets.store.symbols import Symbol

TICKERS_AT_ONCE = 250  # of one run; between two the ledger is written
UNSETTLED = (State.PENDING, State.MISSING, State.PROVISIONAL, State.SUSPECT, State.VENDOR_GAP)


@dataclass(frozen=True, slots=True)
class Review:
    """What a review did.

    Attributes:
        sessions: how many sessions were read again for each ticker.
        due: tickers that were due.
        affordable: how many of them the calls left over paid for.
        outcomes: per ticker asked, how that ended.
        requests: attempts at the vendor.
        calls: what they cost.
        seconds: how long it took.
        written: what became of the bars received; ``revised`` are the vendor's corrections.
        rejected: rows that broke a rule.
        stopped: what ended it early.
    """

    sessions: int
    due: int
    affordable: int
    outcomes: tuple[TickerOutcome, ...] = ()
    requests: int = 0
    calls: int = 0
    seconds: float = 0.0
    written: WriteCounts = field(default_factory=WriteCounts)
    rejected: int = 0
    stopped: VendorError | None = None

    @property
    def reviewed(self) -> int:
        """How many tickers were read again."""
        return sum(o.error is None for o in self.outcomes)

    @property
    def exit_code(self) -> int:
        """What the process should end with: what is left for another day is no failure, nobody's answer is one."""
        if self.stopped is not None:
            return self.stopped.exit_code
        errors = [o.error.exit_code for o in self.outcomes if o.error]
        return max(errors) if errors and not self.reviewed else 0

    def after(self, run: RunResult) -> "Review":
        """With what one more run did."""
        return replace(
            self,
            outcomes=(*self.outcomes, *run.outcomes),
            requests=self.requests + run.requests,
            calls=self.calls + run.calls,
            seconds=self.seconds + run.seconds,
            written=self.written + run.written,
            rejected=self.rejected + run.rejected,
            stopped=run.stopped,
        )

    def as_dict(self) -> dict[str, Any]:
        """The review as JSON shows it."""
        plain = ("sessions", "due", "affordable", "reviewed", "requests", "calls", "rejected")
        return {
            **{name: getattr(self, name) for name in plain},
            "seconds": round(self.seconds, 3),
            "written": asdict(self.written),
            "errors": {str(o.ticker): str(o.error) for o in self.outcomes if o.error},
            "stopped": str(self.stopped) if self.stopped else None,
        }


def review(engine: Engine, job: Job, listen: Listener, *, calls: int | None = None) -> Review:
    """Read the recent sessions of the job's tickers again, as far as the calls left over go.

    Args:
        engine: the parts to work with.
        job: whose symbols and interval; the window is the review's own. With ``explicit`` every symbol is due.
        listen: is told of each ticker.
        calls: spend at most so many, whatever is left over.

    Raises:
        VendorError: no token is set, or the vendor refuses it before anything is asked.
    """
    recent, newer = _sessions(engine, job)
    if not recent:
        return Review(sessions=0, due=0, affordable=0)
    wide = engine.survey(replace(job, window=Window((*recent, *newer), "")))
    window = Window(recent, f"review of the last {len(recent)} sessions")
    job = replace(job, window=window, strategy=Strategy.TARGETED, force=True)
    due = _due(engine, job, wide)
    left = _left_over(engine, wide)
    price = _price(engine, job, due)
    affordable = min(len(due), (left if calls is None else min(left, calls)) // max(1, price))
    done = Review(sessions=len(recent), due=len(due), affordable=affordable)
    for at in range(0, affordable, TICKERS_AT_ONCE):
        some = replace(job, symbols=due[at : min(at + TICKERS_AT_ONCE, affordable)])
        result = engine.run(some, _counting_on(listen, done, affordable))
        _record(engine, some, result)
        done = done.after(result)
        if done.stopped:
            break
    return done


def _sessions(engine: Engine, job: Job) -> tuple[tuple[Session, ...], tuple[Session, ...]]:
    """The last sessions whose absence counts, and the newer ones, which are the usual runs' business."""
    settings = engine.settings
    now, overdue_after = settings.now(), settings.rules(job.source).overdue_after
    opened = window_of_sessions(
        DEFAULT_EXCHANGE, now, settings.review_sessions + 5, settings.calendar_exceptions()
    ).sessions
    old = [s for s in opened if s.regular_close + overdue_after <= now]
    return tuple(old[-settings.review_sessions :]), opened[len(old) :]


def _due(engine: Engine, job: Job, coverage: Coverage) -> tuple[Symbol, ...]:
    """Listed tickers that were not reviewed lately, the longest ago first."""
    listed = [s for s, expected in zip(coverage.symbols, coverage.expected, strict=True) if expected]
    with engine.database.transaction() as connection:
        last = last_reviews(connection, [s.symbol_id for s in listed], job.interval, job.source)
    before = engine.settings.now() - timedelta(days=engine.settings.review_days)
    never = datetime.min.replace(tzinfo=UTC)
    due = [s for s in listed if job.explicit or last.get(s.symbol_id, never) <= before]
    return tuple(sorted(due, key=lambda s: last.get(s.symbol_id, never)))


def _left_over(engine: Engine, coverage: Coverage) -> int:
    """The day's calls, less one request for each ticker that lacks something by now."""
    now = engine.settings.now()
    asyncio.run(_hear(engine))
    waiting = np.unique(coverage.slots.row[np.isin(coverage.classified.state, UNSETTLED)])
    return max(0, engine.budget().status(now).calls_left_today - CALLS_PER_REQUEST * len(waiting))


async def _hear(engine: Engine) -> None:
    async with engine.asking() as (pacer, client):
        await read_account(client, pacer.budget, pacer.now())


def _price(engine: Engine, job: Job, due: Sequence[Symbol]) -> int:
    """What one ticker costs: one request, unless the longest span is set shorter than the review."""
    one = replace(job, symbols=tuple(due[:1]))
    return engine.plan(one, engine.survey(one)).calls


def _counting_on(listen: Listener, done: Review, tickers: int) -> Listener:
    """A listener for one of several runs that tells of all of them."""

    def told(step: Progress) -> None:
        bars, calls = step.bars + done.written.stored, step.calls + done.calls
        listen(replace(step, done=step.done + len(done.outcomes), tickers=tickers, bars=bars, calls=calls))

    return told


def _record(engine: Engine, job: Job, result: RunResult) -> None:
    answered = {outcome.ticker for outcome in result.outcomes if outcome.error is None}
    ids = [s.symbol_id for s in job.symbols if s.ticker in answered]
    with engine.database.transaction() as connection:
        record_reviews(connection, ids, job.interval, job.source, engine.settings.now())
