"""Responses on their way from the requests to the store."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from backfill_assets.backfill.fetch.batch_writer import WRITE_BATCH_ROWS, WRITE_BATCH_SIZE, FetchedRows
from backfill_assets.backfill.planner import PlannedRequest
from backfill_assets.market.vendor_errors import VendorError


@dataclass(frozen=True, slots=True)
class FailedRequest:
    """A request that ended in an error."""

    request: PlannedRequest
    error: VendorError


Response: TypeAlias = FetchedRows | FailedRequest


class ResponseQueue:
    """Responses on their way to the store. A place is reserved before the request and released after storing."""

    def __init__(self, in_flight: int) -> None:
        self._capacity = asyncio.Semaphore(in_flight)
        self._queue: asyncio.Queue[Response | None] = asyncio.Queue()

    async def reserve(self) -> None:
        """Wait for a place."""
        await self._capacity.acquire()

    def release(self, count: int = 1) -> None:
        """Give places back."""
        for _ in range(count):
            self._capacity.release()

    def put(self, response: Response) -> None:
        """Add a response; its place stays reserved."""
        self._queue.put_nowait(response)

    def close(self) -> None:
        """Let ``get_batch`` return what is left and end."""
        self._queue.put_nowait(None)

    async def get_batch(self) -> tuple[list[Response], bool]:
        """Wait for responses, take up to a batch of them, and return whether more may follow."""
        items = [await self._queue.get()]
        while len(items) < WRITE_BATCH_SIZE and _count_rows(items) < WRITE_BATCH_ROWS and not self._queue.empty():
            items.append(self._queue.get_nowait())
        return [item for item in items if item is not None], None not in items


def _count_rows(items: Sequence[Response | None]) -> int:
    return sum(len(item.rows) for item in items if isinstance(item, FetchedRows))
