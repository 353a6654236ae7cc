"""Rounds of live sampling: which process makes one, and its result."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime

from backfill_assets.market.calendar.tickers import Symbol
from backfill_assets.store.postgres.connection import Connection

_INSERT_ROUND = """
INSERT INTO backfill.live_rounds (exchange, due_at, sampled_at, session_day, tickers)
VALUES (%(exchange)s, %(due_at)s, %(now)s, %(session_day)s, %(tickers)s)
ON CONFLICT DO NOTHING
"""
_FINISH_ROUND = """
UPDATE backfill.live_rounds SET
    method = %(method)s, calls = %(calls)s, fresh = %(fresh)s, repeated = %(repeated)s,
    other_session = %(other_session)s, absent = %(absent)s, broken = %(broken)s, unanswered = %(unanswered)s,
    delay_seconds = %(delay_seconds)s, exchange_failed = %(exchange_failed)s, error = %(error)s, finished = true
WHERE exchange = %(exchange)s AND due_at = %(due_at)s
"""
_COUNT_EXCHANGE_FAILURES = """
SELECT count(*), max(due_at) FROM backfill.live_rounds
WHERE exchange = %(exchange)s AND session_day = %(session_day)s AND exchange_failed
  AND due_at > coalesce((
      SELECT max(due_at) FROM backfill.live_rounds
      WHERE exchange = %(exchange)s AND session_day = %(session_day)s AND method = 'exchange' AND error IS NULL
  ), '-infinity')
"""
_SELECT_ROUND_TOTALS = """
SELECT count(*), coalesce(sum(fresh), 0), coalesce(sum(calls), 0), max(sampled_at),
       (array_agg(delay_seconds ORDER BY due_at DESC) FILTER (WHERE delay_seconds IS NOT NULL))[1],
       (array_agg(error ORDER BY due_at DESC))[1]
FROM backfill.live_rounds WHERE exchange = %(exchange)s AND session_day = %(session_day)s
"""
_SELECT_ADDED_SYMBOLS = """
SELECT symbol_id, updated_at::timestamptz FROM market_symbols m
WHERE symbol_id = ANY (%(ids)s) AND updated_at::timestamptz BETWEEN %(after)s AND %(now)s AND NOT EXISTS (
    SELECT FROM backfill.live_samples l
    WHERE l.vendor_timestamp >= %(session_open)s AND l.vendor_timestamp < m.updated_at::timestamptz
      AND l.symbol_id = m.symbol_id)
"""
_SELECT_FIRST_ROUND = "SELECT min(sampled_at) FROM backfill.live_rounds WHERE exchange = %(exchange)s"


@dataclass(frozen=True, slots=True)
class ReadingCounts:
    """How many quotes were of each kind (``market.live.samples.SampleKind``); ``unanswered`` were not returned."""

    fresh: int = 0
    repeated: int = 0
    other_session: int = 0
    absent: int = 0
    broken: int = 0
    unanswered: int = 0


@dataclass(frozen=True, slots=True)
class RoundRecord:
    """What is stored of a finished round.

    Attributes:
        method: how quotes were requested, a ``live.quote_reader.QuoteMethod``.
        calls: price of the round in vendor calls.
        readings: what was read.
        delay_seconds: from the vendor's timestamp to the round, median of the fresh samples; None without any.
        exchange_failed: whether a request for the whole exchange failed.
        error: the last error.
    """

    method: str
    calls: int
    readings: ReadingCounts
    delay_seconds: float | None
    exchange_failed: bool
    error: str | None


@dataclass(frozen=True, slots=True)
class SessionRoundTotals:
    """A session's rounds so far; ``last_at`` is UTC, ``delay_seconds`` that of the newest round with fresh quotes."""

    rounds: int
    samples: int
    calls: int
    last_at: datetime | None
    delay_seconds: float | None
    error: str | None


def claim_round(
    connection: Connection, exchange: str, due_at: datetime, now: datetime, session_day: date, tickers: int
) -> bool:
    """Claim the round that was due at ``due_at``; False if another process has it already."""
    values = {"exchange": exchange, "due_at": due_at, "now": now, "session_day": session_day, "tickers": tickers}
    return connection.execute(_INSERT_ROUND, values).rowcount == 1


def finish_round(connection: Connection, exchange: str, due_at: datetime, record: RoundRecord) -> None:
    """Store the result of a claimed round."""
    columns = asdict(record)
    reading_counts = columns.pop("readings")
    connection.execute(_FINISH_ROUND, {"exchange": exchange, "due_at": due_at, **columns, **reading_counts})


def count_exchange_failures(connection: Connection, exchange: str, session_day: date) -> tuple[int, datetime | None]:
    """How often in a row requests for the whole exchange failed in a session, and the due time of the last one, UTC."""
    row = connection.execute(_COUNT_EXCHANGE_FAILURES, {"exchange": exchange, "session_day": session_day}).fetchone()
    failures, last = row or (0, None)
    return failures, last.astimezone(UTC) if last else None


def read_round_totals(connection: Connection, exchange: str, session_day: date) -> SessionRoundTotals:
    """The results of a session's rounds so far."""
    row = connection.execute(_SELECT_ROUND_TOTALS, {"exchange": exchange, "session_day": session_day}).fetchone()
    rounds, samples, calls, last, delay, error = row or (0, 0, 0, None, None, None)
    return SessionRoundTotals(rounds, samples, calls, last.astimezone(UTC) if last else None, delay, error)


def find_symbols_added_since(
    connection: Connection, symbols: Sequence[Symbol], after: datetime, session_open: datetime, now: datetime
) -> dict[int, datetime]:
    """When those of ``symbols`` that were added or made active again after ``after`` were, UTC, by symbol_id.

    That is when their row in ``market_symbols`` last changed. Other programs change rows, too, so symbols with a sample
    between ``session_open`` and that change are left out.
    """
    ids = [s.symbol_id for s in symbols]
    values = {"ids": ids, "after": after, "session_open": session_open, "now": now}
    return {symbol_id: at.astimezone(UTC) for symbol_id, at in connection.execute(_SELECT_ADDED_SYMBOLS, values)}


def read_first_round_time(connection: Connection, exchange: str) -> datetime | None:
    """When the oldest stored round was made, UTC: no live bars are expected from before it."""
    row = connection.execute(_SELECT_FIRST_ROUND, {"exchange": exchange}).fetchone()
    return row[0].astimezone(UTC) if row and row[0] else None
