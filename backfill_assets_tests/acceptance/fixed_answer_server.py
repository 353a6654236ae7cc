"""A plain HTTP server that answers every request alike, for a command line that runs in this thread."""

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

IMPATIENT = {"BACKFILL_ATTEMPTS": "2", "BACKFILL_BACKOFF_SECONDS": "[0, 0]"}


@dataclass
class Vendor:
    """Answers every request alike, and keeps what was asked of it."""

    status: int = 200
    body: bytes = b"[]"
    headers: dict[str, str] = field(default_factory=dict)
    targets: list[str] = field(default_factory=list)


@contextmanager
def answering(vendor: Vendor, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """Its address; with ``tls`` it speaks https."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            vendor.targets.append(self.path)
            self.send_response(vendor.status)
            for name, value in {"content-length": str(len(vendor.body)), **vendor.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(vendor.body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"{'https' if tls else 'http'}://127.0.0.1:{server.server_address[1]}/api"
        finally:
            server.shutdown()
            thread.join()
