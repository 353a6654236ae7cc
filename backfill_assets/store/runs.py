"""Runs and their heartbeats, and the symbols that a run claims while it requests them.

A run is dead when its heartbeat is older than half a minute, or when its process on this host has ended
(``store.processes``). Its claims lapse with it: another run may take them. A run that was only cut off goes on with
those that nobody took (``renew_claims``); how it finds out is in ``backfill.fetch.held_claims``, sending heartbeats in
``backfill.fetch.heartbeat``. All times are the server's.
"""

import os
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.store.postgres.connection import Connection
from backfill_assets.store.processes import get_current_process, get_host_id, is_process_alive

HEARTBEAT_SECONDS = 5.0
DEAD_AFTER_SECONDS = 30.0
# A dead run may go on: its database was away, or its machine asleep. After so long any other host records its end: that
# of a container is gone with it, so nobody else would.
LOST_AFTER_SECONDS = 3600.0

_INSERT_RUN = """
INSERT INTO backfill.runs (run_id, host, pid, process_started_at, description, tickers, vendor_access)
VALUES (%(run_id)s, %(host)s, %(pid)s, to_timestamp(%(process_started_at)s), %(description)s, %(tickers)s,
        %(vendor_access)s)
"""
_SELECT_UNFINISHED_OF_HOST = """
SELECT run_id, pid, extract(epoch FROM process_started_at)::float8,
    heartbeat_at > clock_timestamp() - make_interval(secs => %(fresh_for)s)
FROM backfill.runs WHERE finished_at IS NULL AND host = %(host)s
"""
_CLOSE_DEAD_RUN = """
UPDATE backfill.runs SET finished_at = clock_timestamp(), outcome = 'killed' WHERE run_id = %(run_id)s
"""
_CLOSE_LOST_RUNS = """
UPDATE backfill.runs SET finished_at = clock_timestamp(), outcome = 'killed' WHERE run_id IN (
    SELECT run_id FROM backfill.runs
    WHERE finished_at IS NULL AND host <> %(host)s
      AND heartbeat_at < clock_timestamp() - make_interval(secs => %(lost_after)s)
    FOR UPDATE SKIP LOCKED)
"""
# A late beat must not hide that the claims had lapsed meanwhile: the run has to look which ones are still its own.
_UPDATE_HEARTBEAT = """
UPDATE backfill.runs SET heartbeat_at = clock_timestamp()
WHERE run_id = %(run_id)s AND finished_at IS NULL
  AND heartbeat_at > clock_timestamp() - make_interval(secs => %(dead_after)s)
RETURNING heartbeat_at
"""
# A run that another host has closed as lost, and that goes on after all, is open again; one that has ended stays so.
_REVIVED = """
    UPDATE backfill.runs SET heartbeat_at = clock_timestamp(), finished_at = NULL, outcome = NULL
    WHERE run_id = %(run_id)s AND (finished_at IS NULL OR outcome = 'killed')
    RETURNING run_id, heartbeat_at
"""
_FINISH_RUN = """
UPDATE backfill.runs SET finished_at = clock_timestamp(), outcome = %(outcome)s, missing_before = %(missing_before)s,
    missing_after = %(missing_after)s, inserted = %(inserted)s, calls = %(calls)s
WHERE run_id = %(run_id)s
"""
# Everybody locks claims in the same order, so that no two runs wait for each other.
_RELEASE_CLAIMS = """
UPDATE backfill.claims c SET released_at = clock_timestamp() FROM (
    SELECT symbol_id, interval_type FROM backfill.claims WHERE run_id = %(run_id)s AND released_at IS NULL
    ORDER BY symbol_id, interval_type FOR UPDATE
) own
WHERE c.symbol_id = own.symbol_id AND c.interval_type = own.interval_type AND c.run_id = %(run_id)s
"""
_SELECT_ACTIVE_RUNS = """
SELECT run_id, started_at, description, tickers FROM backfill.runs
WHERE finished_at IS NULL AND heartbeat_at > clock_timestamp() - make_interval(secs => %(dead_after)s)
ORDER BY started_at
"""
_COUNT_FAILED_RUNS = """
WITH last_success AS (SELECT max(finished_at) AS at FROM backfill.runs WHERE outcome = 'finished')
SELECT count(*), clock_timestamp() - max(r.finished_at) FROM backfill.runs r, last_success
WHERE r.outcome IN ('stopped', 'failed') AND r.finished_at > coalesce(last_success.at, '-infinity')
  AND coalesce(r.vendor_access = %(vendor_access)s, true)
"""
_SELECT_FINISHED_RUNS = """
SELECT run_id, started_at, finished_at, description, tickers, coalesce(outcome, 'unknown'),
       missing_before, missing_after, inserted, calls
FROM backfill.runs WHERE finished_at IS NOT NULL ORDER BY finished_at DESC LIMIT %(limit)s
"""
# Whoever takes claims of a lapsed run locks its row, which that run has to change before it goes on. So of the two only
# one has the claim, whichever comes first. A row that is locked is of a run that is just beating.
_CLAIM_SYMBOLS = f"""
WITH revived AS ({_REVIVED}), lapsed AS (
    SELECT r.run_id FROM backfill.runs r
    WHERE r.run_id = ANY (ARRAY(
        SELECT c.run_id FROM backfill.claims c
        WHERE c.symbol_id = ANY (%(ids)s::int[]) AND c.interval_type = %(interval)s AND c.released_at IS NULL
          AND c.run_id <> %(run_id)s))
      AND (r.finished_at IS NOT NULL
           OR r.heartbeat_at <= clock_timestamp() - make_interval(secs => %(dead_after)s))
    FOR SHARE SKIP LOCKED
)
INSERT INTO backfill.claims AS c (symbol_id, interval_type, run_id)
SELECT id, %(interval)s, %(run_id)s FROM unnest(%(ids)s::int[]) AS t (id) ORDER BY id
ON CONFLICT (symbol_id, interval_type) DO UPDATE SET run_id = EXCLUDED.run_id, released_at = NULL
WHERE c.run_id = EXCLUDED.run_id OR c.released_at < %(planned_at)s
   OR (c.released_at IS NULL AND c.run_id IN (SELECT run_id FROM lapsed))
RETURNING symbol_id, (SELECT heartbeat_at FROM revived)
"""  # noqa: S608 - only a constant is inserted
# The locks show each claim as it is now, not as it was when the statement began and waited for somebody.
_RENEW_CLAIMS = f"""
WITH revived AS ({_REVIVED}), own AS (
    SELECT c.symbol_id FROM revived JOIN backfill.claims c ON c.run_id = revived.run_id
    WHERE c.interval_type = %(interval)s AND c.released_at IS NULL
    ORDER BY c.symbol_id FOR UPDATE OF c
)
SELECT heartbeat_at, ARRAY(SELECT symbol_id FROM own) FROM revived
"""  # noqa: S608 - only a constant is inserted


@dataclass(frozen=True, slots=True)
class ActiveRun:
    """A run that is under way, on any host; ``started_at`` is UTC."""

    run_id: UUID
    started_at: datetime
    description: str
    tickers: int


@dataclass(frozen=True, slots=True)
class Claims:
    """The symbols that a run has claimed, symbol_ids; other runs respect that for half a minute from ``beat_at`` on."""

    symbol_ids: frozenset[int]
    beat_at: datetime | None


@dataclass(frozen=True, slots=True)
class RunMetrics:
    """What a run changed: ``estimated_missing_bars`` of its window before and after, bars inserted, calls spent."""

    missing_before: int
    missing_after: int
    inserted: int
    calls: int


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """A run that ended, with any outcome; ``metrics`` is None if it ended too early to have any. Times are UTC."""

    run_id: UUID
    started_at: datetime
    finished_at: datetime
    description: str
    tickers: int
    outcome: str
    metrics: RunMetrics | None


def start_run(
    connection: Connection, run_id: UUID, description: str, tickers: int, vendor_access: str | None = None
) -> None:
    """Record a run of this process, after closing the runs of this host whose process has ended, and lost ones.

    ``vendor_access`` is a fingerprint of the vendor's address and the token.
    """
    _close_dead_runs(connection)
    process = get_current_process()
    values = {
        "run_id": run_id,
        "host": process.host,
        "pid": process.pid,
        "process_started_at": process.started_at,
        "description": description,
        "tickers": tickers,
        "vendor_access": vendor_access,
    }
    connection.execute(_INSERT_RUN, values)


def _close_dead_runs(connection: Connection) -> None:
    values = {"host": get_host_id(), "fresh_for": 2 * HEARTBEAT_SECONDS}
    rows = connection.execute(_SELECT_UNFINISHED_OF_HOST, values).fetchall()
    for run_id, pid, process_started_at, has_fresh_heartbeat in rows:
        # A step of the system clock shifts the start time of every process. So another start time proves that the pid
        # was recycled only without a fresh heartbeat, or where the pid is this process's own.
        is_start_ignored = has_fresh_heartbeat and pid != os.getpid()
        if not is_process_alive(pid, None if is_start_ignored else process_started_at):  # its claims end with it
            connection.execute(_CLOSE_DEAD_RUN, {"run_id": run_id})
    connection.execute(_CLOSE_LOST_RUNS, {"host": get_host_id(), "lost_after": LOST_AFTER_SECONDS})


def record_heartbeat(connection: Connection, run_id: UUID) -> datetime | None:
    """Record that the run is alive; returns the server's time, None if its claims have lapsed (``renew_claims``)."""
    values = {"run_id": run_id, "dead_after": DEAD_AFTER_SECONDS}
    rows = connection.execute(_UPDATE_HEARTBEAT, values).fetchall()
    return rows[0][0] if rows else None


def finish_run(connection: Connection, run_id: UUID, outcome: str, metrics: RunMetrics | None = None) -> None:
    """Close a run and release its remaining claims."""
    missing_before, missing_after, inserted, calls = astuple(metrics) if metrics else (None, None, None, None)
    values = {
        "run_id": run_id,
        "outcome": outcome,
        "missing_before": missing_before,
        "missing_after": missing_after,
        "inserted": inserted,
        "calls": calls,
    }
    connection.execute(_FINISH_RUN, values)
    connection.execute(_RELEASE_CLAIMS, {"run_id": run_id})


def list_active_runs(connection: Connection) -> list[ActiveRun]:
    """Runs that are not finished and had a heartbeat within the last half minute, the oldest first."""
    rows = connection.execute(_SELECT_ACTIVE_RUNS, {"dead_after": DEAD_AFTER_SECONDS})
    return [ActiveRun(run_id, at.astimezone(UTC), description, tickers) for run_id, at, description, tickers in rows]


def count_failed_runs(connection: Connection, vendor_access: str) -> tuple[int, timedelta]:
    """How many runs stopped or failed since the last one that finished, and how long ago the newest of them ended.

    Runs with another ``vendor_access`` (address and token) do not count: the mended one may be used at once.
    """
    row = connection.execute(_COUNT_FAILED_RUNS, {"vendor_access": vendor_access}).fetchone()
    return (int(row[0]), row[1]) if row and row[0] else (0, timedelta())


def list_finished_runs(connection: Connection, limit: int) -> list[FinishedRun]:
    """The runs that ended last, the newest first."""
    rows = connection.execute(_SELECT_FINISHED_RUNS, {"limit": limit})
    return [_build_finished_run(row) for row in rows.fetchall()]


def _build_finished_run(row: tuple[Any, ...]) -> FinishedRun:
    run_id, started_at, finished_at, description, tickers, outcome, *figures = row
    metrics = RunMetrics(*figures) if None not in figures else None
    return FinishedRun(
        run_id, started_at.astimezone(UTC), finished_at.astimezone(UTC), description, tickers, outcome, metrics
    )


def claim_symbols(
    connection: Connection, run_id: UUID, symbol_ids: Sequence[int], interval: Interval, *, planned_at: datetime
) -> Claims:
    """Claim symbols for requests and record a heartbeat; returns what this run has claimed now.

    A symbol stays with another run while that run is alive. It is left out, too, if another run released it after
    ``planned_at`` (the server's clock): the requests planned for it may be done already.
    """
    values = {
        "interval": interval.name,
        "run_id": run_id,
        "ids": sorted(symbol_ids),
        "planned_at": planned_at,
        "dead_after": DEAD_AFTER_SECONDS,
    }
    rows = connection.execute(_CLAIM_SYMBOLS, values).fetchall()
    return Claims(frozenset(symbol_id for symbol_id, _ in rows), rows[0][1] if rows else None)


def renew_claims(connection: Connection, run_id: UUID, interval: Interval) -> Claims:
    """Record a heartbeat of a run whose claims may have lapsed; returns those that no other run took."""
    rows = connection.execute(_RENEW_CLAIMS, {"run_id": run_id, "interval": interval.name}).fetchall()
    return Claims(frozenset(rows[0][1]), rows[0][0]) if rows else Claims(frozenset(), None)
