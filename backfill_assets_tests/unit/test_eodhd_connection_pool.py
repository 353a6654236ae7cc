"""The pool over connections that answer without a network."""

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable

import httpcore
import httpx
import pytest

from backfill_assets.eodhd.connection_pool import LifoConnectionPool
from backfill_assets_tests.scripted_connections import ScriptedConnection

REQUEST, FAILING = httpcore.Request("GET", "http://vendor/"), httpcore.Request("GET", "http://vendor/fail")


class Connections:
    """Creates connections that name themselves in their answers, and remembers them; the path ``/fail`` loses one."""

    def __init__(self) -> None:
        self.created: list[ScriptedConnection] = []

    def create(self) -> ScriptedConnection:
        number = len(self.created)

        def answer(request: httpx.Request) -> httpx.Response:
            if request.url.path == "/fail":
                raise httpcore.ReadError("connection lost")
            return httpx.Response(200, text=str(number))

        self.created.append(ScriptedConnection(answer))
        return self.created[-1]


def run_with_pool(max_connections: int, use: Callable[[LifoConnectionPool, Connections], Awaitable[None]]) -> None:
    connections = Connections()

    async def run() -> None:
        pool = LifoConnectionPool(connections.create, max_connections)
        await use(pool, connections)
        await pool.aclose()

    asyncio.run(run())
    assert [connection.is_open for connection in connections.created] == [False] * len(connections.created)


async def ask(pool: LifoConnectionPool, request: httpcore.Request = REQUEST) -> str:
    """The number of the connection that answers."""
    async with pool.send(request) as response:
        return (await response.aread()).decode()


def test_requests_in_sequence_use_one_connection() -> None:
    async def use(pool: LifoConnectionPool, _: Connections) -> None:
        assert [await ask(pool) for _number in range(3)] == ["0", "0", "0"]

    run_with_pool(4, use)


def test_last_released_connection_is_used_first() -> None:
    async def use(pool: LifoConnectionPool, _: Connections) -> None:
        async with pool.send(REQUEST), pool.send(REQUEST) as second:
            assert await second.aread() == b"1"
        assert await ask(pool) == "0"  # connection 1 was released before connection 0

    run_with_pool(4, use)


def test_request_waits_for_a_connection_if_all_are_in_use() -> None:
    async def use(pool: LifoConnectionPool, connections: Connections) -> None:
        async with pool.send(REQUEST):
            waiting = asyncio.create_task(ask(pool))
            for _number in range(10):
                await asyncio.sleep(0)
            assert not waiting.done()
        assert await waiting == "0"
        assert len(connections.created) == 1

    run_with_pool(1, use)


@pytest.mark.parametrize("times", [1, 3])
def test_failed_request_releases_its_connection(times: int) -> None:
    async def use(pool: LifoConnectionPool, connections: Connections) -> None:
        for _number in range(times):
            with pytest.raises(httpcore.ReadError):
                await ask(pool, FAILING)
        assert await ask(pool) == "0"
        assert len(connections.created) == 1

    run_with_pool(1, use)


def test_a_connection_that_the_server_has_closed_is_replaced() -> None:
    async def use(pool: LifoConnectionPool, connections: Connections) -> None:
        assert await ask(pool) == "0"
        connections.created[0].is_open = False
        assert await ask(pool) == "1"

    run_with_pool(1, use)


def test_an_absent_sniffio_is_searched_for_once() -> None:
    """httpcore imports it at every request; in a process of its own, as the answer holds for the whole process."""
    code = """
import importlib.util, sys, urllib.parse
from backfill_assets.eodhd.connection_pool import build_connection_pool
is_installed = importlib.util.find_spec("sniffio") is not None
for _ in "ab":
    build_connection_pool(urllib.parse.urlsplit("http://127.0.0.1"), 1)
assert ("sniffio" in sys.modules and sys.modules["sniffio"] is None) is not is_installed
from httpcore._synchronization import current_async_library
import asyncio
async def ask(): return current_async_library()
print(asyncio.run(ask()))
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (found.stdout, found.stderr) == ("asyncio\n", "")
