"""The list of commands in a group's help: no description is cut off."""

import click
import pytest
from click.testing import CliRunner

from backfill_assets.cli.main import cli

GROUPS = [cli, *(command for command in cli.commands.values() if isinstance(command, click.Group))]


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: str(group.name))
@pytest.mark.parametrize("columns", [60, 80, 120])
def test_no_description_is_cut_off(group: click.Group, columns: int) -> None:
    shown = CliRunner().invoke(group, ["--help"], terminal_width=columns).output.partition("Commands:")[2]
    assert "..." not in shown
    assert all(f"\n  {name} " in shown for name in group.commands)
