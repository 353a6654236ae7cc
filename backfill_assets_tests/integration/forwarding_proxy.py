"""An HTTP proxy to the sandbox that forwards requests, except those that the test answers itself."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

from backfill_assets_tests.waiting import LONGEST_SECONDS

ALL = 1_000_000  # requests
PAGE = b"<html><body>Maintenance</body></html>"
HANG_UP = b""


@contextmanager
def passing_on(base_url: str, instead: Callable[[str], bytes | None]) -> Iterator[str]:
    """Give its address. ``instead`` decides by path and query: None forwards, HANG_UP closes, bytes are a page."""
    behind = httpx.Client(base_url=base_url.removesuffix("/api"), timeout=LONGEST_SECONDS)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = instead(self.path)
            if body == HANG_UP:
                self.close_connection = True
                return
            answer = httpx.Response(200, html=body.decode()) if body else behind.get(self.path)
            self.send_response(answer.status_code)
            self.send_header("content-type", answer.headers["content-type"])
            self.send_header("content-length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        def log_message(self, *_: object) -> None:
            """Print no line for each request."""

    with behind, ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/api"
        finally:
            server.shutdown()
            thread.join()


class HeldBack:
    """Requests for bars after the first ``answered`` wait until they are released."""

    def __init__(self, answered: int) -> None:
        self._left = threading.Semaphore(answered)

    def __call__(self, target: str) -> None:
        """Forward a request, when it is its turn."""
        if "/intraday/" in target:
            self._left.acquire()

    def release(self) -> None:
        """Let every request pass."""
        self._left.release(ALL)


@contextmanager
def holding_back(base_url: str, answered: int) -> Iterator[tuple[str, HeldBack]]:
    """The address of a proxy that holds back requests for bars after the first ``answered``, and what releases them."""
    held_back = HeldBack(answered)
    with passing_on(base_url, held_back) as url:
        try:
            yield url, held_back
        finally:
            held_back.release()
