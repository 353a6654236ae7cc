"""A second connection for a read that is large enough to be split, with the snapshot of the first one.

The server exports the snapshot of the first transaction, and a transaction of the second connection begins with it. The
caller decides what is split.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue

import psycopg
from psycopg_pool import PoolClosed, PoolTimeout

from backfill_assets.errors import DatabaseUnavailable
from backfill_assets.store.postgres.connection import Connection, Database

# As long as connecting takes. A pooler that has no other connection to give would wait for the first one's end, which
# would wait for the second.
PATIENCE_SECONDS = 0.2
_log = logging.getLogger(__name__)
# A standby cannot export one.
_EXPORT_SNAPSHOT = "SELECT CASE WHEN NOT pg_is_in_recovery() THEN pg_export_snapshot() END"
_SET_SNAPSHOT = "SET TRANSACTION SNAPSHOT '{}'"


@contextmanager
def join_snapshot(
    database: Database, connection: Connection, patience_seconds: float = PATIENCE_SECONDS
) -> Iterator[Connection | None]:
    """A second connection that sees what ``connection`` sees, closed at the end; None if there is none at once.

    Args:
        database: of ``connection``.
        connection: of ``Database.snapshot``.
        patience_seconds: how long it is waited for.
    """
    ((snapshot,),) = connection.execute(_EXPORT_SNAPSHOT).fetchall()
    if snapshot is None:
        yield None
        return
    offered: SimpleQueue[Connection] = SimpleQueue()
    is_over = threading.Event()
    thread = threading.Thread(target=_offer, args=(database, str(snapshot), offered, is_over), daemon=True)
    thread.start()
    try:
        second = offered.get(timeout=patience_seconds)
    except Empty:
        is_over.set()
        yield None
        return
    try:
        yield second
    finally:
        is_over.set()
        thread.join()


def _offer(database: Database, snapshot: str, offered: "SimpleQueue[Connection]", is_over: threading.Event) -> None:
    """Hold a connection with the snapshot until it is not needed any more."""
    try:
        with database.snapshot() as second:
            if is_over.is_set():
                return
            second.execute(_SET_SNAPSHOT.format(snapshot).encode())
            offered.put(second)
            is_over.wait()
    except (DatabaseUnavailable, psycopg.Error, PoolClosed, PoolTimeout) as error:  # then one connection reads all
        _log.debug("no second connection for a read: %s", error)
