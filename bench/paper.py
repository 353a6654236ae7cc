"""Where figures go: a table in the terminal, and each bench's own part of docs/benchmarks.md."""

import re
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.figures import Section

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"
HEADINGS = ("what", "median", "spread", "mark", "")


def show(console: Console, section: Section) -> None:
    """Print a section."""
    table = Table(*HEADINGS, title=section.title, title_justify="left", box=None, pad_edge=False)
    for figure in section.figures:
        style = "red" if figure.has_fallen else "yellow" if figure.verdict == "missed" else None
        table.add_row(*figure.cells(), style=style)
    console.print(table)
    for note in section.notes:
        console.print(note, highlight=False, markup=False)
    console.print()


def write(name: str, section: Section, when: str, document: Path = DOCUMENT) -> None:
    """Replace the part of the document that belongs to bench ``name``; what people wrote around it stays."""
    rows = [" | ".join(("", *figure.cells(), "")).strip() for figure in section.figures]
    lines = [f"### {section.title}", "", f"`python -m bench {name}`, {when}", ""]
    lines += [" | ".join(("", *HEADINGS, "")).strip(), "|---|--:|---|---|---|", *rows]
    lines += [line for note in section.notes for line in ("", note)]
    _replace(document, name, "\n".join(lines))


def write_machine(text: str, document: Path = DOCUMENT) -> None:
    """Replace what the document says of the machine."""
    _replace(document, "machine", text)


def _replace(document: Path, name: str, text: str) -> None:
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    whole = document.read_text("utf-8")
    part = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if not part.search(whole):
        raise ValueError(f"{document} has no place for {name}: write {begin}{end} where its figures belong")
    document.write_text(part.sub(lambda _: f"{begin}\n{text}\n{end}", whole), "utf-8")
