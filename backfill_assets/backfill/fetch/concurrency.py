"""An adaptive limit of concurrent requests: it grows with each success and halves with each refusal."""

import asyncio
import time
from collections.abc import Callable


class AdaptiveConcurrencyLimit:
    """A limit of requests in flight: +1 for each good response, half after a refusal (docs/decisions/0024).

    A refusal of a request that began before the last halving changes nothing, so that a burst of refusals counts once.
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
        """The number of requests that may be in flight now."""
        return max(1, int(self._limit))

    @property
    def in_flight(self) -> int:
        """The places that are taken."""
        return self._in_flight

    async def acquire(self) -> float:
        """Wait for a free place; returns the start time of the request, for ``release``."""
        async with self._condition:
            await self._condition.wait_for(lambda: self._in_flight < self.limit)
            self._in_flight += 1
        return self._clock()

    async def release(self, started_at: float, *, refused: bool) -> None:
        """Free the place and adapt the limit."""
        async with self._condition:
            self._in_flight -= 1
            if not refused:
                self._limit = min(self._maximum, self._limit + 1)
            elif started_at >= self._halved_at:
                self._limit = max(1.0, self._limit / 2)
                self._halved_at = self._clock()
            self._condition.notify_all()
