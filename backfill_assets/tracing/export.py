"""Sends spans to a receiver of OTLP over HTTP, in the background. Loaded only if traces are on.

The provider is this program's own and not the global one of OpenTelemetry, which belongs to the process's owner, such
as a project that includes these assets.
"""

import atexit
import logging
import os
from collections.abc import Sequence
from importlib.metadata import version
from threading import Thread

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Tracer

PACKAGE = "backfill_assets"
SERVICE = "backfill-assets"  # unless OTEL_SERVICE_NAME says otherwise
END_SECONDS = 2.0  # that the end of a process waits for its last spans: it has ten to end in a container
_SEND_SECONDS = 5.0  # for one delivery, unless OTEL_EXPORTER_OTLP_TIMEOUT says otherwise
_TIMEOUTS = ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT")
_log = logging.getLogger(__name__)


class QuietExporter(SpanExporter):
    """An exporter that says once that its receiver cannot be reached, and then drops spans in silence."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._has_warned = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Deliver spans; never raises."""
        try:
            result = self._exporter.export(spans)
        except Exception as error:  # noqa: BLE001 - a receiver's fault is not the run's
            _log.debug("traces cannot be delivered: %s", type(error).__name__)
            result = SpanExportResult.FAILURE
        if result is not SpanExportResult.SUCCESS and not self._has_warned:
            self._has_warned = True
            _log.warning("traces cannot be delivered to the address in OTEL_EXPORTER_OTLP_ENDPOINT; runs go on")
        return result

    def shutdown(self) -> None:
        """End the exporter."""
        self._exporter.shutdown()


def create_tracer() -> Tracer:
    """A tracer that sends spans in batches from a thread of its own; the last ones when the process ends."""
    # What the library says of each failed delivery names the address, in which there may be a secret.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    named = "service.name=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "") or os.environ.get("OTEL_SERVICE_NAME")
    own_name = {} if named else {SERVICE_NAME: SERVICE}
    resource = Resource.create({SERVICE_VERSION: version(PACKAGE), **own_name})
    timeout = None if any(os.environ.get(name) for name in _TIMEOUTS) else _SEND_SECONDS
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(QuietExporter(OTLPSpanExporter(timeout=timeout))))
    atexit.register(_end, provider)
    return provider.get_tracer(PACKAGE, version(PACKAGE))


def _end(provider: TracerProvider) -> None:
    """Send what is left, for at most ``END_SECONDS``: a receiver that is silent does not keep the process."""
    ending = Thread(target=provider.shutdown, daemon=True)
    ending.start()
    ending.join(END_SECONDS)
