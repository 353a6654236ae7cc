"""Reads the text of a symbols file: which words of it are symbols, and what is wrong with the other lines.

A file is a list of symbols, or a table with the symbols in its first column, such as a broker's or the vendor's export.
Words that may be a company's name never become symbols: a line that can be read in two ways is a fault. How a symbol is
written is decided in ``market.calendar.tickers``; opening the file is in ``cli.named_symbols``.
"""

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from backfill_assets.errors import UsageError
from backfill_assets.market.calendar.tickers import Ticker, parse_ticker
from backfill_assets.market.exchanges.names import find_exchange
from backfill_assets.market.exchanges.registry import DEFAULT_EXCHANGE

_SEPARATORS = "\t;,|"
_LINE_ENDS = re.compile(r"\r\n|\r|\n")
_SEPARATOR_HINT = re.compile(r"sep=.", re.IGNORECASE)  # the first line of some files of Excel
_SYMBOL_TITLES = frozenset(
    {"symbol", "symbols", "ticker", "tickers", "code", "codes", "ticker symbol", "stock symbol", "symbol code"}
    | {"act symbol", "nasdaq symbol", "cqs symbol", "symbol/ticker", "ticker/symbol", "stock", "instrument"}
)
# Of those, titles that some files give to names.
_VAGUE_TITLES = frozenset({"code", "codes", "stock", "instrument"})
_EXCHANGE_TITLES = frozenset({"exchange", "listing exchange", "primary exchange", "exchange code"})
_TEST_ISSUE_TITLE = "test issue"  # in files of Nasdaq Trader
_UNMISTAKABLE = re.compile(r"[:.]|-[A-Z]{1,2}$", re.IGNORECASE)  # NYSE:IBM, IBM.US, BRK-B; but T-MOBILE is a name
_NUMBER = re.compile(r"[-+$€£(]*\d[\d.,]*[%)]?")
# Words of tables that are no symbols of US securities.
_TABLE_WORDS = frozenset(["US", "USA", "USD", "EUR", "GBP", "CAD", "NASDAQ", "NYSE", "NYSEARCA", "AMEX"])
_MIN_LIST_LENGTH = 3
_MAX_TEXT_LENGTH = 40


@dataclass(frozen=True, slots=True)
class FileFault:
    """A line of which no symbol was read, and why."""

    line: int
    reason: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.reason}"


@dataclass(frozen=True, slots=True)
class SymbolsFile:
    """What a symbols file holds.

    Attributes:
        tickers: in the order of the file, without repeats.
        repeated: how many symbols stood there before.
        faults: by line.
        is_table: whether only the first column was read.
        lines: how many lines have a content.
    """

    tickers: tuple[Ticker, ...]
    repeated: int
    faults: tuple[FileFault, ...]
    is_table: bool
    lines: int


@dataclass(frozen=True, slots=True)
class _Line:
    """A line with content. ``separator`` is the empty string for a single cell, a blank for words without any other."""

    number: int
    text: str
    separator: str
    cells: tuple[str, ...]

    @property
    def has_name(self) -> bool:
        """Whether a cell behind the first cannot be a symbol, but can be part of a table."""
        return self.separator != " " and any(_is_table_cell(cell) for cell in self.cells[1:])


def parse_symbols_file(text: str) -> SymbolsFile:
    """Read the text of a file; never fails, because every fault is in the result."""
    lines = list(_iterate_lines(text))
    header = lines[0] if lines and _is_header(lines[0]) else None
    body = lines[1:] if header else lines
    reader = _Reader(header, body)
    found: list[Ticker] = []
    faults = list(_find_misplaced_column(lines))
    for line in [] if faults else body:
        try:
            found += reader.read(line)
        except UsageError as error:
            faults.append(FileFault(line.number, _shorten_reason(str(error))))
    tickers = tuple(dict.fromkeys(found))
    return SymbolsFile(tickers, len(found) - len(tickers), tuple(faults), reader.is_table, len(body))


class _Reader:
    """Reads the lines of one file, whose header and shape decide what a line with several cells means."""

    def __init__(self, header: _Line | None, body: Sequence[_Line]) -> None:
        titles = [_normalize_title(cell) for cell in header.cells] if header else []
        self._exchange_column = next((n for n, title in enumerate(titles) if title in _EXCHANGE_TITLES), None)
        self._test_column = titles.index(_TEST_ISSUE_TITLE) if _TEST_ISSUE_TITLE in titles else None
        self._has_columns = header is not None and len(header.cells) > 1 and header.separator != " "
        self._table_widths = {len(line.cells) for line in body if line.has_name}
        self._is_rectangle = len(body) > 1 and len({len(line.cells) for line in body}) == 1
        self._unknown_titles = None if header else _find_unknown_titles(body)
        self.is_table = self._has_columns or bool(self._table_widths)

    def read(self, line: _Line) -> list[Ticker]:
        """The symbols of a line.

        Raises:
            UsageError: the line has none, or may mean several things.
        """
        if line.text.count('"') % 2:
            raise UsageError(f"a quote is not closed: {_quote(line.text)}")
        if line == self._unknown_titles or _is_header(line):
            raise UsageError(f"may be titles: {_quote(line.text)}; only the first line can be, and begins with Symbol")
        cells = [cell for cell in line.cells if cell]
        if len(cells) < 2 or self._is_table_line(line):
            return [self._read_first(line)]
        if _is_list(line, cells, is_rectangle=self._is_rectangle):
            return [_parse_symbol(cell) for cell in cells]
        raise UsageError(_explain_ambiguity(line, cells))

    def _is_table_line(self, line: _Line) -> bool:
        if line.separator == " ":
            return False
        return self._has_columns or line.has_name or len(line.cells) in self._table_widths

    def _read_first(self, line: _Line) -> Ticker:
        exchange, test = self._get_cell(line, self._exchange_column), self._get_cell(line, self._test_column)
        code = find_exchange(exchange)
        if code is None:
            raise UsageError(f"{_quote(line.cells[0])} is of exchange {_quote(exchange)}, which is not supported")
        if test.upper() == "Y":
            raise UsageError(f"{_quote(line.cells[0])} is a test issue")
        first = next((cell for cell in line.cells if cell), "") if not self.is_table else line.cells[0]
        if not first:
            raise UsageError(f"the first column is empty: {_quote(line.text)}")
        is_other = code != DEFAULT_EXCHANGE and not first.upper().endswith(f".{code}")
        return _parse_symbol(f"{first}.{code}" if is_other else first)

    @staticmethod
    def _get_cell(line: _Line, column: int | None) -> str:
        return line.cells[column] if column is not None and column < len(line.cells) else ""


def _iterate_lines(text: str) -> Iterator[_Line]:
    for number, raw in enumerate(_LINE_ENDS.split(text.removeprefix("\ufeff")), start=1):
        line = _drop_comment(raw).strip()
        if line.strip(_SEPARATORS + " ") and not _SEPARATOR_HINT.fullmatch(line):
            separator, cells = _split_line(line)
            if cells:
                yield _Line(number, line, separator, cells)


def _drop_comment(line: str) -> str:
    """The line up to a # outside of quotes and names; ``###Tech`` before a comma is a section of a charting site."""
    if line.startswith("###") and "," in line:
        return line.partition(",")[2]
    is_quoted, previous, is_first_cell = False, " ", True
    for position, character in enumerate(line):
        is_within_name = is_quoted or not (is_first_cell or previous in f" {_SEPARATORS}")
        if character == "#" and not is_within_name and not line.startswith("###", position):
            return line[:position]
        is_quoted ^= character == '"'
        is_first_cell &= character not in _SEPARATORS
        previous = character
    return line


def _split_line(line: str) -> tuple[str, tuple[str, ...]]:
    """The first separator outside of quotes, and the cells; words if there is none."""
    is_quoted = False
    for character in line:
        if character == '"':
            is_quoted = not is_quoted
        elif character in _SEPARATORS and not is_quoted:
            try:
                (fields,) = csv.reader([line], delimiter=character, skipinitialspace=True)
            except csv.Error:  # a cell of more than 131,072 characters
                return "", (line,)
            return character, tuple(_clean_cell(cell) for cell in fields if not cell.startswith("###"))
    if '"' in line:
        return "", (_clean_cell(line),)
    words = tuple(line.split())
    return (" " if len(words) > 1 else ""), words


def _clean_cell(cell: str) -> str:
    stripped = cell.strip().removeprefix("=")  # ="0700" is text to Excel
    return stripped.strip('"').strip() if stripped.startswith('"') else stripped


def _normalize_title(cell: str) -> str:
    return " ".join(cell.replace("_", " ").lower().split())


def _is_header(line: _Line) -> bool:
    return _normalize_title(line.cells[0]) in _SYMBOL_TITLES or _normalize_title(line.text) in _SYMBOL_TITLES


def _find_misplaced_column(lines: Sequence[_Line]) -> Iterator[FileFault]:
    """A fault if a line of titles says that the symbols are in another column than the first."""
    for line in lines:
        first, *others = map(_normalize_title, line.cells)
        if line.separator == " " or first in _SYMBOL_TITLES - _VAGUE_TITLES:
            continue
        for position, title in enumerate(others, start=1):
            if title in _SYMBOL_TITLES - _VAGUE_TITLES:
                reason = f"the symbols must be in the first column, and {_quote(line.cells[position])} is another one"
                yield FileFault(line.number, reason)
                return


def _find_unknown_titles(body: Sequence[_Line]) -> _Line | None:
    """The first line, if it alone has neither names nor numbers beside its first cell: ``SHARE;PRICE``."""
    if len(body) < 2 or body[0].has_name or not any(body[0].cells[1:]):
        return None
    return body[0] if all(line.has_name for line in body[1:]) else None


def _is_table_cell(cell: str) -> bool:
    """Whether a cell is a name, a number or a word that only tables have."""
    has_both_cases = cell not in (cell.upper(), cell.lower())
    return bool(" " in cell or "&" in cell or has_both_cases or _NUMBER.fullmatch(cell) or cell.upper() in _TABLE_WORDS)


def _is_list(line: _Line, cells: Sequence[str], *, is_rectangle: bool) -> bool:
    """Whether all cells are symbols: three or more words in one case, or such that no name looks like them.

    If all lines have the same number of cells (``is_rectangle``), the words may be the columns of a table.
    """
    if line.separator not in (",", " ") or '"' in line.text or not all(_is_symbol(cell) for cell in cells):
        return False
    is_one_case = line.text in (line.text.upper(), line.text.lower())
    is_long = line.separator == "," and len(cells) >= _MIN_LIST_LENGTH and is_one_case and not is_rectangle
    return is_long or all(_UNMISTAKABLE.search(cell) for cell in cells[1:])


def _is_symbol(cell: str) -> bool:
    try:
        _parse_symbol(cell)
    except UsageError:
        return False
    return True


def _parse_symbol(cell: str) -> Ticker:
    """The symbol of a cell.

    Raises:
        UsageError: no symbol; a word in capitals and small letters, which is a name (``Cash``) or a notation of share
            classes that the vendor does not know (``BACpL``); or a number.
    """
    ticker = parse_ticker(cell)
    if ticker.symbol.isdecimal() and ticker.exchange == DEFAULT_EXCHANGE:  # in Seoul and Taipei numbers are symbols
        raise UsageError(f"{_quote(cell)} is a number, not a symbol")
    if ticker.symbol not in cell and ticker.symbol.lower() not in cell:
        raise UsageError(f"{_quote(cell)} may be a name; write a symbol in capitals")
    return ticker


def _explain_ambiguity(line: _Line, cells: Sequence[str]) -> str:
    if line.separator != " " and not _is_symbol(cells[0]):
        return f"{_quote(cells[0])} is not a symbol"
    if line.separator == "," and len(cells) >= _MIN_LIST_LENGTH:
        wrong = next((cell for cell in cells if not _is_symbol(cell)), None)
        if wrong is not None:
            return f"{_quote(wrong)} is not a symbol"
    if line.separator == " ":
        return f"several words: {_quote(line.text)}"
    return f"may be symbols, or a symbol and a name: {_quote(line.text)}"


def _shorten_reason(reason: str) -> str:
    return reason.removeprefix("ticker ").partition(": expected")[0]


def _quote(text: str) -> str:
    return repr(text if len(text) <= _MAX_TEXT_LENGTH else text[:_MAX_TEXT_LENGTH] + "…")
