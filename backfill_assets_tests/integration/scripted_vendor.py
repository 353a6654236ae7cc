"""A small HTTP server that sends exactly the responses that a test defines, also malformed ones.

The sandbox imitates the vendor. This server is for tests of single responses, byte by byte.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import parse_qs, urlsplit

JSON = "application/json"
HTML = "text/html; charset=UTF-8"


@dataclass(frozen=True)
class ScriptedResponse:
    """One HTTP response.

    ``cut`` sends fewer bytes than the content length and closes the connection. ``stall`` never ends.
    ``no_status_line`` closes the connection before the status line; with ``stall`` it waits instead.
    """

    status: int = 200
    body: bytes = b"[]"
    content_type: str = JSON
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False
    stall: bool = False
    no_status_line: bool = False

    def build_head(self) -> bytes:
        lines = {
            "content-type": self.content_type,
            "content-length": str(len(self.body) + (100 if self.cut or self.stall else 0)),
            "x-ratelimit-limit": "1200",
            "x-ratelimit-remaining": "1197",
            **self.headers,
        }
        return (f"HTTP/1.1 {self.status} X\r\n" + "".join(f"{k}: {v}\r\n" for k, v in lines.items()) + "\r\n").encode()


class ScriptedVendor:
    """Sends the responses in order, then repeats the last one; records the targets of all requests."""

    def __init__(self, *responses: ScriptedResponse) -> None:
        self._responses = list(responses)
        self.targets: list[str] = []
        self.connections = 0
        self.request_received = asyncio.Event()
        self.url = ""

    def list_paths(self) -> list[str]:
        return [urlsplit(target).path for target in self.targets]

    def parse_query(self, position: int) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(urlsplit(self.targets[position]).query).items()}

    async def __aenter__(self) -> Self:
        self._writers: set[asyncio.StreamWriter] = set()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/api"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in list(self._writers):
            writer.close()
        await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        self.connections += 1
        try:
            while await self._respond(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _respond(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        self.targets.append(head.split(b" ")[1].decode())
        response = self._responses.pop(0) if len(self._responses) > 1 else self._responses[0]
        self.request_received.set()
        if not response.no_status_line:
            writer.write(response.build_head() + response.body)
            await writer.drain()
        if response.stall:
            await reader.read()
        return not (response.cut or response.stall or response.no_status_line)
