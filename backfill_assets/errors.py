"""The root of the errors a user can meet, and what each means for the process's exit code.

Vendor errors live in ``eodhd.errors``. Nothing here formats or prints: the command line does.
"""

from typing import ClassVar


class BackfillError(Exception):
    """Something a user can act on; its text says what happened, where, and what to do."""

    exit_code: ClassVar[int] = 1


class UsageError(BackfillError):
    """A setting, option or argument that cannot be meant (exit code 2)."""

    exit_code = 2


class DatabaseUnavailable(BackfillError):  # noqa: N818 - a state of the world, not a mistake
    """PostgreSQL cannot be reached, started or written to (exit code 5)."""

    exit_code = 5
