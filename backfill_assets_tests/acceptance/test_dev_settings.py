"""``dev`` before Dagster starts: the vendor and database of its processes, and refused ports."""

import io
import json
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from backfill_assets.backfill.job_request import open_engine
from backfill_assets.cli.dev_server import provide_vendor
from backfill_assets.config.settings import build_child_environment, load_settings
from backfill_assets.store.symbols import list_symbols
from backfill_assets_tests.acceptance.conftest import User
from backfill_assets_tests.conftest import NOW

MakeUser = Callable[..., User]


@pytest.mark.parametrize("variable", ["EODHD_SOURCE_HOST", "eodhd_source_host"])
def test_dev_without_a_token_uses_the_sandbox_and_its_own_database(
    variable: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This holds although EODHD_SOURCE_HOST declares a proxy of the vendor."""
    monkeypatch.setenv(variable, "eodhd.com")
    monkeypatch.setenv("BACKFILL_LIVE", "true")  # child processes inherit other settings
    output = io.StringIO()
    with provide_vendor(load_settings(home=home, as_of=NOW), Console(file=output, width=200)) as settings:
        child = subprocess.run(
            [sys.executable, "-m", "backfill_assets", "status", "--format", "json"],
            env=build_child_environment(settings),
            capture_output=True,
            text=True,
            check=True,
        )
        status = json.loads(child.stdout)
    assert "Its bars are simulated" in output.getvalue()
    assert settings.base_url.startswith("http://127.0.0.1:")
    assert (status["vendor"], status["symbols"]["active"]) == ("127.0.0.1", 30)
    assert status["database"].startswith("database 'bars_sandbox' at ")


def test_the_sandbox_of_dev_has_the_enabled_exchanges(home: Path) -> None:
    chosen = load_settings(home=home, as_of=NOW, exchanges=("LSE",))
    with (
        provide_vendor(chosen, Console(file=io.StringIO())) as settings,
        open_engine(settings) as engine,
        engine.database.transaction() as connection,
    ):
        assert len(list_symbols(connection, "LSE")) == 30


def test_dev_refuses_a_port_in_use(make_user: MakeUser) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other_program:
        port = other_program.getsockname()[1]
        result = make_user().run_cli(f"dev --port {port}")
    assert result.code == 2
    assert result.error == f"port {port} cannot be used: Address already in use; choose another with --port"


def test_dev_refuses_an_invalid_cron_expression(make_user: MakeUser) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    result = make_user().run_cli(f"dev --port {port}", BACKFILL_CHECKS_CRON="99 * * * *")
    assert result.code == 2
    assert result.error == "BACKFILL_CHECKS_CRON is '99 * * * *': not a valid cron expression; example: */15 * * * *"
