"""Reads the documents, docstrings and comments of the repository, each with file and line.

References in them are checked in ``document_pointers``.
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("backfill_assets", "backfill_assets_tests", "bench", "docs", "examples", ".ci")
COMMENT_SIGNS = {".sql": "--", ".toml": "#", ".yaml": "#", ".yml": "#", ".txt": "#", ".sh": "#", "": "#"}
FENCED = re.compile(r"^```.*?^```|<!--.*?-->|^(?: {4}|\t).*?$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of text and where it begins.

    Attributes:
        path: the file, below ``ROOT``.
        line: number of the first line, from 1.
        text: its lines, as they stand in the file.
    """

    path: Path
    line: int
    text: str

    @property
    def is_document(self) -> bool:
        return self.path.suffix == ".md"

    @property
    def prose(self) -> str:
        """The text; code blocks of a document are blanked, which leaves line numbers unchanged."""
        if not self.is_document:
            return self.text
        return FENCED.sub(lambda block: re.sub(r"[^\n]", " ", block.group()), self.text)

    def locate(self, offset: int, message: str) -> str:
        """``path:line: message`` for a place in the text."""
        line = self.line + self.text.count("\n", 0, offset)
        return f"{self.path.relative_to(ROOT)}:{line}: {message}"


@cache
def list_files() -> tuple[Path, ...]:
    """Files of the repository, without generated and hidden ones."""
    below = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*")]
    files = [path for path in [*ROOT.iterdir(), *below] if path.is_file() and not path.is_symlink()]
    return tuple(sorted(path for path in files if "__pycache__" not in path.parts and not path.name.startswith(".")))


@cache
def read_passages() -> list[Passage]:
    """All passages of the repository, read when the first test needs them."""
    return [passage for path in list_files() for passage in _read_file(path)]


def _read_file(path: Path) -> Iterator[Passage]:
    if path.suffix == ".md":
        yield Passage(path, 1, path.read_text("utf-8"))
    elif path.suffix == ".py":
        source = path.read_text("utf-8")
        yield from _read_docstrings(path, source)
        yield from _read_python_comments(path, source)
    elif sign := COMMENT_SIGNS.get(path.suffix):
        lines = enumerate(path.read_text("utf-8", errors="ignore").splitlines(), start=1)
        yield from _join_comments(path, ((number, line) for number, line in lines if line.lstrip().startswith(sign)))


def _read_docstrings(path: Path, source: str) -> Iterator[Passage]:
    """Docstrings, and strings that stand alone below an attribute."""
    lines = source.encode("utf-8").splitlines(keepends=True)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield Passage(path, node.lineno, _cut_out(lines, node.value))


def _cut_out(lines: list[bytes], node: ast.expr) -> str:
    """The source of a node; ``ast.get_source_segment`` would split the file anew for each."""
    block = lines[node.lineno - 1 : node.end_lineno]
    block[-1] = block[-1][: node.end_col_offset]
    block[0] = block[0][node.col_offset :]
    return b"".join(block).decode("utf-8")


def _read_python_comments(path: Path, source: str) -> Iterator[Passage]:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    yield from _join_comments(path, ((t.start[0], t.string) for t in tokens if t.type == tokenize.COMMENT))


def _join_comments(path: Path, comments: Iterable[tuple[int, str]]) -> Iterator[Passage]:
    """Comments on consecutive lines are one passage, because a sentence may continue on the next line."""
    for _, block in groupby(enumerate(comments), key=lambda item: item[1][0] - item[0]):
        lines = [comment for _, comment in block]
        text = "\n".join(re.sub(r"^\s*(#|--)", "", line) for _, line in lines)
        yield Passage(path, lines[0][0], text)
