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
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("backfill_assets", "backfill_assets_tests", "bench", "deploy", "docs", "examples", ".ci")
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
        module = read_module(path)
        yield from (Passage(path, line, text) for line, text in module.docstrings)
        yield from _join_comments(path, module.comments)
    elif sign := COMMENT_SIGNS.get(path.suffix):
        lines = enumerate(path.read_text("utf-8", errors="ignore").splitlines(), start=1)
        yield from _join_comments(path, ((number, line) for number, line in lines if line.lstrip().startswith(sign)))


@dataclass(frozen=True, slots=True)
class ModuleText:
    """The parts of a Python file.

    Attributes:
        docstrings: line and source of each docstring, and of strings that stand alone below an attribute.
        comments: line and text of each.
        code: the source without these.
    """

    docstrings: list[tuple[int, str]]
    comments: list[tuple[int, str]]
    code: str


@cache
def read_module(path: Path) -> ModuleText:
    """The parts of a Python file, found in one pass because the repository has a thousand of them."""
    source = path.read_text("utf-8")
    lines = source.encode("utf-8").splitlines(keepends=True)
    texts = [node.value for node in _list_statements(ast.parse(source)) if _is_text(node)]
    docstrings = [(text.lineno, _cut_out(lines, text)) for text in texts]
    for text in texts:
        _blank(lines, text)
    code = b"".join(lines).decode("utf-8")
    comments = _list_comments(code) if "#" in code else []  # reading tokens is slow
    rows = code.splitlines(keepends=True)
    for line, column, comment in comments:
        rows[line - 1] = rows[line - 1][:column] + rows[line - 1][column + len(comment) :]
    return ModuleText(docstrings, [(line, comment) for line, _, comment in comments], "".join(rows))


def _list_statements(tree: ast.Module) -> Iterator[Any]:
    """All statements of a module, blocks within blocks included; expressions are not walked."""
    blocks: list[Any] = [tree]
    while blocks:
        block = blocks.pop()
        yield block
        for field in ("body", "orelse", "handlers", "finalbody", "cases"):
            blocks.extend(getattr(block, field, ()))


def _is_text(node: Any) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _cut_out(lines: list[bytes], node: ast.expr) -> str:
    """The source of a node; ``ast.get_source_segment`` would split the file anew for each."""
    block = lines[node.lineno - 1 : node.end_lineno]
    block[-1] = block[-1][: node.end_col_offset]
    block[0] = block[0][node.col_offset :]
    return b"".join(block).decode("utf-8")


def _blank(lines: list[bytes], node: ast.expr) -> None:
    """Put an empty string in place of one that stands alone; the number of lines stays."""
    first, last = node.lineno - 1, (node.end_lineno or node.lineno) - 1
    lines[last] = lines[last][node.end_col_offset :] if last > first else lines[last]
    if last == first:
        lines[first] = lines[first][: node.col_offset] + b'""' + lines[first][node.end_col_offset :]
        return
    lines[first] = lines[first][: node.col_offset] + b'""\n'
    lines[first + 1 : last] = [b"\n"] * (last - first - 1)


def _list_comments(source: str) -> list[tuple[int, int, str]]:
    """Line, column and text of each comment."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return [(*token.start, token.string) for token in tokens if token.type == tokenize.COMMENT]


def _join_comments(path: Path, comments: Iterable[tuple[int, str]]) -> Iterator[Passage]:
    """Comments on consecutive lines are one passage, because a sentence may continue on the next line."""
    for _, block in groupby(enumerate(comments), key=lambda item: item[1][0] - item[0]):
        lines = [comment for _, comment in block]
        text = "\n".join(re.sub(r"^\s*(#|--)", "", line) for _, line in lines)
        yield Passage(path, lines[0][0], text)
