"""Internals of Dagster are imported in one folder only, and each module documents their source."""

import ast
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import yaml

import backfill_assets
from backfill_assets.orchestration import storage, workers
from backfill_assets.orchestration.dagster_internals.run_launcher import WatchfulRunLauncher
from backfill_assets.orchestration.dagster_internals.storage import BackfillStorage

PACKAGE = Path(backfill_assets.__file__).parent
INTERNALS = PACKAGE / "orchestration" / "dagster_internals"
MODULES = sorted(path for path in INTERNALS.glob("*.py") if path.name != "__init__.py")


def list_imported_modules(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def uses_internals(path: Path) -> bool:
    return any(name.startswith("dagster._") for name in list_imported_modules(path))


def test_no_other_module_imports_internals_of_dagster() -> None:
    importing_modules = {path for path in PACKAGE.rglob("*.py") if uses_internals(path)}
    assert importing_modules
    assert importing_modules <= set(MODULES)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_each_module_documents_its_internals_and_an_upstream_issue(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text())) or ""
    assert "Relies on" in docstring
    assert "Upstream:" in docstring
    assert "https://github.com/dagster-io/dagster/" in docstring or "no issue found" in docstring


def test_old_module_paths_name_the_same_classes() -> None:
    assert storage.BackfillStorage is BackfillStorage
    assert workers.WatchfulRunLauncher is WatchfulRunLauncher


@pytest.mark.parametrize(
    ("old_storage", "old_launcher"), [(True, False), (False, True), (True, True)], ids=["storage", "launcher", "both"]
)
def test_dagster_yaml_with_old_module_paths_loads(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch, old_storage: bool, old_launcher: bool
) -> None:
    config = yaml.safe_load((PACKAGE / "orchestration" / "dagster.yaml").read_text())
    if old_storage:
        config["storage"]["custom"]["module"] = "backfill_assets.orchestration.storage"
    if old_launcher:
        config["run_launcher"]["module"] = "backfill_assets.orchestration.workers"
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(config))
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", database_url)
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        assert type(instance.run_launcher) is WatchfulRunLauncher
        assert instance.event_log_storage.get_maximum_record_id() is None
