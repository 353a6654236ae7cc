"""The embedded PostgreSQL server under the home folder, for users who have no server of their own.

It listens on a local socket only. Every process that uses the folder shares it, and it stops with the last of them;
killed processes do not count. The wheel that brings it is handled in ``pgserver_wheel``, files that a power cut leaves
behind in ``embedded_recovery``.
"""

import subprocess
import threading
from contextlib import suppress
from pathlib import Path

import psycopg
from psycopg import sql

from backfill_assets.errors import DatabaseUnavailable
from backfill_assets.store.postgres.pgserver_wheel import start_server

_THREAD_LOCK = threading.Lock()  # the wheel's list of users is safe between processes, but not between threads
_SELECT_DATABASE = "SELECT 1 FROM pg_database WHERE datname = %(name)s"


def start_embedded_database(home: Path, name: str) -> str:
    """Start (or join) the server under ``home`` and create database ``name`` if it is missing; from any thread.

    Returns:
        A connection string of the database.

    Raises:
        DatabaseUnavailable: the server does not start, for instance because the folder cannot be written.
    """
    try:
        folder = home.expanduser().resolve() / "postgres"
    except (OSError, RuntimeError) as error:
        raise DatabaseUnavailable(f"BACKFILL_HOME {home} is not a usable folder: {error}") from None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _THREAD_LOCK:
            url = start_server(folder, name)
        create_database(psycopg.conninfo.make_conninfo(url, dbname="postgres"), name)
    except (OSError, subprocess.SubprocessError, RuntimeError, ValueError, AssertionError, psycopg.Error) as error:
        raise DatabaseUnavailable(
            f"the embedded PostgreSQL under {folder.parent} does not start ({type(error).__name__}: "
            f"{str(error).splitlines()[0] if str(error) else 'no reason given'}); see {folder / 'log'}, "
            "or set BACKFILL_HOME to a folder that can be written, or DATABASE_URL to your own server"
        ) from error
    return url


def create_database(url: str, name: str) -> None:
    """Create database ``name`` on the server that ``url`` (of another database there) leads to, if it is missing."""
    with psycopg.connect(url, autocommit=True, connect_timeout=10) as connection:
        if connection.execute(_SELECT_DATABASE, {"name": name}).fetchone():
            return
        with suppress(psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):  # another process did
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
