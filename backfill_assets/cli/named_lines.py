"""Prints lines of a name and a text each, in two columns. What they say is in ``rendering``."""

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

MIN_TEXT_WIDTH = 20


def show_named_lines(console: Console, lines: Sequence[tuple[str, str]]) -> None:
    """Print lines of name and text; a text that is wider than the terminal goes on below itself."""
    name_width = max(len(name) for name, _ in lines)
    for name, text in lines:
        first, *others = Text(text).wrap(console, max(MIN_TEXT_WIDTH, console.width - name_width - 1)) or [Text()]
        console.print(Text.assemble((f"{name:<{name_width}}", "bold"), " ", first))
        for other in others:
            console.print(Text.assemble(" " * (name_width + 1), other))
