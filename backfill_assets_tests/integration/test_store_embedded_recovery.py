"""Files that a power cut leaves in the folder of the embedded server: which are removed before the next start."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from backfill_assets.store.postgres.embedded_recovery import remove_stale_files

NO_PROCESS = 2**22 + 1  # above the largest pid of Linux
COMPLETE_LINES = ["{pid}", "/data", "1780000000", "5432", "/data", "localhost", "1 2", "ready   "]


@pytest.fixture
def zombie_pid() -> Iterator[int]:
    """A process that has ended and that its parent has not waited for."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    yield child.pid
    child.wait()


def has_lock_after_recovery(folder: Path, pid: object, lines: int = len(COMPLETE_LINES)) -> bool:
    lock_file = folder / "postmaster.pid"
    lock_file.write_text("\n".join(COMPLETE_LINES[:lines]).format(pid=pid) + "\n")
    remove_stale_files(folder)
    return lock_file.exists()


def test_complete_lock_of_an_ended_process_is_left_to_postgres(tmp_path: Path) -> None:
    assert has_lock_after_recovery(tmp_path, NO_PROCESS)


def test_lock_of_a_zombie_is_removed_because_postgres_takes_it_for_a_server(tmp_path: Path, zombie_pid: int) -> None:
    assert not has_lock_after_recovery(tmp_path, zombie_pid)


def test_lock_of_a_process_that_is_no_server_is_removed(tmp_path: Path) -> None:
    assert not has_lock_after_recovery(tmp_path, os.getpid())


@pytest.mark.parametrize(("pid", "lines"), [(NO_PROCESS, 7), (NO_PROCESS, 1), ("", 1), ("12a", 8)])
def test_truncated_lock_is_removed(tmp_path: Path, pid: object, lines: int) -> None:
    assert not has_lock_after_recovery(tmp_path, pid, lines)


@pytest.mark.parametrize(("text", "is_left"), [("[1, 2]", True), ("", True), ("[1, 2", False), ('{"pid": 1}', False)])
def test_damaged_list_of_processes_is_removed(tmp_path: Path, text: str, is_left: bool) -> None:
    (tmp_path / ".handle_pids.json").write_text(text)
    remove_stale_files(tmp_path)
    assert (tmp_path / ".handle_pids.json").exists() is is_left
