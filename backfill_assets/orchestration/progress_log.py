"""Progress lines for a run's log: every few seconds while tickers finish, and the reason when none does."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import ceil

from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.results import Progress
from backfill_assets.errors import DatabaseUnavailable
from backfill_assets.store.quota.budget import BudgetStatus

LOG_INTERVAL_SECONDS = 3.0
STALL_SECONDS = 6.0


class ProgressLog:
    """A progress listener that writes a line every few seconds, and one at the end.

    Args:
        write_line: writes one line.
        clock: returns seconds.
        requests_per_window: requests that the rate limit allows in each window of ``window_seconds``.
        window_seconds: length of the rate window.
    """

    def __init__(
        self,
        write_line: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
        *,
        requests_per_window: int = 0,
        window_seconds: float = 60.0,
    ) -> None:
        self._write_line, self._clock = write_line, clock
        self._requests_per_window, self._window_seconds = requests_per_window, window_seconds
        self._started_at = self._logged_at = self._updated_at = clock()
        self._done = self._tickers = 0
        self._has_logged_end = False

    def __call__(self, progress: Progress) -> None:
        """Handle the result of one ticker; an error is written at once."""
        if progress.outcome.error is not None:
            self._write_line(f"{progress.outcome.ticker}: {progress.outcome}")
        now = self._updated_at = self._clock()
        self._done, self._tickers = progress.done, progress.tickers
        at_end = progress.done >= progress.tickers and not self._has_logged_end
        if now - self._logged_at < LOG_INTERVAL_SECONDS and not at_end:
            return
        self._logged_at, self._has_logged_end = now, self._has_logged_end or at_end
        self._write_line(
            f"{progress.done:,}/{progress.tickers:,} tickers · {progress.bars:,} bars · {progress.calls:,} calls"
            f" · about {self._estimate_seconds_left(now - self._started_at):.0f} s left"
        )

    def _estimate_seconds_left(self, elapsed: float) -> float:
        """Seconds left at the pace so far, and at least what the rate limit needs."""
        if self._done >= self._tickers:
            return 0.0
        at_this_pace = elapsed / max(1, self._done) * (self._tickers - self._done)
        windows = ceil(self._tickers / self._requests_per_window) - 1 if self._requests_per_window else 0
        return max(at_this_pace, windows * self._window_seconds - elapsed)

    def log_stall(self, budget: BudgetStatus | None, seconds: float = STALL_SECONDS) -> None:
        """Write what the run waits for, if for ``seconds`` no ticker finished and no line was written.

        ``budget`` is None if the database does not answer.
        """
        now = self._clock()
        if now - max(self._logged_at, self._updated_at) < seconds or self._has_logged_end:
            return
        self._logged_at = now
        completed = f"{self._done:,}/{self._tickers:,} tickers" if self._tickers else "no ticker finished yet"
        self._write_line(
            f"{completed} · {now - self._updated_at:.0f} s without an answer: {self._explain_stall(budget)}"
        )

    def _explain_stall(self, budget: BudgetStatus | None) -> str:
        if budget is None:
            return "the database does not answer"
        usage = f"{budget.requests_in_window:,} of {budget.requests_ceiling:,} requests"
        if budget.paused_until is not None:
            return f"rate limited by the vendor, requests resume at {budget.paused_until:%H:%M:%S} UTC"
        if budget.requests_in_window >= budget.requests_ceiling:
            return f"{usage} in {self._window_seconds:.0f} s used, requests resume as these expire"
        return f"not rate limited, {usage} in {self._window_seconds:.0f} s used"


@contextmanager
def log_progress(
    engine: Engine, write_line: Callable[[str], None], stall_seconds: float = STALL_SECONDS
) -> Iterator[ProgressLog]:
    """A progress listener for a run of ``engine``; a second thread writes why no ticker finishes."""
    settings = engine.settings
    requests_per_window = int(settings.requests_per_minute * settings.minute_share)
    listener = ProgressLog(
        write_line, requests_per_window=requests_per_window, window_seconds=settings.rate_window_seconds
    )
    finished = threading.Event()
    watcher = threading.Thread(target=_watch_for_stalls, args=(engine, listener, finished, stall_seconds), daemon=True)
    if settings.token is not None:  # without a token there are no requests
        watcher.start()
    try:
        yield listener
    finally:
        finished.set()
        if watcher.is_alive():
            watcher.join()


def _watch_for_stalls(engine: Engine, listener: ProgressLog, finished: threading.Event, stall_seconds: float) -> None:
    budget = engine.create_budget()
    while not finished.wait(stall_seconds / 2):
        try:
            status = budget.read_status(engine.settings.now())
        except DatabaseUnavailable:  # the run reports it, or continues after it
            listener.log_stall(None, stall_seconds)
        else:
            listener.log_stall(status, stall_seconds)
