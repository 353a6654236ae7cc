"""How many requests may be under way at once: grows while nothing is refused, halves when something is."""

import asyncio
import time
from collections.abc import Callable


class Flight:
    """A bound on concurrency that adapts (decision 11): +1 per good answer, half per refusal.

    A refusal of a request that began before the last halving changes nothing: one burst of
    refusals counts once.
    """

    def __init__(self, start: int, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = float(min(start, most))
        self._most = most
        self._under_way = 0
        self._clock = clock
        self._halved_at = clock()
        self._room = asyncio.Condition()

    @property
    def limit(self) -> int:
        """How many may be under way now."""
        return max(1, int(self._limit))

    async def enter(self) -> float:
        """Wait for room; returns when the request began, for ``leave``."""
        async with self._room:
            await self._room.wait_for(lambda: self._under_way < self.limit)
            self._under_way += 1
        return self._clock()

    async def leave(self, began: float, *, refused: bool) -> None:
        """Make room again and learn from how it went."""
        async with self._room:
            self._under_way -= 1
            if not refused:
                self._limit = min(self._most, self._limit + 1)
            elif began >= self._halved_at:
                self._limit = max(1.0, self._limit / 2)
                self._halved_at = self._clock()
            self._room.notify_all()
