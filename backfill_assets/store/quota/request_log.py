"""The log of every attempt at a request to the vendor."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from backfill_assets.market.purposes import Purpose
from backfill_assets.market.vendor_errors import UnreadableRows
from backfill_assets.store.postgres.connection import Connection

RETENTION_DAYS = 30

_COPY_REQUESTS = """
COPY backfill.requests (at, run_id, endpoint, ticker, status, error, calls, rows, bytes, seconds, purpose) FROM STDIN
"""
_DELETE_OLD_REQUESTS = """
DELETE FROM backfill.requests WHERE at < clock_timestamp() - make_interval(days => %(days)s)
"""
_COUNT_RATE_LIMITED = """
SELECT count(*) FILTER (WHERE status = 429), count(*) FROM backfill.requests
WHERE at >= %(since)s AND at <= %(until)s
"""
_SELECT_FAILING_TICKERS = """
WITH recent AS (
    SELECT ticker, coalesce(run_id::text, date_trunc('minute', at)::text) AS try,
           at, error, error IS NOT NULL AS failed
    FROM backfill.requests LEFT JOIN backfill.runs USING (run_id)
    WHERE endpoint = %(endpoint)s AND ticker IS NOT NULL AND at > clock_timestamp() - interval '1 day'
      AND coalesce(vendor_access = %(vendor_access)s, true)
), succeeded AS (
    SELECT ticker, max(at) AS at FROM recent WHERE NOT failed GROUP BY ticker
), failing AS (
    SELECT r.ticker, (array_agg(r.error ORDER BY r.at DESC))[1] = ANY (%(paid_errors)s) AS is_unreadable,
           max(r.at) + least(make_interval(mins => power(2, least(count(DISTINCT r.try), 10))::int),
               CASE WHEN bool_and(r.error = ANY (%(paid_errors)s)) THEN %(max_paid_backoff)s ELSE %(max_backoff)s END
           ) AS next_request_at
    FROM recent r LEFT JOIN succeeded s USING (ticker)
    WHERE r.failed AND (s.at IS NULL OR r.at > s.at) GROUP BY r.ticker
)
SELECT ticker, next_request_at, is_unreadable FROM failing WHERE next_request_at > clock_timestamp()
"""
_COUNT_BY_ERROR = """
SELECT coalesce(error, ''), count(*) FROM backfill.requests WHERE at >= %(since)s AND at <= %(until)s GROUP BY 1
"""


@dataclass(frozen=True, slots=True)
class RequestLogEntry:
    """One attempt: when it began (real clock, UTC), what it requested and how it ended."""

    started_at: datetime
    endpoint: str
    ticker: str | None
    status: int | None
    error: str | None
    calls: int
    rows: int | None
    body_bytes: int
    seconds: float
    purpose: Purpose | None = None


@dataclass(frozen=True, slots=True)
class FailingTicker:
    """When a ticker that failed is requested again (UTC), and whether its newest answer could not be read."""

    next_request_at: datetime
    is_unreadable: bool


def log_requests(connection: Connection, run_id: UUID | None, requests: Sequence[RequestLogEntry]) -> None:
    """Append to the log."""
    with connection.cursor().copy(_COPY_REQUESTS) as copy:
        for r in requests:
            copy.write_row(
                (
                    r.started_at,
                    run_id,
                    r.endpoint,
                    r.ticker,
                    r.status,
                    r.error,
                    r.calls,
                    r.rows,
                    r.body_bytes,
                    r.seconds,
                    r.purpose,
                )
            )


def delete_old_requests(connection: Connection) -> None:
    """Delete entries that are older than 30 days."""
    connection.execute(_DELETE_OLD_REQUESTS, {"days": RETENTION_DAYS})


def count_rate_limited(connection: Connection, since: datetime, until: datetime) -> tuple[int, int]:
    """How many attempts the vendor rejected with 429 (too many requests), and how many attempts there were."""
    row = connection.execute(_COUNT_RATE_LIMITED, {"since": since, "until": until}).fetchone()
    return (int(row[0]), int(row[1])) if row else (0, 0)


def find_failing_tickers(
    connection: Connection,
    max_backoff: timedelta,
    max_paid_backoff: timedelta,
    vendor_access: str,
    endpoint: str = "/intraday",
) -> dict[str, FailingTicker]:
    """By name, the tickers whose newest requests failed and that should not be requested yet.

    The backoff is 2, 4, 8 … minutes, by the number of runs that failed since the last success (without runs: minutes
    with a failure), and at most ``max_backoff``; ``max_paid_backoff`` if all of them got rows that cannot be read,
    which the vendor bills. Failures older than a day do not count, nor do requests of runs with another
    ``vendor_access``, a fingerprint of address and token. All by the server's clock.
    """
    values = {
        "max_backoff": max_backoff,
        "max_paid_backoff": max_paid_backoff,
        "paid_errors": [UnreadableRows.__name__],
        "vendor_access": vendor_access,
        "endpoint": endpoint,
    }
    rows = connection.execute(_SELECT_FAILING_TICKERS, values)
    return {name: FailingTicker(at.astimezone(UTC), is_unreadable) for name, at, is_unreadable in rows}


def count_requests_by_error(connection: Connection, since: datetime, until: datetime) -> dict[str, int]:
    """How many attempts of that time (real clock, UTC) ended with which error class; empty for a success."""
    rows = connection.execute(_COUNT_BY_ERROR, {"since": since, "until": until})
    return {error: int(attempts) for error, attempts in rows}
