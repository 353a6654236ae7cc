"""The class name that Dagster puts in front of a recorded failure is removed."""

from traceback import TracebackException

import dagster as dg
import pytest
from dagster_shared.error import SerializableErrorInfo

from backfill_assets.orchestration.dagster_internals.failure_messages import strip_failure_class


def record_message(error: Exception) -> str:
    """The message as Dagster records it."""
    return SerializableErrorInfo.from_traceback(TracebackException.from_exception(error)).message.strip()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (dg.Failure("no calls left"), "no calls left"),
        (ValueError("no calls left"), "ValueError: no calls left"),
    ],
)
def test_only_the_class_of_a_failure_is_removed(error: Exception, expected: str) -> None:
    assert strip_failure_class(record_message(error)) == expected
