"""Run the command line: in the test's process for speed, or as a child process where that matters."""

import gc
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from backfill_assets.cli.main import main
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets_tests.acceptance.pooler import pooler_url as pooler_url
from backfill_assets_tests.conftest import NOW
from backfill_assets_tests.processes import start_process

TOKEN = "secret-token-0815"  # noqa: S105 - made up


@dataclass(frozen=True)
class CommandResult:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def error(self) -> str:
        """The single error line of a command that failed."""
        (line,) = self.err.splitlines()
        assert line.startswith("error: "), line
        assert self.out == ""
        return line.removeprefix("error: ")


@dataclass(frozen=True)
class User:
    """The environment of a user: a database and a vendor, at a fixed time."""

    environment: dict[str, str]
    monkeypatch: pytest.MonkeyPatch
    capfd: pytest.CaptureFixture[str]

    def run_cli(self, command: str | Sequence[str], **environment: str | None) -> CommandResult:
        """Run ``backfill-assets COMMAND`` in this process; pass a list if an argument contains a space."""
        arguments = command.split() if isinstance(command, str) else command
        with self.monkeypatch.context() as patch, _restore_process_state():
            for name, value in {**self.environment, **environment}.items():
                patch.delenv(name, raising=False) if value is None else patch.setenv(name, value)
            patch.setattr(sys, "argv", ["backfill-assets", *arguments])
            patch.setattr(sys.modules["__main__"], "__package__", None, raising=False)  # as when installed
            self.capfd.readouterr()
            with pytest.raises(SystemExit) as exit_info:
                main()
            out, err = self.capfd.readouterr()
        return CommandResult(int(exit_info.value.code or 0), out, err)

    def start_cli(self, command: str, **environment: str) -> "subprocess.Popen[str]":
        """Start ``backfill-assets COMMAND`` as a child process."""
        return start_process(
            ["-m", "backfill_assets", *command.split()],
            {**self.environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@contextmanager
def _restore_process_state() -> Iterator[None]:
    """Restore the signal handlers and garbage collector settings that the command line changes."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    thresholds = gc.get_threshold()
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        gc.set_threshold(*thresholds)
        gc.unfreeze()


@pytest.fixture
def make_user(
    database_url: str, home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., User]:
    """Make a user whose vendor is a sandbox, or an address that refuses connections."""

    def make(sandbox: Sandbox | None = None, now: datetime = NOW, **environment: str) -> User:
        defaults = {
            "DATABASE_URL": database_url,
            "BACKFILL_HOME": str(home),
            "EODHD_API_TOKEN": TOKEN,
            "EODHD_BASE_URL": sandbox.base_url if sandbox else "http://127.0.0.1:9/api",
            "BACKFILL_AS_OF": now.isoformat(),
        }
        if sandbox is None:
            defaults["BACKFILL_BACKOFF_SECONDS"] = "[0, 0]"  # nothing will answer the next attempt either
        return User({**defaults, **environment}, monkeypatch, capfd)

    return make
