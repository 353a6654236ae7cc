"""``dev`` before Dagster starts: the vendor and database of its processes, and what it refuses."""

import io
import json
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from backfill_assets.cli.dev_server import provide_vendor
from backfill_assets.config.settings import build_child_environment, load_settings
from backfill_assets_tests.acceptance.conftest import User
from backfill_assets_tests.conftest import NOW

UserOf = Callable[..., User]


@pytest.mark.parametrize("variable", ["EODHD_SOURCE_HOST", "eodhd_source_host"])
def test_dev_without_a_token_uses_the_sandbox_and_its_own_database(
    variable: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if the environment declares a proxy of the vendor."""
    monkeypatch.setenv(variable, "eodhd.com")
    monkeypatch.setenv("BACKFILL_LIVE", "true")  # anything that is set reaches them
    told = io.StringIO()
    with provide_vendor(load_settings(home=home, as_of=NOW), Console(file=told, width=200)) as chosen:
        child = subprocess.run(
            [sys.executable, "-m", "backfill_assets", "status", "--format", "json"],
            env=build_child_environment(chosen),
            capture_output=True,
            text=True,
            check=True,
        )
        seen = json.loads(child.stdout)
    assert "Its bars are simulated" in told.getvalue()
    assert chosen.base_url.startswith("http://127.0.0.1:")
    assert (seen["vendor"], seen["symbols"]["active"]) == ("127.0.0.1", 30)
    assert seen["database"].startswith("database 'bars_sandbox' at ")


def test_dev_refuses_a_port_in_use_before_it_starts_anything(user_of: UserOf) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other_program:
        port = other_program.getsockname()[1]
        said = user_of().types(f"dev --port {port}")
    assert said.code == 2
    assert said.error == f"port {port} cannot be used: Address already in use; choose another with --port"


def test_dev_refuses_an_invalid_cron_line_before_it_starts_anything(user_of: UserOf) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free_later:
        port = free_later.getsockname()[1]
    result = user_of().types(f"dev --port {port}", BACKFILL_CHECKS_CRON="99 * * * *")
    assert result.code == 2
    assert result.error == ("BACKFILL_CHECKS_CRON is '99 * * * *': not a valid cron expression; example: */15 * * * *")
