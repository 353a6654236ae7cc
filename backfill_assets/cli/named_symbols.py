"""Symbols as commands take them: named, or in a file. What a file's words mean is decided in ``symbols_file``."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from backfill_assets.config.counts import format_count
from backfill_assets.config.readable_text import to_one_line
from backfill_assets.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backfill_assets.cli.symbols_file import FileFault
    from backfill_assets.market.calendar.tickers import Ticker

MAX_FILE_BYTES = 1_000_000
MAX_FAULTS = 10  # with their reasons
MAX_RANGES = 100  # of lines with further faults


def collect_tickers(tickers: tuple[str, ...], file: Path | None, *, skip_bad: bool = False) -> "tuple[Ticker, ...]":
    """The symbols of the command line and of a file, without repeats.

    Raises:
        UsageError: there are none, or a symbol or the file cannot be read.
    """
    from backfill_assets.market.calendar.tickers import parse_tickers

    if skip_bad and file is None:
        raise UsageError("--skip-bad applies to the lines of a file; add --file")
    if not tickers and file is None:
        raise UsageError("no symbols given; name some, or use --file with one symbol a line")
    named = parse_tickers(tickers)
    return tuple(dict.fromkeys((*named, *(_read_symbols_file(file, skip_bad=skip_bad) if file else ()))))


def _read_symbols_file(file: Path, *, skip_bad: bool) -> "tuple[Ticker, ...]":
    """The symbols of a text file; what was left out of it goes to standard error.

    Raises:
        UsageError: the file cannot be read, has no symbol, or has faults that ``skip_bad`` does not allow.
    """
    from backfill_assets.cli.symbols_file import parse_symbols_file

    content = parse_symbols_file(_read_text(file))
    if content.faults and not (skip_bad and content.tickers):
        advice = "correct them" if skip_bad else "correct them, or add the symbols of the other lines with --skip-bad"
        raise UsageError(
            f"--file {file}: nothing added, {len(content.faults):,} of {content.lines:,} lines cannot be read;"
            f" {advice}; write one symbol a line, or a table with the symbols in its first column and a first line such"
            " as Symbol,Name",
            _list_faults(content.faults),
        )
    if not content.tickers:
        raise UsageError(f"--file {file} contains no symbol; write one symbol a line")
    if content.faults:
        skipped = f"{format_count(len(content.faults), 'line')} skipped:"
        click.echo("\n  ".join([skipped, *map(to_one_line, _list_faults(content.faults))]), err=True)
    if content.is_table:
        click.echo("read as a table: the symbols are those of the first column", err=True)
    if content.repeated:
        count = "1 symbol stands" if content.repeated == 1 else f"{content.repeated:,} symbols stand"
        click.echo(f"{count} in the file more than once", err=True)
    return content.tickers


def _read_text(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            content = opened.read(MAX_FILE_BYTES + 1)
        text = content.decode("utf-8-sig") if len(content) <= MAX_FILE_BYTES else ""
    except (OSError, UnicodeDecodeError) as error:
        encoding = "; save it as UTF-8" if isinstance(error, UnicodeDecodeError) else ""
        raise UsageError(
            f"--file {file} cannot be read as text: {type(error).__name__}{encoding}; write one symbol a line"
        ) from None
    if len(content) > MAX_FILE_BYTES:
        raise UsageError(f"--file {file} is too long; a symbols file has at most {MAX_FILE_BYTES:,} bytes")
    return text


def _list_faults(faults: "Sequence[FileFault]") -> list[str]:
    """The first faults with their reasons, one a line of output; the others by their lines."""
    listed = [str(fault) for fault in faults[:MAX_FAULTS]]
    if len(faults) > MAX_FAULTS:
        ranges = _merge_lines([fault.line for fault in faults[MAX_FAULTS:]])
        more = f", and {len(ranges) - MAX_RANGES:,} more places" if len(ranges) > MAX_RANGES else ""
        listed.append(f"and lines {', '.join(ranges[:MAX_RANGES])}{more}")
    return listed


def _merge_lines(lines: "Sequence[int]") -> list[str]:
    """Ascending numbers, consecutive ones as a range: 3, 7-9."""
    runs: list[list[int]] = []
    for line in lines:
        if runs and runs[-1][-1] == line - 1:
            runs[-1].append(line)
        else:
            runs.append([line])
    return [str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs]
