"""Responses on their way from the requests to the store, and how many rows may be on it at a time."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from backfill_assets.backfill.fetch.batch_writer import WRITE_BATCH_ROWS, WRITE_BATCH_SIZE, FetchedRows
from backfill_assets.backfill.planner import PlannedRequest
from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.market.vendor_errors import VendorError

MAX_ROWS_ON_THE_WAY = 250_000  # 40 MB as they come; seven answers of 600 days of 5m, or three of 120 days of 1m
_EXTENDED_SECONDS = 16 * 3600  # of a session's 1m rows, at most: from 4:00 to 20:00 (docs/vendor.md §2.7)
GATHER_SECONDS = 0.1  # a transaction costs as much as ten more answers in it; a request takes longer than this


@dataclass(frozen=True, slots=True)
class FailedRequest:
    """A request that ended in an error."""

    request: PlannedRequest
    error: VendorError


Response: TypeAlias = FetchedRows | FailedRequest


def bound_rows(request: PlannedRequest, grid: SlotGrid, source: Interval) -> int:
    """At most so many rows the answer has, about: those of its sessions, or of its whole span around the clock."""
    if grid.sessions[request.first_session].is_whole_day:
        return (request.end - request.start) // source.seconds
    sessions = slice(request.first_session, request.last_session + 1)
    traded = grid.session_closes[sessions] - grid.session_opens[sessions]
    if source.seconds == 60:  # the other feed has regular hours only
        traded = np.maximum(traded, _EXTENDED_SECONDS)
    return int((traded // source.seconds + 1).sum())


class ResponseQueue:
    """Responses on their way to the store. A place is reserved before the request and released after storing.

    Args:
        in_flight: the number of places.
        max_rows: of all answers together; one that has more has the way to itself.
    """

    def __init__(self, in_flight: int, max_rows: int = MAX_ROWS_ON_THE_WAY) -> None:
        self._capacity = asyncio.Semaphore(in_flight)
        self._gathered = min(WRITE_BATCH_SIZE, in_flight // 6)  # the other places are for requests
        self._queue: asyncio.Queue[Response | None] = asyncio.Queue()
        self._max_rows = max_rows
        self._rows: dict[PlannedRequest, int] = {}
        self._row_count = 0
        self._released = asyncio.Event()

    async def reserve(self, request: PlannedRequest, rows: int) -> None:
        """Wait for a place for a request whose answer has at most ``rows``."""
        await self._capacity.acquire()
        while self._row_count and self._row_count + rows > self._max_rows:
            self._released.clear()
            await self._released.wait()
        self._rows[request] = rows
        self._row_count += rows

    def release(self, *requests: PlannedRequest) -> None:
        """Give places back."""
        for request in requests:
            self._row_count -= self._rows.pop(request)
            self._capacity.release()
        self._released.set()

    def put(self, response: Response) -> None:
        """Add a response; its place stays reserved."""
        self._queue.put_nowait(response)

    def close(self) -> None:
        """Let ``get_batch`` return what is left and end."""
        self._queue.put_nowait(None)

    async def get_batch(self) -> tuple[list[Response], bool]:
        """Wait for responses, gather them for a moment, and return up to a batch and whether more may follow."""
        items = [await self._queue.get()]
        with suppress(TimeoutError):
            async with asyncio.timeout(GATHER_SECONDS):
                while None not in items and len(items) < self._gathered and _count_rows(items) < WRITE_BATCH_ROWS:
                    items.append(await self._queue.get())
        while len(items) < WRITE_BATCH_SIZE and _count_rows(items) < WRITE_BATCH_ROWS and not self._queue.empty():
            items.append(self._queue.get_nowait())
        return [item for item in items if item is not None], None not in items


def _count_rows(items: Sequence[Response | None]) -> int:
    return sum(len(item.rows) for item in items if isinstance(item, FetchedRows))
