"""A small HTTP server that sends exactly the answers of a test, also malformed ones.

The sandbox imitates the vendor; this server is for single answers byte by byte.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import parse_qs, urlsplit

JSON = "application/json"
HTML = "text/html; charset=UTF-8"


@dataclass(frozen=True)
class Say:
    """An answer.

    ``cut`` promises more bytes than it sends and closes; ``stall`` never ends; ``silent`` closes, or
    with ``stall`` waits, before the status line.
    """

    status: int = 200
    body: bytes = b"[]"
    content_type: str = JSON
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False
    stall: bool = False
    silent: bool = False

    def head(self) -> bytes:
        lines = {
            "content-type": self.content_type,
            "content-length": str(len(self.body) + (100 if self.cut or self.stall else 0)),
            "x-ratelimit-limit": "1200",
            "x-ratelimit-remaining": "1197",
            **self.headers,
        }
        return (f"HTTP/1.1 {self.status} X\r\n" + "".join(f"{k}: {v}\r\n" for k, v in lines.items()) + "\r\n").encode()


class ScriptedVendor:
    """Gives the answers in order, then repeats the last one; keeps the targets of all requests."""

    def __init__(self, *answers: Say) -> None:
        self._answers = list(answers)
        self.targets: list[str] = []
        self.connections = 0
        self.asked = asyncio.Event()
        self.url = ""

    def paths(self) -> list[str]:
        return [urlsplit(target).path for target in self.targets]

    def query(self, nth: int) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(urlsplit(self.targets[nth]).query).items()}

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
            while await self._answer(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        self.targets.append(head.split(b" ")[1].decode())
        say = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        self.asked.set()
        if not say.silent:
            writer.write(say.head() + say.body)
            await writer.drain()
        if say.stall:
            await reader.read()
        return not (say.cut or say.stall or say.silent)
