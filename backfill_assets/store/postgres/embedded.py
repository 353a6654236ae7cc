"""The embedded PostgreSQL server under the home folder, for users who have no server of their own.

It listens on a local socket only. Every process that uses the folder shares it, and it stops with the last of them;
killed processes do not count. How it is started and stopped is in ``embedded_server``.
"""

import os
import subprocess
import threading
from contextlib import suppress
from pathlib import Path

import psutil
import psycopg
from psycopg import sql

from backfill_assets.errors import DatabaseUnavailable

_THREAD_LOCK = threading.Lock()  # the lock file is safe between processes, but not between threads
# The server's own template may have another encoding or order of texts.
_CREATE_DATABASE = "CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'"
_SELECT_DATABASE = "SELECT 1 FROM pg_database WHERE datname = %(name)s"


def start_embedded_database(home: Path, name: str) -> str:
    """Start (or join) the server under ``home`` and create database ``name`` if it is missing; from any thread.

    Returns:
        A connection string of the database.

    Raises:
        DatabaseUnavailable: the server does not start, for instance because the folder cannot be written.
    """
    from backfill_assets.store.postgres.embedded_paths import require_usable_path
    from backfill_assets.store.postgres.embedded_server import start_server

    try:
        folder = resolve_data_folder(home)
        require_usable_path(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError, ValueError) as error:
        raise DatabaseUnavailable(f"BACKFILL_HOME {home} is not a usable folder: {error}") from None
    try:
        with _THREAD_LOCK:
            url = start_server(folder, name)
        create_database(psycopg.conninfo.make_conninfo(url, dbname="postgres"), name)
    except PermissionError as error:
        raise DatabaseUnavailable(
            f"the embedded PostgreSQL under {folder.parent} cannot be used by this user: {error}; "
            "set BACKFILL_HOME to a folder of your own, or DATABASE_URL to your own server"
        ) from error
    except (OSError, subprocess.SubprocessError, RuntimeError, psycopg.Error, psutil.Error) as error:
        raise DatabaseUnavailable(
            f"the embedded PostgreSQL under {folder.parent} does not start ({type(error).__name__}: "
            f"{str(error).splitlines()[0] if str(error) else 'no reason given'}); {_refer_to_log(folder)}"
            "set BACKFILL_HOME to a folder that can be written, or DATABASE_URL to your own server"
        ) from error
    return url


def _refer_to_log(folder: Path) -> str:
    log = folder / "log"
    return f"see {log}, or " if os.path.exists(log) else ""  # False where the folder is closed, too


def resolve_data_folder(home: Path) -> Path:
    """The absolute path of the server's data folder under ``home``."""
    return home.expanduser().resolve() / "postgres"


def create_database(url: str, name: str) -> None:
    """Create database ``name`` on the server that ``url`` (of another database there) leads to, if it is missing.

    It has the encoding UTF-8, whatever the server's template has.
    """
    with psycopg.connect(url, autocommit=True, connect_timeout=10) as connection:
        if connection.execute(_SELECT_DATABASE, {"name": name}).fetchone():
            return
        with suppress(psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):  # another process did
            connection.execute(sql.SQL(_CREATE_DATABASE).format(sql.Identifier(name)))
