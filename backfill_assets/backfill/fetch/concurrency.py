"""How many requests may be under way at once: grows while nothing is refused, halves when something is."""

import asyncio
import time
from collections.abc import Callable


class AdaptiveConcurrencyLimit:
    """A bound on concurrency that adapts (decision 11): +1 per good answer, half per refusal.

    A refusal of a request that began before the last halving changes nothing: one burst of
    refusals counts once.
    """

    def __init__(self, start: int, maximum: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = float(min(start, maximum))
        self._maximum = maximum
        self._in_flight = 0
        self._clock = clock
        self._halved_at = clock()
        self._condition = asyncio.Condition()

    @property
    def limit(self) -> int:
        """How many may be under way now."""
        return max(1, int(self._limit))

    async def acquire(self) -> float:
        """Wait for room; returns when the request began, for ``leave``."""
        async with self._condition:
            await self._condition.wait_for(lambda: self._in_flight < self.limit)
            self._in_flight += 1
        return self._clock()

    async def release(self, started_at: float, *, refused: bool) -> None:
        """Make room again and learn from how it went."""
        async with self._condition:
            self._in_flight -= 1
            if not refused:
                self._limit = min(self._maximum, self._limit + 1)
            elif started_at >= self._halved_at:
                self._limit = max(1.0, self._limit / 2)
                self._halved_at = self._clock()
            self._condition.notify_all()
