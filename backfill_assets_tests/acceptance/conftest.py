"""The command line as people run it: in this process for speed, as a process of its own where that matters."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from backfill_assets.cli.main import main
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets_tests.conftest import NOW

TOKEN = "secret-token-0815"  # noqa: S105 - made up


@dataclass(frozen=True)
class Said:
    """What a command printed and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def error(self) -> str:
        """The one line that a command ends with when it refuses."""
        (line,) = self.err.splitlines()
        assert line.startswith("error: "), line
        assert self.out == ""
        return line.removeprefix("error: ")


@dataclass(frozen=True)
class User:
    """Somebody with a database and a vendor, at a fixed moment."""

    environment: dict[str, str]
    monkeypatch: pytest.MonkeyPatch
    capfd: pytest.CaptureFixture[str]

    def types(self, command: str | Sequence[str], **environment: str | None) -> Said:
        """Run ``backfill-assets COMMAND`` in this process; a sequence where a word holds a space."""
        words = command.split() if isinstance(command, str) else command
        with self.monkeypatch.context() as patch:
            for name, value in {**self.environment, **environment}.items():
                patch.delenv(name, raising=False) if value is None else patch.setenv(name, value)
            patch.setattr(sys, "argv", ["backfill-assets", *words])
            self.capfd.readouterr()
            with pytest.raises(SystemExit) as ended:
                main()
            out, err = self.capfd.readouterr()
        return Said(int(ended.value.code or 0), out, err)

    def starts(self, command: str, **environment: str) -> "subprocess.Popen[str]":
        """Start ``backfill-assets COMMAND`` as a process of its own."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
        return subprocess.Popen(
            [sys.executable, "-m", "backfill_assets", *command.split()],
            env={**kept, **self.environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture
def user_of(
    database_url: str, home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., User]:
    """A user of a sandbox (or of nothing that answers)."""

    def make(sandbox: Sandbox | None = None, now: datetime = NOW, **environment: str) -> User:
        chosen = {
            "DATABASE_URL": database_url,
            "BACKFILL_HOME": str(home),
            "EODHD_API_TOKEN": TOKEN,
            "EODHD_BASE_URL": sandbox.base_url if sandbox else "http://127.0.0.1:9/api",
            "BACKFILL_AS_OF": now.isoformat(),
        }
        return User({**chosen, **environment}, monkeypatch, capfd)

    return make
