"""The units for systemd and the files of several hosts: accepted by the programs that read them."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from celery.bin.worker import worker

from backfill_assets_tests.deployment.deploy_files import (
    DEPLOY,
    SETTINGS,
    is_setting,
    read_variables,
    read_version,
    read_yaml,
)
from backfill_assets_tests.waiting import wait_until

FOLDER = DEPLOY / "hosts"
UNITS = sorted((FOLDER / "systemd").glob("*.service"))
COMMON = FOLDER / "systemd" / "backfill-.service.d" / "common.conf"
MAX_EXPOSURE = 2.5  # of 10; systemd calls up to 4.9 "OK", and what opens connections cannot be much lower
SETTINGS_FILE, CELERY_FILE = FOLDER / "etc" / "settings.env.example", FOLDER / "etc" / "celery.env.example"


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The units as they are installed, with the programs of this environment."""
    folder = tmp_path / "units"
    shutil.copytree(FOLDER / "systemd", folder)
    for unit in folder.glob("*.service"):
        unit.write_text(unit.read_text("utf-8").replace("/opt/backfill/bin", str(Path(sys.executable).parent)))
    return folder


def run_analyze(*arguments: str) -> "subprocess.CompletedProcess[str]":
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed")
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=False)


def test_systemd_accepts_the_units(installed: Path) -> None:
    """Every option and value, and that the programs exist."""
    result = run_analyze("verify", "--man=no", "--recursive-errors=no", *map(str, sorted(installed.glob("*.service"))))
    assert (result.returncode, result.stderr) == (0, "")


def test_units_are_confined(installed: Path) -> None:
    for unit in sorted(installed.glob("*.service")):
        result = run_analyze(
            "security", "--offline=true", f"--threshold={MAX_EXPOSURE * 10:.0f}", "--no-pager", str(unit)
        )
        assert result.returncode == 0, f"{unit.name}: {result.stdout.splitlines()[-1:]} {result.stderr}"


def test_variables_of_commands_are_in_the_example() -> None:
    named = {name for unit in UNITS for name in re.findall(r"\$\{(\w+)\}", unit.read_text("utf-8"))}
    variables = read_variables(SETTINGS_FILE)
    assert named <= variables.keys()
    assert variables["CODE_VERSION"] == read_version()


def test_settings_exist() -> None:
    texts = [path.read_text("utf-8") for path in (*UNITS, COMMON)]
    named = {
        name
        for text in texts
        for line in re.findall(r"^Environment=(.*)$", text, re.M)
        for name in re.findall(r"(\w+)=", line)
    }
    named |= read_variables(SETTINGS_FILE).keys()
    assert {name for name in named if is_setting(name)} <= SETTINGS


def test_secrets_are_credentials() -> None:
    """Each setting that names a credential has it loaded; only those that ask the vendor have the token."""
    holders = set()
    for unit in UNITS:
        text = unit.read_text("utf-8") + COMMON.read_text("utf-8")
        assert set(re.findall(r"=%d/(\w+)", text)) == set(re.findall(r"^LoadCredential=(\w+):", text, re.M))
        holders |= {unit.stem} if "eodhd_api_token" in text else set()
    assert holders == {"backfill-code", "backfill-worker"}


def test_instance_and_queue_have_one_address() -> None:
    instance = (FOLDER / "etc" / "dagster.yaml").read_text("utf-8")
    assert set(re.findall(r"\{env: (\w+)\}", instance)) == read_variables(CELERY_FILE).keys()


def test_systemd_accepts_the_addresses_of_alerts(installed: Path) -> None:
    folder = installed / "backfill-code.service.d"
    folder.mkdir()
    shutil.copy(installed / "alerts.conf", folder)
    text = (folder / "alerts.conf").read_text("utf-8")
    assert set(re.findall(r"=%d/(\w+)", text)) == set(re.findall(r"^LoadCredential=(\w+):", text, re.M))
    assert set(re.findall(r"^Environment=(\w+)=", text, re.M)) <= SETTINGS
    result = run_analyze("verify", "--man=no", "--recursive-errors=no", str(installed / "backfill-code.service"))
    assert (result.returncode, result.stderr) == (0, "")


def test_commands_have_the_settings_and_secrets_of_the_host(tmp_path: Path) -> None:
    """Also with every setting of the example uncommented, of which some are JSON."""
    (tmp_path / "credentials").mkdir()
    for name, secret in {"database_url": "postgresql://writer@database.example/bars", "eodhd_api_token": "t"}.items():
        (tmp_path / "credentials" / name).write_text(f"{secret}\n")
    example = SETTINGS_FILE.read_text("utf-8")
    (tmp_path / "settings.env").write_text(re.sub(r"^#(?=[A-Z_]+=)", "", example, flags=re.M))
    result = subprocess.run(
        ["/bin/sh", str(FOLDER / "backfill-command"), "settings", "--format", "json"],
        env={"BACKFILL_ETC": str(tmp_path), "BACKFILL_BIN": str(Path(sys.executable).parent), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    shown = {setting["variable"]: setting["value"] for setting in json.loads(result.stdout)}
    assert (shown["DATABASE_URL"], shown["EODHD_API_TOKEN"]) == ("***", "***")
    assert "US" in shown["BACKFILL_EXCHANGES"]


def test_one_worker_can_take_all_runs_and_a_check() -> None:
    """A run that waits for a worker for three minutes is failed, so none may wait when other workers are lost."""
    limit = read_yaml(FOLDER / "etc" / "dagster.yaml")["concurrency"]["pools"]["default_limit"]
    assert int(read_variables(SETTINGS_FILE)["WORKER_RUNS"]) > limit


def test_a_busy_worker_reserves_no_run() -> None:
    """Celery knows the option, which its prefetch multiplier does not replace: a run at work is acknowledged."""
    command = (FOLDER / "systemd" / "backfill-worker.service").read_text("utf-8")
    options = set(re.findall(r"(--[a-z-]+)", command.partition("celery --app")[2]))
    assert "--disable-prefetch" in options
    assert options <= {name for parameter in worker.params for name in parameter.opts}


def test_redis_accepts_its_configuration(tmp_path: Path) -> None:
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("redis-server is not installed")
    options = ["--port", "0", "--unixsocket", str(tmp_path / "socket"), "--dir", str(tmp_path)]
    server = subprocess.Popen(
        [program, str(FOLDER / "etc" / "redis.conf"), *options], stdout=subprocess.PIPE, text=True
    )
    try:
        wait_until(lambda: (tmp_path / "socket").exists() or server.poll() is not None, "Redis to listen")
        assert server.poll() is None, server.communicate()[0]
    finally:
        server.terminate()
        server.communicate()
