"""Counts of requests and billed calls, for assertions of tests and benchmarks."""

from collections import Counter, deque
from threading import Lock
from typing import Any

from backfill_assets.market.exchanges.registry import DEFAULT_EXCHANGE


class RequestStats:
    """Counts of requests under ``/api``; safe to read from another thread.

    Args:
        window_seconds: length of the window of ``most_in_window``, real seconds.
    """

    def __init__(self, window_seconds: float) -> None:
        self._window_seconds = window_seconds
        self._lock = Lock()
        self._in_flight = 0
        self.reset()

    def reset(self) -> None:
        """Set all counts to zero; requests in flight stay counted as in flight."""
        with self._lock:
            self._requests = self._calls = self._most_in_window = 0
            self._most_in_flight = self._in_flight
            self._by_status: Counter[str] = Counter()
            self._by_fault: Counter[str] = Counter()
            self._by_endpoint: Counter[str] = Counter()
            self._calls_by_endpoint: Counter[str] = Counter()
            self._per_ticker: Counter[str] = Counter()
            self._by_exchange: Counter[str] = Counter()
            self._calls_by_exchange: Counter[str] = Counter()
            self._recent: deque[float] = deque()

    def record_start(self, endpoint: str, ticker: str | None, now: float, exchange: str = DEFAULT_EXCHANGE) -> None:
        """Count a request that arrived at ``now`` (real seconds); ``ticker`` only for ``/intraday``."""
        with self._lock:
            self._requests += 1
            self._in_flight += 1
            self._most_in_flight = max(self._most_in_flight, self._in_flight)
            self._by_endpoint[endpoint] += 1
            self._by_exchange[exchange] += 1
            if ticker is not None:
                self._per_ticker[ticker] += 1
            self._recent.append(now)
            while self._recent[0] <= now - self._window_seconds:
                self._recent.popleft()
            self._most_in_window = max(self._most_in_window, len(self._recent))

    def record_end(self, status: str) -> None:
        """Count an answer with ``status``; 499 if the client disconnected first."""
        with self._lock:
            self._in_flight -= 1
            self._by_status[status] += 1

    def record_fault(self, kind: str) -> None:
        """Count a fault."""
        with self._lock:
            self._by_fault[kind] += 1

    def record_calls(self, endpoint: str, calls: int, exchange: str = DEFAULT_EXCHANGE) -> None:
        """Count billed calls."""
        with self._lock:
            self._calls += calls
            self._calls_by_endpoint[endpoint] += calls
            self._calls_by_exchange[exchange] += calls

    def as_dict(self) -> dict[str, Any]:
        """Return all counts, ready for JSON. ``per_ticker`` counts ``/intraday`` only."""
        with self._lock:
            return {
                "requests": self._requests,
                "calls": self._calls,
                "in_flight": self._in_flight,
                "most_in_flight": self._most_in_flight,
                "most_in_window": self._most_in_window,
                "window_seconds": self._window_seconds,
                "by_status": dict(self._by_status),
                "by_fault": dict(self._by_fault),
                "by_endpoint": dict(self._by_endpoint),
                "calls_by_endpoint": dict(self._calls_by_endpoint),
                "per_ticker": dict(self._per_ticker),
                "by_exchange": dict(self._by_exchange),
                "calls_by_exchange": dict(self._calls_by_exchange),
            }
