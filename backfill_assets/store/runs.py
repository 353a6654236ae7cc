"""Runs and their heartbeats, and the symbols that a run claims while it requests them.

A run is dead when its heartbeat is older than half a minute, or when its process on this host has ended
(``store.processes``). Its claims end with it. Sending heartbeats is the job of ``backfill.fetch.heartbeat``.
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
_UPDATE_HEARTBEAT = "UPDATE backfill.runs SET heartbeat_at = clock_timestamp() WHERE run_id = %(run_id)s"
_FINISH_RUN = """
UPDATE backfill.runs SET finished_at = clock_timestamp(), outcome = %(outcome)s, missing_before = %(missing_before)s,
    missing_after = %(missing_after)s, inserted = %(inserted)s, calls = %(calls)s
WHERE run_id = %(run_id)s
"""
_RELEASE_CLAIMS = """
UPDATE backfill.claims SET released_at = clock_timestamp() WHERE run_id = %(run_id)s AND released_at IS NULL
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
_CLAIM_SYMBOLS = """
INSERT INTO backfill.claims AS c (symbol_id, interval_type, run_id)
SELECT id, %(interval)s, %(run_id)s FROM unnest(%(ids)s::int[]) AS t (id) ORDER BY id
ON CONFLICT (symbol_id, interval_type) DO UPDATE SET run_id = EXCLUDED.run_id, released_at = NULL
WHERE c.run_id = EXCLUDED.run_id OR c.released_at < %(planned_at)s OR (c.released_at IS NULL AND NOT EXISTS (
    SELECT FROM backfill.runs r WHERE r.run_id = c.run_id AND r.finished_at IS NULL
       AND r.heartbeat_at > clock_timestamp() - make_interval(secs => %(dead_after)s)))
RETURNING symbol_id
"""


@dataclass(frozen=True, slots=True)
class ActiveRun:
    """A run that is under way, on any host; ``started_at`` is UTC."""

    run_id: UUID
    started_at: datetime
    description: str
    tickers: int


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
    """Record a run of this process, after closing the runs of this host whose process has ended.

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


def record_heartbeat(connection: Connection, run_id: UUID) -> None:
    """Record that the run is alive."""
    connection.execute(_UPDATE_HEARTBEAT, {"run_id": run_id})


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
) -> set[int]:
    """Claim symbols for requests; returns the symbol_ids that this run has claimed now.

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
    return {row[0] for row in connection.execute(_CLAIM_SYMBOLS, values)}
