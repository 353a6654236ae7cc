"""The embedded server: shared by processes, stopped with the last of them, whatever ended the others."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from backfill_assets.store.embedded import embedded_url, leave_embedded

USER = """
import sys, time
from pathlib import Path
from backfill_assets.store.embedded import embedded_url
embedded_url(Path(sys.argv[1]), "bars")
print("ready", flush=True)
time.sleep(600)
"""


@pytest.fixture
def own_home() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="backfill-embedded-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def user_of(home: Path) -> "subprocess.Popen[str]":
    process = subprocess.Popen([sys.executable, "-c", USER, str(home)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.stdout.close()
    return process


def test_the_server_stops_with_its_last_user_although_another_was_killed(own_home: Path) -> None:
    killed = user_of(own_home)
    killed.kill()
    killed.wait()
    url = embedded_url(own_home, "bars")
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    leave_embedded(own_home)
    assert not (own_home / "postgres" / "postmaster.pid").exists()


def test_the_server_stays_while_another_process_uses_it(own_home: Path) -> None:
    other = user_of(own_home)
    url = embedded_url(own_home, "bars")
    leave_embedded(own_home)
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    other.kill()
    other.wait()
    embedded_url(own_home, "bars")
    leave_embedded(own_home)
    assert not (own_home / "postgres" / "postmaster.pid").exists()
