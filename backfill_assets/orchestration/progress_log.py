"""Progress lines for a run's log: every few seconds while tickers end, and why if for a while none does."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import ceil

from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.results import Progress
from backfill_assets.errors import DatabaseUnavailable
from backfill_assets.store.quota.budget import BudgetStatus

SECONDS_BETWEEN = 3.0
SILENT_SECONDS = 6.0


class ProgressLog:
    """A listener of a run that says every few seconds how far it is, and at its end.

    Args:
        say: where a line goes.
        clock: seconds.
        per_window: requests that the budget lets through in each rate window of ``window_seconds``.
    """

    def __init__(
        self,
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
        *,
        per_window: int = 0,
        window_seconds: float = 60.0,
    ) -> None:
        self._say, self._clock = say, clock
        self._per_window, self._window = per_window, window_seconds
        self._began = self._said = self._heard = clock()
        self._done = self._tickers = 0
        self._told_end = False

    def __call__(self, progress: Progress) -> None:
        """Hear of one ticker; its error is told at once."""
        if progress.outcome.error is not None:
            self._say(f"{progress.outcome.ticker}: {progress.outcome}")
        now = self._heard = self._clock()
        self._done, self._tickers = progress.done, progress.tickers
        at_end = progress.done >= progress.tickers and not self._told_end
        if now - self._said < SECONDS_BETWEEN and not at_end:
            return
        self._said, self._told_end = now, self._told_end or at_end
        self._say(
            f"{progress.done:,}/{progress.tickers:,} tickers · {progress.bars:,} bars · {progress.calls:,} calls"
            f" · about {self._left(now - self._began):.0f} s left"
        )

    def _left(self, passed: float) -> float:
        """Seconds at the pace so far, but not fewer than the budget's windows take."""
        if self._done >= self._tickers:
            return 0.0
        at_this_pace = passed / max(1, self._done) * (self._tickers - self._done)
        windows = ceil(self._tickers / self._per_window) - 1 if self._per_window else 0
        return max(at_this_pace, windows * self._window - passed)

    def while_silent(self, budget: BudgetStatus, seconds: float = SILENT_SECONDS) -> None:
        """Say what is waited for, if no ticker has ended and nothing was said for ``seconds``."""
        now = self._clock()
        if now - max(self._said, self._heard) < seconds or self._told_end:
            return
        self._said = now
        far = f"{self._done:,}/{self._tickers:,} tickers" if self._tickers else "no ticker yet"
        self._say(f"{far} · {now - self._heard:.0f} s without an answer: {self._reason(budget)}")

    def _reason(self, budget: BudgetStatus) -> str:
        sent = f"{budget.requests_in_window:,} of {budget.requests_ceiling:,} requests"
        if budget.paused_until is not None:
            return f"the vendor refused for the rate, asking goes on at {budget.paused_until:%H:%M:%S} UTC"
        if budget.requests_in_window >= budget.requests_ceiling:
            return f"{sent} of {self._window:.0f} s are spent, asking goes on as they expire"
        return f"the budget holds nothing back, {sent} of {self._window:.0f} s are spent"


@contextmanager
def progress_in(engine: Engine, say: Callable[[str], None], silence: float = SILENT_SECONDS) -> Iterator[ProgressLog]:
    """A listener for a run of ``engine`` that says also, from a thread of its own, why nothing happens."""
    settings = engine.settings
    per_window = int(settings.requests_per_minute * settings.minute_share)
    listener = ProgressLog(say, per_window=per_window, window_seconds=settings.rate_window_seconds)
    over = threading.Event()
    watcher = threading.Thread(target=_watch, args=(engine, listener, over, silence), daemon=True)
    if settings.token is not None:  # without one nothing is asked
        watcher.start()
    try:
        yield listener
    finally:
        over.set()
        if watcher.is_alive():
            watcher.join()


def _watch(engine: Engine, listener: ProgressLog, over: threading.Event, silence: float) -> None:
    budget = engine.budget()
    while not over.wait(silence / 2):
        try:
            status = budget.status(engine.settings.now())
        except DatabaseUnavailable:
            continue  # the run itself says so, or outlasts it
        listener.while_silent(status, silence)
