"""Why a read gives no frame although its arguments are right: bars are absent, wrong, or not there yet.

Wrong arguments are a ``UsageError``, a database that cannot be used is a ``DatabaseUnavailable`` (``errors``).
"""

from collections.abc import Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, ClassVar

from backfill_assets.errors import BackfillError
from backfill_assets.reading.problems import Problem

if TYPE_CHECKING:
    from backfill_assets.reading.health import ReadHealth

MAX_SHOWN_PROBLEMS = 5


class ReadRefused(BackfillError):  # noqa: N818 - names what happened to the read
    """The bars are not as ``require`` demands, and no frame is given (exit code 3).

    Attributes:
        problems: what is in the way, by symbol and session; the sessions with most slots first.
        health: what the read found.
    """

    exit_code: ClassVar[int] = 3

    def __init__(self, message: str, problems: Sequence[Problem], health: "ReadHealth") -> None:
        super().__init__(message)
        self.problems, self.health = problems, health
        self.details = [str(problem) for problem in self.problems[:MAX_SHOWN_PROBLEMS]]

    @property
    def headline(self) -> str:
        """The message without the problems."""
        return str(self.args[0])

    def __str__(self) -> str:
        more = len(self.problems) - MAX_SHOWN_PROBLEMS
        lines = [self.headline, *self.details, *([f"… and {more:,} more (problems)"] if more > 0 else [])]
        return "\n  ".join(lines)


class IncompleteBars(ReadRefused):
    """Bars are missing, doubted, or not verified, and ``require`` does not accept that."""


class PendingSessions(ReadRefused):
    """Sessions are not over, not published, or not requested yet; nothing is known to be wrong.

    Attributes:
        sessions: their dates, ascending.
        next_request_at: from when a run requests the first of their bars, UTC; None if that is not planned.
    """

    def __init__(
        self,
        message: str,
        problems: Sequence[Problem],
        health: "ReadHealth",
        sessions: tuple[date, ...],
        next_request_at: datetime | None,
    ) -> None:
        super().__init__(message, problems, health)
        self.sessions, self.next_request_at = sessions, next_request_at
