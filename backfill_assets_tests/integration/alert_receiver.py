"""An HTTP server on 127.0.0.1 that receives alerts, stores them and responds as the test configures it."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from backfill_assets_tests.waiting import LONGEST_SECONDS

MAX_CHAT_LENGTH = 2000  # characters of a chat message
SECRET = "hush-4711-in-the-path"  # noqa: S105 - made up


class Receiver:
    """Receives the JSON posts of Apprise.

    ``status`` is the status of its responses; it responds only while ``may_respond`` is set. A chat message
    (``content``) of more than 2,000 characters gets status 400, as from Discord.
    """

    def __init__(self) -> None:
        self.status = 200
        self.rejected_text = ""  # messages that contain this text get status 400
        self.messages: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.request_received = threading.Event()
        self.may_respond = threading.Event()
        self.may_respond.set()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                message = json.loads(self.rfile.read(int(self.headers["content-length"])))
                receiver.paths.append(self.path)
                receiver.request_received.set()
                receiver.may_respond.wait()
                text = str(message.get("content") or message.get("message"))
                is_rejected = len(message.get("content", "")) > MAX_CHAT_LENGTH or (
                    receiver.rejected_text and receiver.rejected_text in text
                )
                status = 400 if is_rejected else receiver.status
                if status < 300:
                    receiver.messages.append(message)
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
        """Build the address, with the seconds that Apprise waits for a response."""
        return f"json://127.0.0.1:{self._server.server_port}/{SECRET}?cto={LONGEST_SECONDS:.0f}&rto={seconds:.0f}"

    @property
    def chat_url(self) -> str:
        """The address of this server as a chat with Discord's API."""
        return f"fluxer://127.0.0.1:{self._server.server_port}/123456789012345678/{SECRET}?mode=private&cto={LONGEST_SECONDS:.0f}&rto={LONGEST_SECONDS:.0f}"

    @property
    def titles(self) -> list[str]:
        return [message["title"].removeprefix("backfill_assets: ") for message in self.messages]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.may_respond.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
