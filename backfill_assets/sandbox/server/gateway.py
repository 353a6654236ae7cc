"""Everything around an endpoint: token, request limit, quota, faults, billing, headers.

In the vendor's order: an invalid token is refused before anything is counted. Every other request counts
against the request limit, refused ones too. Only successful answers and unknown symbols are billed.
"""

import asyncio
import gzip
from collections.abc import Awaitable, Callable
from functools import partial
from random import Random
from time import monotonic
from typing import TypeAlias

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from backfill_assets.sandbox.accounts import TokenAccount, TokenAccounts
from backfill_assets.sandbox.clock import SandboxClock
from backfill_assets.sandbox.config import SandboxConfig
from backfill_assets.sandbox.server.faults import FaultInjector, InterruptibleWait, SlowResponse, TruncatedResponse
from backfill_assets.sandbox.server.stats import RequestStats
from backfill_assets.sandbox.wire import responses
from backfill_assets.sandbox.wire.request import ParsedRequest, find_exchange, normalize_ticker
from backfill_assets.sandbox.wire.responses import ErrorResponse, SuccessResponse

Endpoint: TypeAlias = Callable[[ParsedRequest, TokenAccount], Awaitable[SuccessResponse]]

DEMO_TOKEN = "demo"  # noqa: S105 - public, for five tickers
MAX_QUERY_LENGTH = 8192  # nginx refuses longer ones
_MIN_GZIP_BYTES = 1000


class Gateway:
    """The ASGI application for every path under ``/api``."""

    def __init__(
        self,
        config: SandboxConfig,
        clock: SandboxClock,
        stats: RequestStats,
        fault_injector: FaultInjector,
        endpoints: dict[str, Endpoint],
    ) -> None:
        self._config, self._clock, self._stats, self._fault_injector = config, clock, stats, fault_injector
        self._endpoints = endpoints
        self._accounts = TokenAccounts(config)
        self._random = Random(config.seed)  # noqa: S311 - not for secrets
        self.interruptible_wait = InterruptibleWait()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer and count one request."""
        request = Request(scope, receive)
        path = scope["path"]
        if not path.startswith("/api/"):  # the vendor's web site, not its API
            await _build_error(responses.unknown_endpoint_error(), {})(scope, receive, send)
            return
        endpoint, _, path_argument = path.removeprefix("/api").strip("/").partition("/")
        path_argument = path_argument.strip("/")
        counted_endpoint = endpoint if endpoint in self._endpoints else "other"
        ticker = normalize_ticker(path_argument) if endpoint == "intraday" else None
        self._stats.record_start(counted_endpoint, ticker, monotonic(), self._find_exchange(endpoint, path_argument))
        counting = _CountingSend(self._stats, send)
        try:
            response = await self._handle(request, endpoint, path_argument, receive)
            if response is not None:
                await response(scope, receive, counting.send)
        finally:
            counting.finish()

    async def _handle(self, request: Request, endpoint: str, path_argument: str, receive: Receive) -> Response | None:
        params = request.query_params
        token = params.get("api_token", "")
        if not self._is_accepted(token):
            return _build_error(responses.unauthenticated_error(), {})
        account = self._accounts.get_or_open(token, self._clock.now().date())
        if not account.admit(monotonic()):
            return _build_error(responses.rate_limit_error(), self._build_headers(account, is_rate_limited=True))
        headers = self._build_headers(account)
        await self._simulate_latency()
        fault = self._fault_injector.next_fault(whole_exchange=endpoint == "real-time" and "ex" in params)
        if fault is not None:
            self._stats.record_fault(fault)
        error_response = self._fault_injector.find_error_response(fault)
        if error_response is not None:
            return _build_error(error_response, headers)
        if fault == "timeout" and not await self.interruptible_wait.wait(
            self._fault_injector.faults.timeout_seconds, receive
        ):
            return None
        try:
            success = await self._handle_and_bill(
                self._parse_request(params, endpoint, path_argument, token), account, request
            )
        except ErrorResponse as refused:
            return _build_error(refused, headers)
        return self._build_success(success, headers, fault, request)

    def _is_accepted(self, token: str) -> bool:
        config = self._config
        accepted = config.tokens | config.free_tokens
        return token == DEMO_TOKEN or token in accepted or (bool(token) and not config.tokens)

    def _parse_request(self, params: QueryParams, endpoint: str, path_argument: str, token: str) -> ParsedRequest:
        return ParsedRequest(
            endpoint,
            path_argument,
            params,
            self._clock.now(),
            is_free_plan=token in self._config.free_tokens,
            is_demo_token=token == DEMO_TOKEN,
        )

    async def _handle_and_bill(self, parsed: ParsedRequest, account: TokenAccount, request: Request) -> SuccessResponse:
        """Call the endpoint and bill its answer."""
        if len(request.url.query) > MAX_QUERY_LENGTH:
            raise ErrorResponse(414, "<html><body><h1>414 Request-URI Too Large</h1></body></html>")
        handler = self._endpoints.get(parsed.endpoint)
        if handler is None:
            raise responses.unknown_endpoint_error()
        if parsed.endpoint in self._config.refused_endpoints:
            raise ErrorResponse(*self._config.refused_endpoints[parsed.endpoint])
        if parsed.endpoint != "user" and not account.can_spend(1, parsed.today):
            raise responses.quota_exceeded_error()
        try:
            success = await handler(parsed, account)
        except ErrorResponse as refused:
            self._bill(parsed, account, refused.calls)
            raise
        self._bill(parsed, account, success.calls)
        return success

    def _bill(self, parsed: ParsedRequest, account: TokenAccount, calls: int) -> None:
        if not account.can_spend(calls, parsed.today):
            raise responses.quota_exceeded_error()
        account.spend(calls, parsed.today)
        exchange = self._find_exchange(parsed.endpoint, parsed.path_argument)
        self._stats.record_calls(parsed.endpoint, calls, exchange)

    def _find_exchange(self, endpoint: str, path_argument: str) -> str:
        """Find which exchange a request is counted for; the first one's are also those of none."""
        exchange = find_exchange(endpoint, path_argument)
        return exchange if exchange in self._config.exchanges else self._config.exchange

    async def _simulate_latency(self) -> None:
        low, high = self._config.latency_ms
        if high > 0:
            await asyncio.sleep(self._random.uniform(low, high) / 1000)

    def _build_headers(self, account: TokenAccount, *, is_rate_limited: bool = False) -> dict[str, str]:
        now = monotonic()
        headers = {
            "x-ratelimit-limit": str(account.per_minute),
            "x-ratelimit-remaining": str(account.count_remaining(now)),
        }
        if is_rate_limited and self._config.retry_after:
            headers["retry-after"] = str(max(round(account.compute_wait(now) + 0.5), 1))
        return headers

    def _build_success(
        self, success: SuccessResponse, headers: dict[str, str], fault: str | None, request: Request
    ) -> Response:
        body = success.body
        if success.compressible:
            headers["vary"] = "Accept-Encoding"
            if len(body) >= _MIN_GZIP_BYTES and "gzip" in request.headers.get("accept-encoding", ""):
                body, headers["content-encoding"] = gzip.compress(body, 5), "gzip"
        return responses.build_http_response(
            body, 200, success.content_type, headers, self._choose_response_class(fault)
        )

    def _choose_response_class(self, fault: str | None) -> Callable[..., Response]:
        if fault == "cut_body":
            return TruncatedResponse
        if fault == "trickle":
            return partial(
                SlowResponse, wait=self.interruptible_wait, seconds=self._fault_injector.faults.trickle_seconds
            )
        return Response


class _CountingSend:
    """Counts a request as ended just before its last byte is sent, so a client with the answer sees it counted."""

    def __init__(self, stats: RequestStats, send: Send) -> None:
        self._stats, self._send = stats, send
        self._status = "499"  # nginx's status for a client that disconnected
        self._is_finished = False

    async def send(self, message: Message) -> None:
        """Send one message of the answer."""
        if message["type"] == "http.response.start":
            self._status = str(message["status"])
        elif not message.get("more_body", False):
            self.finish()
        await self._send(message)

    def finish(self) -> None:
        """Count the request, once."""
        if not self._is_finished:
            self._is_finished = True
            self._stats.record_end(self._status)


def _build_error(error: ErrorResponse, headers: dict[str, str]) -> Response:
    return responses.build_http_response(error.body, error.status, error.content_type, headers)
