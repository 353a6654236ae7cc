"""The vendor budget of one token: requests in the rate window, calls in the UTC day, common pauses.

Everything is held in Postgres (``0003_vendor_budget.sql``) and so shared by every process on every
machine; a dead process's permits expire by themselves. Waiting is the caller's: ``take`` answers at
once with how long to wait and holds nothing open.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import ClassVar

from backfill_assets.config.settings import Settings
from backfill_assets.store.postgres.connection import Database


@dataclass(frozen=True, slots=True)
class QuotaLimits:
    """What one token may spend; units in the names, see ``settings`` for the ranges."""

    requests_per_window: int
    share: float
    window_seconds: float
    timeout_seconds: float
    daily_calls: int
    reserve: float
    spend_extra: bool = False


def build_limits(settings: Settings) -> QuotaLimits:
    """The limits that the settings set."""
    return QuotaLimits(
        requests_per_window=settings.requests_per_minute,
        share=settings.minute_share,
        window_seconds=settings.rate_window_seconds,
        timeout_seconds=settings.request_timeout_seconds,
        daily_calls=settings.daily_calls,
        reserve=settings.collector_reserve,
        spend_extra=settings.spend_extra_limit,
    )


@dataclass(frozen=True, slots=True)
class PermitGrant:
    """Permits taken; with none, how long to wait, and how many calls the day still affords."""

    permits: tuple[int, ...]
    wait_seconds: float
    calls_left: int


@dataclass(frozen=True, slots=True)
class PermitSettlement:
    """What became of some permits: calls given back, the vendor's newest rate headers, a pause asked for."""

    permits: Sequence[int]
    refund: int = 0
    rate_limit: int | None = None
    rate_remaining: int | None = None
    pause_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class BudgetStatus:
    """What is left now."""

    calls_left_today: int
    calls_spent_today: int
    resets_at: datetime
    requests_in_window: int
    requests_ceiling: int
    external_requests: int
    paused_until: datetime | None


def fingerprint_token(token: str) -> str:
    """A name for a token that does not give it away."""
    return hashlib.blake2b(token.encode(), digest_size=8, person=b"backfill").hexdigest()


def compute_quota_reset(now: datetime) -> datetime:
    """When the vendor's day ends: the next midnight UTC."""
    return datetime.combine(now.astimezone(UTC).date() + timedelta(days=1), time(), UTC)


class Budget:
    """The budget of one token. ``now`` decides the quota day; the rate window runs on Postgres' clock.

    What live sampling has not spent of its own budget is kept for it (``live_budget``).
    """

    purpose: ClassVar = "backfilling"
    _TAKE_PERMITS: ClassVar = "SELECT * FROM backfill.take_permits(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"

    def __init__(self, database: Database, token: str, limits: QuotaLimits) -> None:
        self._database = database
        self._token = fingerprint_token(token)
        self._limits = limits

    @property
    def limits(self) -> QuotaLimits:
        """The limits this budget keeps."""
        return self._limits

    def take_permits(self, wanted: int, calls_each: int, now: datetime) -> PermitGrant:
        """Take up to ``wanted`` permits for requests that cost ``calls_each``; never blocks."""
        limits = self._limits
        values = [
            *(self._token, wanted, calls_each, _to_utc_date(now), limits.requests_per_window, limits.share),
            *(limits.window_seconds, limits.timeout_seconds),
            *(limits.daily_calls, limits.reserve, limits.spend_extra),
        ]
        # permits that were granted unheard expire by themselves
        row = self._database.retry_transaction(
            lambda connection: connection.execute(
                self._TAKE_PERMITS,
                values,
            ).fetchone()
        )
        permits, wait, left = row or ([], None, 0)
        return PermitGrant(tuple(permits), float(wait or 0.0), int(left))

    def settle_permits(self, settlement: PermitSettlement, now: datetime) -> None:
        """Report what became of permits; a permit that is never settled expires after its time-out."""
        values = [
            *(self._token, list(settlement.permits), settlement.refund, _to_utc_date(now), self._limits.window_seconds),
            *(settlement.rate_limit, settlement.rate_remaining, settlement.pause_seconds),
        ]
        self._database.retry_transaction(
            lambda connection: connection.execute(
                "SELECT backfill.settle_permits(%s, %s, %s, %s, %s, %s, %s, %s)", values
            )
        )

    def return_permits(self, permits: Sequence[int], calls_each: int, now: datetime) -> None:
        """Return permits that were taken and never used."""
        values = [self._token, list(permits), calls_each * len(permits), _to_utc_date(now)]
        self._database.retry_transaction(
            lambda connection: connection.execute("SELECT backfill.return_permits(%s, %s, %s, %s)", values)
        )

    def record_account(self, day: date | None, used: int, limit: int, extra: int, now: datetime) -> None:
        """Remember what the vendor says of the day.

        Its counter and date stay on yesterday until the day's first billed call (EODHD.md §5), so a
        date that is not today's means that nothing is spent yet.
        """
        today = _to_utc_date(now)
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO backfill.budget AS b (token, account_day, account_used, account_limit, account_extra,"
                " account_ledger_calls, account_read_at)"
                " VALUES (%(token)s, %(day)s, %(used)s, %(limit)s, %(extra)s,"
                " coalesce((SELECT calls FROM backfill.ledger WHERE token = %(token)s AND day = %(day)s), 0), %(now)s)"
                " ON CONFLICT (token) DO UPDATE SET account_day = EXCLUDED.account_day,"
                " account_used = EXCLUDED.account_used, account_limit = EXCLUDED.account_limit,"
                " account_extra = EXCLUDED.account_extra, account_ledger_calls = EXCLUDED.account_ledger_calls,"
                " account_read_at = EXCLUDED.account_read_at",
                {
                    "token": self._token,
                    "day": today,
                    "used": used if day == today else 0,
                    "limit": limit,
                    "extra": extra,
                    "now": now,
                },
            )

    def read_status(self, now: datetime) -> BudgetStatus:
        """What is left of the day and of the rate window; takes no permit."""
        limits = self._limits
        with self._database.transaction() as connection:
            row = connection.execute(
                "WITH b AS (SELECT * FROM backfill.budget WHERE token = %(token)s"
                " UNION ALL SELECT (jsonb_populate_record(NULL::backfill.budget,"
                " jsonb_build_object('token', %(token)s::text))).* LIMIT 1)"
                " SELECT backfill.backfill_calls_left(b::backfill.budget, %(day)s, %(daily)s, %(reserve)s, %(extra)s),"
                " coalesce((SELECT calls FROM backfill.ledger WHERE token = %(token)s AND day = %(day)s), 0),"
                " (SELECT count(*) FROM backfill.permits WHERE token = %(token)s AND expires_at > clock_timestamp()),"
                " backfill.request_ceiling(b::backfill.budget, %(limit)s, %(share)s, %(window)s),"
                " CASE WHEN external_seen_at > clock_timestamp() - make_interval(secs => %(window)s)"
                " THEN external_requests ELSE 0 END,"
                " CASE WHEN paused_until > clock_timestamp() THEN paused_until END FROM b",
                {
                    "token": self._token,
                    "day": _to_utc_date(now),
                    "daily": limits.daily_calls,
                    "reserve": limits.reserve,
                    "extra": limits.spend_extra,
                    "limit": limits.requests_per_window,
                    "share": limits.share,
                    "window": limits.window_seconds,
                },
            ).fetchone()
        left, spent, in_window, ceiling, external, paused = row or (0, 0, 0, 0, 0, None)
        return BudgetStatus(
            max(0, left),
            spent,
            compute_quota_reset(now),
            in_window,
            ceiling,
            external or 0,
            paused.astimezone(UTC) if paused else None,
        )


def _to_utc_date(now: datetime) -> date:
    return now.astimezone(UTC).date()
