"""Progress lines for a run's log."""

import time
from collections.abc import Callable

from backfill_assets.backfill.outcome import Progress

SECONDS_BETWEEN = 3.0


class ProgressLog:
    """A listener of a run that says every few seconds how far it is, and at its end."""

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._say, self._clock = say, clock
        self._began = self._said = clock()
        self._told_end = False

    def __call__(self, progress: Progress) -> None:
        """Hear of one ticker; its error is told at once."""
        if progress.outcome.error is not None:
            self._say(f"{progress.outcome.ticker}: {progress.outcome}")
        now = self._clock()
        at_end = progress.done >= progress.tickers and not self._told_end
        if now - self._said < SECONDS_BETWEEN and not at_end:
            return
        self._said, self._told_end = now, self._told_end or at_end
        left = (now - self._began) / max(1, progress.done) * (progress.tickers - progress.done)
        self._say(
            f"{progress.done:,}/{progress.tickers:,} tickers · {progress.bars:,} bars · {progress.calls:,} calls"
            f" · about {left:.0f} s left"
        )
