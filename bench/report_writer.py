"""Writes results: a table in the terminal, and the benchmark's part of docs/benchmarks.md."""

import re
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.figures import Section

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"
HEADINGS = ("what", "median", "spread", "mark", "")


def print_section(console: Console, section: Section) -> None:
    """Print a section as a table."""
    table = Table(*HEADINGS, title=section.title, title_justify="left", box=None, pad_edge=False)
    for figure in section.figures:
        style = "red" if figure.misses_mark else "yellow" if figure.verdict == "missed" else None
        table.add_row(*figure.format_cells(), style=style)
    console.print(table)
    for note in section.notes:
        console.print(note, highlight=False, markup=False)
    console.print()


def write_section(name: str, section: Section, when: str, document: Path = DOCUMENT) -> None:
    """Replace the part of the document between the markers of ``name``; the text around it stays."""
    rows = [" | ".join(("", *figure.format_cells(), "")).strip() for figure in section.figures]
    lines = [f"### {section.title}", "", f"`python -m bench {name}`, {when}", ""]
    lines += [" | ".join(("", *HEADINGS, "")).strip(), "|---|--:|---|---|---|", *rows]
    lines += [line for note in section.notes for line in ("", note)]
    replace_part(document, name, "\n".join(lines))


def write_machine_section(text: str, document: Path = DOCUMENT) -> None:
    """Replace the description of the machine in the document."""
    replace_part(document, "machine", text)


def replace_part(document: Path, name: str, text: str) -> None:
    """Replace what lies between the markers of ``name`` in a document."""
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    whole = document.read_text("utf-8")
    part = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if not part.search(whole):
        raise ValueError(f"{document} has no markers for {name}: add {begin}{end} where its figures belong")
    document.write_text(part.sub(lambda _: f"{begin}\n{text}\n{end}", whole), "utf-8")
