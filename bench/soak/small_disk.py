"""A small file system for the database, so that its disk can be filled; needs root and ``mount``."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SIZE_MB = 512
_SPARE = 64 * 1024  # free bytes on a full disk


@contextmanager
def mount_small_disk(folder: Path) -> Iterator[str | None]:
    """Mount a file system of half a gigabyte on ``folder``; yields the reason if that is impossible, else None."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        yield "not root, or no mount command"
        return
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE_MB}m", "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        yield done.stderr.strip() or "mount failed"
        return
    try:
        yield None
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=False)  # noqa: S607


@contextmanager
def fill_disk(folder: Path) -> Iterator[None]:
    """Fill the file system of ``folder`` for the time of the context."""
    filler = folder / "filler"
    try:
        with filler.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(1, shutil.disk_usage(folder).free - _SPARE))
        yield
    finally:
        filler.unlink(missing_ok=True)
