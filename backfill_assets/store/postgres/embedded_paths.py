"""Which folder the embedded server can use, and where its socket lies.

A socket's path may have about 100 bytes, and clients understand a comma and some other characters in it as their own
syntax. So the socket lies beside the data where their path is short and plain, else in a folder of its own.
"""

import hashlib
import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from backfill_assets.store.postgres.postgres_programs import PORT, Account

MAX_FOLDER_BYTES = 900  # PostgreSQL has 1,024 for a file in it
MAX_SOCKET_BYTES = 100  # 107 on Linux, 103 elsewhere
_REFUSED_CHARACTERS = {"\n": "line break (\\n)", "\r": "carriage return (\\r)"}
_PLAIN_CHARACTERS = frozenset("/-_.+0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_SOCKET_DIR_PREFIX = "backfill-assets-"
_SHARED_FOLDERS = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108 - for a folder that only its owner can enter


def require_usable_path(folder: Path) -> None:
    """Refuse what PostgreSQL cannot use as a data folder, before anything is created.

    Raises:
        ValueError: names the character, or the length.
    """
    for character, name in _REFUSED_CHARACTERS.items():
        if character in str(folder):
            raise ValueError(f"its path contains a {name}, which PostgreSQL does not allow; choose another path")
    if len(os.fsencode(folder)) > MAX_FOLDER_BYTES:
        raise ValueError(f"its path is {len(os.fsencode(folder))} bytes long; at most {MAX_FOLDER_BYTES} are possible")


def choose_socket_dir(folder: Path, account: Account) -> Path:
    """The folder for the socket of the server of ``folder``; only ``account`` can enter it.

    Raises:
        PermissionError: none of the temporary folders of the machine can be used.
    """
    if _is_plain(folder):
        return folder
    candidates = [Path(tempfile.gettempdir()), *map(Path, _SHARED_FOLDERS)]
    if os.geteuid() == 0:  # root's temporary folder may be closed for the server's account
        candidates.append(candidates.pop(0))
    identity = f"{account.uid} {folder.stat().st_dev} {folder.stat().st_ino}"
    name = f"{_SOCKET_DIR_PREFIX}{hashlib.sha256(identity.encode()).hexdigest()[:12]}"
    for base in candidates:
        if base.is_dir() and os.access(base, os.W_OK) and _is_plain(base / name):
            socket_dir = base / name
            if _make_private(socket_dir, account):
                return socket_dir
    raise PermissionError(f"no folder for the server's socket: {', '.join(map(str, candidates))} cannot be used")


def find_temporary_folder() -> Path:
    """A temporary folder in which programs can have sockets: this process's own if its path is short and plain.

    gRPC, which Dagster's processes use, understands signs like % and a space in a socket's path as its own syntax.
    """
    candidates = [Path(tempfile.gettempdir()), *map(Path, _SHARED_FOLDERS)]
    return next(
        (path for path in candidates if path.is_dir() and os.access(path, os.W_OK) and _is_plain(path)), candidates[0]
    )


def remove_socket_dir(socket_dir: Path) -> None:
    """Remove a folder of a socket that is not needed any more; not one that holds data."""
    if socket_dir.name.startswith(_SOCKET_DIR_PREFIX):
        with suppress(OSError):  # something else is in it, or it is gone
            socket_dir.rmdir()


def _is_plain(folder: Path) -> bool:
    path = f"{folder}/.s.PGSQL.{PORT}"
    return set(path) <= _PLAIN_CHARACTERS and len(path) <= MAX_SOCKET_BYTES


def _make_private(socket_dir: Path, account: Account) -> bool:
    """Create the folder, or accept an existing one of this account; False if another account has made it."""
    try:
        socket_dir.mkdir(mode=0o700)
        account.take_over(socket_dir)
    except FileExistsError:
        found = socket_dir.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != account.uid:
            return False
    socket_dir.chmod(0o700)
    return True
