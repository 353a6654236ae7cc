"""One request as several attempts: permit, HTTP exchange, error mapping, record, and backoff.

Endpoints and parsers are in ``eodhd.client``, requests and the state of an attempt in ``eodhd.attempts``; which status
means which error is in ``eodhd.error_mapping``.

Retries use tenacity rather than stamina. Stamina is built on it, but logs a WARNING for every retry through a
process-wide hook, and cannot extend a jittered wait by a ``Retry-After``.
"""

import asyncio
import logging
import random
import re
from collections.abc import Sized

import httpx
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt

from backfill_assets.eodhd.attempts import ApiRequest, AttemptState, T
from backfill_assets.eodhd.error_mapping import (
    extract_vendor_message,
    map_body_to_error,
    map_status_to_error,
)
from backfill_assets.eodhd.redaction import TokenRedactor
from backfill_assets.eodhd.vendor_http import VendorHttp
from backfill_assets.market.rate_limiter_protocol import RateLimiter, RequestRecord
from backfill_assets.market.vendor_errors import (
    AccessRefused,
    BrokenAnswer,
    ProxyRefused,
    RequestRefused,
    TransientError,
    Unreachable,
    VendorError,
)

MAX_RETRY_AFTER_SECONDS = 120.0  # a longer Retry-After is raised, and the caller decides
_MAX_ERROR_CHARS = 300
_PASSING_PROXY_FAULT = re.compile(r"(408|429|5\d\d)\b")  # its status when it opens no tunnel, such as `503 ...`
_log = logging.getLogger(__name__)


class RetryingSender:
    """Sends a request until it succeeds, fails permanently, or has no attempt left."""

    def __init__(
        self,
        http: VendorHttp,
        rate_limiter: RateLimiter,
        redactor: TokenRedactor,
        *,
        timeout_seconds: float,
        max_attempts: int,
        backoff_seconds: tuple[float, float],
        is_demo_token: bool,
    ) -> None:
        self._http = http
        self._rate_limiter = rate_limiter
        self._redactor = redactor
        self._timeout = timeout_seconds
        self._max_attempts = max_attempts
        self._backoff_seconds = backoff_seconds
        self._is_demo_token = is_demo_token
        self._pending_releases: set[asyncio.Task[None]] = set()

    async def send(self, request: ApiRequest[T]) -> T:
        """Send ``request`` and return the parsed response.

        Raises:
            VendorError: with endpoint and ticker; a TransientError only after the last attempt, or when the vendor
                names a wait longer than ``MAX_RETRY_AFTER_SECONDS``.
        """
        retrying = AsyncRetrying(
            retry=retry_if_exception(_is_retryable),
            stop=stop_after_attempt(self._max_attempts),
            wait=self._compute_wait,
            before_sleep=_log_retry,
            reraise=True,
        )
        return await retrying(self._send_once, request)

    async def drain(self) -> None:
        """Wait until the permits of cancelled requests are released."""
        await asyncio.gather(*self._pending_releases, return_exceptions=True)

    def _compute_wait(self, state: RetryCallState) -> float:
        """Exponential backoff with a jittered upper half; added to ``Retry-After`` if there is one."""
        first, most = self._backoff_seconds
        ceiling = min(most, first * 2.0 ** (state.attempt_number - 1))
        jittered = random.uniform(ceiling / 2, ceiling)  # noqa: S311 - no secret
        error = state.outcome.exception() if state.outcome else None
        retry_after = error.retry_after if isinstance(error, TransientError) else None
        return jittered if retry_after is None else retry_after + min(jittered, first)

    async def _send_once(self, request: ApiRequest[T]) -> T:
        permit = await self._rate_limiter.acquire(request.calls, request.purpose)
        attempt = AttemptState(request)
        error: BaseException | None = None
        try:
            result = request.parse(await self._receive_body(request, attempt))
            attempt.rows = len(result) if isinstance(result, Sized) else None
        except VendorError as vendor_error:
            vendor_error.add_context(request.endpoint, request.ticker)
            vendor_error.rewrite_message(self.sanitize)
            error = vendor_error
            raise
        except BaseException as other:
            error = other
            raise
        else:
            return result
        finally:
            await self._release_permit(permit, attempt.build_record(error))

    def sanitize(self, text: str) -> str:
        """A vendor's text without the token, limited in length."""
        cleaned = self._redactor.redact(text)  # before it is shortened, since part of a token is secret, too
        return cleaned if len(cleaned) <= _MAX_ERROR_CHARS else cleaned[: _MAX_ERROR_CHARS - 1] + "…"

    async def _release_permit(self, permit: object, record: RequestRecord) -> None:
        """Release even if this task is cancelled meanwhile: a lost permit blocks the rate window of all processes."""
        task = asyncio.ensure_future(self._rate_limiter.release(permit, record))
        self._pending_releases.add(task)
        task.add_done_callback(self._pending_releases.discard)
        await asyncio.shield(task)

    async def _receive_body(self, request: ApiRequest[T], attempt: AttemptState) -> bytes:
        """The body of a successful response; errors are raised without an httpx exception as their cause."""
        timeout = request.timeout_seconds or self._timeout
        body, failure = b"", None
        try:
            async with asyncio.timeout(timeout):
                body = await self._stream_response(request, attempt, timeout)
        except (TimeoutError, httpx.HTTPError, httpx.InvalidURL) as error:
            failure = _map_transport_error(error, attempt, timeout)
        if failure is None:
            failure = self._map_response_error(request, attempt, body)
        if failure is not None:
            raise failure
        return body

    async def _stream_response(self, request: ApiRequest[T], attempt: AttemptState, timeout: float) -> bytes:
        # connecting has its own, shorter limit: a request that was never sent costs nothing
        limits = httpx.Timeout(timeout, connect=timeout / 3, pool=timeout / 3)
        async with self._http.stream(request.path, request.params, limits) as response:
            attempt.response = response
            try:
                # not aread: a response keeps what it read, and is in a cycle that only the collector ends
                body = b"".join([part async for part in response.aiter_bytes()])
            finally:
                attempt.body_bytes = response.num_bytes_downloaded
            attempt.body_bytes = attempt.body_bytes or len(body)
            return body

    def _map_response_error(self, request: ApiRequest[T], attempt: AttemptState, body: bytes) -> VendorError | None:
        status = attempt.status or 0
        if 200 <= status < 300:
            is_html = "html" in (attempt.get_header("content-type") or "").lower()
            return self._name_address(map_body_to_error(body, is_html=True)) if is_html else None
        if 300 <= status < 400:
            return _refuse_redirect(status, attempt)
        error = map_status_to_error(
            status,
            extract_vendor_message(body),
            is_ticker_request=request.ticker is not None,
            is_demo_token=self._is_demo_token,
            retry_after=attempt.get_retry_after(),
        )
        return self._name_address(error) if request.ticker is None else error

    def _name_address(self, error: VendorError) -> VendorError:
        """The error with the configured address, if a page or another server's words came instead of data."""
        is_plan_doubtful = isinstance(error, AccessRefused)  # the vendor refuses endpoints in the same words
        if isinstance(error, BrokenAnswer) or not (error.is_from_vendor or is_plan_doubtful):
            error.rewrite_message(lambda text: f"{self._http.base_url} (EODHD_BASE_URL) answers {text}")
        return error


def _refuse_redirect(status: int, attempt: AttemptState) -> VendorError:
    error = RequestRefused(f"redirect ({status}) to {_get_redirect_host(attempt)}; not followed")
    error.is_from_vendor = False  # the vendor is not known to redirect; its web site and other servers do
    return error


def _map_transport_error(error: Exception, attempt: AttemptState, timeout: float) -> VendorError | None:
    """Map a timeout or a lost connection to an error; None if the status already decides."""
    if attempt.status is not None and attempt.status != 200:
        return None
    detail = str(error) or type(error).__name__
    if isinstance(error, httpx.ProxyError):
        attempt.is_sent = False
        is_passing = _PASSING_PROXY_FAULT.match(detail) is not None
        return (Unreachable if is_passing else ProxyRefused)(f"the proxy opens no connection ({detail})")
    if isinstance(error, TimeoutError | httpx.TimeoutException):
        attempt.timed_out = True
        attempt.is_sent = not isinstance(error, httpx.ConnectTimeout | httpx.PoolTimeout)
        return Unreachable(f"no complete response within {timeout:g} s")
    if attempt.status == 200:
        return BrokenAnswer(f"the body is truncated or cannot be decoded ({detail})")
    return Unreachable(f"no response ({detail})")


def _get_redirect_host(attempt: AttemptState) -> str:
    try:
        return httpx.URL(attempt.get_header("location") or "").host or "the same host"
    except httpx.InvalidURL:
        return "an invalid address"


def _is_retryable(error: BaseException) -> bool:
    passing = error if isinstance(error, TransientError) and error.is_repeated else None
    return passing is not None and (passing.retry_after or 0) <= MAX_RETRY_AFTER_SECONDS


def _log_retry(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    wait = state.next_action.sleep if state.next_action else 0
    _log.info("attempt %d failed, next in %.1f s: %s", state.attempt_number, wait, error)
