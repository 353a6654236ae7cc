"""``make`` refuses a folder in which nothing can be installed, before it installs anything."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def make(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = ["make", "-f", str(CHECKOUT / "Makefile"), f"PYTHON={sys.executable}", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("100%", "contains a percent sign"),
        ("a:b", "contains a colon"),
        ("a\nb", r"contains a line break (\n)"),
        ("a\rb", r"contains a carriage return (\r)"),
    ],
)
def test_the_character_is_named(tmp_path: Path, name: str, problem: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    done = make(folder, ".venv/bin/python")
    assert (done.returncode, problem in done.stderr) == (2, True), done
    assert "use a folder without it" in done.stderr
    assert not any(folder.iterdir())


def test_a_space_in_the_path_of_the_environment_is_refused(tmp_path: Path) -> None:
    done = make(tmp_path, "run", "VENV=a b")
    assert (done.returncode, 'VENV is "a b"' in done.stderr) == (2, True), done


def test_recipes_name_no_absolute_path_and_start_modules() -> None:
    """The paths that a recipe names are relative, so that any folder works."""
    recipes = (CHECKOUT / "Makefile").read_text()
    assert "CURDIR" not in recipes
    assert {
        line.split("$(BIN)/")[1].split()[0]
        for line in recipes.splitlines()
        if line.startswith("\t") and "$(BIN)/" in line
    } <= {"python"}
