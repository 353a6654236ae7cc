"""The symbols that a run has claimed, and whether they are still its own when a request for one of them is to be sent.

Other runs respect a claim for half a minute after its run's last heartbeat, while a run waits longer than that for a
database that is away. So before each request, when its permit is there, the run must be sure that no other run could
have taken the symbol meanwhile. While heartbeats arrive this takes no statement: each permit comes with the server's
time, and so does each heartbeat. After a gap one statement renews the claims that nobody took (``store.runs``).
"""

import asyncio
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.store.postgres.connection import Connection, Database
from backfill_assets.store.runs import DEAD_AFTER_SECONDS, Claims, claim_symbols, record_heartbeat, renew_claims

# The other half is for the permit's answer on its way, which a silent network may hold back for 15 s at most
# (``store.postgres.peer_timeouts``).
SURE_SECONDS = DEAD_AFTER_SECONDS / 2


class ClaimLost(Exception):  # noqa: N818 - what happened; the request is the other run's
    """Another run has claimed the symbol meanwhile; nothing was requested."""


@dataclass(frozen=True, slots=True)
class _Beat:
    """A heartbeat that has arrived: the server's time, and the monotonic time of this process before it was sent."""

    at: datetime
    sent: float


class HeldClaims:
    """The claims of one run at one interval; for one event loop.

    Args:
        database: where claims and heartbeats are.
        run_id: the run.
        interval: of the bars.
        sure_seconds: how long after a heartbeat no other run can have taken a claim; 0 looks before each request.
    """

    def __init__(
        self, database: Database, run_id: UUID, interval: Interval, *, sure_seconds: float = SURE_SECONDS
    ) -> None:
        self._database = database
        self._run_id = run_id
        self._interval = interval
        self._sure_seconds = sure_seconds
        self._symbol_ids: frozenset[int] = frozenset()
        self._beat: _Beat | None = None
        self._is_known = True  # until a renewal begins whose answer may never arrive
        self._renewing = asyncio.Lock()

    async def claim(self, symbol_ids: Collection[int], planned_at: datetime) -> frozenset[int]:
        """Claim symbols; returns those that this run has now. ``planned_at`` is the server's time before planning."""

        def work(connection: Connection) -> tuple[float, Claims]:
            sent = time.monotonic()
            ids = sorted(symbol_ids)
            return sent, claim_symbols(connection, self._run_id, ids, self._interval, planned_at=planned_at)

        sent, claims = await asyncio.to_thread(self._database.retry_transaction, work)
        self._symbol_ids = claims.symbol_ids
        self._note_beat(claims.beat_at, sent)
        return self._symbol_ids

    async def send_heartbeat(self) -> None:
        """Record that the run is alive; if its claims have lapsed, renew them.

        Raises:
            DatabaseUnavailable: the heartbeat could not be recorded.
        """
        sent, beat_at = await asyncio.to_thread(self._record_heartbeat)
        if beat_at is None:
            async with self._renewing:
                await self._renew()
        else:
            self._note_beat(beat_at, sent)

    @contextmanager
    def require(self, symbol_id: int) -> Iterator[None]:
        """Within it, each permit of this task waits for ``confirm``.

        Raises:
            ClaimLost: another run has claimed the symbol, also while waiting for a permit.
        """
        if symbol_id not in self._symbol_ids:
            raise ClaimLost
        token = _required.set((self, symbol_id))
        try:
            yield
        finally:
            _required.reset(token)

    async def confirm(self, symbol_id: int, granted_at: datetime) -> None:
        """Make sure that this run has the symbol; ``granted_at`` is the server's time when the permit was taken.

        Raises:
            ClaimLost: another run has claimed it.
            DatabaseUnavailable: nobody can say, as the server stays unreachable.
        """
        async with self._renewing:
            if not self._is_sure(granted_at):
                await self._renew()
        if symbol_id not in self._symbol_ids:
            raise ClaimLost

    def _is_sure(self, granted_at: datetime) -> bool:
        """The clock of this process is asked, too: it may have been stopped since it got the permit.

        It does not suffice, as it stands still while a machine is asleep.
        """
        beat, sure = self._beat, self._sure_seconds
        return (
            self._is_known
            and beat is not None
            and granted_at - beat.at < timedelta(seconds=sure)
            and time.monotonic() - beat.sent < sure
        )

    async def _renew(self) -> None:
        """Find out which claims are left, again if the answer took so long that they may have lapsed once more."""

        def work(connection: Connection) -> tuple[float, Claims]:
            return time.monotonic(), renew_claims(connection, self._run_id, self._interval)

        self._is_known = False
        while not self._is_known:
            sent, claims = await asyncio.to_thread(self._database.retry_transaction, work)
            self._symbol_ids &= claims.symbol_ids
            self._note_beat(claims.beat_at, sent)
            self._is_known = time.monotonic() - sent < SURE_SECONDS

    def _record_heartbeat(self) -> tuple[float, datetime | None]:
        with self._database.transaction() as connection:
            return time.monotonic(), record_heartbeat(connection, self._run_id)

    def _note_beat(self, at: datetime | None, sent: float) -> None:
        if at is not None and (self._beat is None or sent > self._beat.sent):
            self._beat = _Beat(at, sent)


_required: ContextVar[tuple[HeldClaims, int] | None] = ContextVar("_required", default=None)


async def confirm_claim(granted_at: datetime) -> None:
    """Make sure of the claim that this task's request requires, if it does (``HeldClaims.require``)."""
    if (required := _required.get()) is not None:
        claims, symbol_id = required
        await claims.confirm(symbol_id, granted_at)
