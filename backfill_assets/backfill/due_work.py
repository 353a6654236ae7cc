"""What there is to heal now: over every open session, not only a window's, and only where asking is sensible.

The sensor starts runs by it. A run itself decides again, with what is true by then.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from backfill_assets.backfill import probing
from backfill_assets.backfill.engine import Engine, Job
from backfill_assets.backfill.planner import CALLS_PER_REQUEST, Ask
from backfill_assets.market.calendar.intervals import interval_named, source_of
from backfill_assets.market.calendar.tickers import DEFAULT_EXCHANGE
from backfill_assets.market.calendar.windows import sessions_kept, window_of_sessions
from backfill_assets.store.coverage import Coverage
from backfill_assets.store.quota.request_log import failing_tickers
from backfill_assets.store.runs import failed_runs
from backfill_assets.store.symbols import Symbol, list_symbols

LONGEST_PAUSE = timedelta(hours=1)  # after runs or requests that failed again and again


@dataclass(frozen=True, slots=True)
class Span:
    """A ticker that is to be asked, and the sessions (positions in the window) between which its gaps lie."""

    symbol: Symbol
    first: int
    last: int


@dataclass(frozen=True, eq=False)
class Outlook:
    """What a run would ask for.

    Attributes:
        job: over every session that is kept; ``first`` and ``last`` of a span index its sessions.
        coverage: the state of everything.
        spans: who is to be asked.
        reason: if nobody is, why.
    """

    job: Job
    coverage: Coverage
    spans: tuple[Span, ...]
    reason: str


def kept_job(engine: Engine, interval_name: str) -> Job:
    """The job over every active symbol and every session that is a partition."""
    settings = engine.settings
    interval = interval_named(interval_name)
    with engine.database.transaction() as connection:
        symbols = tuple(list_symbols(connection, DEFAULT_EXCHANGE))
    count = sessions_kept(settings.partition_days, len(symbols))
    window = window_of_sessions(DEFAULT_EXCHANGE, settings.now(), count, settings.calendar_exceptions())
    return Job(window=window, symbols=symbols, interval=interval, source=source_of(interval, settings.source_interval))


def look_ahead(engine: Engine, interval_name: str) -> Outlook:
    """Measure everything and say whom a run would ask; spends nothing.

    Raises:
        TokenRefused: no token is set.
    """
    job = kept_job(engine, interval_name)
    coverage = engine.survey(job)
    asks, reason = _sensible(engine, job, coverage)
    return Outlook(job, coverage, tuple(_spans(coverage, asks)), reason)


def _sensible(engine: Engine, job: Job, coverage: Coverage) -> tuple[list[Ask], str]:
    if not coverage.classified.due.any():
        return [], _nothing_due(coverage)
    if reason := _vendor_rests(engine):
        return [], reason
    left = engine.budget().status(engine.settings.now())
    if left.calls_left_today < CALLS_PER_REQUEST:
        return [], f"the day's calls are spent; asking goes on at {_time(left.resets_at)}"
    certain, tentative = probing.split(engine.plan(job, coverage).asks, coverage)
    asks = [*certain, *(tentative if probing.may_probe(coverage) else [])]
    if not asks:
        return [], f"{len(tentative)} tickers wait for the next probe: nothing was seen published yet"
    with engine.database.transaction() as connection:
        failing = failing_tickers(connection, LONGEST_PAUSE)
    sensible = [ask for ask in asks if str(ask.symbol.ticker) not in failing]
    return sensible, "" if sensible else f"requests for {len(failing)} tickers failed lately and are left alone a while"


def _nothing_due(coverage: Coverage) -> str:
    found = f"{len(coverage.symbols)} symbols × {len(coverage.grid.sessions)} sessions"
    gaps = coverage.classified.gap
    if not gaps.any():
        return f"no gap in {found}"
    again = coverage.classified.ask_at[gaps]
    when = f"the next at {_time(datetime.fromtimestamp(float(again.min()), UTC))}"
    return f"{int(gaps.sum())} slots in {found} are not to be asked for again yet, {when}"


def _vendor_rests(engine: Engine) -> str:
    """After runs that ended early, wait longer and longer before the next."""
    with engine.database.transaction() as connection:
        failed, since = failed_runs(connection)
    pause = min(timedelta(minutes=2 ** min(failed, 10)), LONGEST_PAUSE)
    if failed and since < pause:
        return f"{failed} runs in a row ended early; the next may start in {int((pause - since).total_seconds())} s"
    return ""


def _spans(coverage: Coverage, asks: list[Ask]) -> list[Span]:
    """The sessions between which the gaps of each ticker lie: one request covers them all."""
    gaps = np.flatnonzero(coverage.classified.gap)
    rows, sessions = coverage.slots.row[gaps], coverage.grid.session_of[coverage.slots.ordinal[gaps]]
    first = np.full(len(coverage.symbols), len(coverage.grid.sessions))
    last = np.full(len(coverage.symbols), -1)
    np.minimum.at(first, rows, sessions)
    np.maximum.at(last, rows, sessions)
    asked = {ask.symbol.symbol_id for ask in asks}
    return [
        Span(symbol, int(first[row]), int(last[row]))
        for row, symbol in enumerate(coverage.symbols)
        if symbol.symbol_id in asked
    ]


def _time(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
