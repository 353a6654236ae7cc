"""Lines with names: how a person sees them in a terminal of 80 columns, and in a pipe."""

import io

from rich.console import Console

from backfill_assets.cli.named_lines import show_named_lines

LINES = [
    ("missing", "78 bars of 3 symbols" + " (2026-06-01)" * 5),
    ("ended or renamed", "GAB.US: [unknown]"),
    ("", "X"),
]


def show(width: int) -> list[str]:
    output = io.StringIO()
    show_named_lines(Console(file=output, width=width), LINES)
    return [line.rstrip() for line in output.getvalue().splitlines()]


def test_texts_stand_in_one_column_of_a_terminal() -> None:
    assert show(80) == [
        "missing          78 bars of 3 symbols (2026-06-01) (2026-06-01) (2026-06-01)",
        "                 (2026-06-01) (2026-06-01)",
        "ended or renamed GAB.US: [unknown]",
        "                 X",
    ]


def test_texts_are_whole_in_a_pipe() -> None:
    assert show(400)[0] == f"missing          {LINES[0][1]}"
