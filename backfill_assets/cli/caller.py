"""Who runs a command, and what they say about it."""

import getpass
import os
import socket

from backfill_assets.errors import UsageError

MAX_TEXT_CHARS = 200


def describe_caller() -> str:
    """The user and the machine, ``root@host``; a user without a name by number."""
    try:
        user = getpass.getuser()
    except (ImportError, KeyError, OSError):  # which of them depends on the version of Python
        user = f"user {os.getuid()}"
    return "".join(letter if letter.isprintable() else "?" for letter in f"{user}@{socket.gethostname()}")


def clean_text(text: str | None, option: str) -> str | None:
    """A reason or a note on one line; None if the option was not given.

    Raises:
        UsageError: it is empty, too long or not printable.
    """
    cleaned = " ".join((text or "").split())
    if text is not None and not (0 < len(cleaned) <= MAX_TEXT_CHARS and cleaned.isprintable()):
        raise UsageError(f"{option} must be a printable text of at most {MAX_TEXT_CHARS} characters")
    return cleaned or None
