"""The pool over an inner transport that answers without a network."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx
import pytest

from backfill_assets.eodhd.connection_pool import LifoConnectionPool


class Body(httpx.AsyncByteStream):
    """A body of one part."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b"[]"


class Connection(httpx.AsyncBaseTransport):
    """A connection that names itself in a header; the path ``/fail`` loses it."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.is_closed = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/fail":
            raise httpx.ReadError("connection lost")
        return httpx.Response(200, headers={"connection-number": str(self.number)}, stream=Body())

    async def aclose(self) -> None:
        self.is_closed = True


class Connections:
    """Creates connections and remembers them."""

    def __init__(self) -> None:
        self.created: list[Connection] = []

    def create(self) -> Connection:
        self.created.append(Connection(len(self.created)))
        return self.created[-1]


def run_with_pool(
    max_connections: int, use: Callable[[httpx.AsyncClient, Connections], Awaitable[None]]
) -> Connections:
    connections = Connections()

    async def run() -> None:
        pool = LifoConnectionPool(connections.create, max_connections)
        async with httpx.AsyncClient(transport=pool, base_url="http://vendor") as client:
            await use(client, connections)

    asyncio.run(run())
    return connections


def test_requests_in_sequence_use_one_connection() -> None:
    async def use(client: httpx.AsyncClient, _: Connections) -> None:
        for _number in range(3):
            assert (await client.get("/")).headers["connection-number"] == "0"

    assert len(run_with_pool(4, use).created) == 1


def test_last_released_connection_is_used_first() -> None:
    async def use(client: httpx.AsyncClient, _: Connections) -> None:
        async with client.stream("GET", "/"), client.stream("GET", "/") as second:
            assert second.headers["connection-number"] == "1"
        # connection 1 was released before connection 0
        assert (await client.get("/")).headers["connection-number"] == "0"

    assert len(run_with_pool(4, use).created) == 2


def test_request_waits_for_a_connection_if_all_are_in_use() -> None:
    async def use(client: httpx.AsyncClient, connections: Connections) -> None:
        async with client.stream("GET", "/"):
            waiting = asyncio.create_task(client.get("/"))
            for _number in range(10):
                await asyncio.sleep(0)
            assert not waiting.done()
        assert (await waiting).headers["connection-number"] == "0"
        assert len(connections.created) == 1

    run_with_pool(1, use)


@pytest.mark.parametrize("times", [1, 3])
def test_failed_request_releases_its_connection(times: int) -> None:
    async def use(client: httpx.AsyncClient, _: Connections) -> None:
        for _number in range(times):
            with pytest.raises(httpx.ReadError):
                await client.get("/fail")
        assert (await client.get("/")).status_code == 200

    assert len(run_with_pool(1, use).created) == 1


def test_body_that_is_closed_twice_releases_its_connection_once() -> None:
    async def use(client: httpx.AsyncClient, _: Connections) -> None:
        async with client.stream("GET", "/") as response:
            assert isinstance(response.stream, httpx.AsyncByteStream)
            await response.aread()
            await response.stream.aclose()
        async with client.stream("GET", "/"):
            waiting = asyncio.create_task(client.get("/"))
            for _number in range(10):
                await asyncio.sleep(0)
            assert not waiting.done()
        await waiting

    assert len(run_with_pool(1, use).created) == 1


def test_closing_the_pool_closes_every_connection() -> None:
    async def use(client: httpx.AsyncClient, _: Connections) -> None:
        async with client.stream("GET", "/"), client.stream("GET", "/"):
            pass

    assert [connection.is_closed for connection in run_with_pool(2, use).created] == [True, True]


def test_an_absent_sniffio_is_searched_for_once() -> None:
    """httpcore imports it at every request; in a process of its own, as the answer holds for the whole process."""
    code = """
import importlib.util, sys, httpx
from backfill_assets.eodhd.connection_pool import build_connection_pool
is_installed = importlib.util.find_spec("sniffio") is not None
for _ in "ab":
    build_connection_pool(httpx.URL("http://127.0.0.1"), 1)
assert ("sniffio" in sys.modules and sys.modules["sniffio"] is None) is not is_installed
from httpcore._synchronization import current_async_library
import asyncio
async def ask(): return current_async_library()
print(asyncio.run(ask()))
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (found.stdout, found.stderr) == ("asyncio\n", "")
