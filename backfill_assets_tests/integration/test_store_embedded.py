"""The embedded server: shared by processes, stopped with the last of them, whatever ended the others."""

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
def own_home() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="backfill-embedded-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def start_user_process(home: Path) -> "subprocess.Popen[str]":
    process = start_process(["-c", USER, str(home)], os.environ, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.stdout.close()
    return process


def test_the_server_stops_with_its_last_user_although_another_was_killed(own_home: Path) -> None:
    killed = start_user_process(own_home)
    killed.kill()
    killed.wait()
    url = start_embedded_database(own_home, "bars")
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    release_embedded_server(own_home)
    assert not (own_home / "postgres" / "postmaster.pid").exists()


def test_the_server_stays_while_another_process_uses_it(own_home: Path) -> None:
    other = start_user_process(own_home)
    url = start_embedded_database(own_home, "bars")
    release_embedded_server(own_home)
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    other.kill()
    other.wait()
    start_embedded_database(own_home, "bars")
    release_embedded_server(own_home)
    assert not (own_home / "postgres" / "postmaster.pid").exists()


def test_threads_that_start_together_keep_the_list_of_processes(own_home: Path) -> None:
    """As sensor ticks in a code server do."""
    other = start_user_process(own_home)
    with ThreadPoolExecutor(8) as threads:
        urls = set(threads.map(lambda _: start_embedded_database(own_home, "bars"), range(80)))
    assert len(urls) == 1
    users = json.loads((own_home / "postgres" / ".handle_pids.json").read_text())
    assert sorted(users) == sorted([os.getpid(), other.pid])
    release_embedded_server(own_home)
    assert answers(urls.pop())  # the other still uses it
    other.kill()
    other.wait()
    start_embedded_database(own_home, "bars")
    release_embedded_server(own_home)


def server_pid(home: Path) -> int:
    return int((home / "postgres" / "postmaster.pid").read_text().splitlines()[0])


def answers(url: str) -> bool:
    with psycopg.connect(url) as connection:
        return connection.execute("SELECT 1").fetchone() == (1,)


def test_two_processes_that_start_together_share_one_server(own_home: Path) -> None:
    command = ["-c", USER, str(own_home)]
    both = [start_process(command, os.environ, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for process in both:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.stdout.close()
    running = [
        p.pid
        for p in psutil.process_iter(["name", "cmdline"])
        if p.info["name"] == "postgres" and str(own_home / "postgres") in (p.info["cmdline"] or [])
    ]
    assert running == [server_pid(own_home)]
    for process in both:
        process.kill()
        process.wait()
    start_embedded_database(own_home, "bars")
    release_embedded_server(own_home)


LOCK_FILES_AFTER_POWER_CUT: dict[str, Callable[[str], str]] = {
    "complete lock file of a dead server": lambda lock: lock,
    "lock file with the pid of another process": lambda lock: "\n".join([str(os.getpid()), *lock.splitlines()[1:]]),
    "truncated lock file": lambda lock: "\n".join(lock.splitlines()[:4]),
    "empty lock file": lambda _: "",
    "lock file of zero bytes": lambda _: "\0" * 512,
}


def test_files_left_by_a_power_cut_do_not_keep_the_server_from_starting(own_home: Path) -> None:
    lock = own_home / "postgres" / "postmaster.pid"
    for what, spoil in LOCK_FILES_AFTER_POWER_CUT.items():
        user = start_user_process(own_home)
        held = lock.read_text()
        user.kill()
        user.wait()
        server = psutil.Process(int(held.splitlines()[0]))
        family = [server, *server.children(recursive=True)]
        server.kill()  # the others end by themselves
        assert psutil.wait_procs(family, timeout=LONGEST_SECONDS)[1] == []
        lock.write_text(spoil(held))
        (own_home / "postgres" / ".handle_pids.json").write_text("[12, 1")
        assert answers(start_embedded_database(own_home, "bars")), what
        release_embedded_server(own_home)
        assert not lock.exists(), what


def test_a_server_that_died_is_started_again_by_a_process_that_used_it(own_home: Path) -> None:
    url = start_embedded_database(own_home, "bars")
    server = psutil.Process(server_pid(own_home))
    server.kill()
    server.wait()
    with pytest.raises(psycopg.OperationalError):
        answers(url)
    assert answers(start_embedded_database(own_home, "bars"))
    release_embedded_server(own_home)


def test_a_socket_outside_the_home_folder_is_only_for_its_owner(own_home: Path) -> None:
    deep = own_home / ("long" * 20) / "home"
    url = start_embedded_database(deep, "bars")
    socket_dir = Path(str(psycopg.conninfo.conninfo_to_dict(url)["host"]))
    assert socket_dir != deep / "postgres"
    assert socket_dir.stat().st_mode & 0o077 == 0
    assert answers(url)
    release_embedded_server(deep)


def test_the_server_listens_on_no_network_address(home: Path, template_url: str) -> None:
    with psycopg.connect(psycopg.conninfo.make_conninfo(template_url, dbname="postgres")) as connection:
        assert connection.execute("SHOW listen_addresses").fetchone() == ("",)
    assert psutil.Process(server_pid(home)).net_connections("inet") == []


@pytest.mark.parametrize("folder", ["/proc/nowhere", "~no-such-user/x", "/dev/null/x"])
def test_a_home_that_cannot_be_written_is_an_error_that_names_the_setting(folder: str) -> None:
    with pytest.raises(DatabaseUnavailable, match="BACKFILL_HOME"):
        start_embedded_database(Path(folder), "bars")
