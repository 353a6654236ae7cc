"""One request as several attempts: permit, wire, verdict, record, and when to try again.

What to ask and how to read it is in ``client``; which status means what is in ``verdicts``.

Tenacity rather than stamina drives the retries: stamina is built on it, but logs a WARNING for every
retry through a process-wide hook and cannot lengthen a jittered wait by a ``Retry-After``.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Mapping, Sized
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import perf_counter
from typing import Any, Generic, TypeVar

import httpx
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt

from backfill_assets.eodhd.error_mapping import refusal, retry_after_seconds, vendor_text
from backfill_assets.eodhd.errors import (
    BrokenAnswer,
    RequestRefused,
    TransientError,
    Unreachable,
    VendorError,
)
from backfill_assets.eodhd.rate_limiter import Exchange, Gate
from backfill_assets.eodhd.redaction import Redaction

PATIENCE_SECONDS = 120.0  # a longer Retry-After is the caller's to wait for
_LONGEST = 300  # characters of an error's text
_log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True)
class Ask(Generic[T]):
    """A request and how to read its answer.

    Attributes:
        endpoint: its name in errors and in the log.
        path: below the base URL, percent-encoded.
        calls: what a status 200 costs.
        read: from the body to the result; raises VendorError.
        params: the query, without ``fmt`` and token.
        ticker: whom it is about.
        timeout_seconds: for the whole attempt; None: the client's.
    """

    endpoint: str
    path: str
    calls: int
    read: Callable[[bytes], T]
    params: Mapping[str, str | int] = field(default_factory=dict)
    ticker: str | None = None
    timeout_seconds: float | None = None


@dataclass
class _Seen:
    """What has been seen of an attempt so far."""

    ask: Ask[Any]
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    clock: float = field(default_factory=perf_counter)
    response: httpx.Response | None = None
    sent: bool = True
    cut: bool = False
    size: int = 0
    rows: int | None = None

    @property
    def status(self) -> int | None:
        return self.response.status_code if self.response is not None else None

    def header(self, name: str) -> str | None:
        return self.response.headers.get(name) if self.response is not None else None

    def retry_after(self) -> float | None:
        return retry_after_seconds(self.header("retry-after"))

    def _count(self, name: str) -> int | None:
        value = (self.header(name) or "").strip()
        return int(value) if value.isdecimal() and len(value) < 10 else None

    def cost(self, error: BaseException | None) -> int:
        """What the attempt cost: failures are free, an unknown symbol is 1 (EODHD.md §1).

        Where the request went out and we stopped listening, the vendor may have counted it.
        """
        if self.status == 404:
            return min(1, self.ask.calls)
        if self.status is not None:
            return self.ask.calls if 200 <= self.status < 300 else 0
        unheard = self.sent and (self.cut or not isinstance(error, Exception))
        return self.ask.calls if unheard else 0

    def exchange(self, error: BaseException | None) -> Exchange:
        return Exchange(
            endpoint=self.ask.endpoint,
            ticker=self.ask.ticker,
            started_at=self.started_at,
            seconds=perf_counter() - self.clock,
            status=self.status,
            calls=self.cost(error),
            rows=self.rows,
            size=self.size,
            error=type(error).__name__ if error else None,
            rate_limit=self._count("x-ratelimit-limit"),
            rate_remaining=self._count("x-ratelimit-remaining"),
            retry_after=self.retry_after(),
        )


class Attempts:
    """Asks until there is an answer, a permanent error, or no attempt left."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        gate: Gate,
        redaction: Redaction,
        *,
        timeout_seconds: float,
        attempts: int,
        backoff_seconds: tuple[float, float],
        demo: bool,
    ) -> None:
        self._http = http
        self._gate = gate
        self._redaction = redaction
        self._timeout = timeout_seconds
        self._attempts = attempts
        self._backoff = backoff_seconds
        self._demo = demo
        self._settling: set[asyncio.Task[None]] = set()

    async def ask(self, ask: Ask[T]) -> T:
        """The answer to ``ask``.

        Raises:
            VendorError: with its place filled in; a TransientError only after the last attempt, or
                when the vendor asks for more patience than ``PATIENCE_SECONDS``.
        """
        retrying = AsyncRetrying(
            retry=retry_if_exception(_worth_retrying),
            stop=stop_after_attempt(self._attempts),
            wait=self._wait,
            before_sleep=_tell,
            reraise=True,
        )
        return await retrying(self._attempt, ask)

    async def drained(self) -> None:
        """Wait for the permits of cancelled requests to be settled."""
        await asyncio.gather(*self._settling, return_exceptions=True)

    def _wait(self, state: RetryCallState) -> float:
        """Exponential with the upper half jittered; on top of ``Retry-After`` where there is one."""
        first, most = self._backoff
        ceiling = min(most, first * 2.0 ** (state.attempt_number - 1))
        jittered = random.uniform(ceiling / 2, ceiling)  # noqa: S311 - no secret
        error = state.outcome.exception() if state.outcome else None
        asked = error.retry_after if isinstance(error, TransientError) else None
        return jittered if asked is None else asked + min(jittered, first)

    async def _attempt(self, ask: Ask[T]) -> T:
        permit = await self._gate.admit(ask.calls)
        seen = _Seen(ask)
        error: BaseException | None = None
        try:
            result = ask.read(await self._body(ask, seen))
            seen.rows = len(result) if isinstance(result, Sized) else None
        except VendorError as refused:
            error = refused.at(ask.endpoint, ask.ticker).reworded(self._presentable)
            raise
        except BaseException as other:
            error = other
            raise
        else:
            return result
        finally:
            await self._settle(permit, seen.exchange(error))

    def _presentable(self, words: str) -> str:
        cleaned = self._redaction.clean(words)  # before it is cut: half a token is a token too
        return cleaned if len(cleaned) <= _LONGEST else cleaned[: _LONGEST - 1] + "…"

    async def _settle(self, permit: object, exchange: Exchange) -> None:
        """Settle even if we are cancelled meanwhile: a lost permit blocks everybody's window."""
        task = asyncio.ensure_future(self._gate.settle(permit, exchange))
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)
        await asyncio.shield(task)

    async def _body(self, ask: Ask[T], seen: _Seen) -> bytes:
        """The body of a usable answer; errors are raised free of any httpx exception behind them."""
        timeout = ask.timeout_seconds or self._timeout
        body, failure = b"", None
        try:
            async with asyncio.timeout(timeout):
                body = await self._receive(ask, seen, timeout)
        except (TimeoutError, httpx.HTTPError, httpx.InvalidURL) as error:
            failure = _silence(error, seen, timeout)
        if failure is None:
            failure = self._verdict(ask, seen, body)
        if failure is not None:
            raise failure
        return body

    async def _receive(self, ask: Ask[T], seen: _Seen, timeout: float) -> bytes:
        # connecting has a shorter limit of its own, so that what never went out costs nothing
        limits = httpx.Timeout(timeout, connect=timeout / 3, pool=timeout / 3)
        params = {**ask.params, "fmt": "json"}
        async with self._http.stream("GET", ask.path, params=params, timeout=limits) as response:
            seen.response = response
            try:
                body = await response.aread()
            finally:
                seen.size = response.num_bytes_downloaded
            seen.size = seen.size or len(body)
            return body

    def _verdict(self, ask: Ask[T], seen: _Seen, body: bytes) -> VendorError | None:
        status = seen.status or 0
        if 200 <= status < 300:
            page = "html" in (seen.header("content-type") or "").lower()
            return BrokenAnswer(f"status {status} with a page instead of data") if page else None
        if 300 <= status < 400:
            return RequestRefused(f"the vendor redirects ({status}) to {_host(seen)}; not followed")
        return refusal(
            status,
            vendor_text(body),
            of_ticker=ask.ticker is not None,
            demo=self._demo,
            retry_after=seen.retry_after(),
        )


def _silence(error: Exception, seen: _Seen, timeout: float) -> VendorError | None:
    """What a time-out or a broken connection means; None where the status already says it."""
    if seen.status is not None and seen.status != 200:
        return None
    detail = str(error) or type(error).__name__
    if isinstance(error, TimeoutError | httpx.TimeoutException):
        seen.cut = True
        seen.sent = not isinstance(error, httpx.ConnectTimeout | httpx.PoolTimeout)
        return Unreachable(f"no full answer within {timeout:g} s")
    if seen.status == 200:
        return BrokenAnswer(f"the body was cut or cannot be decoded ({detail})")
    return Unreachable(f"no answer ({detail})")


def _host(seen: _Seen) -> str:
    try:
        return httpx.URL(seen.header("location") or "").host or "itself"
    except httpx.InvalidURL:
        return "an unreadable address"


def _worth_retrying(error: BaseException) -> bool:
    return isinstance(error, TransientError) and (error.retry_after or 0) <= PATIENCE_SECONDS


def _tell(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    wait = state.next_action.sleep if state.next_action else 0
    _log.info("attempt %d failed, next in %.1f s: %s", state.attempt_number, wait, error)
