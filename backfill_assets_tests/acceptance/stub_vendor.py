"""An HTTP server with a fixed response to each endpoint, for commands that run in the test's thread."""

import ssl
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

FAST_RETRIES = {"BACKFILL_ATTEMPTS": "2", "BACKFILL_BACKOFF_SECONDS": "[0, 0]"}


@dataclass
class StubVendor:
    """The response to every request, and the paths of the requests received.

    ``by_path`` has other responses, status and body, for paths below ``/api`` that begin with a key.
    """

    status: int = 200
    body: bytes = b"[]"
    headers: dict[str, str] = field(default_factory=dict)
    request_paths: list[str] = field(default_factory=list)
    by_path: dict[str, tuple[int, bytes]] = field(default_factory=dict)

    def choose_response(self, path: str) -> tuple[int, bytes]:
        name = path.removeprefix("/api/")
        return next((self.by_path[key] for key in self.by_path if name.startswith(key)), (self.status, self.body))

    def count_requests(self, name: str) -> int:
        """How many requests were for paths below ``/api`` that begin with ``name``."""
        return sum(path.startswith(f"/api/{name}") for path in self.request_paths)


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print no traceback into the command's output if the command ended before it read its response."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def serve_stub(vendor: StubVendor, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """Serve ``vendor``; yields its address, with https if ``tls`` is given."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            vendor.request_paths.append(self.path)
            status, body = vendor.choose_response(self.path)
            self.send_response(status)
            headers = vendor.headers if body is vendor.body else {}
            for name, value in {"content-length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Print no line for each request."""

    with _Server(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"{'https' if tls else 'http'}://127.0.0.1:{server.server_address[1]}/api"
        finally:
            server.shutdown()
            thread.join()
