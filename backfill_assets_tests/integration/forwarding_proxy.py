"""An HTTP proxy that forwards requests to the sandbox, except those that the test answers itself."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

from backfill_assets_tests.waiting import LONGEST_SECONDS

EVERY_REQUEST = 1_000_000
MAINTENANCE_PAGE = b"<html><body>Maintenance</body></html>"
CLOSE_CONNECTION = b""


@contextmanager
def run_proxy(base_url: str, respond: Callable[[str], bytes | None]) -> Iterator[str]:
    """Run a proxy and return its address.

    ``respond`` receives path and query. None forwards the request, CLOSE_CONNECTION closes the connection, and
    other bytes are the HTML page to send.
    """
    upstream = httpx.Client(base_url=base_url.removesuffix("/api"), timeout=LONGEST_SECONDS)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = respond(self.path)
            if body == CLOSE_CONNECTION:
                self.close_connection = True
                return
            response = httpx.Response(200, html=body.decode()) if body else upstream.get(self.path)
            self.send_response(response.status_code)
            self.send_header("content-type", response.headers["content-type"])
            self.send_header("content-length", str(len(response.content)))
            self.end_headers()
            self.wfile.write(response.content)

        def log_message(self, *_: object) -> None:
            """Print no line for each request."""

    with upstream, ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/api"
        finally:
            server.shutdown()
            thread.join()


class BarRequestGate:
    """Forwards a number of requests for bars; later ones wait for ``release``."""

    def __init__(self, forwarded: int) -> None:
        self._permits = threading.Semaphore(forwarded)

    def __call__(self, target: str) -> None:
        """Wait for a permit if the request is for bars."""
        if "/intraday/" in target:
            self._permits.acquire()

    def release(self) -> None:
        """Forward every request from now on."""
        self._permits.release(EVERY_REQUEST)


@contextmanager
def run_blocking_proxy(base_url: str, forwarded: int) -> Iterator[tuple[str, BarRequestGate]]:
    """Run a proxy that blocks requests for bars after the first ``forwarded``; return its address and the gate."""
    gate = BarRequestGate(forwarded)
    with run_proxy(base_url, gate) as url:
        try:
            yield url, gate
        finally:
            gate.release()
