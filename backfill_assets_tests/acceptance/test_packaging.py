"""The wheel without the checkout, in one environment with what it requires: commands, dev, and projects of others."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest

from backfill_assets_tests.acceptance.dagster_dev import DagsterDev, find_free_port, wait_for

pytestmark = pytest.mark.wheel
CHECKOUT = Path(__file__).parents[2]
SOURCES = ("backfill_assets", "pyproject.toml", "setup.py", "README.md", "LICENSE")
COMPONENT = "backfill_assets.components.BackfillComponent"
DEFS = f"""
type: {COMPONENT}
attributes:
  exchanges: [US]
  intervals: [30m, 1h]
  universe: all
  settings:
    BACKFILL_OWNERS: ["team:market-data"]
"""
NO_TELEMETRY = "telemetry:\n  enabled: false\n"
WITHOUT_CACHES = shutil.ignore_patterns("__pycache__", ".*cache", ".backfill", "*.egg-info")


def run(command: list[Any], folder: Path, **variables: str) -> str:
    """Execute a command that succeeds, with few variables; returns what it prints."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    environment = {**kept, "DAGSTER_DG_UPDATE_CHECK_ENABLED": "0", "COLUMNS": "200", **variables}
    done = subprocess.run([*map(str, command)], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def workshop() -> Iterator[Path]:
    """A folder for environments and servers: not pytest's own, which another pytest session may remove."""
    with tempfile.TemporaryDirectory(prefix="backfill-wheel-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.fixture
def empty_folder(workshop: Path) -> Path:
    return Path(tempfile.mkdtemp(dir=workshop))


@pytest.fixture(scope="module")
def wheel(workshop: Path) -> Path:
    """The wheel of a copy of the sources, since a build leaves files among them."""
    folder = workshop / "sources"
    folder.mkdir()
    for name in SOURCES:
        source = CHECKOUT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=WITHOUT_CACHES)
        else:
            shutil.copy(source, folder)
    run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder / "dist", "."], folder)
    (built,) = (folder / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel: Path, workshop: Path) -> Path:
    """The interpreter of an environment with the wheel, what it requires, and the tools of a project."""
    environment = workshop / "venv"
    run([sys.executable, "-m", "venv", environment], workshop)
    python = environment / "bin" / "python"
    quietly = ["install", "--quiet", "--disable-pip-version-check", "--no-compile"]
    tools = ("dagster-dg-cli", "create-dagster", "pytest")
    run([python, "-m", "pip", *quietly, "-c", CHECKOUT / "constraints.txt", wheel, *tools], workshop)
    return python


@pytest.fixture
def dagster_home(tmp_path: Path) -> str:
    folder = tmp_path / "dagster-home"
    folder.mkdir()
    (folder / "dagster.yaml").write_text(NO_TELEMETRY)
    return str(folder)


def test_the_wheel_has_the_package_with_its_data_and_nothing_else(wheel: Path) -> None:
    version = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["version"]
    assert wheel.name == f"backfill_assets-{version}-py3-none-any.whl"
    sources = CHECKOUT / "backfill_assets"
    files = {path.relative_to(CHECKOUT).as_posix() for path in sources.rglob("*") if path.is_file()}
    expected = {file for file in files if "__pycache__" not in file}
    with ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
        (entry_points,) = (name for name in archive.namelist() if name.endswith("entry_points.txt"))
        registered = archive.read(entry_points).decode()
    assert packed == expected
    assert {"backfill_assets/py.typed", "backfill_assets/orchestration/workspace.yaml"} <= packed
    assert "[dagster_dg_cli.registry_modules]\nbackfill_assets = backfill_assets.components" in registered


def test_demo_runs_in_an_empty_folder(python: Path, empty_folder: Path) -> None:
    printed = run([python.with_name("backfill-assets"), "demo"], empty_folder)
    assert "pass  no_missing_bars: 0 bars are missing" in printed
    assert [path.name for path in empty_folder.iterdir()] == [".backfill"]


@pytest.fixture
def dev(python: Path, workshop: Path, empty_folder: Path) -> Iterator[DagsterDev]:
    """``backfill-assets dev`` in an empty folder, without any setting."""
    port, log = find_free_port(), workshop / "log"
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    with log.open("w") as output:
        command = [python.with_name("backfill-assets"), "dev", "--port", str(port)]
        child = subprocess.Popen(command, cwd=empty_folder, env=kept, stdout=output, stderr=subprocess.STDOUT)
        try:
            started = DagsterDev(f"http://127.0.0.1:{port}", log)
            wait_for(lambda: started.is_ready() or child.poll() is not None, f"the UI to respond, see {log}")
            assert child.poll() is None, log.read_text()[-3000:]
            yield started
        finally:
            child.send_signal(signal.SIGINT)
            child.wait()


def test_dev_runs_in_an_empty_folder_and_calls_the_location_by_its_name(dev: DagsterDev) -> None:
    query = "{ workspaceOrError { ... on Workspace { locationEntries { name } } } }"
    assert dev.send_query(query)["workspaceOrError"]["locationEntries"] == [{"name": "backfill_assets"}]
    wait_for(lambda: dev.count_symbols("bars_30m") == 30, "the sandbox's symbols to be partitions")
    query = """{ assetNodeOrError(assetKey: {path: ["bars_30m"]}) { ... on AssetNode { metadataEntries { label
        ... on TextMetadataEntry { text } ... on TableSchemaMetadataEntry { schema { columns { name } } } } } } }"""
    entries = {entry["label"]: entry for entry in dev.send_query(query)["assetNodeOrError"]["metadataEntries"]}
    assert entries["dagster/table_name"]["text"] == "bars_sandbox.public.market_data"
    assert len(entries["dagster/column_schema"]["schema"]["columns"]) == 14
    assert "dagster/code_references" in entries


def test_a_project_of_create_dagster_has_the_pipeline_by_one_file(
    python: Path, tmp_path: Path, dagster_home: str, database_url: str
) -> None:
    create = "from create_dagster.cli import main; main()"
    run([python, "-c", create, "project", "mine", "--no-uv-sync"], tmp_path, DAGSTER_HOME=dagster_home)
    project = tmp_path / "mine"
    folder = project / "src" / "mine" / "defs" / "bars"
    folder.mkdir()
    (folder / "defs.yaml").write_text(DEFS)
    variables = {"DATABASE_URL": database_url, "DAGSTER_HOME": dagster_home, "PYTHONPATH": "src"}
    dg = [python, "-m", "dagster_dg_cli.cli"]
    checked = run([*dg, "check", "defs"], project, **variables)
    assert "All component YAML validated successfully." in checked
    assert "All definitions loaded successfully." in checked
    assert "Warning" not in checked
    listed = json.loads(run([*dg, "list", "defs", "--json"], project, **variables))
    found = {asset["asset_key"]: asset for asset in listed["assets"]}
    assert {"bars_30m", "bars_1h", "complete_sessions/US/all", "adjusted_bars"} <= set(found)
    assert {asset["source"] for asset in found.values()} == {"src/mine/defs/bars/defs.yaml:2"}
    assert {json.dumps(asset["owners"]) for asset in found.values()} == {'[{"team": "market-data"}]'}
    components = json.loads(run([*dg, "list", "components", "--json"], project, **variables))["items"]
    (described,) = (component for component in components if component["key"] == COMPONENT)
    assert described["summary"].startswith("Keeps intraday bars in Postgres complete")


def test_the_example_passes_its_own_tests_with_the_wheel(python: Path, workshop: Path, dagster_home: str) -> None:
    project = workshop / "downstream"
    shutil.copytree(CHECKOUT / "examples" / "downstream", project, ignore=WITHOUT_CACHES)
    assert re.search(r"\d passed", run([python, "-m", "pytest", "-q", "-p", "no:cacheprovider"], project))
    checked = run([python, "-m", "dagster_dg_cli.cli", "check", "defs"], project, DAGSTER_HOME=dagster_home)
    assert "All definitions loaded successfully." in checked


def test_dg_checks_and_lists_the_definitions_of_the_checkout(dagster_home: str, database_url: str) -> None:
    variables = {"DATABASE_URL": database_url, "DAGSTER_HOME": dagster_home}
    dg = [sys.executable, "-m", "dagster_dg_cli.cli"]
    checked = run([*dg, "check", "defs"], CHECKOUT, **variables)
    assert "All definitions loaded successfully." in checked
    assert re.findall("BetaWarning|PreviewWarning|DeprecationWarning", checked) == []
    assert "complete_sessions/US/all" in run([*dg, "list", "defs", "--json"], CHECKOUT, **variables)
