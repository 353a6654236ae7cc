"""The line of a key in a TOML text: the standard library's parser does not tell where its values are from.

The text is valid TOML. In texts with keys inside strings of several lines a wrong line may be named.
"""

import re
from collections.abc import Iterator, Sequence

_PART = r"""(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')"""
_KEY = rf"{_PART}(?:\s*\.\s*{_PART})*"
_HEADER = re.compile(rf"\s*\[\[?\s*({_KEY})\s*\]")
_ASSIGNMENT = re.compile(rf"\s*({_KEY})\s*=(.*)")


def find_line(text: str, path: Sequence[str]) -> int | None:
    """The number of the line, from 1 on, that defines the key at ``path``, or as much of the path as a line names.

    Positions in a list, as parts of the path, are passed over. None if no line names even the first part.
    """
    best: tuple[int, int] | None = None  # how many parts, less the line: the first line of the best ones
    for number, keys, rest in _iterate_keys(text):
        shared = _count_shared(keys, path)
        if not shared or shared < min(len(keys), len(path)):
            continue
        while shared < len(path) and _is_named(path[shared], rest):  # in a table or list of one value
            shared += 1
        best = max(best or (0, 0), (shared, -number))
    return -best[1] if best else None


def _iterate_keys(text: str) -> Iterator[tuple[int, list[str], str]]:
    """Number, keys and the value's text of each line; a line within a value of several lines has that value's keys."""
    table: list[str] = []
    keys: list[str] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if line.lstrip().startswith("#"):
            continue
        if header := _HEADER.match(line):
            table = keys = _split_key(header[1])
            yield number, keys, ""
        elif assignment := _ASSIGNMENT.match(line):
            keys = [*table, *_split_key(assignment[1])]
            yield number, keys, assignment[2]
        elif keys and line.strip():
            yield number, keys, line


def _split_key(key: str) -> list[str]:
    return [part.strip("\"'") for part in re.findall(_PART, key)]


def _count_shared(keys: Sequence[str], path: Sequence[str]) -> int:
    unequal = (n for n, (key, part) in enumerate(zip(keys, path, strict=False)) if key != part)
    return next(unequal, min(len(keys), len(path)))


def _is_named(part: str, rest: str) -> bool:
    """Whether a value's text names a key; a position in a list is in any text."""
    return part.isdecimal() or re.search(rf"(?<![\w-]){re.escape(part)}(?![\w-])", rest) is not None
