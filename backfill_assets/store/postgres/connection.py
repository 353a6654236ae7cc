"""Connections to PostgreSQL from a pool.

What can go wrong with them is translated in ``database_errors``. ``database`` decides which server it is; SQL lives in
the modules that own the tables.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias, TypeVar

import psycopg
from psycopg import conninfo
from psycopg_pool import ConnectionPool, PoolTimeout

from backfill_assets.errors import DatabaseUnavailable
from backfill_assets.store.postgres.database_errors import is_raised_by_function, translate_errors
from backfill_assets.store.postgres.session_settings import CONNECTION_OPTIONS, ISOLATION_LEVEL, read_session_settings

Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]
T = TypeVar("T")
_SHOW_READ_ONLY = "SHOW transaction_read_only"
CONNECT_TIMEOUT_SECONDS = 10
MAX_WAIT_SECONDS = 60.0
_ATTEMPT_SECONDS = 2.0  # per connection attempt; short, so that a server that restarts is found soon


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
            with psycopg.connect(url, **options) as first:
                session = read_session_settings(first)
            self._prepare_transaction = session.statement
            self._pool = ConnectionPool(
                url,
                min_size=0,
                max_size=max_connections,
                reconnect_timeout=_ATTEMPT_SECONDS,
                check=ConnectionPool.check_connection,
                configure=session.configure,
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
        deadline = time.monotonic() + self._max_wait_seconds
        with translate_errors(self.url):
            while True:
                try:
                    with self._lease_connection(deadline) as connection:
                        return work(connection)
                except psycopg.OperationalError as error:  # also if another thread has closed the pool
                    if self._pool.closed or time.monotonic() >= deadline or is_raised_by_function(error):
                        raise
                    time.sleep(min(0.5, self._max_wait_seconds))

    @contextmanager
    def _lease_connection(self, deadline: float, *, is_snapshot: bool = False) -> Iterator[Connection]:
        connection = self._acquire_connection(deadline)
        try:
            if is_snapshot:
                connection.isolation_level, connection.read_only = psycopg.IsolationLevel.REPEATABLE_READ, True
            with connection:
                if self._prepare_transaction:
                    connection.execute(self._prepare_transaction.encode())
                yield connection
        finally:
            if is_snapshot and connection.info.transaction_status is psycopg.pq.TransactionStatus.IDLE:
                connection.isolation_level, connection.read_only = ISOLATION_LEVEL, None
            elif is_snapshot:  # interrupted within a statement; the pool opens another one
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


def is_read_only(connection: Connection) -> bool:
    """Whether the open transaction can write nothing, as on a standby server."""
    return connection.execute(_SHOW_READ_ONLY).fetchall() == [("on",)]
