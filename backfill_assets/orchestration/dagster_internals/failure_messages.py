"""The message of a recorded error without the class name that Dagster puts in front of it.

Relies on the form in which Dagster records an exception, which it does not document: "module.class: message", as
Python's ``traceback`` prints it. Dagster's ``Failure`` comes from a private module, so its name is read from the class.
Upstream: no issue found; it would say "record the message of a ``Failure`` apart from its class".
"""

import dagster as dg

_FAILURE_PREFIX = f"{dg.Failure.__module__}.{dg.Failure.__qualname__}: "


def strip_failure_class(message: str) -> str:
    """``message`` without the class name of Dagster's ``Failure``; the messages of other classes keep theirs."""
    return message.removeprefix(_FAILURE_PREFIX)
