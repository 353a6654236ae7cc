"""Request limit and quota of each token: a sliding window of requests, and the calls of a UTC day.

The window runs on real seconds, the day on the sandbox's clock. What a request costs is decided by the endpoints.
"""

from collections import deque
from dataclasses import dataclass
from datetime import date, timedelta

from backfill_assets.sandbox.config import SandboxConfig

FREE_DAILY_CALLS = 20
_EPOCH = date(1970, 1, 1)


@dataclass
class TokenAccount:
    """Request limit, quota and usage of one token.

    Attributes:
        per_minute: requests allowed in any window.
        window_seconds: length of the window, real seconds.
        daily_limit: calls allowed per UTC day.
        extra_calls: purchased calls that are left.
        spent: calls billed on ``spent_on``.
        spent_on: the UTC day of ``spent``. It stays on an earlier day until the first billed call of today.
    """

    per_minute: int
    window_seconds: float
    daily_limit: int
    extra_calls: int = 0
    spent: int = 0
    spent_on: date = _EPOCH

    def __post_init__(self) -> None:
        """Start with an empty window."""
        self._admitted_at: deque[float] = deque()

    def admit(self, now: float) -> bool:
        """Admit and count a request at ``now`` (real seconds); False if the window is full."""
        self._drop_expired(now)
        if len(self._admitted_at) >= self.per_minute:
            return False
        self._admitted_at.append(now)
        return True

    def count_remaining(self, now: float) -> int:
        """Count the requests that the window can still admit."""
        self._drop_expired(now)
        return self.per_minute - len(self._admitted_at)

    def compute_wait(self, now: float) -> float:
        """Compute the real seconds until the window can admit a request."""
        self._drop_expired(now)
        if len(self._admitted_at) < self.per_minute:
            return 0.0
        return self._admitted_at[0] + self.window_seconds - now

    def can_spend(self, calls: int, today: date) -> bool:
        """Whether the rest of the day's calls and the purchased calls cover ``calls``."""
        return calls <= self.daily_limit - self._get_spent_today(today) + self.extra_calls

    def spend(self, calls: int, today: date) -> None:
        """Bill ``calls``. After the day's calls the purchased ones are spent without a sign (docs/vendor.md §1.3)."""
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
    """Open an account that has not been billed today."""
    return TokenAccount(
        per_minute=per_minute,
        window_seconds=window_seconds,
        daily_limit=FREE_DAILY_CALLS if is_free_plan else daily_limit,
        extra_calls=extra_calls,
        spent=spent_yesterday,
        spent_on=today - timedelta(days=1),
    )


class TokenAccounts:
    """The accounts of one sandbox, each opened by the first request with its token."""

    def __init__(self, config: SandboxConfig) -> None:
        self._config = config
        self._accounts: dict[str, TokenAccount] = {}

    def get_or_open(self, token: str, today: date) -> TokenAccount:
        """The account of ``token``; ``today`` is a UTC day."""
        if token not in self._accounts:
            config = self._config
            self._accounts[token] = open_account(
                is_free_plan=token in config.free_tokens,
                per_minute=config.per_minute,
                window_seconds=config.window_seconds,
                daily_limit=config.daily,
                extra_calls=config.extra_limit,
                spent_yesterday=config.spent_yesterday,
                today=today,
            )
        return self._accounts[token]
