"""What the documents tell people to type can be typed."""

import re
import shlex
from pathlib import Path

import click
import pytest

from backfill_assets.cli.main import cli

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TYPED = re.compile(
    r"(?:\$ |^ {4}\.venv/bin/|`)(?:[A-Z_]+=\S+ )*(?:\.venv/bin/)?backfill-assets ([^`#|\n]+)", re.MULTILINE
)
COMMANDS = sorted({found.strip() for page in PAGES for found in TYPED.findall(page.read_text("utf-8"))})


def test_commands_are_found() -> None:
    assert len(COMMANDS) > 15


@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_to_be_typed_can_be_typed(command: str) -> None:
    words = [word for word in shlex.split(command) if word != "…"]
    current: click.Command = cli
    while isinstance(current, click.Group):
        name = words.pop(0)
        assert name in current.commands
        current = current.commands[name]
    current.make_context(current.name, words).close()
