"""A real HTTP server before the sandbox that passes requests on, but for those that a test answers itself."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

PAGE = b"<html><body>Maintenance</body></html>"
HANG_UP = b""


@contextmanager
def passing_on(base_url: str, instead: Callable[[str], bytes | None]) -> Iterator[str]:
    """Its address. ``instead`` says for a path and query: None passes it on, HANG_UP, or a page with status 200."""
    behind = httpx.Client(base_url=base_url.removesuffix("/api"), timeout=60)

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
            """Say nothing."""

    with behind, ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/api"
        finally:
            server.shutdown()
            thread.join()
