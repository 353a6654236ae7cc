"""Who is at work: runs that beat, and the tickers they claim while asking for them."""

import os
import socket
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.store.postgres.connection import Connection

HEARTBEAT_SECONDS = 5.0
DEAD_AFTER_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class ActiveRun:
    """A run that is under way, somewhere."""

    run_id: UUID
    started_at: datetime
    description: str
    tickers: int


@dataclass(frozen=True, slots=True)
class RunMetrics:
    """What a run changed: ``estimated_missing_bars`` of its window, bars inserted, calls spent."""

    missing_before: int
    missing_after: int
    inserted: int
    calls: int


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """A run that ended, however it did; ``figures`` is None where it ended too early to know."""

    run_id: UUID
    started_at: datetime
    finished_at: datetime
    description: str
    tickers: int
    outcome: str
    metrics: RunMetrics | None


def get_host_id() -> str:
    """A name for the machine and, in a container, its process namespace: where a pid means something."""
    namespace = Path("/proc/self/ns/pid")
    return f"{socket.gethostname()} {namespace.readlink() if namespace.is_symlink() else ''}".strip()


def start_run(connection: Connection, run_id: UUID, description: str, tickers: int) -> None:
    """Enter a run of this process, after closing those of this host whose process is gone."""
    _close_dead_runs(connection)
    connection.execute(
        "INSERT INTO backfill.runs (run_id, host, pid, described, tickers) VALUES (%s, %s, %s, %s, %s)",
        [run_id, get_host_id(), os.getpid(), description, tickers],
    )


def _close_dead_runs(connection: Connection) -> None:
    rows = connection.execute(
        "SELECT run_id, pid FROM backfill.runs WHERE finished_at IS NULL AND host = %s", [get_host_id()]
    ).fetchall()
    for run_id, pid in rows:
        if not _is_alive(pid):  # its claims end with it
            connection.execute(
                "UPDATE backfill.runs SET finished_at = clock_timestamp(), outcome = 'killed' WHERE run_id = %s",
                [run_id],
            )


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def record_heartbeat(connection: Connection, run_id: UUID) -> None:
    """Say that the run is alive."""
    connection.execute("UPDATE backfill.runs SET beat_at = clock_timestamp() WHERE run_id = %s", [run_id])


def finish_run(connection: Connection, run_id: UUID, outcome: str, metrics: RunMetrics | None = None) -> None:
    """Close a run and free what it still claims."""
    values = astuple(metrics) if metrics else (None, None, None, None)
    connection.execute(
        "UPDATE backfill.runs SET finished_at = clock_timestamp(), outcome = %s, missing_before = %s,"
        " missing_after = %s, inserted = %s, calls = %s WHERE run_id = %s",
        [outcome, *values, run_id],
    )
    connection.execute(
        "UPDATE backfill.claims SET released_at = clock_timestamp() WHERE run_id = %s AND released_at IS NULL", [run_id]
    )


def list_active_runs(connection: Connection) -> list[ActiveRun]:
    """Runs that are not finished and beat within the last half minute."""
    rows = connection.execute(
        "SELECT run_id, started_at, described, tickers FROM backfill.runs WHERE finished_at IS NULL"
        " AND beat_at > clock_timestamp() - make_interval(secs => %s) ORDER BY started_at",
        [DEAD_AFTER_SECONDS],
    )
    return [ActiveRun(run_id, at.astimezone(UTC), described, tickers) for run_id, at, described, tickers in rows]


def count_failed_runs(connection: Connection) -> tuple[int, timedelta]:
    """How many runs ended early since one last came to its end, and how long ago the newest did."""
    row = connection.execute(
        "WITH good AS (SELECT max(finished_at) AS at FROM backfill.runs WHERE outcome = 'finished')"
        " SELECT count(*), clock_timestamp() - max(r.finished_at) FROM backfill.runs r, good"
        " WHERE r.outcome IN ('stopped', 'failed') AND r.finished_at > coalesce(good.at, '-infinity')"
    ).fetchone()
    return (int(row[0]), row[1]) if row and row[0] else (0, timedelta())


def list_finished_runs(connection: Connection, limit: int) -> list[FinishedRun]:
    """The runs that ended last, the newest first."""
    rows = connection.execute(
        "SELECT run_id, started_at, finished_at, described, tickers, coalesce(outcome, 'unknown'),"
        " missing_before, missing_after, inserted, calls FROM backfill.runs"
        " WHERE finished_at IS NOT NULL ORDER BY finished_at DESC LIMIT %s",
        [limit],
    )
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
    """Claim tickers for asking; returns those that are ours now.

    Not ours are tickers that a living run claims, and those that another run released after
    ``planned_at`` (the server's clock): what we planned for them may be done already.
    """
    rows = connection.execute(
        "INSERT INTO backfill.claims AS c (symbol_id, interval_type, run_id)"
        " SELECT id, %(interval)s, %(run)s FROM unnest(%(ids)s::int[]) AS t (id) ORDER BY id"
        " ON CONFLICT (symbol_id, interval_type) DO UPDATE SET run_id = EXCLUDED.run_id, released_at = NULL"
        " WHERE c.run_id = EXCLUDED.run_id OR c.released_at < %(planned_at)s OR (c.released_at IS NULL"
        " AND NOT EXISTS (SELECT FROM backfill.runs r WHERE r.run_id = c.run_id AND r.finished_at IS NULL"
        " AND r.beat_at > clock_timestamp() - make_interval(secs => %(dead)s)))"
        " RETURNING symbol_id",
        {
            "interval": interval.name,
            "run": run_id,
            "ids": sorted(symbol_ids),
            "planned_at": planned_at,
            "dead": DEAD_AFTER_SECONDS,
        },
    )
    return {row[0] for row in rows}
