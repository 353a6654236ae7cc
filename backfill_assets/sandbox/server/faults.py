"""Fault injection: faults are drawn per request and can be changed while the sandbox runs."""

import asyncio
from collections.abc import Mapping
from dataclasses import fields, replace
from random import Random
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from backfill_assets.sandbox.config import Faults
from backfill_assets.sandbox.wire.responses import (
    BAD_GATEWAY_PAGE,
    HTML,
    MAINTENANCE_PAGE,
    ErrorResponse,
    rate_limit_error,
)

_FAULT_KINDS = ("status_502", "status_500", "status_429", "timeout", "cut_body", "html_200", "trickle")
_CHUNK_COUNT = 20
_ERROR_RESPONSES = {
    "down": ErrorResponse(503, b"<html><body><h1>503 Service Unavailable</h1></body></html>"),
    "status_502": ErrorResponse(502, BAD_GATEWAY_PAGE),
    "status_500": ErrorResponse(500, b"<html><body><h1>Server Error</h1></body></html>"),
    "status_429": rate_limit_error(),
    "html_200": ErrorResponse(200, MAINTENANCE_PAGE, HTML),
}


def apply_changes(faults: Faults, changes: Mapping[str, Any]) -> Faults:
    """Return ``faults`` with some fields changed.

    Raises:
        ValueError: unknown field, or a value of the wrong type or out of range.
    """
    field_types = {field.name: type(getattr(faults, field.name)) for field in fields(faults)}
    for name, value in changes.items():
        if name not in field_types:
            raise ValueError(f"unknown fault {name!r}; valid: {', '.join(field_types)}")
        is_flag = isinstance(value, bool)
        if is_flag != (field_types[name] is bool) or not isinstance(value, int | float) or value < 0:
            raise ValueError(f"invalid value for fault {name}: {value!r}")
    return replace(faults, **dict(changes))


class FaultInjector:
    """Draws the fault of each request.

    Attributes:
        faults: current probabilities.
    """

    def __init__(self, faults: Faults, seed: int) -> None:
        self.faults = faults
        self._random = Random(seed)  # noqa: S311 - not for secrets

    def next_fault(self, *, whole_exchange: bool = False) -> str | None:
        """Draw the fault of the next request; None: no fault. A single draw chooses between the kinds."""
        if self.faults.down:
            return "down"
        if whole_exchange and self.faults.exchange_quotes > self._random.random():
            return "status_500"
        drawn = self._random.random()
        for kind in _FAULT_KINDS:
            drawn -= getattr(self.faults, kind)
            if drawn < 0:
                return kind
        return None

    def find_error_response(self, kind: str | None) -> ErrorResponse | None:
        """Find the answer of a fault that replaces the endpoint's answer; None for other faults."""
        return None if kind is None else _ERROR_RESPONSES.get(kind)


class InterruptibleWait:
    """Long waits that end early when the client disconnects or the sandbox stops."""

    def __init__(self) -> None:
        self._stopped: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def wait(self, seconds: float, receive: Receive) -> bool:
        """Wait; False if the client disconnected or the sandbox stops."""
        if self._stopped is None:
            self._stopped, self._loop = asyncio.Event(), asyncio.get_running_loop()
        watched = {asyncio.ensure_future(_wait_for_disconnect(receive)), asyncio.ensure_future(self._stopped.wait())}
        try:
            done, _ = await asyncio.wait(watched, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in watched:
                task.cancel()
        return not done

    def interrupt(self) -> None:
        """End all waits; may be called from any thread."""
        if self._stopped is not None and self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stopped.set)


async def _wait_for_disconnect(receive: Receive) -> bool:
    while (await receive())["type"] != "http.disconnect":
        pass
    return True


class TruncatedResponse(Response):
    """A response that ends in the middle of the body."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Send the headers and half of the body; the server then closes the connection."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        half = bytes(self.body)[: len(self.body) // 2]
        await send({"type": "http.response.body", "body": half, "more_body": True})


class SlowResponse(Response):
    """A response whose body is sent in pieces over ``seconds`` (real seconds)."""

    def __init__(self, *args: Any, wait: InterruptibleWait, seconds: float, **options: Any) -> None:
        super().__init__(*args, **options)
        self._wait, self._seconds = wait, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Send the body piece by piece until the client disconnects."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        body = bytes(self.body)
        size = max(-(-len(body) // _CHUNK_COUNT), 1)
        for offset in range(0, len(body), size):
            await send({"type": "http.response.body", "body": body[offset : offset + size], "more_body": True})
            if not await self._wait.wait(self._seconds / _CHUNK_COUNT, receive):
                return
        await send({"type": "http.response.body", "body": b""})
