"""Rounds of live sampling: who takes one, and what came of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

from backfill_assets.market.calendar.tickers import Symbol
from backfill_assets.store.postgres.connection import Connection


@dataclass(frozen=True, slots=True)
class ReadingCounts:
    """How many tickers' readings were what (``market.live.samples.Kind``); ``unanswered`` were not in the answer."""

    fresh: int = 0
    repeated: int = 0
    other_session: int = 0
    absent: int = 0
    broken: int = 0
    unanswered: int = 0


@dataclass(frozen=True, slots=True)
class SessionRoundTotals:
    """A session's rounds so far; stamps UTC, ``delay_seconds`` of the newest round that brought something."""

    rounds: int
    samples: int
    calls: int
    last_at: datetime | None
    delay_seconds: float | None
    error: str | None


def claim_round(
    connection: Connection, exchange: str, due_at: datetime, now: datetime, session_day: date, tickers: int
) -> bool:
    """Enter the round that was due at ``due_at``; False if somebody has it already."""
    inserted = connection.execute(
        "INSERT INTO backfill.live_rounds (exchange, due_at, sampled_at, session_day, tickers)"
        " VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
        [exchange, due_at, now, session_day, tickers],
    )
    return inserted.rowcount == 1


def finish_round(
    connection: Connection,
    exchange: str,
    due_at: datetime,
    *,
    method: str,
    calls: int,
    readings: ReadingCounts,
    delay_seconds: float | None,
    exchange_failed: bool,
    error: str | None,
) -> None:
    """Write down what came of a round that was taken."""
    connection.execute(
        "UPDATE backfill.live_rounds SET method = %s, calls = %s, fresh = %s, repeated = %s, other_session = %s,"
        " absent = %s, broken = %s, unanswered = %s, delay_seconds = %s, exchange_failed = %s, error = %s,"
        " finished = true WHERE exchange = %s AND due_at = %s",
        [
            *(method, calls, readings.fresh, readings.repeated, readings.other_session, readings.absent),
            *(readings.broken, readings.unanswered, delay_seconds, exchange_failed, error, exchange, due_at),
        ],
    )


def count_exchange_failures(connection: Connection, exchange: str, session_day: date) -> tuple[int, datetime | None]:
    """How often in a row reading the whole exchange failed in a session, and the due moment of the last time, UTC."""
    row = connection.execute(
        "SELECT count(*), max(due_at) FROM backfill.live_rounds WHERE exchange = %(exchange)s"
        " AND session_day = %(day)s AND exchange_failed AND due_at > coalesce((SELECT max(due_at)"
        " FROM backfill.live_rounds WHERE exchange = %(exchange)s AND session_day = %(day)s"
        " AND method = 'exchange' AND error IS NULL), '-infinity')",
        {"exchange": exchange, "day": session_day},
    ).fetchone()
    failures, last = row or (0, None)
    return failures, last.astimezone(UTC) if last else None


def read_round_totals(connection: Connection, exchange: str, session_day: date) -> SessionRoundTotals:
    """What a session's rounds brought so far."""
    row = connection.execute(
        "SELECT count(*), coalesce(sum(fresh), 0), coalesce(sum(calls), 0), max(sampled_at),"
        " (array_agg(delay_seconds ORDER BY due_at DESC) FILTER (WHERE delay_seconds IS NOT NULL))[1],"
        " (array_agg(error ORDER BY due_at DESC))[1]"
        " FROM backfill.live_rounds WHERE exchange = %s AND session_day = %s",
        [exchange, session_day],
    ).fetchone()
    rounds, samples, calls, last, delay, error = row or (0, 0, 0, None, None, None)
    return SessionRoundTotals(rounds, samples, calls, last.astimezone(UTC) if last else None, delay, error)


_SELECT_ADDED_SYMBOLS = """
SELECT symbol_id, updated_at::timestamptz FROM market_symbols m
WHERE symbol_id = ANY (%(ids)s) AND updated_at::timestamptz BETWEEN %(after)s AND %(now)s AND NOT EXISTS (
    SELECT FROM backfill.live_samples l
    WHERE l.vendor_timestamp >= %(opened)s AND l.vendor_timestamp < m.updated_at::timestamptz AND l.symbol_id = m.symbol_id)
"""


def find_symbols_added_since(
    connection: Connection, symbols: Sequence[Symbol], after: datetime, session_open: datetime, now: datetime
) -> dict[int, datetime]:
    """When those of ``symbols`` that were added or taken back after ``after`` were, UTC, by symbol_id.

    That is when their row was changed last; others write the table, too, so one that was sampled before that in the
    session that ``opened`` is not among them.
    """
    ids = [s.symbol_id for s in symbols]
    rows = connection.execute(_SELECT_ADDED_SYMBOLS, {"ids": ids, "after": after, "opened": session_open, "now": now})
    return {symbol_id: at.astimezone(UTC) for symbol_id, at in rows}


def read_first_round_time(connection: Connection, exchange: str) -> datetime | None:
    """When the oldest round that is remembered was made, UTC: before it live collection owed nothing."""
    row = connection.execute(
        "SELECT min(sampled_at) FROM backfill.live_rounds WHERE exchange = %s", [exchange]
    ).fetchone()
    return row[0].astimezone(UTC) if row and row[0] else None
