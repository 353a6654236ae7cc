"""The door of the sandbox: token, rate window, quota, faults, bill; then the endpoint answers.

In the vendor's order: a bad token is turned away before anything is counted; every other request
counts in the minute, refused ones too; only successful answers and unknown symbols are billed.
"""

import asyncio
import gzip
from collections.abc import Awaitable, Callable
from random import Random
from time import monotonic
from typing import TypeAlias

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from backfill_assets.sandbox.accounts import Account, open_account
from backfill_assets.sandbox.clock import Clock
from backfill_assets.sandbox.config import SandboxConfig
from backfill_assets.sandbox.server.faults import Cut, Mischief, Patience, Trickle
from backfill_assets.sandbox.server.stats import Stats
from backfill_assets.sandbox.wire import responses
from backfill_assets.sandbox.wire.request import Asked
from backfill_assets.sandbox.wire.responses import Answer, Refusal

Endpoint: TypeAlias = Callable[[Asked, Account], Awaitable[Answer]]

DEMO = "demo"
LONGEST_URL = 8192  # nginx refuses longer ones
_LEAST_GZIPPED = 1000


class Front:
    """An ASGI application for everything under ``/api``."""

    def __init__(
        self, config: SandboxConfig, clock: Clock, stats: Stats, mischief: Mischief, endpoints: dict[str, Endpoint]
    ) -> None:
        self._config, self._clock, self._stats, self._mischief = config, clock, stats, mischief
        self._endpoints = endpoints
        self._accounts: dict[str, Account] = {}
        self._random = Random(config.seed)  # noqa: S311 - not for secrets
        self.patience = Patience()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request and count it."""
        request = Request(scope, receive)
        endpoint, _, argument = scope["path"].removeprefix("/api").strip("/").partition("/")
        argument = argument.strip("/")
        known = endpoint if endpoint in self._endpoints else "other"
        self._stats.begin(known, _ticker(argument) if endpoint == "intraday" else None, monotonic())
        counted = _Counted(self._stats, send)
        try:
            answered = await self._answer(request, endpoint, argument, receive)
            if answered is not None:
                await answered(scope, receive, counted.send)
        finally:
            counted.end()

    def account(self, token: str) -> Account:
        """The standing of ``token``, opened when it is first seen."""
        if token not in self._accounts:
            config = self._config
            self._accounts[token] = open_account(
                free=token in config.free_tokens,
                per_minute=config.per_minute,
                window_seconds=config.window_seconds,
                daily=config.daily,
                extra=config.extra_limit,
                yesterday=config.spent_yesterday,
                today=self._clock.now().date(),
            )
        return self._accounts[token]

    async def _answer(self, request: Request, endpoint: str, argument: str, receive: Receive) -> Response | None:
        params = request.query_params
        token = params.get("api_token", "")
        if not self._accepts(token):
            return _refused(responses.unauthenticated(), {})
        account = self.account(token)
        if not account.admit(monotonic()):
            return _refused(responses.too_many(), self._headers(account, refused=True))
        headers = self._headers(account)
        await self._latency()
        fault = self._mischief.strike(whole_exchange=endpoint == "real-time" and "ex" in params)
        if fault is not None:
            self._stats.fault(fault)
        refusal = self._mischief.refusal(fault)
        if refusal is not None:
            return _refused(refusal, headers)
        if fault == "timeout" and not await self.patience.wait(self._mischief.faults.timeout_seconds, receive):
            return None
        try:
            answer = await self._billed(self._asked(params, endpoint, argument, token), account, request)
        except Refusal as refused:
            return _refused(refused, headers)
        return self._shaped(answer, headers, fault, request)

    def _accepts(self, token: str) -> bool:
        config = self._config
        accepted = config.tokens | config.free_tokens
        return token == DEMO or token in accepted or (bool(token) and not config.tokens)

    def _asked(self, params: QueryParams, endpoint: str, argument: str, token: str) -> Asked:
        return Asked(
            endpoint,
            argument,
            params,
            self._clock.now(),
            free=token in self._config.free_tokens,
            demo=token == DEMO,
        )

    async def _billed(self, asked: Asked, account: Account, request: Request) -> Answer:
        """The endpoint's answer, paid for."""
        if len(request.url.query) > LONGEST_URL:
            raise Refusal(414, "<html><body><h1>414 Request-URI Too Large</h1></body></html>")
        handler = self._endpoints.get(asked.endpoint)
        if handler is None:
            raise responses.no_endpoint()
        if asked.endpoint != "user" and not account.can_spend(1, asked.today):
            raise responses.quota_gone()
        try:
            answer = await handler(asked, account)
        except Refusal as refused:
            self._bill(asked, account, refused.calls)
            raise
        self._bill(asked, account, answer.calls)
        return answer

    def _bill(self, asked: Asked, account: Account, calls: int) -> None:
        if not account.can_spend(calls, asked.today):
            raise responses.quota_gone()
        account.spend(calls, asked.today)
        self._stats.bill(asked.endpoint, calls)

    async def _latency(self) -> None:
        low, high = self._config.latency_ms
        if high > 0:
            await asyncio.sleep(self._random.uniform(low, high) / 1000)

    def _headers(self, account: Account, *, refused: bool = False) -> dict[str, str]:
        now = monotonic()
        headers = {
            "x-ratelimit-limit": str(account.per_minute),
            "x-ratelimit-remaining": str(account.remaining(now)),
        }
        if refused and self._config.retry_after:
            headers["retry-after"] = str(max(round(account.wait(now) + 0.5), 1))
        return headers

    def _shaped(self, answer: Answer, headers: dict[str, str], fault: str | None, request: Request) -> Response:
        body = answer.body
        if answer.compressible:
            headers["vary"] = "Accept-Encoding"
            if len(body) >= _LEAST_GZIPPED and "gzip" in request.headers.get("accept-encoding", ""):
                body, headers["content-encoding"] = gzip.compress(body, 5), "gzip"
        kind = {"cut_body": Cut, "trickle": Trickle}.get(fault or "", Response)
        made = responses.response(body, 200, answer.content_type, headers, kind)
        if isinstance(made, Trickle):
            made.patience, made.seconds = self.patience, self._mischief.faults.trickle_seconds
        return made


class _Counted:
    """Counts a request as ended just before its last byte goes out: whoever has the answer finds it counted."""

    def __init__(self, stats: Stats, send: Send) -> None:
        self._stats, self._send = stats, send
        self._status = "499"  # nginx's word for a client that hung up
        self._ended = False

    async def send(self, message: Message) -> None:
        """Pass on one message of the answer."""
        if message["type"] == "http.response.start":
            self._status = str(message["status"])
        elif not message.get("more_body", False):
            self.end()
        await self._send(message)

    def end(self) -> None:
        """Count the request, once."""
        if not self._ended:
            self._ended = True
            self._stats.end(self._status)


def _refused(refusal: Refusal, headers: dict[str, str]) -> Response:
    return responses.response(refusal.body, refusal.status, refusal.content_type, headers)


def _ticker(argument: str) -> str:
    name = argument.upper()
    return name if "." in name else f"{name}.US"
