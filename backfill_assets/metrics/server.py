"""Serves metrics over HTTP until a signal. What is served is read by a function; see ``reader``.

One pass is under way at a time: scrapes that come meanwhile wait for it and get its answer, so that however many there
are, the database sees one. A pass that hangs, because the network is silent, holds neither answers nor the end of the
process: answers come after ten seconds, and its thread is a daemon.
"""

import asyncio
import signal
import socket
from collections.abc import Callable
from threading import Event, Thread
from types import FrameType
from typing import Self

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from backfill_assets.config.readable_text import to_one_line
from backfill_assets.errors import UsageError
from backfill_assets.metrics.families import build_down_families
from backfill_assets.metrics.reader import MetricsPass, ReadPass, format_metrics

METRICS_PATH, HEALTH_PATH = "/metrics", "/healthy"
ANSWER_SECONDS = 10.0  # Prometheus waits no longer by default
_MAX_CONNECTIONS = 100  # open ones; more are refused with 503
_GRACE_SECONDS = 1


class MetricsServer:
    """An HTTP server in a thread; a context manager that serves while it is entered.

    Attributes:
        url: of the metrics; empty before the context is entered.
    """

    def __init__(self, read_pass: ReadPass, host: str, port: int, *, answer_seconds: float = ANSWER_SECONDS) -> None:
        self._host, self._port = host, port
        self._passes = _SharedPasses(read_pass, answer_seconds)
        self.url = ""

    def __enter__(self) -> Self:
        """Listen, and serve from a thread; clients can connect when this returns.

        Raises:
            UsageError: the address cannot be listened at.
        """
        listener = _open_listener(self._host, self._port)
        shown = f"[{self._host}]" if ":" in self._host else self._host
        self.url = f"http://{shown}:{listener.getsockname()[1]}{METRICS_PATH}"
        config = uvicorn.Config(
            self._build_application(),
            lifespan="off",
            ws="none",
            log_config=None,
            log_level="critical",
            access_log=False,
            server_header=False,
            limit_concurrency=_MAX_CONNECTIONS,
            timeout_graceful_shutdown=_GRACE_SECONDS,
        )
        self._server = uvicorn.Server(config)
        self._thread = Thread(target=self._server.run, args=([listener],), name="metrics", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop listening and end the requests that wait."""
        self._server.should_exit = True
        self._thread.join(_GRACE_SECONDS + 2)

    def _build_application(self) -> Starlette:
        return Starlette(
            routes=[
                Route(METRICS_PATH, self._show_metrics),
                Route(HEALTH_PATH, self._show_health),
                Route("/", self._show_paths),
            ]
        )

    async def _show_metrics(self, request: Request) -> Response:
        """The figures, or status 503 and the reason. ``HEAD`` tells the same without a body."""
        result = await self._passes.get()
        text, media_type = format_metrics(result.families, request.headers.get("accept", ""))
        if result.failure is None:
            return Response(text, media_type=None, headers={"content-type": media_type})
        reason = f"# {to_one_line(result.failure)}\n".encode()
        return Response(reason + text, 503, headers={"content-type": "text/plain; charset=utf-8"})

    async def _show_health(self, _: Request) -> Response:
        """That the server itself runs; says nothing about the database."""
        return PlainTextResponse("ok\n")

    async def _show_paths(self, _: Request) -> Response:
        return PlainTextResponse(f"{METRICS_PATH}  metrics for Prometheus\n{HEALTH_PATH}  that this server runs\n")


class _SharedPasses:
    """Passes in a thread of their own, one at a time, for any number of waiting requests of one event loop."""

    def __init__(self, read_pass: ReadPass, answer_seconds: float) -> None:
        self._read_pass = read_pass
        self._answer_seconds = answer_seconds
        self._current: asyncio.Future[MetricsPass] | None = None

    async def get(self) -> MetricsPass:
        """The pass that is under way, else a new one; after some seconds the news that it takes too long."""
        if self._current is None:
            self._current = asyncio.get_running_loop().create_future()
            Thread(target=self._run, args=(asyncio.get_running_loop(), self._current), daemon=True).start()
        try:
            return await asyncio.wait_for(asyncio.shield(self._current), self._answer_seconds)
        except TimeoutError:
            reason = f"the database has not answered for {self._answer_seconds:g} s"
            return MetricsPass(tuple(build_down_families()), reason)

    def _run(self, loop: asyncio.AbstractEventLoop, answer: "asyncio.Future[MetricsPass]") -> None:
        result = self._read_pass()
        if not loop.is_closed():
            loop.call_soon_threadsafe(self._finish, answer, result)

    def _finish(self, answer: "asyncio.Future[MetricsPass]", result: MetricsPass) -> None:
        self._current = None
        answer.set_result(result)


def serve(read_pass: ReadPass, host: str, port: int, *, announce: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM; ``announce`` receives the URL. Main thread only.

    Raises:
        UsageError: the address cannot be listened at.
    """
    stop = Event()

    def request_stop(_: int, __: FrameType | None) -> None:
        stop.set()

    previous_handlers = {number: signal.signal(number, request_stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with MetricsServer(read_pass, host, port) as server:
            announce(server.url)
            stop.wait()
    finally:
        for number, handler in previous_handlers.items():
            signal.signal(number, handler)


def _open_listener(host: str, port: int) -> socket.socket:
    try:
        # "" would be every address, without anybody having asked for it
        family, _, _, _, address = socket.getaddrinfo(host or " ", port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no host name"
        raise UsageError(f"metrics cannot be served at --host {host!r}: {reason}; example: 0.0.0.0") from None
    try:
        return socket.create_server(address[:2], family=family)
    except OSError as error:
        reason = (error.strerror or str(error)).partition(" (")[0]
        raise UsageError(f"metrics cannot be served at --host {host} --port {port}: {reason}") from error
