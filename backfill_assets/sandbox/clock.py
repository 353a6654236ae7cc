"""The sandbox's clock: it has a start and a rate of its own, and it can be moved."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from time import monotonic


class SandboxClock:
    """A simulated clock; safe to read and move from several threads.

    Args:
        start: first time (aware); None: the real time.
        rate: simulated seconds per real second; 0 stops the clock.
        read_monotonic: reads a monotonic clock in seconds.
    """

    def __init__(
        self, start: datetime | None = None, rate: float = 1.0, read_monotonic: Callable[[], float] = monotonic
    ) -> None:
        self._read_monotonic = read_monotonic
        self._state = (start or datetime.now(UTC), read_monotonic(), rate)

    @property
    def rate(self) -> float:
        """Simulated seconds per real second."""
        return self._state[2]

    def now(self) -> datetime:
        """Read the sandbox's time, UTC."""
        start, since, rate = self._state
        return (start + timedelta(seconds=(self._read_monotonic() - since) * rate)).astimezone(UTC)

    def move(self, to: datetime) -> None:
        """Continue from ``to`` (aware) at the same rate.

        Raises:
            ValueError: ``to`` has no time zone.
        """
        if to.tzinfo is None:
            raise ValueError("the time needs a time zone, for example 2026-06-03T12:00:00Z")
        self._state = (to, self._read_monotonic(), self.rate)

    def set_rate(self, rate: float) -> None:
        """Run at ``rate`` from now on.

        Raises:
            ValueError: ``rate`` is negative.
        """
        if rate < 0:
            raise ValueError("the rate must not be negative")
        self._state = (self.now(), self._read_monotonic(), rate)
