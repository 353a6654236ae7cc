"""Connections of httpcore that a function answers, without a network."""

from collections.abc import Callable

import httpcore
import httpx

from backfill_assets.eodhd.connection_pool import LifoConnectionPool

Answer = Callable[[httpx.Request], httpx.Response]


class ScriptedConnection(httpcore.AsyncConnectionInterface):
    """A connection whose requests ``answer`` answers; what it raises is raised."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.is_open = True

    async def handle_async_request(self, request: httpcore.Request) -> httpcore.Response:
        url = httpx.URL(bytes(request.url).decode())
        response = self._answer(httpx.Request(request.method.decode(), url, headers=request.headers))
        return httpcore.Response(response.status_code, headers=response.headers.raw, content=response.content)

    def is_closed(self) -> bool:
        return not self.is_open

    def has_expired(self) -> bool:
        return False

    async def aclose(self) -> None:
        self.is_open = False


def build_scripted_pool(answer: Answer) -> LifoConnectionPool:
    """A pool whose connections ``answer`` answers."""
    return LifoConnectionPool(lambda: ScriptedConnection(answer), max_connections=8)
