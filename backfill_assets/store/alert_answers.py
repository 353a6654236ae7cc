"""What people answered to alerts: acknowledged until it gets worse or ends, or snoozed until a time.

Answers that are over are kept. What an answer silences is decided in ``alerts.answers``. All times are UTC.
"""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias

from backfill_assets.store.postgres.connection import Connection

AnswerKind: TypeAlias = Literal["acknowledged", "snoozed"]

_COLUMNS = "name, kind, answered_by, answered_at, until, note, figure"
_SELECT_IN_FORCE = f"""
SELECT {_COLUMNS} FROM backfill.alert_answers
WHERE ended_at IS NULL AND (%(name)s::text IS NULL OR name = %(name)s) ORDER BY answered_at, name
"""  # noqa: S608 - constants
_END = """
UPDATE backfill.alert_answers SET ended_at = %(now)s, ended_why = %(why)s WHERE name = %(name)s AND ended_at IS NULL
"""
_INSERT = """
INSERT INTO backfill.alert_answers (name, kind, answered_by, answered_at, until, note, figure)
VALUES (%(name)s, %(kind)s, %(answered_by)s, %(answered_at)s, %(until)s, %(note)s, %(figure)s)
"""
_SET_FIGURE = """
UPDATE backfill.alert_answers SET figure = %(figure)s WHERE name = %(name)s AND ended_at IS NULL AND figure IS NULL
"""


@dataclass(frozen=True, slots=True)
class AlertAnswer:
    """An answer in force.

    Attributes:
        name: of the check or run.
        kind: acknowledged, or snoozed.
        answered_by: user and machine.
        answered_at: UTC.
        until: when a snooze is over, UTC; None for an acknowledgement.
        note: why.
        figure: of the first observation after it; None before there is one.
    """

    name: str
    kind: AnswerKind
    answered_by: str
    answered_at: datetime
    until: datetime | None = None
    note: str | None = None
    figure: float | None = None


def list_answers(connection: Connection) -> list[AlertAnswer]:
    """The answers in force, oldest first."""
    return [_build(row) for row in connection.execute(_SELECT_IN_FORCE.encode(), {"name": None})]


def find_answer(connection: Connection, name: str) -> AlertAnswer | None:
    """The answer in force to an alert."""
    row = connection.execute(_SELECT_IN_FORCE.encode(), {"name": name}).fetchone()
    return _build(row) if row else None


def record_answer(connection: Connection, answer: AlertAnswer) -> None:
    """Record an answer; it takes the place of an earlier one."""
    end_answer(connection, answer.name, "answered anew", answer.answered_at)
    connection.execute(_INSERT, asdict(answer))


def end_answer(connection: Connection, name: str, why: str, now: datetime) -> None:
    """End the answer in force to an alert, if there is one."""
    connection.execute(_END, {"name": name, "why": why, "now": now})


def record_first_figure(connection: Connection, name: str, figure: float) -> None:
    """Remember how bad it was when the answer was given, by the first observation after it."""
    connection.execute(_SET_FIGURE, {"name": name, "figure": figure})


def _build(row: tuple[Any, ...]) -> AlertAnswer:
    name, kind, by, at, until, note, figure = row
    return AlertAnswer(name, kind, by, at.astimezone(UTC), until.astimezone(UTC) if until else None, note, figure)
