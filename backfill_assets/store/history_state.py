"""The pause of the history, what the newest look at it said, and how many calls were left over for it each day.

A pause of all spending is in ``store.quota.spending_pause``.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from backfill_assets.store.postgres.connection import Connection
from backfill_assets.store.quota.budget import fingerprint_token

_SELECT_STATE = "SELECT paused_at, paused_by, pause_reason, looked_at, said FROM backfill.history_state"
_UPSERT_PAUSE = """
INSERT INTO backfill.history_state (paused_at, paused_by, pause_reason) VALUES (clock_timestamp(), %(by)s, %(reason)s)
ON CONFLICT (is_only_row) DO UPDATE
SET paused_at = EXCLUDED.paused_at, paused_by = EXCLUDED.paused_by, pause_reason = EXCLUDED.pause_reason
"""
_END_PAUSE = """
UPDATE backfill.history_state SET paused_at = NULL, paused_by = NULL, pause_reason = NULL
WHERE paused_at IS NOT NULL RETURNING 1
"""
_UPSERT_LOOK = """
INSERT INTO backfill.history_state (looked_at, said) VALUES (%(now)s, %(said)s)
ON CONFLICT (is_only_row) DO UPDATE SET looked_at = EXCLUDED.looked_at, said = EXCLUDED.said
"""
_UPSERT_DAY = """
INSERT INTO backfill.history_days (token, day, calls) VALUES (%(token)s, %(day)s, %(calls)s)
ON CONFLICT (token, day) DO UPDATE SET calls = EXCLUDED.calls
"""
_SELECT_DAYS = """
SELECT calls FROM backfill.history_days WHERE token = %(token)s AND day >= %(first)s AND day < %(today)s ORDER BY day
"""
# Own calls of each past day that the ledger knows, without those of the history itself.
_SELECT_OTHER_CALLS = """
SELECT l.calls - coalesce((SELECT p.calls FROM backfill.ledger_by_purpose p
                           WHERE p.token = l.token AND p.day = l.day AND p.purpose = 'history'), 0)
FROM backfill.ledger l WHERE token = %(token)s AND day >= %(first)s AND day < %(today)s ORDER BY day
"""
_SELECT_SPENT = """
SELECT calls FROM backfill.ledger_by_purpose WHERE token = %(token)s AND day = %(today)s AND purpose = 'history'
"""


@dataclass(frozen=True, slots=True)
class HistoryState:
    """Whether the history is paused, by whom and why, and when and with what words the newest look ended (UTC)."""

    paused_at: datetime | None = None
    paused_by: str = ""
    pause_reason: str = ""
    looked_at: datetime | None = None
    said: str = ""

    def describe_pause(self) -> str:
        """The pause in words; empty without one."""
        if self.paused_at is None:
            return ""
        reason = f" ({self.pause_reason})" if self.pause_reason else ""
        return (
            f"the history is paused by {self.paused_by} since {self.paused_at:%Y-%m-%d %H:%M} UTC{reason};"
            " to go on: backfill-assets history resume"
        )


@dataclass(frozen=True, slots=True)
class PastDays:
    """What past UTC days had, oldest first.

    Attributes:
        left_over: calls that nothing else needed, of each day that was looked at.
        spent_by_others: this program's calls for other purposes, of each day that the ledger knows.
    """

    left_over: tuple[int, ...]
    spent_by_others: tuple[int, ...]


def read_history_state(connection: Connection) -> HistoryState:
    """The pause and the newest look."""
    row = connection.execute(_SELECT_STATE).fetchone()
    if row is None:
        return HistoryState()
    paused_at, by, reason, looked_at, said = row
    return HistoryState(_to_utc(paused_at), by or "", reason or "", _to_utc(looked_at), said or "")


def start_history_pause(connection: Connection, by: str, reason: str | None) -> None:
    """Pause the history until somebody resumes it; ``by`` is user and machine."""
    connection.execute(_UPSERT_PAUSE, {"by": by, "reason": reason})


def end_history_pause(connection: Connection) -> bool:
    """Let the history go on; returns whether it was paused."""
    return connection.execute(_END_PAUSE).fetchone() is not None


def record_history_look(connection: Connection, now: datetime, said: str) -> None:
    """Record how a look at the history ended."""
    connection.execute(_UPSERT_LOOK, {"now": now, "said": said})


def record_left_over(connection: Connection, token: str, now: datetime, calls: int) -> None:
    """Record how many calls of the UTC day nothing else needs: those spent for the history, and those left to it."""
    connection.execute(_UPSERT_DAY, {**_build_day(token, now), "calls": calls})


def read_past_days(connection: Connection, token: str, now: datetime, count: int) -> PastDays:
    """What the last ``count`` UTC days before today had."""
    values = _build_day(token, now)
    values |= {"today": values["day"], "first": now.astimezone(UTC).date() - timedelta(days=count)}
    left_over = tuple(calls for (calls,) in connection.execute(_SELECT_DAYS, values))
    return PastDays(left_over, tuple(calls for (calls,) in connection.execute(_SELECT_OTHER_CALLS, values)))


def read_history_calls(connection: Connection, token: str, now: datetime) -> int:
    """How many calls the history has spent today (UTC)."""
    row = connection.execute(_SELECT_SPENT, {**_build_day(token, now), "today": now.astimezone(UTC).date()}).fetchone()
    return int(row[0]) if row else 0


def _build_day(token: str, now: datetime) -> dict[str, str | date]:
    return {"token": fingerprint_token(token), "day": now.astimezone(UTC).date()}


def _to_utc(moment: datetime | None) -> datetime | None:
    return moment.astimezone(UTC) if moment else None
