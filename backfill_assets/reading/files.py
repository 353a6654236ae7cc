"""Writes files that are whole or not there, and removes them. No format.

A file is written under a temporary name, flushed to the disk, and then renamed.
A crash leaves the file of before or the new one, and perhaps a temporary file, never a half one.
"""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from backfill_assets.errors import UsageError

TEMPORARY_PREFIX = ".writing-"


def replace_file(path: Path, write: Callable[[BinaryIO], object], temporary_folder: Path | None = None) -> None:
    """Write a file and put it in the place of the old one, if there is one.

    Args:
        path: the file; its folder exists.
        write: writes the content.
        temporary_folder: where the temporary file is, on the same file system. None: beside the file.

    Raises:
        UsageError: the file cannot be written; the old one is as it was.
    """
    with translate_file_errors(path):
        _replace(path, write, temporary_folder or path.parent)


@contextmanager
def translate_file_errors(path: Path) -> Iterator[None]:
    """Whatever keeps a file or folder from being written or removed becomes a ``UsageError`` that names it."""
    try:
        yield
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror or error}") from None


def remove_file(path: Path) -> bool:
    """Remove a file, if there is one, and let that outlast a power cut; returns whether there was one.

    Raises:
        UsageError: the file cannot be removed.
    """
    with translate_file_errors(path):
        if not path.exists():
            return False
        path.unlink()
        sync_folder(path.parent)
        return True


def _replace(path: Path, write: Callable[[BinaryIO], object], folder: Path) -> None:
    if path.exists() and not path.is_file():  # /dev/stdout, a pipe
        with path.open("wb") as opened:
            write(opened)
        return
    descriptor, name = tempfile.mkstemp(prefix=TEMPORARY_PREFIX, dir=folder)
    try:
        with os.fdopen(descriptor, "wb") as file:
            write(file)
            file.flush()
            os.fchmod(file.fileno(), _choose_mode(path))
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Flush a folder's list of files to the disk, so that a rename or a removal outlasts a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _choose_mode(path: Path) -> int:
    """That of the file of before, else what the process gives a new one; a temporary file is its owner's alone."""
    if path.exists():
        return path.stat().st_mode & 0o777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask
