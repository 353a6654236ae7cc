"""The base classes of errors that are shown to users, each with the exit code of the process.

Errors of the vendor's API are in ``market.vendor_errors``. The command line prints them, in ``cli.main``.
"""

from collections.abc import Sequence
from typing import ClassVar


class BackfillError(Exception):
    """An error that a user can act on; its message states what happened, where, and what to do."""

    exit_code: ClassVar[int] = 1
    details: Sequence[str] = ()  # shown below the message, one a line

    @property
    def headline(self) -> str:
        """The message without the details."""
        return str(self)


class UsageError(BackfillError):
    """An invalid setting, option, argument or file (exit code 2)."""

    exit_code = 2

    def __init__(self, message: str, details: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.details = details


class DatabaseUnavailable(BackfillError):  # noqa: N818 - a state of the environment, not an error of the caller
    """PostgreSQL cannot be reached or started, or refuses to read or write (exit code 5)."""

    exit_code = 5
