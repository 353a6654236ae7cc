"""``symbols``: the universe, that is the symbols whose bars must be complete."""

from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from backfill_assets.cli.options import DateType, add_common_options, load_command_settings, warn_unused_names
from backfill_assets.cli.symbols_rename import symbols_rename
from backfill_assets.cli.symbols_show import symbols_show
from backfill_assets.cli.symbols_taken_over import add_taken_over, require_one_ticker
from backfill_assets.config.counts import format_count
from backfill_assets.config.readable_text import to_one_line
from backfill_assets.eodhd.pricing import CALL_PRICES, format_calls
from backfill_assets.errors import UsageError

MAX_FILE_BYTES = 1_000_000
MAX_FAULTS = 10  # with their reasons
MAX_RANGES = 100  # of lines with further faults

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backfill_assets.backfill.engine import Engine
    from backfill_assets.cli.symbols_file import FileFault
    from backfill_assets.market.calendar.tickers import Ticker


@click.group()
def symbols() -> None:
    """The universe: the symbols whose bars must be complete."""


def _collect_tickers(tickers: tuple[str, ...], file: Path | None, *, skip_bad: bool = False) -> "tuple[Ticker, ...]":
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


symbols.add_command(symbols_rename)
symbols.add_command(symbols_show)


@symbols.command("add")
@click.argument("tickers", nargs=-1)
@click.option(
    "--file",
    type=click.Path(path_type=Path),
    help="A text file with one symbol a line, or a table with the symbols in its first column; # starts a comment.",
)
@click.option("--skip-bad", is_flag=True, help="Add the symbols of the file although other lines cannot be read.")
@click.option(
    "--delisted",
    is_flag=True,
    help="Add delisted tickers with the days of their listing, for their history alone; they stay inactive."
    f"  Costs {format_calls(CALL_PRICES.symbol_list)} for the list and {format_calls(CALL_PRICES.daily)} a ticker.",
)
@click.option(
    "--listed-from",
    type=DateType(),
    help="For one ticker whose listing has ended (renamed, delisted) and which another company took over: the first"
    " session of the new company. Its bars are expected from then on, as another instrument's.",
)
@add_common_options
def symbols_add(
    tickers: tuple[str, ...],
    file: Path | None,
    skip_bad: bool,
    delisted: bool,
    listed_from: date | None,
    as_of: datetime | None,
    debug: bool,
) -> None:
    """Add symbols to the universe, or reactivate them."""
    from backfill_assets.backfill.identity.lives import describe_ended
    from backfill_assets.backfill.job_request import open_engine
    from backfill_assets.market.calendar.exchanges import DEFAULT_EXCHANGE
    from backfill_assets.store.symbols import add_symbols, count_other_exchanges

    if listed_from:
        require_one_ticker(tickers, is_alone=not (file or skip_bad or delisted))
    chosen = _collect_tickers(tickers, file, skip_bad=skip_bad)
    with open_engine(load_command_settings(as_of, debug=debug)) as engine:
        if listed_from:
            add_taken_over(engine, chosen[0], listed_from)
            _show_short_histories(engine, chosen)
            return
        if delisted:
            _add_delisted(engine, chosen)
            return
        with engine.database.transaction() as connection:
            new = add_symbols(connection, chosen)
            elsewhere = count_other_exchanges(connection, DEFAULT_EXCHANGE, [ticker.symbol for ticker in chosen])
            ended = describe_ended(connection, chosen)
        click.echo(f"{new} added or reactivated, {len(chosen) - new} were active already")
        _show_short_histories(engine, chosen)
    for ticker, end in ended.items():
        click.echo(
            f"{ticker} {end}: later bars are neither expected nor requested; if it is another company's ticker now:"
            f" backfill-assets symbols add {ticker} --listed-from DAY",
            err=True,
        )
    if elsewhere:
        named = ", ".join(f"{name!r} ({count:,})" for name, count in list(elsewhere.items())[:MAX_FAULTS])
        click.echo(f"market_symbols also has active rows of these symbols on other exchanges: {named}", err=True)


def _add_delisted(engine: "Engine", chosen: "Sequence[Ticker]") -> None:
    from backfill_assets.backfill.delisted_symbols import add_delisted
    from backfill_assets.cli.caller import describe_caller

    results = add_delisted(engine, chosen, describe_caller())
    added = sum(result.is_added for result in results)
    click.echo(f"{format_count(added, 'delisted symbol')} added, {len(results) - added} left as they are")
    for result in results:
        click.echo(f"  {result.describe()}")


def _show_short_histories(engine: "Engine", chosen: "Sequence[Ticker]") -> None:
    """Print what the chosen symbols lack of the sessions that the others have, and the command that requests it."""
    from backfill_assets.quality.short_histories import describe_short_histories, find_short_histories

    added = set(chosen)
    histories = [h for h in find_short_histories(engine.database, engine.settings) if h.ticker in added]
    if histories:
        click.echo(f"history: {describe_short_histories(histories)}")


@symbols.command("list")
@click.option(
    "--all", "include_inactive", is_flag=True, help="Also inactive symbols, and what ended ones were renamed to."
)
@add_common_options
def symbols_list(include_inactive: bool, as_of: datetime | None, debug: bool) -> None:
    """Print the symbols of the universe, one a line, and which of them the vendor does not serve."""
    from backfill_assets.backfill.identity.lives import describe_ends
    from backfill_assets.backfill.job_request import open_engine
    from backfill_assets.market.calendar.exchanges import DEFAULT_EXCHANGE
    from backfill_assets.store.evidence.unserved_symbols import list_unserved
    from backfill_assets.store.symbols import list_symbols

    with open_engine(load_command_settings(as_of, debug=debug)) as engine:
        with engine.database.transaction() as connection:
            unserved = list_unserved(connection)
            listed = list_symbols(connection, DEFAULT_EXCHANGE, only_active=not include_inactive)
            ends = describe_ends(connection, DEFAULT_EXCHANGE) if include_inactive else {}
            for symbol in listed:
                state = "" if symbol.is_active else f"  {ends.get(symbol.symbol_id, 'inactive')}"
                if symbol.is_active and symbol.symbol_id in unserved:
                    state = f"  {unserved[symbol.symbol_id]}"
                click.echo(f"{symbol.ticker}{state}")
        if not listed:
            kind = "" if include_inactive else "active "
            click.echo(f"no {kind}symbols; add some: backfill-assets symbols add AAPL MSFT", err=True)
        warn_unused_names(engine)


@symbols.command("deactivate")
@click.argument("tickers", nargs=-1, required=True)
@add_common_options
def symbols_deactivate(tickers: tuple[str, ...], as_of: datetime | None, debug: bool) -> None:
    """Remove symbols from the universe; their bars are kept."""
    from backfill_assets.backfill.absence.unserved import release_served
    from backfill_assets.backfill.decisions.inbox import refresh_inbox
    from backfill_assets.backfill.job_request import open_engine
    from backfill_assets.store.evidence.findings import TICKER_KINDS, resolve_findings
    from backfill_assets.store.symbols import deactivate_symbols

    chosen, settings = _collect_tickers(tickers, None), load_command_settings(as_of, debug=debug)
    with open_engine(settings) as engine:
        with engine.database.transaction() as connection:
            deactivated = deactivate_symbols(connection, chosen)
            for kind in TICKER_KINDS:
                resolve_findings(connection, kind, [str(t) for t in chosen], settings.now())
        release_served(engine.database, (), settings.now())  # when one is added again, it is requested as a new one
        refresh_inbox(engine.database, settings.now())
    click.echo(f"{len(deactivated)} deactivated, {len(chosen) - len(deactivated)} were not active")


@symbols.command(
    "sync",
    help=f"Add the symbols of the vendor's list ({format_calls(CALL_PRICES.symbol_list)}): shares and ETFs listed on"
    " exchanges with intraday data, without test issues. Activates and deactivates none.",
)
@click.option("--exchange", default="US", show_default=True, help="Exchange code of the vendor's list.")
@click.option(
    "--type",
    "symbol_type",
    help="Only these types of the vendor, comma-separated, for example 'Common Stock' or ETF; all: every type."
    "  [default: Common Stock, Preferred Stock, ETF and listed funds]",
)
@click.option(
    "--listing",
    help="Only symbols listed on these exchanges, comma-separated, for example NYSE,NASDAQ; all: everywhere."
    "  [default: all but over-the-counter markets]",
)
@add_common_options
def symbols_sync(
    exchange: str, symbol_type: str | None, listing: str | None, as_of: datetime | None, debug: bool
) -> None:
    """Add the symbols of the vendor's list; activates and deactivates none."""
    from backfill_assets.backfill.job_request import open_engine
    from backfill_assets.backfill.listing_filter import ListingFilter, parse_filter_words
    from backfill_assets.backfill.symbol_sync import sync_universe

    wanted = ListingFilter(markets=parse_filter_words(listing), types=parse_filter_words(symbol_type))
    with open_engine(load_command_settings(as_of, debug=debug)) as engine:
        synced = sync_universe(engine, exchange.upper(), wanted)
    click.echo(f"{synced.listed:,} listed by the vendor, {synced.added:,} added, {synced.left_out_count:,} left out")
    for note in synced.describe():
        click.echo(f"  {note}")
