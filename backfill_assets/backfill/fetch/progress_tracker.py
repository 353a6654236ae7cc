"""Counts the finished tickers of one pass and reports each of them to the run's listener."""

from collections import Counter
from collections.abc import Sequence

from backfill_assets.backfill.fetch.shared_rate_limiter import Usage
from backfill_assets.backfill.planner import PlannedRequest
from backfill_assets.backfill.results import Progress, ProgressListener, TickerOutcome


class ProgressTracker:
    """Turns outcomes of requests into ``Progress`` reports; a ticker is done when none of its requests is outstanding.

    Args:
        on_progress: receives a report for each outcome.
        total_tickers: tickers of the pass.
        usage: what the run has spent so far.
    """

    def __init__(self, on_progress: ProgressListener, total_tickers: int, usage: Usage) -> None:
        self._on_progress = on_progress
        self._total_tickers = total_tickers
        self._usage = usage
        self._outstanding: Counter[int] = Counter()
        self._outcomes: dict[int, TickerOutcome] = {}
        self._done = self._bars = 0
        self._batch = (1, 1)

    def start_batch(self, requests: Sequence[PlannedRequest], number: int, count: int) -> None:
        """Expect the outcomes of ``requests``, which are batch ``number`` of ``count``."""
        self._batch = (number, count)
        self._outstanding.update(request.symbol.symbol_id for request in requests)
        self._done = sum(self._outstanding[symbol_id] <= 0 for symbol_id in self._outcomes)

    def add_bars(self, bars: int) -> None:
        """Count bars that were stored."""
        self._bars += bars

    def report(self, symbol_id: int, outcome: TickerOutcome) -> None:
        """Count the outcome of one request and report it."""
        self._outcomes[symbol_id] = merged = outcome.merge_with(self._outcomes.get(symbol_id))
        self._outstanding[symbol_id] -= 1
        self._done += self._outstanding[symbol_id] == 0
        self._on_progress(
            Progress(
                done=self._done,
                tickers=self._total_tickers,
                bars=self._bars,
                calls=self._usage.calls,
                outcome=merged,
                batch=self._batch[0],
                batches=self._batch[1],
            )
        )
