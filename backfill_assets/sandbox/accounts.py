"""What each token may still do: a sliding window of requests and a day's calls.

The window runs on real seconds, the day on the sandbox's clock (UTC).
"""

from collections import deque
from dataclasses import dataclass
from datetime import date, timedelta

FREE_CALLS = 20
_EPOCH = date(1970, 1, 1)


@dataclass
class Account:
    """One token's standing.

    Attributes:
        per_minute: requests allowed in any window.
        window_seconds: length of the window.
        daily: calls allowed per UTC day.
        extra: purchased calls that are left.
        spent: calls billed on ``spent_on``; stays on an earlier day until the first billed call.
        spent_on: the day ``spent`` belongs to.
    """

    per_minute: int
    window_seconds: float
    daily: int
    extra: int = 0
    spent: int = 0
    spent_on: date = _EPOCH

    def __post_init__(self) -> None:
        """Begin with an empty window."""
        self._admitted: deque[float] = deque()

    def admit(self, at: float) -> bool:
        """Let a request in at real second ``at``, if the window has room."""
        self._forget(at)
        if len(self._admitted) >= self.per_minute:
            return False
        self._admitted.append(at)
        return True

    def remaining(self, at: float) -> int:
        """Requests that the window still has room for."""
        self._forget(at)
        return self.per_minute - len(self._admitted)

    def wait(self, at: float) -> float:
        """Real seconds until the window has room."""
        self._forget(at)
        if len(self._admitted) < self.per_minute:
            return 0.0
        return self._admitted[0] + self.window_seconds - at

    def can_spend(self, calls: int, today: date) -> bool:
        """Whether ``calls`` fit into what is left of the day and the extra calls."""
        return calls <= self.daily - self._spent_today(today) + self.extra

    def spend(self, calls: int, today: date) -> None:
        """Bill ``calls``; beyond the day's the extra calls drain silently (EODHD.md §1)."""
        if calls == 0:
            return
        spent = self._spent_today(today)
        from_day = min(calls, max(self.daily - spent, 0))
        self.spent, self.spent_on = spent + from_day, today
        self.extra -= calls - from_day

    def _spent_today(self, today: date) -> int:
        return self.spent if self.spent_on == today else 0

    def _forget(self, at: float) -> None:
        while self._admitted and self._admitted[0] <= at - self.window_seconds:
            self._admitted.popleft()


def open_account(
    *, free: bool, per_minute: int, window_seconds: float, daily: int, extra: int, yesterday: int, today: date
) -> Account:
    """An account that has not been billed today."""
    return Account(
        per_minute=per_minute,
        window_seconds=window_seconds,
        daily=FREE_CALLS if free else daily,
        extra=extra,
        spent=yesterday,
        spent_on=today - timedelta(days=1),
    )
