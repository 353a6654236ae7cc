"""The log of every attempt at the vendor."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from backfill_assets.store.postgres.connection import Connection

RETENTION_DAYS = 30


@dataclass(frozen=True, slots=True)
class RequestLogEntry:
    """One attempt: when it began (real clock, UTC), what it asked and how it ended."""

    started_at: datetime
    endpoint: str
    ticker: str | None
    status: int | None
    error: str | None
    calls: int
    rows: int | None
    body_bytes: int
    seconds: float


def log_requests(connection: Connection, run_id: UUID | None, requests: Sequence[RequestLogEntry]) -> None:
    """Append to the log."""
    with connection.cursor().copy(
        "COPY backfill.requests (at, run_id, endpoint, ticker, status, error, calls, rows, bytes, seconds) FROM STDIN"
    ) as copy:
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
                )
            )


def delete_old_requests(connection: Connection) -> None:
    """Drop what is older than a month."""
    connection.execute(
        "DELETE FROM backfill.requests WHERE at < clock_timestamp() - make_interval(days => %s)", [RETENTION_DAYS]
    )


def count_rate_limited(connection: Connection, since: datetime, until: datetime) -> tuple[int, int]:
    """How many attempts the vendor refused for the rate (429), and how many there were in all."""
    row = connection.execute(
        "SELECT count(*) FILTER (WHERE status = 429), count(*) FROM backfill.requests WHERE at >= %s AND at <= %s",
        [since, until],
    ).fetchone()
    return (int(row[0]), int(row[1])) if row else (0, 0)


def find_failing_tickers(connection: Connection, max_backoff: timedelta) -> set[str]:
    """Tickers whose newest requests failed and that are better left alone for now.

    For 2, 4, 8 … minutes, ``longest`` at most, by how many runs failed at them since they last
    answered; failures older than a day are forgotten. On the server's clock.
    """
    rows = connection.execute(
        "WITH recent AS (SELECT ticker, run_id, at, error IS NOT NULL AS failed FROM backfill.requests"
        "  WHERE endpoint = '/intraday' AND ticker IS NOT NULL AND at > clock_timestamp() - interval '1 day'),"
        " answered AS (SELECT ticker, max(at) AS at FROM recent WHERE NOT failed GROUP BY ticker)"
        " SELECT r.ticker FROM recent r LEFT JOIN answered a USING (ticker)"
        " WHERE r.failed AND (a.at IS NULL OR r.at > a.at) GROUP BY r.ticker"
        " HAVING max(r.at) + least(make_interval(mins => power(2, least(count(DISTINCT r.run_id), 10))::int), %s)"
        "  > clock_timestamp()",
        [max_backoff],
    )
    return {row[0] for row in rows}


def count_requests_by_error(connection: Connection, since: datetime, until: datetime) -> dict[str, int]:
    """How many attempts of that time (real clock, UTC) ended how: the error's class name, empty where all went well."""
    rows = connection.execute(
        "SELECT coalesce(error, ''), count(*) FROM backfill.requests WHERE at >= %s AND at <= %s GROUP BY 1",
        [since, until],
    )
    return {error: int(attempts) for error, attempts in rows}
