"""Version 0.8.0 and this one at work side by side on one database: every bar once, one budget, and nobody refuses."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets_tests.acceptance.conftest import User
from backfill_assets_tests.acceptance.older_version import NO_HISTORY, RUN_COMMANDS, VERSION_0_8_0, unpack_version
from backfill_assets_tests.conftest import StartSandbox
from backfill_assets_tests.integration.test_backfill_engine import list_sandbox_symbols
from backfill_assets_tests.integration.test_store_migrate import NEWEST_RECORDED, fetch
from backfill_assets_tests.processes import start_process
from backfill_assets_tests.waiting import LONGEST_SECONDS, wait_until

pytestmark = pytest.mark.long
SYMBOLS = 10
RUN = "run --quiet --hours-back 96"
CALLS = "SELECT sum(calls) FROM backfill.ledger_by_purpose"
DUPLICATES = "SELECT symbol_id, timestamp FROM market_data GROUP BY 1, 2 HAVING count(*) > 1"


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """The folder of the code of version 0.8.0."""
    folder = unpack_version(VERSION_0_8_0, tmp_path / "older")
    if folder is None:
        pytest.skip(f"{NO_HISTORY} {VERSION_0_8_0}, so version 0.8.0 cannot be run")
    return folder


def start_older(user: User, folder: Path, *commands: str) -> "subprocess.Popen[str]":
    """Start a process of the older version that carries out commands one after the other, and waits for more."""
    options: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    environment = {**user.environment, "PYTHONPATH": str(folder)}
    process = start_process(["-c", RUN_COMMANDS], environment, **options, text=True, cwd=folder)
    print(*commands, sep="\n", file=process.stdin, flush=True)
    return process


def finish(process: "subprocess.Popen[str]", *commands: str) -> str:
    """Let a process carry out more commands and end; all must succeed. Returns its output."""
    out, err = process.communicate("".join(f"{command}\n" for command in commands), timeout=LONGEST_SECONDS)
    assert process.returncode == 0, (out, err)
    return out


def test_two_versions_share_the_work_of_a_store(
    make_user: Callable[..., User], start_sandbox: StartSandbox, create_database: Callable[..., str], older: Path
) -> None:
    """0.8.0 makes the database and works; this version migrates it meanwhile; both go on, and 0.8.0 is started anew.

    The vendor answers slowly enough that 0.8.0 is at work for as long as the migration takes.
    """
    url = create_database(None)
    sandbox: Sandbox = start_sandbox(symbols=SYMBOLS, latency_ms=(800, 800), per_minute=100_000)
    user = make_user(sandbox, DATABASE_URL=url, BACKFILL_IN_FLIGHT_START="1", BACKFILL_IN_FLIGHT_MAX="1")
    assert user.run_cli("migrate --dry-run").code == 0  # this version's modules are loaded
    add = f"symbols add {' '.join(list_sandbox_symbols(SYMBOLS))}"
    works = start_older(user, older, add, f"{RUN} --batch-size 1")
    wait_until(lambda: sandbox.stats()["per_ticker"], "0.8.0 to request bars")
    assert fetch(url, "SELECT to_regclass('backfill.additive_migrations')") == [(None,)]
    migrated = user.run_cli("migrate")
    assert migrated.code == 0, migrated
    assert len(sandbox.stats()["per_ticker"]) < SYMBOLS, "0.8.0 was to be at work during the migration"
    starts = start_older(user, older, RUN)
    joined = user.run_cli(RUN)
    assert joined.code in {0, 3}, joined  # 3: it leaves to 0.8.0 what 0.8.0 requests
    finish(works)
    assert user.run_cli(RUN).code == 0
    told = finish(starts, RUN, "verify-certificate", "status")
    assert set(sandbox.stats()["per_ticker"].values()) == {1}
    assert len(sandbox.stats()["per_ticker"]) == SYMBOLS
    assert fetch(url, CALLS) == [(sandbox.stats()["calls"],)]
    assert fetch(url, DUPLICATES) == []
    newest, certificates = fetch(url, NEWEST_RECORDED), fetch(url, "SELECT count(*) FROM backfill.certificates")
    assert certificates > [(0,)]
    verified = user.run_cli("verify-certificate")
    holds = f"{certificates[0][0]} certificates hold, 0 do not\n"
    assert holds in told
    assert verified.out.endswith(holds)
    assert fetch(url, NEWEST_RECORDED) == newest


def test_version_0_8_0_works_on_a_partitioned_table(
    make_user: Callable[..., User], start_sandbox: StartSandbox, database_url: str, older: Path
) -> None:
    """This version makes the database; 0.8.0 fills, checks and reads it; a forced run of 0.8.0 changes nothing."""
    user = make_user(start_sandbox(symbols=2), DATABASE_URL=database_url)
    add = f"symbols add {' '.join(list_sandbox_symbols(2))}"
    told = finish(start_older(user, older, add, RUN, f"{RUN} --force", "verify", "audit --write", "status"))
    assert "2 active" in told
    assert fetch(database_url, "SELECT DISTINCT tableoid::regclass::text FROM market_data") == [("market_data_2026",)]
    assert fetch(database_url, "SELECT count(*) FROM backfill.bar_versions") == [(0,)]
    assert fetch(database_url, DUPLICATES) == []
    assert user.run_cli("verify --hours-back 96").code == 0
