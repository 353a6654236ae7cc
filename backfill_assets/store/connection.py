"""How we reach PostgreSQL: connections from a pool, and one form for what can go wrong.

Which server it is, is decided in ``database``; SQL lives in the modules that own the tables.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeAlias

import psycopg
from psycopg import conninfo
from psycopg_pool import ConnectionPool, PoolTimeout

from backfill_assets.errors import DatabaseUnavailable

Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]
CONNECT_SECONDS = 10


def describe(url: str) -> str:
    """Where a connection string leads, without its password."""
    try:
        parts = conninfo.conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        return "an unreadable DATABASE_URL"
    host = str(parts.get("host") or "localhost").rpartition("@")[2]  # a password with @ spills into the host
    port = f":{parts['port']}" if parts.get("port") else ""
    return f"database {parts.get('dbname') or 'postgres'!r} at {host}{port}"


def _said(error: BaseException, url: str) -> str:
    """The first line of an error, without what a mangled connection string may have spilled into it."""
    first = next(iter(str(error).strip().splitlines()), type(error).__name__)
    with suppress(psycopg.ProgrammingError):
        host = str(conninfo.conninfo_to_dict(url).get("host") or "")
        if "@" in host:
            first = first.replace(host, host.rpartition("@")[2])
    return first


def _advice(url: str) -> str:
    embedded = "host=/" in url or "host=%2F" in url
    return "the embedded server may have been stopped: run again" if embedded else "check DATABASE_URL"


@contextmanager
def explained(url: str) -> Iterator[None]:
    """Turn what the server or the network says into ``DatabaseUnavailable`` (exit code 5)."""
    try:
        yield
    except (psycopg.OperationalError, PoolTimeout) as error:
        raise DatabaseUnavailable(f"{describe(url)} cannot be used: {_said(error, url)}; {_advice(url)}") from None
    except psycopg.errors.InsufficientPrivilege as error:
        raise DatabaseUnavailable(
            f"{describe(url)}: {_said(error, url)}; give the user of DATABASE_URL that right"
        ) from None
    except psycopg.errors.ReadOnlySqlTransaction as error:
        raise DatabaseUnavailable(f"{describe(url)} is read-only: {_said(error, url)}") from None
    except psycopg.ProgrammingError as error:
        if "connection string" in str(error) or 'missing "="' in str(error) or "invalid" in str(error):
            raise DatabaseUnavailable(
                "DATABASE_URL is not a PostgreSQL address; write postgresql://user@host/name"
            ) from None
        raise


class Database:
    """A PostgreSQL database, used by any thread of this process; close it when done.

    Works through a pooler in transaction mode: nothing is prepared, and nothing is kept in a session.
    """

    def __init__(self, url: str, *, connections: int = 6) -> None:
        self.url = url
        logging.getLogger("psycopg.pool").setLevel(logging.CRITICAL)  # a refusal is reported once, by us
        with explained(url):
            psycopg.connect(url, connect_timeout=CONNECT_SECONDS).close()
            self._pool = ConnectionPool(
                url,
                min_size=0,
                max_size=connections,
                timeout=CONNECT_SECONDS,
                kwargs={"prepare_threshold": None, "connect_timeout": CONNECT_SECONDS},
                open=True,
            )

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A connection whose work is committed at the end, or rolled back on an exception.

        Raises:
            DatabaseUnavailable: the server is gone or refuses.
        """
        with explained(self.url), self._pool.connection() as connection:
            yield connection

    def close(self) -> None:
        """Give the connections back; idempotent."""
        self._pool.close()
