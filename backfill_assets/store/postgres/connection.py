"""Connections to PostgreSQL from a pool.

What can go wrong with them is translated in ``database_errors``. ``database`` decides which server it is; SQL lives in
the modules that own the tables.
"""

import logging
import selectors
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any, TypeAlias, TypeVar

import psycopg
from psycopg import conninfo
from psycopg_pool import ConnectionPool, PoolTimeout

from backfill_assets.errors import DatabaseUnavailable
from backfill_assets.store.postgres.database_errors import is_connection_lost, translate_errors
from backfill_assets.store.postgres.peer_timeouts import IDLE_IN_SNAPSHOT_SECONDS, IDLE_LIMIT, connect
from backfill_assets.store.postgres.session_settings import CONNECTION_OPTIONS, ISOLATION_LEVEL, read_session_settings

Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]
Rows: TypeAlias = list[tuple[Any, ...]]
T = TypeVar("T")
Lease: TypeAlias = AbstractContextManager[Connection]
_SHOW_READ_ONLY = "SHOW transaction_read_only"
_COMMIT = b"COMMIT"
CONNECT_TIMEOUT_SECONDS = 10
MAX_WAIT_SECONDS = 60.0
_ATTEMPT_SECONDS = 2.0  # per connection attempt; short, so that a server that restarts is found soon
# For the answer to an empty query. The kernel needs 15 s to see that a network has become silent (``peer_timeouts``),
# and a process that waits as long for each connection of its pool would outlast its patience.
CHECK_SECONDS = 5.0


def _require_valid_url(url: str) -> None:
    try:
        conninfo.conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        raise DatabaseUnavailable(
            "DATABASE_URL is not a PostgreSQL address; write postgresql://user@host/name"
        ) from None


class Database:
    """A PostgreSQL database, for any thread of this process; close it when done.

    Works through a pooler in transaction mode: no prepared statements, no session state. If the server becomes
    unreachable after the first connection, waits for it, at most ``max_wait_seconds``.
    """

    def __init__(self, url: str, *, max_connections: int = 6, max_wait_seconds: float = MAX_WAIT_SECONDS) -> None:
        _require_valid_url(url)
        self.url = url
        self._max_wait_seconds = max_wait_seconds
        self._is_unreachable = False  # after one caller has waited until the timeout, the others do not wait again
        logging.getLogger("psycopg.pool").setLevel(
            logging.CRITICAL
        )  # the pool logs every failed attempt; the exception reports it once
        with translate_errors(url):
            options = {**CONNECTION_OPTIONS, "connect_timeout": CONNECT_TIMEOUT_SECONDS}
            first, address = connect(url, **options)
            with first:
                self._session = read_session_settings(first)
            patient = [] if address.has_idle_limit else [f"SET LOCAL {IDLE_LIMIT} = '{IDLE_IN_SNAPSHOT_SECONDS}s'"]
            self._before_snapshot = "; ".join([*filter(None, [self._session.statement]), *patient])
            self._pool = ConnectionPool(
                address.url,
                min_size=0,
                max_size=max_connections,
                reconnect_timeout=_ATTEMPT_SECONDS,
                check=partial(check_connection, seconds=min(CHECK_SECONDS, max(1.0, max_wait_seconds))),
                configure=self._session.configure,
                kwargs=options,
                open=True,
            )

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A connection whose work is committed at the end, or rolled back on an exception.

        Raises:
            DatabaseUnavailable: the server stays unreachable, or refuses.
        """
        with (
            translate_errors(self.url),
            self._lease_connection(time.monotonic() + self._max_wait_seconds) as connection,
        ):
            yield connection

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """A connection whose statements all see the database as it was at the first one, and that can write nothing.

        Raises:
            DatabaseUnavailable: the server stays unreachable, or refuses.
        """
        with (
            translate_errors(self.url),
            self._lease_connection(time.monotonic() + self._max_wait_seconds, is_snapshot=True) as connection,
        ):
            yield connection

    def retry_transaction(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` in a transaction, and again if the server becomes unreachable during it; returns its result.

        The first attempt may have been committed, so ``work`` must be idempotent.

        Raises:
            DatabaseUnavailable: the server stays unreachable, or refuses.
        """
        return self._retry(self._lease_connection, work)

    def retry_statement(self, statement: str, values: Mapping[str, Any]) -> Rows:
        """Run one statement that the server commits by itself, and again as ``retry_transaction`` does; its rows.

        No lock of it ever waits for this process, however slow or dead it may be. The first attempt may have been
        committed, so the statement must be idempotent.

        Raises:
            DatabaseUnavailable: the server stays unreachable, or refuses.
        """
        return self._retry(
            self._lease_autocommit, lambda connection: self._execute_alone(connection, statement, values)
        )

    def _retry(self, lease: Callable[[float], Lease], work: Callable[[Connection], T]) -> T:
        deadline = time.monotonic() + self._max_wait_seconds
        with translate_errors(self.url):
            while True:
                try:
                    with lease(deadline) as connection:
                        return work(connection)
                except psycopg.Error as error:  # also if another thread has closed the pool
                    if self._pool.closed or time.monotonic() >= deadline or not is_connection_lost(error):
                        raise
                    time.sleep(min(0.5, self._max_wait_seconds))

    def _execute_alone(self, connection: Connection, statement: str, values: Mapping[str, Any]) -> Rows:
        """One statement in autocommit; with what has to be set for it, in one message that the server works through."""
        if not (first := self._session.before_statement_alone):
            return _fetch_rows(connection.execute(statement.encode(), values))
        with connection.pipeline():
            for preparation in first:
                connection.execute(preparation.encode())
            cursor = connection.execute(statement.encode(), values)
            connection.execute(_COMMIT)
        return _fetch_rows(cursor)

    @contextmanager
    def _lease_connection(self, deadline: float, *, is_snapshot: bool = False) -> Iterator[Connection]:
        connection = self._acquire_connection(deadline)
        try:
            if is_snapshot:
                connection.isolation_level, connection.read_only = psycopg.IsolationLevel.REPEATABLE_READ, True
            with connection:
                if preparation := self._before_snapshot if is_snapshot else self._session.statement:
                    connection.execute(preparation.encode())
                yield connection
        finally:
            if is_snapshot and connection.info.transaction_status is psycopg.pq.TransactionStatus.IDLE:
                connection.isolation_level, connection.read_only = ISOLATION_LEVEL, None
            elif is_snapshot:  # interrupted within a statement; the pool opens another one
                connection.close()
            self._pool.putconn(connection)

    @contextmanager
    def _lease_autocommit(self, deadline: float) -> Iterator[Connection]:
        connection = self._acquire_connection(deadline)
        try:
            connection.autocommit = True
            yield connection
        finally:
            if connection.info.transaction_status is psycopg.pq.TransactionStatus.IDLE:
                connection.autocommit = False
            else:  # broken, or interrupted within the statement
                connection.close()
            self._pool.putconn(connection)

    def _acquire_connection(self, deadline: float) -> Connection:
        while True:
            try:
                connection = self._pool.getconn(timeout=0.5 if self._is_unreachable else _ATTEMPT_SECONDS + 1)
            except PoolTimeout:
                if self._is_unreachable or time.monotonic() >= deadline:
                    self._is_unreachable = True
                    raise PoolTimeout(f"no connection within {self._max_wait_seconds:g} s") from None
            else:
                self._is_unreachable = False
                return connection

    def close(self) -> None:
        """Close all connections; idempotent."""
        self._pool.close()


def _fetch_rows(cursor: psycopg.Cursor[tuple[Any, ...]]) -> Rows:
    return cursor.fetchall() if cursor.description else []


def check_connection(connection: Connection, *, seconds: float = CHECK_SECONDS) -> None:
    """Send an empty query, and wait for its answer ``seconds`` at most.

    Raises:
        psycopg.OperationalError: the connection is broken, or there is no answer.
    """
    session, deadline = connection.pgconn, time.monotonic() + seconds
    session.send_query(b"")
    with selectors.DefaultSelector() as selector:
        selector.register(session.socket, selectors.EVENT_READ)
        while True:
            while session.flush() or session.is_busy():
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise psycopg.OperationalError(f"no answer within {seconds:g} s")
                session.consume_input()
            if session.get_result() is None:  # otherwise the end of the answer has still to arrive
                break
    if connection.info.transaction_status is not psycopg.pq.TransactionStatus.IDLE:
        raise psycopg.OperationalError("the server has ended the session")


def is_read_only(connection: Connection) -> bool:
    """Whether the open transaction can write nothing, as on a standby server."""
    return connection.execute(_SHOW_READ_ONLY).fetchall() == [("on",)]
