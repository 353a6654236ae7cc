"""A group of commands whose help shows the whole first sentence about each command, on several lines if need be."""

import click

_NO_LIMIT = 10_000  # characters, more than any sentence has


class CommandGroup(click.Group):
    """A group that cuts off no description in its list of commands."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands, as click does, with the whole first sentence of each."""
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        rows = [(name, one.get_short_help_str(_NO_LIMIT)) for name, one in commands if one and not one.hidden]
        if rows:
            with formatter.section("Commands"):
                formatter.write_dl(rows)
