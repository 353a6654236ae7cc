"""Waiting for a state of the world: looks again and again, and only a failure takes long."""

import time
from collections.abc import Callable
from typing import TypeVar

LONGEST_SECONDS = 300.0  # a deadline that no slow machine reaches, not an expectation
T = TypeVar("T")


def wait_until(condition: Callable[[], T], what: str, pause_seconds: float = 0.01) -> T:
    """Wait until ``condition`` gives something true; returns it.

    Raises:
        AssertionError: it did not come within ``LONGEST_SECONDS``; the message names ``what`` was waited for.
    """
    deadline = time.monotonic() + LONGEST_SECONDS
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(pause_seconds)
    raise AssertionError(f"waited {LONGEST_SECONDS:.0f} s for {what}")
