"""What each token may still do: a sliding window of requests and a day's calls.

The window runs on real seconds, the day on the sandbox's clock (UTC).
"""

from collections import deque
from dataclasses import dataclass
from datetime import date, timedelta

FREE_DAILY_CALLS = 20
_EPOCH = date(1970, 1, 1)


@dataclass
class TokenAccount:
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
    daily_limit: int
    extra_calls: int = 0
    spent: int = 0
    spent_on: date = _EPOCH

    def __post_init__(self) -> None:
        """Begin with an empty window."""
        self._admitted_at: deque[float] = deque()

    def admit(self, now: float) -> bool:
        """Let a request in at real second ``at``, if the window has room."""
        self._drop_expired(now)
        if len(self._admitted_at) >= self.per_minute:
            return False
        self._admitted_at.append(now)
        return True

    def count_remaining(self, now: float) -> int:
        """Requests that the window still has room for."""
        self._drop_expired(now)
        return self.per_minute - len(self._admitted_at)

    def compute_wait(self, now: float) -> float:
        """Real seconds until the window has room."""
        self._drop_expired(now)
        if len(self._admitted_at) < self.per_minute:
            return 0.0
        return self._admitted_at[0] + self.window_seconds - now

    def can_spend(self, calls: int, today: date) -> bool:
        """Whether ``calls`` fit into what is left of the day and the extra calls."""
        return calls <= self.daily_limit - self._get_spent_today(today) + self.extra_calls

    def spend(self, calls: int, today: date) -> None:
        """Bill ``calls``; beyond the day's the extra calls drain silently (EODHD.md §1)."""
        if calls == 0:
            return
        spent = self._get_spent_today(today)
        from_daily_limit = min(calls, max(self.daily_limit - spent, 0))
        self.spent, self.spent_on = spent + from_daily_limit, today
        self.extra_calls -= calls - from_daily_limit

    def _get_spent_today(self, today: date) -> int:
        return self.spent if self.spent_on == today else 0

    def _drop_expired(self, now: float) -> None:
        while self._admitted_at and self._admitted_at[0] <= now - self.window_seconds:
            self._admitted_at.popleft()


def open_account(
    *,
    is_free_plan: bool,
    per_minute: int,
    window_seconds: float,
    daily_limit: int,
    extra_calls: int,
    spent_yesterday: int,
    today: date,
) -> TokenAccount:
    """An account that has not been billed today."""
    return TokenAccount(
        per_minute=per_minute,
        window_seconds=window_seconds,
        daily_limit=FREE_DAILY_CALLS if is_free_plan else daily_limit,
        extra_calls=extra_calls,
        spent=spent_yesterday,
        spent_on=today - timedelta(days=1),
    )
