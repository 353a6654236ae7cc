"""Traces of runs for OpenTelemetry: what a run does, as spans. Off, and without cost, unless the environment asks.

Traces are on if ``OTEL_EXPORTER_OTLP_ENDPOINT`` (or ``OTEL_EXPORTER_OTLP_TRACES_ENDPOINT``) is set and the extra
``tracing`` is installed; the variables are OpenTelemetry's own. Without them no module of OpenTelemetry is loaded. How
spans are sent is in ``export``. A failure here never harms a run.
"""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache, wraps
from typing import TYPE_CHECKING, Final, ParamSpec, TypeAlias, TypeVar

if TYPE_CHECKING:
    from opentelemetry.trace import Span as OtelSpan
    from opentelemetry.trace import Tracer

P = ParamSpec("P")
T = TypeVar("T")
Value: TypeAlias = str | int | float | bool
PREFIX: Final = "backfill."  # of attributes
RUN, PLAN, REQUEST, STORE, PROOF = "run", "plan", "request", "store", "proof"  # spans, as a run comes to them
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_log = logging.getLogger(__name__)


class Span:
    """A part of a run's work. Attributes are plain values; never a URL, a header or the text of an answer."""

    def __init__(self, span: "OtelSpan | None" = None) -> None:
        self._span = span

    def set(self, **attributes: Value | None) -> None:
        """Set attributes, each named ``backfill.…``; those that are None are left out."""
        if self._span is not None:
            self._span.set_attributes(_name(attributes))

    def add_event(self, name: str, **attributes: Value | None) -> None:
        """Add something that happened at this moment."""
        if self._span is not None:
            self._span.add_event(name, _name(attributes))

    def add_attempt(self, *, status: int | None, calls: int, **attributes: Value | None) -> None:
        """Add an attempt at a request to the vendor. The span of the request gets its status, and all calls spent."""
        if self._span is None:
            return
        self.add_event("attempt", status=status, calls=calls, **attributes)
        if getattr(self._span, "name", None) == REQUEST:
            spent = getattr(self._span, "attributes", {}).get(f"{PREFIX}calls", 0)
            self.set(status=status, calls=spent + calls)

    def fail(self, reason: str) -> None:
        """Mark the span as failed. ``reason`` is the name of an error's class: its text may hold what was sent."""
        if self._span is not None:
            from opentelemetry.trace import StatusCode

            self._span.set_status(StatusCode.ERROR, reason)


_NO_SPAN = Span()
_NOTHING = nullcontext(_NO_SPAN)


def trace(name: str, **attributes: Value | None) -> AbstractContextManager[Span]:
    """A span around a block of code, within that of the caller; an exception marks it as failed and passes through."""
    tracer = _get_tracer()
    return _NOTHING if tracer is None else _open_span(tracer, name, attributes)


def traced(name: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """A decorator: each call of the function is a span."""

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            with trace(name):
                return function(*args, **kwargs)

        return call

    return decorate


def get_current_span() -> Span:
    """The span around the caller; one that records nothing if there is none."""
    if _get_tracer() is None:
        return _NO_SPAN
    from opentelemetry.trace import get_current_span as get_span

    return Span(get_span())


@contextmanager
def _open_span(tracer: "Tracer", name: str, attributes: dict[str, Value | None]) -> Iterator[Span]:
    # Recorded exceptions and their texts are left out: they may quote an answer or an address.
    with tracer.start_as_current_span(
        name, attributes=_name(attributes), record_exception=False, set_status_on_exception=False
    ) as opened:
        span = Span(opened)
        try:
            yield span
        except BaseException as error:
            span.fail(type(error).__name__)
            raise


def _name(attributes: dict[str, Value | None]) -> dict[str, Value]:
    return {f"{PREFIX}{name}": value for name, value in attributes.items() if value is not None}


@cache
def _get_tracer() -> "Tracer | None":
    """The tracer of this process, made at the first span; None if traces are off."""
    if not is_asked_for():
        return None
    try:
        from backfill_assets.tracing.export import create_tracer

        return create_tracer()
    except ImportError:
        _log.warning("no traces: OpenTelemetry is not installed; install it: pip install 'backfill_assets[tracing]'")
    except Exception as error:  # noqa: BLE001 - whatever is wrong with the variables, the run goes on
        _log.warning("no traces: OpenTelemetry cannot be set up (%s); see its variables OTEL_…", type(error).__name__)
    return None


def is_asked_for() -> bool:
    """Whether the environment names a receiver of traces, and does not switch them off."""
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    if os.environ.get("OTEL_TRACES_EXPORTER", "otlp").strip().lower() == "none":
        return False
    return any(os.environ.get(name, "").strip() for name in _ENDPOINTS)
