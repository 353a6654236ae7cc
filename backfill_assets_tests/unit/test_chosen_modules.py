"""Tests with one marker are chosen without importing the modules that have none of them."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from backfill_assets_tests.conftest import pytest_ignore_collect

LONG = "import pytest\n\npytestmark = pytest.mark.long\n"
PLAIN = "# of a long day\n"


def is_ignored(folder: Path, source: str, expression: str) -> bool:
    module = folder / "test_any.py"
    module.write_text(source)
    config: Any = SimpleNamespace(option=SimpleNamespace(markexpr=expression))
    return bool(pytest_ignore_collect(module, config))


@pytest.mark.parametrize(
    ("source", "expression", "ignored"),
    [
        (LONG, "long", False),
        (LONG, "wheel", True),
        (PLAIN, "long", True),
        (PLAIN, "", False),
        (PLAIN, "not long", False),
        (PLAIN, "long or not long", False),
    ],
)
def test_a_module_is_imported_unless_the_only_marker_is_none_of_its_own(
    tmp_path: Path, source: str, expression: str, ignored: bool
) -> None:
    assert is_ignored(tmp_path, source, expression) is ignored


def test_no_module_takes_its_markers_from_another_one() -> None:
    """Then its text would not tell that it has them."""
    lines = [
        (path.name, line)
        for path in Path(__file__).parents[1].rglob("test_*.py")
        for line in path.read_text().splitlines()
        if line.startswith("pytestmark") and not line.endswith("[")
    ]
    assert len(lines) > 20
    assert [found for found in lines if "pytest.mark." not in found[1]] == []
