"""The market's files of one kind of corporate action: one of each session, in order, none left out.

What a file says goes on from what is known up to the session before it, so a session that was missed comes first.
"""

import logging
from collections import defaultdict
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Generic

from backfill_assets.backfill.actions.action_kinds import ActionKind, ListedT, RowT
from backfill_assets.backfill.actions.contradictions import update_contradictions
from backfill_assets.backfill.engine import Engine
from backfill_assets.market.calendar.sessions import Session, list_previous_sessions
from backfill_assets.market.vendor import VendorClient
from backfill_assets.market.vendor_actions import ActionRows
from backfill_assets.market.vendor_errors import (
    BrokenAnswer,
    EndpointUnavailable,
    PermanentError,
    ServerFault,
    VendorError,
)
from backfill_assets.store.actions.action_reads import MarketFile
from backfill_assets.store.evidence.daily_data import read_bulk_file_size
from backfill_assets.store.evidence.daily_reads import (
    claim_actions_file,
    is_actions_file_free,
    read_actions_files,
    record_actions_file,
)
from backfill_assets.store.postgres.connection import Connection
from backfill_assets.store.symbols import list_symbols

RETRY_AFTER = timedelta(hours=20)
# An empty file counts if the day's file of prices is there. One that is not there, or cannot be read, after this long
# will not come.
WAITS_FOR_FILE = timedelta(days=3)
FILE_FAULTS = (PermanentError, BrokenAnswer, ServerFault)  # errors that say something about one file
_log = logging.getLogger(__name__)


class MarketActionFiles(Generic[RowT, ListedT]):
    """The files of one reading.

    Attributes:
        days: of the files that were requested.
    """

    def __init__(self, kind: ActionKind[RowT, ListedT], engine: Engine, settled: Sequence[Session]) -> None:
        self._kind: ActionKind[RowT, ListedT] = kind
        self._engine, self._settled = engine, settled
        self._now = engine.settings.now()
        self.days: list[date] = []

    def count_requests(self, connection: Connection, since: datetime) -> int:
        """How many files were requested since a moment."""
        return read_actions_files(connection, self._kind.name, self._settled[0].exchange, since)[1]

    def find_due(self) -> Session | None:
        """The session whose file is next; None if none is due, or its request failed in the last hours."""
        with self._engine.database.transaction() as connection:
            newest, _ = read_actions_files(connection, self._kind.name, self._settled[0].exchange, self._now)
            due = [s for s in self._settled if newest is not None and s.day > newest] if newest else self._settled[-1:]
            before = self._now - RETRY_AFTER
            if not due or not is_actions_file_free(connection, self._kind.name, due[0].exchange, due[0].day, before):
                return None
        return due[0]

    async def read_next(self, client: VendorClient) -> bool:
        """Read the file that is due; False if none is, if another process reads it, or if it cannot be read yet.

        One that cannot be read for days is given up, so that those after it are read. What is known begins anew then,
        and the symbols' own lists are read.

        Raises:
            VendorError: the vendor cannot be asked.
        """
        session = self.find_due()
        if session is None:
            return False
        with self._engine.database.transaction() as connection:
            before = self._now - RETRY_AFTER
            if not claim_actions_file(connection, self._kind.name, session.exchange, session.day, self._now, before):
                return False
        try:
            rows = await self._kind.fetch_file(client, session.exchange, session.day)
        except VendorError as error:
            if error.stops_run or not isinstance(error, FILE_FAULTS) or isinstance(error, EndpointUnavailable):
                raise
            return self._note_fault(session, error)
        self.days.append(session.day)
        if rows.unparsable_rows:
            _log.warning("%d %s of %s cannot be read", rows.unparsable_rows, self._kind.name, session.day)
        with self._engine.database.transaction() as connection:
            if not self._is_published(connection, rows, session):
                return False
            self._record(connection, rows, session)
            record_actions_file(connection, self._kind.name, session.exchange, session.day, self._now)
        return True

    def _note_fault(self, session: Session, error: VendorError) -> bool:
        """Whether a file that cannot be read is given up."""
        is_old = self._is_old(session)
        outcome = "they are left out" if is_old else "they are requested again"
        _log.warning("the market's %s of %s cannot be read, %s: %s", self._kind.name, session.day, outcome, error)
        if is_old:
            with self._engine.database.transaction() as connection:
                record_actions_file(connection, self._kind.name, session.exchange, session.day, self._now)
        return is_old

    def _is_old(self, session: Session) -> bool:
        return self._now - session.close >= WAITS_FOR_FILE

    def _is_published(self, connection: Connection, rows: ActionRows[RowT], session: Session) -> bool:
        return (
            bool(len(rows))
            or self._is_old(session)
            or read_bulk_file_size(connection, session.exchange, session.day) > 0
        )

    def _record(self, connection: Connection, rows: ActionRows[RowT], session: Session) -> None:
        previous = list_previous_sessions(session, 1)
        of_day = _group_by_code(rows, session.day)
        symbols = {s.ticker.symbol: s for s in list_symbols(connection, session.exchange, only_active=False)}
        searched = [symbol for code, symbol in symbols.items() if code not in rows.unreadable_codes]
        listed = {
            symbols[code].symbol_id: self._kind.merge(connection, symbols[code], found, session.market)
            for code, found in of_day.items()
            if code in symbols
        }
        file = MarketFile(
            symbol_ids=[symbol.symbol_id for symbol in searched],
            source=self._kind.file_endpoint,
            read_at=self._now,
            previous_day=previous[0].day if previous else session.day - timedelta(days=1),
            day=session.day,
            is_complete=bool(of_day),  # an empty file of actions takes none back
        )
        self._kind.record_file(connection, listed, file)
        update_contradictions(connection, self._kind.contradiction, searched, self._now)


def _group_by_code(rows: ActionRows[RowT], day: date) -> dict[str, list[RowT]]:
    """The actions of one day by symbol; a file of another day says nothing about this one."""
    grouped: defaultdict[str, list[RowT]] = defaultdict(list)
    for row in rows.rows:
        if row.ex_date == day:
            grouped[row.code].append(row)
    return dict(grouped)
