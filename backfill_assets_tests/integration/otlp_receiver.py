"""A receiver of traces over OTLP/HTTP on 127.0.0.1 that keeps the spans it gets, as a collector would."""

import gzip
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

ERROR_STATUS = 2  # of OTLP


@dataclass(frozen=True)
class ReceivedSpan:
    """A span as it came: ids in bytes, attributes as plain values."""

    span_id: bytes
    parent_id: bytes
    trace_id: bytes
    name: str
    attributes: dict[str, Any]
    events: list[dict[str, Any]]
    is_failed: bool
    reason: str


@dataclass
class OtlpReceiver:
    """Receives spans while it is entered; ``status`` is that of its answers."""

    status: int = 200
    spans: list[ReceivedSpan] = field(default_factory=list)
    services: set[str] = field(default_factory=set)
    bodies: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                body = gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body
                receiver.bodies.append(body)
                if receiver.status == 200:
                    receiver._keep(ExportTraceServiceRequest.FromString(body))
                self.send_response(receiver.status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Print no line for each request."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def _keep(self, request: ExportTraceServiceRequest) -> None:
        for group in request.resource_spans:
            self.services |= {a.value.string_value for a in group.resource.attributes if a.key == "service.name"}
            for span in (span for scope in group.scope_spans for span in scope.spans):
                events = [_to_values(event.attributes) for event in span.events]
                is_failed = span.status.code == ERROR_STATUS
                ids = span.span_id, span.parent_span_id, span.trace_id
                self.spans.append(
                    ReceivedSpan(*ids, span.name, _to_values(span.attributes), events, is_failed, span.status.message)
                )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _to_values(attributes: Any) -> dict[str, Any]:
    return {a.key: getattr(a.value, str(a.value.WhichOneof("value"))) for a in attributes}
