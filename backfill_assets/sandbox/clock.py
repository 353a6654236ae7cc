"""The sandbox's own time: starts where it is told, runs at its own rate, can be moved."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from time import monotonic


class SandboxClock:
    """A clock; safe to read and move from several threads.

    Args:
        start: where it begins (aware); None: the real time.
        rate: simulated seconds per real second; 0 stands still.
        real: seconds of a clock that never goes back.
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
        """The sandbox's time, UTC."""
        start, since, rate = self._state
        return (start + timedelta(seconds=(self._read_monotonic() - since) * rate)).astimezone(UTC)

    def move(self, to: datetime) -> None:
        """Go on from ``to`` (aware) at the same rate."""
        if to.tzinfo is None:
            raise ValueError("the clock needs a time with a zone")
        self._state = (to, self._read_monotonic(), self.rate)

    def set_rate(self, rate: float) -> None:
        """Run at ``rate`` from now on."""
        if rate < 0:
            raise ValueError("the clock cannot run backwards")
        self._state = (self.now(), self._read_monotonic(), rate)
