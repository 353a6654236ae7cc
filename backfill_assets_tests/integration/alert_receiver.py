"""An HTTP server on 127.0.0.1 that receives alerts, keeps them and answers as the test says."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from backfill_assets_tests.waiting import LONGEST_SECONDS

LONGEST = 2000  # characters of a chat's message
SECRET = "hush-4711-in-the-path"  # noqa: S105 - made up


class Receiver:
    """Takes the JSON posts of Apprise; ``status`` is its answer, and while ``holds`` is not set it does not answer.

    It answers a chat message (``content``) of more than 2,000 characters with status 400, as Discord does.
    """

    def __init__(self) -> None:
        self.status = 200
        self.refuses = ""  # messages that hold this get a 400
        self.got: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.arrived = threading.Event()
        self.holds = threading.Event()
        self.holds.set()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                said = json.loads(self.rfile.read(int(self.headers["content-length"])))
                receiver.paths.append(self.path)
                receiver.arrived.set()
                receiver.holds.wait()
                text = str(said.get("content") or said.get("message"))
                refused = len(said.get("content", "")) > LONGEST or (receiver.refuses and receiver.refuses in text)
                status = 400 if refused else receiver.status
                if status < 300:
                    receiver.got.append(said)
                self.send_response(status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Print no line for each request."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    @property
    def url(self) -> str:
        return self.build_url(LONGEST_SECONDS)

    def build_url(self, seconds: float) -> str:
        """Its address, with the time that Apprise gives it to answer."""
        return f"json://127.0.0.1:{self._server.server_port}/{SECRET}?cto={LONGEST_SECONDS:.0f}&rto={seconds:.0f}"

    @property
    def chat_url(self) -> str:
        """The same as a chat whose API is Discord's."""
        return f"fluxer://127.0.0.1:{self._server.server_port}/123456789012345678/{SECRET}?mode=private&cto={LONGEST_SECONDS:.0f}&rto={LONGEST_SECONDS:.0f}"

    @property
    def titles(self) -> list[str]:
        return [said["title"].removeprefix("backfill_assets: ") for said in self.got]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.holds.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
