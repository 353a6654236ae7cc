"""Connections to PostgreSQL from a pool, and one exception for everything that can go wrong with them.

``database`` decides which server it is; SQL lives in the modules that own the tables.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeAlias, TypeVar

import psycopg
from psycopg import conninfo
from psycopg_pool import ConnectionPool, PoolTimeout

from backfill_assets.errors import DatabaseUnavailable

Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]
T = TypeVar("T")
CONNECT_TIMEOUT_SECONDS = 10
MAX_WAIT_SECONDS = 60.0
_UNREADABLE_URL = "an unreadable DATABASE_URL"
_ATTEMPT_SECONDS = 2.0  # per connection attempt; short, so that a server that restarts is found soon


def describe_database(url: str) -> str:
    """The database and host of a connection string, without its password."""
    try:
        parts = conninfo.conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        return _UNREADABLE_URL
    port, name = str(parts.get("port") or ""), str(parts.get("dbname") or "postgres")
    if not _is_parsed_correctly(port, name):
        return _UNREADABLE_URL
    host = str(parts.get("host") or "localhost").rpartition("@")[2]  # a password with @ spills into the host
    return f"database {name!r} at {host}{f':{port}' if port else ''}"


def _is_parsed_correctly(port: str, name: str) -> bool:
    """Whether the address was split correctly; otherwise one of its parts may contain the password."""
    return all(part.isdigit() for part in port.split(",") if part) and "@" not in name


def _get_safe_message(error: BaseException, url: str) -> str:
    """The first line of an error, without parts of a password that a malformed address may have put into it."""
    if describe_database(url) == _UNREADABLE_URL:
        return "write postgresql://user:password@host:port/name, with % codes for signs like / and @ in the password"
    first = next(iter(str(error).strip().splitlines()), type(error).__name__)
    with suppress(psycopg.ProgrammingError):
        host = str(conninfo.conninfo_to_dict(url).get("host") or "")
        if "@" in host:
            first = first.replace(host, host.rpartition("@")[2])
    return first


def _build_hint(url: str) -> str:
    embedded = "host=/" in url or "host=%2F" in url
    return "check DATABASE_URL" + (", or run again if this is the embedded server" if embedded else "")


@contextmanager
def translate_errors(url: str) -> Iterator[None]:
    """Turn errors of the server and the network into ``DatabaseUnavailable`` (exit code 5)."""
    try:
        yield
    except (psycopg.OperationalError, PoolTimeout) as error:
        raise DatabaseUnavailable(
            f"{describe_database(url)} cannot be used: {_get_safe_message(error, url)}; {_build_hint(url)}"
        ) from None
    except psycopg.errors.InsufficientPrivilege as error:
        raise DatabaseUnavailable(
            f"{describe_database(url)}: {_get_safe_message(error, url)}; give the user of DATABASE_URL that right"
        ) from None
    except psycopg.errors.ReadOnlySqlTransaction as error:
        raise DatabaseUnavailable(f"{describe_database(url)} is read-only: {_get_safe_message(error, url)}") from None
    except psycopg.Error as error:
        if not _is_raised_by_table_of_user(error):
            raise
        raise DatabaseUnavailable(
            f"{describe_database(url)} refuses a row: {_get_safe_message(error, url)}; "
            "change the table, its constraint or its trigger"
        ) from None


def _is_raised_by_table_of_user(error: psycopg.Error) -> bool:
    """Whether a constraint or column of a table outside our schema, or a trigger, refuses a row.

    Texts of our own tables have no limit.
    """
    if isinstance(error, psycopg.IntegrityError):
        return error.diag.schema_name != "backfill"
    return isinstance(error, psycopg.errors.RaiseException | psycopg.errors.StringDataRightTruncation)


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
            psycopg.connect(url, connect_timeout=CONNECT_TIMEOUT_SECONDS).close()
            self._pool = ConnectionPool(
                url,
                min_size=0,
                max_size=max_connections,
                reconnect_timeout=_ATTEMPT_SECONDS,
                check=ConnectionPool.check_connection,
                kwargs={"prepare_threshold": None, "connect_timeout": CONNECT_TIMEOUT_SECONDS},
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
                except psycopg.OperationalError:  # also if another thread has closed the pool
                    if self._pool.closed or time.monotonic() >= deadline:
                        raise
                    time.sleep(min(0.5, self._max_wait_seconds))

    @contextmanager
    def _lease_connection(self, deadline: float) -> Iterator[Connection]:
        connection = self._acquire_connection(deadline)
        try:
            with connection:
                yield connection
        finally:
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
