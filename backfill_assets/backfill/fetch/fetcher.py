"""Carry out asks: fetch concurrently, store in batches as answers come, stop where going on is pointless."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import TypeAlias
from uuid import UUID

from backfill_assets.backfill.fetch.batch_writer import NOTHING, Answer, Kept, Shelf, keep
from backfill_assets.backfill.fetch.graceful_shutdown import finished
from backfill_assets.backfill.fetch.shared_rate_limiter import Pacer
from backfill_assets.backfill.planner import Ask
from backfill_assets.backfill.results import Listener, Progress, TickerOutcome
from backfill_assets.eodhd.client import EodhdClient
from backfill_assets.eodhd.errors import QuotaExhausted, TickerRefused, TransientError, UnknownTicker, VendorError
from backfill_assets.store.bars.bar_writer import WriteCounts
from backfill_assets.store.postgres.connection import Connection, Database
from backfill_assets.store.runs import beat

BATCH = 48  # answers stored in one transaction, at most: as many as are in flight by default
BATCH_ROWS = 500_000  # vendor rows in one transaction, about
FUTILE = 20  # tickers in a row that fail after all their attempts before a run is given up
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Failure:
    """An ask that ended in an error."""

    ask: Ask
    error: VendorError


Answers: TypeAlias = "asyncio.Queue[Answer | Failure | None]"


@dataclass(eq=False)
class Pursuit:
    """One pass over a plan's asks; afterwards its fields say what came of it."""

    database: Database
    shelf: Shelf
    run_id: UUID
    pacer: Pacer
    client: EodhdClient
    listen: Listener
    server_clock: datetime
    total: int
    outcomes: dict[int, TickerOutcome] = field(default_factory=dict)
    written: WriteCounts = field(default_factory=WriteCounts)
    rejected: int = 0
    published: set[tuple[int, int]] = field(default_factory=set)
    outside: Counter[date] = field(default_factory=Counter)
    stopped: VendorError | None = None
    batch: tuple[int, int] = (1, 1)
    _began: float = field(default_factory=time.monotonic)
    _futile: int = 0
    _room: asyncio.Semaphore = field(default_factory=asyncio.Semaphore)
    _asked_at: dict[Ask, datetime] = field(default_factory=dict)
    _open: Counter[int] = field(default_factory=Counter)

    async def carry_out(self, asks: Sequence[Ask], in_flight: int) -> None:
        """Ask for everything; ends early, with ``stopped`` set, when the run cannot go on.

        An ask is in flight until its answer is stored, so that a killed run loses ``in_flight`` of them at most.
        What was fetched is stored however this ends, cancellation included.
        """
        self._open.update(ask.symbol.symbol_id for ask in asks)
        self._room = asyncio.Semaphore(in_flight)
        answers: Answers = asyncio.Queue()
        storing = asyncio.create_task(self._store(answers))
        asking = asyncio.create_task(self._ask_all(asks, in_flight, answers))
        try:
            await asyncio.wait({storing, asking}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            failed = await _end(asking)
            answers.put_nowait(None)
            await finished(storing)
        if failed is not None:
            raise failed

    async def _ask_all(self, asks: Sequence[Ask], in_flight: int, answers: Answers) -> None:
        left = iter(asks)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(in_flight, len(asks))):
                    group.create_task(self._work(left, answers))
        except* _Stopped:
            _log.info("stopped asking: %s", self.stopped)

    async def _work(self, left: Iterator[Ask], answers: Answers) -> None:
        for ask in left:
            await self._room.acquire()
            if self.stopped is not None:
                self._room.release()
                return
            self._asked_at[ask] = self.server_clock + timedelta(seconds=time.monotonic() - self._began)
            try:
                rows = await self.client.intraday(str(ask.symbol.ticker), self.shelf.source.name, ask.start, ask.end)
            except VendorError as error:
                if error.stops_run:
                    self._room.release()
                else:
                    answers.put_nowait(Failure(ask, error))
                self._consider(error)
            else:
                self._futile = 0
                answers.put_nowait(Answer(ask, rows))

    def _consider(self, error: VendorError) -> None:
        """Stop asking where that is pointless; requests under way are paid for unless nobody answers."""
        self._futile = self._futile + 1 if isinstance(error, TransientError) else 0
        if error.stops_run or self._futile >= FUTILE:
            self.stopped = self.stopped or error
            if not isinstance(error, QuotaExhausted):
                raise _Stopped
            self.pacer.close(error)

    async def _store(self, answers: Answers) -> None:
        more = True
        while more:
            batch = [await answers.get()]
            while len(batch) < BATCH and _rows_in(batch) < BATCH_ROWS and not answers.empty():
                batch.append(answers.get_nowait())
            more = None not in batch
            await self._store_batch([item for item in batch if item is not None])

    async def _store_batch(self, batch: Sequence[Answer | Failure]) -> None:
        failures = [item for item in batch if isinstance(item, Failure)]
        nothing = [Answer(f.ask, NOTHING) for f in failures if isinstance(f.error, UnknownTicker | TickerRefused)]
        given = [item for item in batch if isinstance(item, Answer)]
        kept = await asyncio.to_thread(self._keep, [*given, *nothing])
        for _ in batch:
            self._room.release()
        for answer in given:
            self._tell(answer.ask, _outcome_of(answer.ask, kept))
        for failure in failures:
            self._tell(failure.ask, TickerOutcome(failure.ask.symbol.ticker, "error", error=failure.error))

    def _keep(self, answers: Sequence[Answer]) -> Kept:
        if not answers:
            return Kept({}, frozenset(), frozenset(), {}, 0, 0)
        kept = self.database.persistently(lambda connection: self._keep_in(connection, answers))
        self.written = sum(kept.counts.values(), self.written)
        self.rejected += kept.rejected
        self.published |= kept.published
        self.outside.update(kept.outside)
        return kept

    def _keep_in(self, connection: Connection, answers: Sequence[Answer]) -> Kept:
        kept = keep(connection, self.shelf, answers, min(self._asked_at[a.ask] for a in answers))
        beat(connection, self.run_id)
        return kept

    def _tell(self, ask: Ask, outcome: TickerOutcome) -> None:
        key = ask.symbol.symbol_id
        self.outcomes[key] = outcome = outcome.after(self.outcomes.get(key))
        self._open[key] -= 1
        self.listen(
            Progress(
                done=sum(self._open[other] <= 0 for other in self.outcomes),
                tickers=self.total,
                bars=self.written.stored,
                calls=self.pacer.spent.calls,
                outcome=outcome,
                batch=self.batch[0],
                batches=self.batch[1],
            )
        )


class _Stopped(Exception):  # noqa: N818 - tells the other workers, nothing else
    pass


def _rows_in(batch: Sequence[Answer | Failure | None]) -> int:
    return sum(len(item.rows) for item in batch if isinstance(item, Answer))


def _outcome_of(ask: Ask, kept: Kept) -> TickerOutcome:
    counts = kept.counts.get(ask.symbol.symbol_id, WriteCounts())
    if counts.stored:
        return TickerOutcome(ask.symbol.ticker, "stored", counts.stored)
    silent = ask.symbol.symbol_id in kept.nothing
    return TickerOutcome(ask.symbol.ticker, "not published" if silent else "nothing new")


async def _end(task: "asyncio.Task[None]") -> Exception | None:
    """Cancel a task if it is still at work, wait for it, and say what it failed with."""
    task.cancel()
    (ended,) = await asyncio.gather(task, return_exceptions=True)
    while isinstance(ended, ExceptionGroup):
        ended = ended.exceptions[0]
    return ended if isinstance(ended, Exception) else None
