"""Many kept-alive connections without a pool that walks them.

httpcore's pool looks at every connection it holds at each request and each answer: with 48 of them
that costs more than everything else a request does. Here each connection is a pool of its own, and an
idle one is found without looking (docs/decisions, "Lanes").
"""

import asyncio
from collections.abc import AsyncIterator, Callable

import httpx


class Lanes(httpx.AsyncBaseTransport):
    """A transport over at most ``most`` single-connection transports; the one used last goes first."""

    def __init__(self, open_lane: Callable[[], httpx.AsyncBaseTransport], most: int) -> None:
        self._open_lane = open_lane
        self._room = asyncio.Semaphore(most)
        self._idle: list[httpx.AsyncBaseTransport] = []
        self._all: list[httpx.AsyncBaseTransport] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send on a free connection, waiting for one if all are in use."""
        await self._room.acquire()
        lane = self._idle.pop() if self._idle else self._opened()
        try:
            response = await lane.handle_async_request(request)
        except BaseException:
            self._free(lane)
            raise
        if not isinstance(response.stream, httpx.AsyncByteStream):
            raise TypeError("the transport underneath gave a stream that is not asynchronous")
        response.stream = _Leaving(response.stream, lambda: self._free(lane))
        return response

    async def aclose(self) -> None:
        """Close every connection."""
        for lane in self._all:
            await lane.aclose()

    def _opened(self) -> httpx.AsyncBaseTransport:
        lane = self._open_lane()
        self._all.append(lane)
        return lane

    def _free(self, lane: httpx.AsyncBaseTransport) -> None:
        self._idle.append(lane)
        self._room.release()


class _Leaving(httpx.AsyncByteStream):
    """A body that frees its lane once it is closed."""

    def __init__(self, body: httpx.AsyncByteStream, leave: Callable[[], None]) -> None:
        self._body = body
        self._leave = leave
        self._left = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._body:
            yield part

    async def aclose(self) -> None:
        try:
            await self._body.aclose()
        finally:
            if not self._left:
                self._left = True
                self._leave()
