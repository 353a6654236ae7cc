"""Documented commands are accepted; modules, files and sections that documents and comments refer to exist."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from backfill_assets.cli.main import cli
from backfill_assets_tests.unit import document_pointers as pointers
from backfill_assets_tests.unit.document_passages import ROOT, Passage, read_passages

PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
TYPED = re.compile(
    r"(?:\$ |^ {4}\.venv/bin/|`)(?:[A-Z_]+=\S+ )*(?:\.venv/bin/)?backfill-assets ([^`#|\n]+)", re.MULTILINE
)
BENCH = re.compile(r"python -m bench(?:\.(\w+)| (\w+))")
MAKE = re.compile(r"(?:^ {4}|`)make ([a-z][\w-]*)", re.MULTILINE)
COMMANDS = sorted({found.strip() for page in PAGES for found in TYPED.findall(page.read_text("utf-8"))})


def test_readme_is_short() -> None:
    """Fewer than 1,200 words, code blocks and tables included."""
    assert len((ROOT / "README.md").read_text("utf-8").split()) < 1200


def test_documents_contain_commands() -> None:
    assert len(COMMANDS) > 15


@pytest.mark.parametrize("command", COMMANDS)
def test_documented_command_is_accepted(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKFILL_EXCHANGES", '["US", "LSE", "AU", "CC", "FOREX", "TSE"]')  # as docs/markets.md sets it
    words = [word for word in shlex.split(command) if word != "…"]
    current: click.Command = cli
    while isinstance(current, click.Group):
        name = words.pop(0)
        assert name in current.commands
        current = current.commands[name]
    current.make_context(current.name, words).close()


def test_documented_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    assert {name for page in PAGES for name in MAKE.findall(page.read_text("utf-8"))} - targets == set()


def test_documented_benchmarks_exist() -> None:
    named = {found[1] or found[2] for page in PAGES for found in BENCH.finditer(page.read_text("utf-8"))}
    modules = {path.stem for path in (ROOT / "bench").iterdir()}
    assert named - modules == {"quick"}


@pytest.mark.no_cover
@pytest.mark.parametrize(
    "find",
    [
        pointers.find_missing_modules,
        pointers.find_missing_files,
        pointers.find_missing_sections,
        pointers.find_broken_links,
        pointers.find_outside_pointers,
        pointers.find_unknown_names,
    ],
)
def test_all_references_exist(find: Callable[[Passage], list[str]]) -> None:
    faults = [fault for passage in read_passages() for fault in find(passage)]
    assert not faults, "\n".join(["", *faults])


def test_decision_numbers_are_unique_and_without_a_hole() -> None:
    numbers = sorted(int(path.name[:4]) for path in (ROOT / "docs" / "decisions").glob("*.md"))
    assert numbers == list(range(1, len(numbers) + 1))


def test_design_lists_every_decision() -> None:
    design = (ROOT / "docs" / "design.md").read_text("utf-8")
    assert [path.name for path in (ROOT / "docs" / "decisions").glob("*.md") if path.name not in design] == []


VALID = [
    "Reading is in ``store.coverage``, see ``market.calendar.slots.SlotGrid``.",
    "This is documented (docs/vendor.md §2.3, §6.7 and §7.1).",
    'See docs/glossary.md, "state of a\nslot", and docs/decisions/0008.',
    "``backfill.evidence`` is a table and ``numpy.ndarray`` is of a library.",
    "Written in docs/vendor.md and README.md, read from /proc/PID/environ and /eod/AAPL.US.",
]
INVALID = [
    (pointers.find_missing_modules, "x\nReading is in ``store.nowhere``.", "2: no module or name store.nowhere"),
    (pointers.find_missing_modules, "``backfill_assets.errors.Nothing``", "1: no module or name"),
    (pointers.find_missing_files, "see docs/nothing.md", "1: no file docs/nothing.md"),
    (pointers.find_missing_files, "see ``eodhd/nothing.py``", "1: no file eodhd/nothing.py"),
    (pointers.find_missing_sections, "(docs/vendor.md\n§2.99)", "2: docs/vendor.md has no §2.99"),
    (pointers.find_missing_sections, 'docs/design.md, "Nothing"', "1: docs/design.md has no heading 'nothing'"),
    (pointers.find_missing_sections, "docs/decisions/0999", "1: no decision 999"),
    (pointers.find_outside_pointers, "see notes.md", "1: leads outside the repository: notes.md"),
    (pointers.find_outside_pointers, "see docs/notes.md", "1: leads outside the repository: docs/notes.md"),
    (pointers.find_outside_pointers, "by decision 7", "1: leads outside the repository: decision 7"),
    (pointers.find_outside_pointers, "x\nin /folder/notes", "2: leads outside the repository: /folder/notes"),
    (pointers.find_outside_pointers, "a fact [Q7]", "1: leads outside the repository: [Q7]"),
    (pointers.find_unknown_names, "``no_such" + "_name``", "1: no such name: no_such_" + "name"),
]


@pytest.mark.parametrize("text", VALID)
def test_existing_references_are_accepted(text: str) -> None:
    passage = Passage(ROOT / "backfill_assets" / "errors.py", 1, text)
    for find in (pointers.find_missing_modules, pointers.find_missing_files, pointers.find_missing_sections):
        assert find(passage) == []
    assert pointers.find_outside_pointers(passage) == []


@pytest.mark.parametrize(("find", "text", "fault"), INVALID)
def test_broken_references_are_found(find: Callable[[Passage], list[str]], text: str, fault: str) -> None:
    (found,) = find(Passage(ROOT / "backfill_assets" / "errors.py", 1, text))
    assert found.startswith(f"backfill_assets/errors.py:{fault}")


@pytest.mark.parametrize("target", ["nothing.md", "design.md#nothing", "../../outside.md"])
def test_broken_links_are_found(target: str) -> None:
    page = Passage(ROOT / "docs" / "live.md", 1, f"[words](design.md#decisions), [words]({target})")
    assert pointers.find_broken_links(page) == [f"docs/live.md:1: broken link {target}"]


def test_prose_excludes_code_blocks() -> None:
    page = Passage(Path("x.md"), 1, "`a`\n```text\n`b`\n```\n    `c`\n`d`\n")
    assert re.findall(r"`(.)`", page.prose) == ["a", "d"]
    assert page.prose.count("\n") == page.text.count("\n")
