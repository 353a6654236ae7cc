"""Finds references in a text to modules, files, sections and names that do not exist or are outside the repository.

Each function returns faults as ``path:line: message``. A name of a library (``numpy.ndarray``) is not a fault.
"""

import re
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from backfill_assets_tests.unit.document_passages import FOLDERS, ROOT, Passage, list_files, read_module

PACKAGES = ("backfill_assets", "backfill_assets_tests", "bench")
FOREIGN = {  # of other programs
    *("work_mem", "nohup", "hidepid", "pg_ctl", "find_suitable_socket_dir", "adjustedClose", "fetch_arrow_table"),
}
FOREIGN_FILES = {"defs.yaml", "settings.env"}  # that users make
SUFFIXES = ("py", "md", "sql", "toml", "yaml", "jinja", "txt", "csv", "gz")
CODE = r"``([^`\n]+)``|(?<!`)`([^`\n]+)`(?!`)"
DOTTED = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+(?:\(\))?")
NAME = re.compile(r"[a-z_]\w*[a-z0-9](?:\(\))?")
PATH = re.compile(rf"[\w.-]*(?:/[\w.-]+)*(?:\.(?:{'|'.join(SUFFIXES)})|/)")
PLAIN_PATH = re.compile(r"(?<![\w/.`-])(?:docs|backfill_assets|backfill_assets_tests|bench)/[\w./-]*\w")
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
SECTION = re.compile(r"§\s*(\d+(?:\.\d+)?)")
QUOTED_HEADING = re.compile(r"([\w/]+\.md)\)?,?\s+\"([^\"]+)\"")
CODE_DECISION = re.compile(r"\b[Dd]ecisions?\s+\d+\b")
RECORD = re.compile(r"docs/decisions/(\d+)|(?<![\w.])[Dd]ecision\s+(\d+)\b")
DOCUMENT = re.compile(r"(?<![\w./-])(?:[\w.-]+/)*[\w-]+\.md\b")
ABSOLUTE_PATH = re.compile(r"(?<![\w.~<>:*/…{}\])-])/(\w[\w.-]*)/\w[\w./-]*")
SYSTEM_FOLDERS = {"bin", "dev", "etc", "opt", "proc", "run", "usr"}  # the same on every machine
PATCHED_PARTS = {"spec"}  # of a Kubernetes object, by JSON pointer
EVIDENCE_MARK = re.compile(r"(?<![\w`\]])\[[A-Z]{1,2}\d*\](?![(\[:])")


def find_missing_modules(passage: Passage) -> list[str]:
    """Dotted names in backticks that begin with a package or module of the repository and do not exist."""
    return [
        passage.locate(offset, f"no module or name {text}")
        for offset, text in _find_code(passage)
        if DOTTED.fullmatch(text) and text.rpartition(".")[2] not in SUFFIXES and not _is_known(text.removesuffix("()"))
    ]


def find_missing_files(passage: Passage) -> list[str]:
    """Paths, in backticks or plain, that do not exist."""
    coded = [(offset, text) for offset, text in _find_code(passage) if PATH.fullmatch(text) and len(text) > 1]
    plain = [(found.start(), found.group()) for found in PLAIN_PATH.finditer(passage.prose)]
    missing = [(offset, text) for offset, text in coded + plain if not _is_file(passage, text)]
    return list(dict.fromkeys(passage.locate(offset, f"no file {text}") for offset, text in missing))


def find_missing_sections(passage: Passage) -> list[str]:
    """Sections of docs/vendor.md (§), quoted headings and decision records that do not exist."""
    faults = [
        passage.locate(found.start(), f"docs/vendor.md has no {found.group()}")
        for found in SECTION.finditer(passage.prose)
        if found.group(1) not in _number_vendor_sections()
    ]
    for found in QUOTED_HEADING.finditer(passage.prose):
        pages = [ROOT / folder / Path(found.group(1)).name for folder in ("docs", ".")]
        heading = " ".join(found.group(2).split()).lower()
        if not any(heading in _read_headings(page) for page in pages if page.is_file()):
            faults.append(passage.locate(found.start(), f"{found.group(1)} has no heading {heading!r}"))
    for found in RECORD.finditer(passage.prose):
        number = int(found.group(1) or found.group(2))
        if not list((ROOT / "docs" / "decisions").glob(f"{number:04}-*.md")):
            faults.append(passage.locate(found.start(), f"no decision {number}"))
    return faults


def find_broken_links(passage: Passage) -> list[str]:
    """Links of a document to a file or heading that does not exist, or that leave the repository."""
    if not passage.is_document:
        return []
    links = [(found.start(), found.group(1)) for found in LINK.finditer(passage.prose)]
    return [
        passage.locate(offset, f"broken link {target}")
        for offset, target in links
        if "://" not in target and not _leads_somewhere(passage.path, target)
    ]


def find_outside_pointers(passage: Passage) -> list[str]:
    """Documents, folders and marks of evidence outside the repository; decisions cited by a bare number in code.

    An absolute path is accepted if it is a system folder's or an endpoint's that docs/vendor.md describes. A mark in
    brackets is accepted if docs/vendor.md or docs/glossary.md begins a line or table row with it.
    """
    kinds = ((DOCUMENT, _is_document), (ABSOLUTE_PATH, _is_system_path), (EVIDENCE_MARK, _is_explained))
    found = [
        (match.start(), match.group())
        for pattern, is_known in kinds
        for match in pattern.finditer(passage.text)
        if not is_known(match.group())
    ]
    if not passage.is_document:
        found += [(match.start(), match.group()) for match in CODE_DECISION.finditer(passage.text)]
    return [passage.locate(offset, f"leads outside the repository: {' '.join(text.split())}") for offset, text in found]


def find_unknown_names(passage: Passage) -> list[str]:
    """Names in backticks that occur nowhere in code, SQL or configuration, so that they were probably renamed."""
    return [
        passage.locate(offset, f"no such name: {text}")
        for offset, text in _find_code(passage)
        if NAME.fullmatch(text) and text.removesuffix("()") not in _read_vocabulary()
    ]


def _find_code(passage: Passage) -> Iterator[tuple[int, str]]:
    for found in re.finditer(CODE, passage.prose):
        yield found.start(), (found.group(1) or found.group(2)).strip()


def _is_known(dotted: str) -> bool:
    if dotted in FOREIGN_FILES:
        return True
    first, *rest = dotted.split(".")
    if first == "backfill" and rest[0] in _read_vocabulary() and f"backfill.{rest[0]}" in _read_sql():
        return True  # a table, view or function of the schema backfill
    if first in PACKAGES:
        return _can_follow(ROOT / first, rest)
    if (ROOT / "backfill_assets" / first).is_dir() or (ROOT / "backfill_assets" / f"{first}.py").is_file():
        return _can_follow(ROOT / "backfill_assets", [first, *rest])
    modules = [path for path in list_files() if path.name == f"{first}.py"]
    return not modules or any(_defines(path, rest) for path in modules)


def _can_follow(folder: Path, names: list[str]) -> bool:
    if not names:
        return True
    if (module := folder / f"{names[0]}.py").is_file():
        return _defines(module, names[1:])
    return (folder / names[0]).is_dir() and _can_follow(folder / names[0], names[1:])


def _defines(module: Path, names: list[str]) -> bool:
    return all(name in _read_names(module) for name in names)


def _is_file(passage: Passage, text: str) -> bool:
    if record := re.fullmatch(r"docs/decisions/(\d{4})", text):
        return bool(list((ROOT / "docs" / "decisions").glob(f"{record.group(1)}-*.md")))
    bases = [*(ROOT / package for package in PACKAGES), *(p for p in passage.path.parents if p.is_relative_to(ROOT))]
    if any((base / text).exists() or (base / f"{text}.py").is_file() for base in bases):
        return True
    if "/" not in text:
        return text in FOREIGN_FILES or any(path.name == text for path in list_files())
    first = text.split("/")[0]
    is_internal = first in FOLDERS or any((ROOT / package / first).exists() for package in PACKAGES)
    return not is_internal and first.isidentifier() and find_spec(first) is not None  # a file of a library


def _is_document(name: str) -> bool:
    return any(path.as_posix().endswith(f"/{name.lstrip('./')}") for path in list_files())


def _is_system_path(path: str) -> bool:
    """Whether an absolute path is a system folder's or an endpoint's."""
    folder = path.split("/")[1]
    return folder in SYSTEM_FOLDERS | PATCHED_PARTS or f"/{folder}/" in _read_page("vendor.md")


def _is_explained(mark: str) -> bool:
    explanation = re.compile(rf"^(?:[-*|] )?`?{re.escape(mark)}", re.MULTILINE)
    return any(explanation.search(_read_page(page)) for page in ("vendor.md", "glossary.md"))


@cache
def _read_page(name: str) -> str:
    return (ROOT / "docs" / name).read_text("utf-8")


def _leads_somewhere(page: Path, target: str) -> bool:
    name, _, anchor = target.partition("#")
    file = (page.parent / name).resolve() if name else page
    if not file.is_relative_to(ROOT) or not file.exists():
        return False
    return not anchor or anchor in {_slug(heading) for heading in _read_headings(file)}


def _slug(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading).replace(" ", "-")


@cache
def _read_headings(page: Path) -> frozenset[str]:
    """Headings of a document in lower case, without backticks."""
    found = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return frozenset(heading.replace("`", "").strip().lower() for heading in found)


@cache
def _number_vendor_sections() -> frozenset[str]:
    """Numbers of chapters, sections, rows of a table (6.3) and items of a list (7.3) in docs/vendor.md."""
    numbers, chapter = set(), ""
    for line in (ROOT / "docs" / "vendor.md").read_text("utf-8").splitlines():
        if found := re.match(r"#+ (\d+)\. ", line):
            chapter = found.group(1)
            numbers.add(chapter)
        elif found := re.match(r"(?:#+|\|) (\d+\.\d+) ", line):
            numbers.add(found.group(1))
        elif found := re.match(r"(\d+)\. ", line):
            numbers.add(f"{chapter}.{found.group(1)}")
    return frozenset(numbers)


@cache
def _read_names(module: Path) -> frozenset[str]:
    """Every word in the code of a module and in its strings, docstrings and comments left out."""
    return frozenset(re.findall(r"\w+", read_module(module).code))


@cache
def _read_vocabulary() -> frozenset[str]:
    """Names in code, SQL and configuration, of files and folders, and the vendor's, which docs/vendor.md lists."""
    files = list_files()
    names = {name for path in files if path.suffix == ".py" for name in _read_names(path)}
    others = [path for path in files if path.suffix in {".sql", ".toml", ".yaml", ".csv", ".jinja"} or not path.suffix]
    for path in [*others, ROOT / "constraints.txt", ROOT / "docs" / "vendor.md"]:
        names.update(re.findall(r"\w+", path.read_text("utf-8", errors="ignore")))
    return frozenset(names | FOREIGN | {part for path in files for part in (*path.relative_to(ROOT).parts, path.stem)})


@cache
def _read_sql() -> str:
    return "\n".join(path.read_text("utf-8") for path in list_files() if path.suffix in {".sql", ".py"})
