"""The embedded server is shared by processes and stops with the last one, even if others were killed."""

import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import psycopg
import pytest

from backfill_assets.errors import DatabaseUnavailable
from backfill_assets.store.postgres import embedded_recovery
from backfill_assets.store.postgres.embedded import start_embedded_database
from backfill_assets_tests.embedded_server import release_embedded_server
from backfill_assets_tests.processes import start_process
from backfill_assets_tests.waiting import LONGEST_SECONDS

USER = """
import sys, time
from pathlib import Path
from backfill_assets.store.postgres.embedded import start_embedded_database
start_embedded_database(Path(sys.argv[1]), "bars")
print("ready", flush=True)
time.sleep(600)
"""


@pytest.fixture
def new_home() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="backfill-embedded-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def start_user_process(home: Path) -> "subprocess.Popen[str]":
    process = start_process(["-c", USER, str(home)], os.environ, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.stdout.close()
    return process


def test_the_server_stops_with_its_last_user_after_another_was_killed(new_home: Path) -> None:
    killed = start_user_process(new_home)
    killed.kill()
    killed.wait()
    url = start_embedded_database(new_home, "bars")
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    release_embedded_server(new_home)
    assert not (new_home / "postgres" / "postmaster.pid").exists()


def test_an_interruption_while_the_server_starts_leaves_no_server(
    new_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(folder: Path, pid: int | None = None) -> bool:
        assert wait_until_ready(folder, pid)
        raise KeyboardInterrupt

    wait_until_ready = embedded_recovery.wait_until_ready
    monkeypatch.setattr(embedded_recovery, "wait_until_ready", interrupt)
    with pytest.raises(KeyboardInterrupt):
        start_embedded_database(new_home, "bars")
    assert (new_home / "postgres" / "PG_VERSION").exists()
    assert not (new_home / "postgres" / "postmaster.pid").exists()


def test_the_server_runs_while_another_process_uses_it(new_home: Path) -> None:
    other = start_user_process(new_home)
    url = start_embedded_database(new_home, "bars")
    release_embedded_server(new_home)
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    other.kill()
    other.wait()
    start_embedded_database(new_home, "bars")
    release_embedded_server(new_home)
    assert not (new_home / "postgres" / "postmaster.pid").exists()


def test_threads_that_start_together_preserve_the_list_of_processes(new_home: Path) -> None:
    """Sensor ticks in a code server start together."""
    other = start_user_process(new_home)
    with ThreadPoolExecutor(8) as threads:
        urls = set(threads.map(lambda _: start_embedded_database(new_home, "bars"), range(80)))
    assert len(urls) == 1
    users = json.loads((new_home / "postgres" / ".handle_pids.json").read_text())
    assert sorted(users) == sorted([os.getpid(), other.pid])
    release_embedded_server(new_home)
    assert can_query(urls.pop())  # the other process still uses it
    other.kill()
    other.wait()
    start_embedded_database(new_home, "bars")
    release_embedded_server(new_home)


def read_server_pid(home: Path) -> int:
    return int((home / "postgres" / "postmaster.pid").read_text().splitlines()[0])


def can_query(url: str) -> bool:
    with psycopg.connect(url) as connection:
        return connection.execute("SELECT 1").fetchone() == (1,)


def test_two_processes_that_start_together_share_one_server(new_home: Path) -> None:
    command = ["-c", USER, str(new_home)]
    processes = [start_process(command, os.environ, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.stdout.close()
    running = [
        p.pid
        for p in psutil.process_iter(["name", "cmdline"])
        if p.info["name"] == "postgres" and str(new_home / "postgres") in (p.info["cmdline"] or [])
    ]
    assert running == [read_server_pid(new_home)]
    for process in processes:
        process.kill()
        process.wait()
    start_embedded_database(new_home, "bars")
    release_embedded_server(new_home)


LOCK_FILES_AFTER_POWER_CUT: dict[str, Callable[[str], str]] = {
    "complete lock file of a dead server": lambda lock: lock,
    "lock file with the pid of another process": lambda lock: "\n".join([str(os.getpid()), *lock.splitlines()[1:]]),
    "truncated lock file": lambda lock: "\n".join(lock.splitlines()[:4]),
    "empty lock file": lambda _: "",
    "lock file of zero bytes": lambda _: "\0" * 512,
}


@pytest.mark.long
def test_the_server_starts_despite_files_left_by_a_power_cut(new_home: Path) -> None:
    lock = new_home / "postgres" / "postmaster.pid"
    for case, damage in LOCK_FILES_AFTER_POWER_CUT.items():
        user = start_user_process(new_home)
        lock_text = lock.read_text()
        user.kill()
        user.wait()
        server = psutil.Process(int(lock_text.splitlines()[0]))
        postgres_processes = [server, *server.children(recursive=True)]
        server.kill()  # its child processes end by themselves
        assert psutil.wait_procs(postgres_processes, timeout=LONGEST_SECONDS)[1] == []
        lock.write_text(damage(lock_text))
        (new_home / "postgres" / ".handle_pids.json").write_text("[12, 1")
        assert can_query(start_embedded_database(new_home, "bars")), case
        release_embedded_server(new_home)
        assert not lock.exists(), case


def test_a_killed_server_is_restarted_by_a_process_that_used_it(new_home: Path) -> None:
    url = start_embedded_database(new_home, "bars")
    server = psutil.Process(read_server_pid(new_home))
    server.kill()
    server.wait()
    with pytest.raises(psycopg.OperationalError):
        can_query(url)
    assert can_query(start_embedded_database(new_home, "bars"))
    release_embedded_server(new_home)


def test_a_socket_outside_the_home_folder_is_accessible_to_its_owner_only(new_home: Path) -> None:
    long_home = new_home / ("long" * 20) / "home"
    url = start_embedded_database(long_home, "bars")
    socket_dir = Path(str(psycopg.conninfo.conninfo_to_dict(url)["host"]))
    assert socket_dir != long_home / "postgres"
    assert socket_dir.stat().st_mode & 0o077 == 0
    assert can_query(url)
    release_embedded_server(long_home)


def test_the_server_does_not_listen_on_a_network_address(home: Path, template_url: str) -> None:
    with psycopg.connect(psycopg.conninfo.make_conninfo(template_url, dbname="postgres")) as connection:
        assert connection.execute("SHOW listen_addresses").fetchone() == ("",)
    assert psutil.Process(read_server_pid(home)).net_connections("inet") == []


@pytest.mark.parametrize("folder", ["/proc/nowhere", "~no-such-user/x", "/dev/null/x"])
def test_an_unwritable_home_raises_an_error_that_names_the_setting(folder: str) -> None:
    with pytest.raises(DatabaseUnavailable, match="BACKFILL_HOME"):
        start_embedded_database(Path(folder), "bars")
