"""A pause of all spending: one row that holds for every token and every process that uses the database.

It is enforced where permits are taken (``migrations/0011_purposes.sql``), by the database server's clock. Here it is
started, ended and read.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from backfill_assets.market.calendar.timestamps import format_optional_timestamp
from backfill_assets.store.postgres.connection import Connection, Database

# Permits are granted under the locks of the budgets, so that with all of them no grant is under way any more. Counting
# them takes them before the row is made.
_UPSERT_PAUSE = """
WITH locked AS MATERIALIZED (SELECT token FROM backfill.budget ORDER BY token FOR UPDATE)
INSERT INTO backfill.spending_pause (paused_at, paused_until, paused_by, reason)
SELECT clock_timestamp(), %(until)s::timestamptz, %(by)s, %(reason)s FROM (SELECT count(*) FROM locked) AS all_locked
ON CONFLICT (is_only_row) DO UPDATE SET
    paused_at = EXCLUDED.paused_at, paused_until = EXCLUDED.paused_until, paused_by = EXCLUDED.paused_by,
    reason = EXCLUDED.reason
RETURNING paused_at, paused_until, paused_by, reason
"""
_DELETE_PAUSE = """
DELETE FROM backfill.spending_pause
RETURNING paused_at, paused_until, paused_by, reason, paused_until IS NULL OR paused_until > clock_timestamp()
"""
_SELECT_PAUSE = """
SELECT paused_at, paused_until, paused_by, reason FROM backfill.spending_pause
WHERE paused_until IS NULL OR paused_until > clock_timestamp()
"""


@dataclass(frozen=True, slots=True)
class SpendingPause:
    """A pause that holds. Times are UTC; ``until`` None means until somebody resumes; ``by`` is user and machine."""

    since: datetime
    until: datetime | None
    by: str
    reason: str | None

    def __str__(self) -> str:
        end = f"until {_format_minute(self.until)}" if self.until else "until somebody resumes"
        reason = f" ({self.reason})" if self.reason else ""
        return f"spending is paused by {self.by} since {_format_minute(self.since)}, {end}{reason}"

    def describe_ended(self) -> str:
        """The pause in words, once it has been ended."""
        reason = f" ({self.reason})" if self.reason else ""
        return f"spending had been paused by {self.by} since {_format_minute(self.since)}{reason}"

    def as_dict(self) -> dict[str, Any]:
        """The pause as JSON."""
        return {
            "since": format_optional_timestamp(self.since),
            "until": format_optional_timestamp(self.until),
            "by": self.by,
            "reason": self.reason,
        }


def start_pause(database: Database, until: datetime | None, by: str, reason: str | None) -> SpendingPause:
    """Pause all spending: from now on no permit is granted. Replaces a pause that holds already."""
    (row,) = database.retry_statement(_UPSERT_PAUSE, {"until": until, "by": by, "reason": reason})
    return _build_pause(row)


def end_pause(connection: Connection) -> SpendingPause | None:
    """Let spending go on; returns the pause that held, None without one."""
    row = connection.execute(_DELETE_PAUSE).fetchone()
    return _build_pause(row[:4]) if row and row[4] else None


def read_pause(connection: Connection) -> SpendingPause | None:
    """The pause that holds now; None without one."""
    row = connection.execute(_SELECT_PAUSE).fetchone()
    return _build_pause(row) if row else None


def _build_pause(row: tuple[Any, ...]) -> SpendingPause:
    since, until, by, reason = row
    return SpendingPause(since.astimezone(UTC), until.astimezone(UTC) if until else None, by, reason)


def _format_minute(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
