"""Waits for a condition by polling; only a failure takes long."""

import time
from collections.abc import Callable
from typing import TypeVar

LONGEST_SECONDS = 300.0  # long enough for any slow machine; not an expectation
T = TypeVar("T")


def wait_until(condition: Callable[[], T], what: str, pause_seconds: float = 0.01) -> T:
    """Wait until ``condition`` returns something true, and return that.

    Raises:
        AssertionError: the condition was not true within ``LONGEST_SECONDS``; the message contains ``what``.
    """
    deadline = time.monotonic() + LONGEST_SECONDS
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(pause_seconds)
    raise AssertionError(f"waited {LONGEST_SECONDS:.0f} s for {what}")
