"""The vendor budget of one token: requests in the rate window, calls in the UTC day, common pauses.

Postgres holds all of it (tables ``budget``, ``permits``, ``ledger`` and ``ledger_by_purpose``, functions in
``migrations/functions.sql`` and ``migrations/0011_purposes.sql``), so every process on every machine shares it. The
permits of a dead process expire by themselves, and whatever locks the token's row is one statement that the server
commits by itself: a process that dies or hangs never holds up the others. Waiting is the caller's part:
``take_permits`` returns at once with the time to wait. What a single purpose may spend is in ``purpose_limit``.
"""

import hashlib
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from backfill_assets.config.settings import Settings
from backfill_assets.market.purposes import KEPT_SHARES, Purpose
from backfill_assets.store.postgres.connection import Connection, Database
from backfill_assets.store.quota.purpose_limit import TAKE_LIMITED_PERMITS, build_limit_parameters

_TAKE_PERMITS = """
SELECT permit_ids, wait_seconds, calls_affordable, is_paused, extract(epoch FROM clock_timestamp())::float8
FROM backfill.take_permits(  -- the time is a number, as the row is read when the role's own date style holds again
    %(token)s, %(purpose)s, %(kept_share)s, %(wanted)s, %(calls_each)s, %(day)s, %(limit)s, %(share)s, %(window)s,
    %(timeout)s, %(daily_calls)s, %(reserve)s, %(spend_extra)s)
"""
_SETTLE_PERMITS = """
SELECT backfill.settle_permits(
    %(token)s, %(purpose)s, %(permits)s, %(refund)s, %(day)s, %(window)s, %(header_limit)s, %(header_remaining)s,
    %(pause)s)
"""
_RETURN_PERMITS = "SELECT backfill.return_permits(%(token)s, %(purpose)s, %(permits)s, %(refund)s, %(day)s)"
_UPSERT_ACCOUNT = """
INSERT INTO backfill.budget AS b (token, account_day, account_used, account_limit, account_extra,
                                  account_ledger_calls, account_read_at)
VALUES (%(token)s, %(day)s, %(used)s, %(limit)s, %(extra)s,
        coalesce((SELECT calls FROM backfill.ledger WHERE token = %(token)s AND day = %(day)s), 0), %(now)s)
ON CONFLICT (token) DO UPDATE SET
    account_day = EXCLUDED.account_day, account_used = EXCLUDED.account_used, account_limit = EXCLUDED.account_limit,
    account_extra = EXCLUDED.account_extra, account_ledger_calls = EXCLUDED.account_ledger_calls,
    account_read_at = EXCLUDED.account_read_at,
    refused_limit = coalesce(b.refused_limit, EXCLUDED.account_limit),
    refused_extra = coalesce(b.refused_extra, EXCLUDED.account_extra)
"""
# The first refusal stands for the day; another one counts only after the account showed more calls in between.
_RECORD_REFUSAL = """
INSERT INTO backfill.budget AS b (token, refused_on, refused_at, refused_message)
VALUES (%(token)s, %(day)s, %(now)s, %(message)s)
ON CONFLICT (token) DO UPDATE SET
    refused_on = EXCLUDED.refused_on, refused_at = EXCLUDED.refused_at, refused_message = EXCLUDED.refused_message,
    refused_limit = b.account_limit, refused_extra = b.account_extra
WHERE NOT backfill.is_day_used_up(b, %(day)s, %(spend_extra)s)
"""
_SELECT_REFUSAL = """
SELECT refused_at, refused_message FROM backfill.budget AS b
WHERE token = %(token)s AND backfill.is_day_used_up(b, %(day)s, %(spend_extra)s)
"""
# A token that no request was made with has no row yet: an empty one takes its place.
_SELECT_STATUS = """
WITH b AS (
    SELECT * FROM backfill.budget WHERE token = %(token)s
    UNION ALL
    SELECT (jsonb_populate_record(NULL::backfill.budget, jsonb_build_object('token', %(token)s::text))).*
    LIMIT 1
)
SELECT backfill.calls_left_for_purpose(
           b::backfill.budget, %(purpose)s, %(kept_share)s, %(day)s, %(daily_calls)s, %(reserve)s, %(spend_extra)s),
       coalesce((SELECT calls FROM backfill.ledger WHERE token = %(token)s AND day = %(day)s), 0),
       (SELECT count(*) FROM backfill.permits WHERE token = %(token)s AND expires_at > clock_timestamp()),
       backfill.request_ceiling(b::backfill.budget, %(limit)s, %(share)s, %(window)s),
       CASE WHEN external_seen_at > clock_timestamp() - make_interval(secs => %(window)s)
            THEN external_requests ELSE 0 END,
       CASE WHEN paused_until > clock_timestamp() THEN paused_until END
FROM b
"""


@dataclass(frozen=True, slots=True)
class QuotaLimits:
    """What one token may spend; units are in the names, ``config.settings`` has the ranges."""

    requests_per_window: int
    share: float
    window_seconds: float
    timeout_seconds: float
    daily_calls: int
    reserve: float
    spend_extra: bool = False
    cross_feed_calls: int | None = None  # a day; None for a share of the day's calls (``purpose_limit``)


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
        cross_feed_calls=settings.cross_feed_calls,
    )


@dataclass(frozen=True, slots=True)
class PermitGrant:
    """Permits, and when they were taken (server's clock); without any, how long to wait; calls left; a pause."""

    permits: tuple[int, ...]
    wait_seconds: float
    calls_left: int
    granted_at: datetime
    is_paused: bool = False


@dataclass(frozen=True, slots=True)
class PermitSettlement:
    """What became of permits: calls refunded, the newest rate headers of the vendor, and a pause if it required one."""

    permits: Sequence[int]
    refund: int = 0
    rate_limit: int | None = None
    rate_remaining: int | None = None
    pause_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class QuotaRefusal:
    """The vendor's word that the day's calls are used up: when (UTC) it said so, and its message."""

    at: datetime
    message: str


@dataclass(frozen=True, slots=True)
class BudgetStatus:
    """What is left of the day and of the rate window; times are UTC."""

    calls_left_today: int
    calls_spent_today: int
    resets_at: datetime
    requests_in_window: int
    requests_ceiling: int
    external_requests: int
    paused_until: datetime | None
    refusal: QuotaRefusal | None = None  # it holds whatever the account endpoint counts


def fingerprint_token(token: str) -> str:
    """A name for a token that does not reveal it."""
    return hashlib.blake2b(token.encode(), digest_size=8, person=b"backfill").hexdigest()


def compute_quota_reset(now: datetime) -> datetime:
    """When the vendor's day ends: the next midnight UTC."""
    return datetime.combine(now.astimezone(UTC).date() + timedelta(days=1), time(), UTC)


class Budget:
    """The budget of one token. ``now`` decides the quota day; the rate window and pauses follow the clock of Postgres.

    What is left depends on the purpose: each one leaves a share of the day's calls to those that come before it
    (``market.purposes``). Calls that live sampling has reserved and not spent yet are available to no other purpose
    (``live_budget``).
    """

    def __init__(self, database: Database, token: str, limits: QuotaLimits, purpose: Purpose = Purpose.GAP) -> None:
        self._database = database
        self._token = fingerprint_token(token)
        self._limits = limits
        self.purpose = purpose

    def for_purpose(self, purpose: Purpose) -> "Budget":
        """The same token's budget for another purpose."""
        if purpose is self.purpose:
            return self
        other = copy(self)
        other.purpose = purpose
        return other

    @property
    def limits(self) -> QuotaLimits:
        """The limits of this budget."""
        return self._limits

    def take_permits(self, wanted: int, calls_each: int, now: datetime) -> PermitGrant:
        """Take up to ``wanted`` permits for requests that cost ``calls_each`` calls; does not wait.

        While spending is paused, none are granted, also for requests that cost nothing.
        """
        values = {**self._build_parameters(now), "wanted": wanted, "calls_each": calls_each}
        statement = _TAKE_PERMITS
        if self.purpose is Purpose.CROSS_FEED and calls_each:
            statement = TAKE_LIMITED_PERMITS
            values |= build_limit_parameters(self._limits.cross_feed_calls)
        # If the connection breaks after the commit, the permits of the lost answer expire by themselves.
        ((permits, wait_seconds, calls_left, is_paused, granted_at),) = self._database.retry_statement(
            statement, values
        )
        at = datetime.fromtimestamp(granted_at, UTC)
        return PermitGrant(tuple(permits), float(wait_seconds or 0.0), int(calls_left), at, is_paused)

    def settle_permits(self, settlement: PermitSettlement, now: datetime) -> None:
        """Report the end of requests; a permit that is never settled expires after its time-out."""
        values = {
            **self._build_parameters(now),
            "permits": list(settlement.permits),
            "refund": settlement.refund,
            "header_limit": settlement.rate_limit,
            "header_remaining": settlement.rate_remaining,
            "pause": settlement.pause_seconds,
        }
        self._database.retry_statement(_SETTLE_PERMITS, values)

    def return_permits(self, permits: Sequence[int], calls_each: int, day: date) -> None:
        """Return permits that were never used; ``day`` is the UTC day they were taken on, and gets its calls back."""
        values = {
            "token": self._token,
            "purpose": self.purpose,
            "permits": list(permits),
            "refund": calls_each * len(permits),
            "day": day,
        }
        self._database.retry_statement(_RETURN_PERMITS, values)

    def record_account(self, day: date | None, used: int, limit: int, extra: int, now: datetime) -> None:
        """Store the day's usage as reported by the vendor's account endpoint.

        Its counter and date stay on the previous day until the first billed call of a day (docs/vendor.md §5.3). A date
        other than today's therefore means that nothing is spent yet.
        """
        today = _to_utc_date(now)
        values = {
            "token": self._token,
            "day": today,
            "used": used if day == today else 0,
            "limit": limit,
            "extra": extra,
            "now": now,
        }
        self._database.retry_statement(_UPSERT_ACCOUNT, values)

    def record_refusal(self, message: str, now: datetime) -> None:
        """Store the vendor's word that the day's calls are used up; every process then has none left until midnight.

        The account endpoint's counter may lag (docs/vendor.md §5.3). Only when the account shows a higher limit than
        at this moment, or more purchased calls that may be spent, are there calls again.
        """
        values = {**self._build_parameters(now), "message": message, "now": now}
        self._database.retry_statement(_RECORD_REFUSAL, values)

    def read_refusal(self, now: datetime) -> QuotaRefusal | None:
        """The vendor's word that the calls of ``now``'s day are used up; None if it has not said so."""
        with self._database.transaction() as connection:
            return self._select_refusal(connection, now)

    def _select_refusal(self, connection: Connection, now: datetime) -> QuotaRefusal | None:
        row = connection.execute(_SELECT_REFUSAL, self._build_parameters(now)).fetchone()
        return QuotaRefusal(row[0].astimezone(UTC), row[1]) if row else None

    def read_status(self, now: datetime) -> BudgetStatus:
        """What is left of the day and of the rate window; takes no permit."""
        with self._database.transaction() as connection:
            row = connection.execute(_SELECT_STATUS, self._build_parameters(now)).fetchone()
            refusal = self._select_refusal(connection, now)
        left, spent, in_window, ceiling, external, paused = row or (0, 0, 0, 0, 0, None)
        return BudgetStatus(
            calls_left_today=max(0, left),
            calls_spent_today=spent,
            resets_at=compute_quota_reset(now),
            requests_in_window=in_window,
            requests_ceiling=ceiling,
            external_requests=external or 0,
            paused_until=paused.astimezone(UTC) if paused else None,
            refusal=refusal,
        )

    def _build_parameters(self, now: datetime) -> dict[str, Any]:
        """The token, the day and the limits, as every statement names them."""
        limits = self._limits
        return {
            "token": self._token,
            "purpose": self.purpose,
            "kept_share": KEPT_SHARES[self.purpose],
            "day": _to_utc_date(now),
            "limit": limits.requests_per_window,
            "share": limits.share,
            "window": limits.window_seconds,
            "timeout": limits.timeout_seconds,
            "daily_calls": limits.daily_calls,
            "reserve": limits.reserve,
            "spend_extra": limits.spend_extra,
        }


def _to_utc_date(now: datetime) -> date:
    return now.astimezone(UTC).date()
