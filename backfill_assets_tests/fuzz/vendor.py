"""A vendor in this process: the sandbox's true answers over real HTTP, each passed through a change first.

Answers are sent byte by byte, so that also heads and lengths may be wrong. Which changes there are is in
``answer_changes``.
"""

import asyncio
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from threading import Thread
from typing import Self
from urllib.parse import parse_qsl, urlencode, urlsplit

from backfill_assets.sandbox.actions import CashDividend, SpinOff, Split
from backfill_assets.sandbox.config import ExchangeConfig, Publication, SandboxConfig
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets_tests.conftest import NOW

SANDBOX_TOKEN = "sandbox"  # noqa: S105 - any is accepted
_LATER = datetime(2026, 6, 20, tzinfo=UTC)  # all sessions of the fuzz are published
_ACTIONS = {
    "AAPL": (Split(date(2026, 5, 28), 4), CashDividend(date(2026, 6, 2), Decimal("0.27"))),
    "MSFT": (
        CashDividend(date(2026, 6, 2), Decimal("0.91"), declared_on=date(2026, 3, 10), paid_on=date(2026, 6, 11)),
        SpinOff(date(2026, 5, 27), 1.25),
        Split(date(2026, 6, 2), 1, 10),
    ),
}
_TODAY_ENDPOINTS = ("real-time", "us-quote-delayed", "user", "internal-user")


@dataclass(frozen=True)
class Answer:
    """One HTTP answer.

    Attributes:
        status: the text after ``HTTP/1.1 ``.
        body: as it is sent.
        headers: without the content length, which is ``len(body)`` unless it is given here ("": none is sent).
        cut: the connection is closed after so many bytes of the whole answer; None: all is sent.
        delay_seconds: before the first byte.
    """

    status: str = "200 OK"
    body: bytes = b"[]"
    headers: dict[str, str] = field(default_factory=lambda: {"content-type": "application/json"})
    cut: int | None = None
    delay_seconds: float = 0.0

    def encode(self) -> bytes:
        """All bytes of the answer."""
        headers = {"content-length": str(len(self.body)), **self.headers}
        lines = [f"HTTP/1.1 {self.status}", *(f"{name}: {value}" for name, value in headers.items() if value)]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "surrogateescape") + self.body


def keep_answer(endpoint: str, answer: Answer) -> Answer:
    """Pass the true answer on unchanged."""
    return answer


class FuzzVendor:
    """The vendor of one worker; ``change`` gets the name and the true answer of each request."""

    def __init__(self) -> None:
        limits = {"per_minute": 10_000_000, "daily": 1_000_000_000, "symbols": 12, "clock_rate": 0.0}
        published = Publication(hours_after_close=(0.0, 0.0), one_minute_delay_hours=0.0)
        exchanges = {
            code: ExchangeConfig(symbols=3, foreign_copies=2, publication=published, history_from=date(2026, 1, 2))
            for code in ("LSE", "AU")
        }
        self._later = Sandbox(
            SandboxConfig(now=_LATER, publication=published, actions=_ACTIONS, exchanges=exchanges, **limits)
        )
        self._today = Sandbox(SandboxConfig(now=NOW.replace(hour=15, minute=10), **limits))
        self._answers: dict[str, Answer] = {}
        self.change: Callable[[str, Answer], Answer] = keep_answer
        self.sends_nothing = False  # an empty list answers everything, without the sandbox
        self.url = ""
        self.request_count = 0
        self._writers: set[asyncio.StreamWriter] = set()

    def __enter__(self) -> Self:
        self._later.__enter__()
        self._today.__enter__()
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="fuzz vendor", daemon=True)
        self._thread.start()
        starting = asyncio.run_coroutine_threadsafe(asyncio.start_server(self._serve, "127.0.0.1", 0), self._loop)
        self._server = starting.result()
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/api"
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._later.__exit__()
        self._today.__exit__()

    async def _stop(self) -> None:
        """Close the server and the connections, and wait for what they were doing."""
        self._server.close()
        for writer in list(self._writers):
            writer.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self._loop.shutdown_default_executor()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while await self._respond(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _respond(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        self.request_count += 1
        target = head.split(b" ")[1].decode()
        endpoint = urlsplit(target).path.removeprefix("/api").strip("/").partition("/")[0]
        true_answer = Answer()
        if not self.sends_nothing:
            true_answer = await asyncio.to_thread(self._read_true_answer, endpoint, target)
        answer = self.change(_name_request(endpoint, target), true_answer)
        if answer.delay_seconds:
            await asyncio.sleep(answer.delay_seconds)
        sent = answer.encode()[: answer.cut]
        writer.write(sent)
        await writer.drain()
        is_usual = answer.cut is None and "content-length" not in answer.headers and answer.status[:1] != "1"
        return is_usual and not answer.delay_seconds

    def _read_true_answer(self, endpoint: str, target: str) -> Answer:
        parts = urlsplit(target)
        query = urlencode([(n, SANDBOX_TOKEN if n == "api_token" else v) for n, v in parse_qsl(parts.query)])
        sandbox = self._today if endpoint in _TODAY_ENDPOINTS else self._later
        url = f"{sandbox.base_url}{parts.path.removeprefix('/api')}?{query}"
        if url not in self._answers:
            self._answers[url] = _request(url)
        return replace(self._answers[url], headers=dict(self._answers[url].headers))


def _name_request(endpoint: str, target: str) -> str:
    """The endpoint, with the interval of intraday rows and what a market's file lists: "intraday 1m"."""
    query = dict(parse_qsl(urlsplit(target).query))
    detail = query.get("interval") or (query.get("type") if endpoint == "eod-bulk-last-day" else None)
    return f"{endpoint} {detail}" if detail else endpoint


def _request(url: str) -> Answer:
    try:
        with urllib.request.urlopen(url) as response:  # noqa: S310 - the sandbox
            return Answer("200 OK", response.read(), _select_headers(response.headers.items()))
    except urllib.error.HTTPError as error:
        return Answer(f"{error.code} X", error.read(), _select_headers(error.headers.items()))


def _select_headers(headers: list[tuple[str, str]]) -> dict[str, str]:
    return {n.lower(): v for n, v in headers if n.lower() == "content-type" or n.lower().startswith("x-ratelimit")}
