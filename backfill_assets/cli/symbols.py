"""``symbols``: the universe, that is the symbols whose bars must be complete."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from backfill_assets.cli.options import add_common_options, load_command_settings
from backfill_assets.eodhd.pricing import CALL_PRICES, format_calls
from backfill_assets.errors import UsageError

MAX_FILE_BYTES = 1_000_000

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backfill_assets.backfill.engine import Engine
    from backfill_assets.market.calendar.tickers import Ticker


@click.group()
def symbols() -> None:
    """The universe: the symbols whose bars must be complete."""


def _collect_tickers(tickers: tuple[str, ...], file: Path | None) -> "tuple[Ticker, ...]":
    from backfill_assets.market.calendar.tickers import parse_tickers

    file_symbols = _read_symbols_file(file) if file else []
    if not tickers and not file_symbols:
        raise UsageError("no symbols given; name some, or use --file with one symbol a line")
    return parse_tickers([*tickers, *file_symbols])


def _read_symbols_file(file: Path) -> list[str]:
    """The symbols in a text file: one or more a line, separated by spaces or commas; ``#`` starts a comment."""
    try:
        with file.open("rb") as opened:
            content = opened.read(MAX_FILE_BYTES + 1)
        lines = content.decode("utf-8-sig").splitlines() if len(content) <= MAX_FILE_BYTES else []
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"--file {file} cannot be read as text: {type(error).__name__}; write one symbol a line"
        ) from None
    if len(content) > MAX_FILE_BYTES:
        raise UsageError(f"--file {file} is too long; a symbols file has at most {MAX_FILE_BYTES:,} bytes")
    names = [part for line in lines for part in line.partition("#")[0].replace(",", " ").split()]
    if not names:
        raise UsageError(f"--file {file} contains no symbol; write one symbol a line")
    return names


@symbols.command("add")
@click.argument("tickers", nargs=-1)
@click.option("--file", type=click.Path(path_type=Path), help="A text file with one symbol a line; # starts a comment.")
@add_common_options
def symbols_add(tickers: tuple[str, ...], file: Path | None, as_of: datetime | None, debug: bool) -> None:
    """Add symbols to the universe, or reactivate them."""
    from backfill_assets.backfill.job_request import open_engine
    from backfill_assets.store.symbols import add_symbols

    chosen = _collect_tickers(tickers, file)
    with open_engine(load_command_settings(as_of, debug=debug)) as engine:
        with engine.database.transaction() as connection:
            new = add_symbols(connection, chosen)
        click.echo(f"{new} added or reactivated, {len(chosen) - new} were active already")
        _show_short_histories(engine, chosen)


def _show_short_histories(engine: "Engine", chosen: "Sequence[Ticker]") -> None:
    """Print what the chosen symbols lack of the sessions that the others have, and the command that requests it."""
    from backfill_assets.quality.short_histories import describe_short_histories, find_short_histories

    histories = [h for h in find_short_histories(engine.database, engine.settings) if h.ticker in chosen]
    if histories:
        click.echo(f"history: {describe_short_histories(histories)}")


@symbols.command("list")
@click.option("--all", "include_inactive", is_flag=True, help="Also inactive symbols.")
@add_common_options
def symbols_list(include_inactive: bool, as_of: datetime | None, debug: bool) -> None:
    """Print the symbols of the universe, one a line."""
    from backfill_assets.backfill.job_request import open_engine
    from backfill_assets.market.calendar.exchanges import DEFAULT_EXCHANGE
    from backfill_assets.store.symbols import list_symbols

    with open_engine(load_command_settings(as_of, debug=debug)) as engine, engine.database.transaction() as connection:
        for symbol in list_symbols(connection, DEFAULT_EXCHANGE, only_active=not include_inactive):
            click.echo(f"{symbol.ticker}" + ("" if symbol.is_active else "  inactive"))


@symbols.command("deactivate")
@click.argument("tickers", nargs=-1, required=True)
@add_common_options
def symbols_deactivate(tickers: tuple[str, ...], as_of: datetime | None, debug: bool) -> None:
    """Remove symbols from the universe; their bars are kept."""
    from backfill_assets.backfill.job_request import open_engine
    from backfill_assets.store.evidence.findings import TICKER_KINDS, resolve_findings
    from backfill_assets.store.symbols import deactivate_symbols

    chosen, settings = _collect_tickers(tickers, None), load_command_settings(as_of, debug=debug)
    with open_engine(settings) as engine, engine.database.transaction() as connection:
        deactivated = deactivate_symbols(connection, chosen)
        for kind in TICKER_KINDS:
            resolve_findings(connection, kind, [str(t) for t in chosen], settings.now())
    click.echo(f"{len(deactivated)} deactivated, {len(chosen) - len(deactivated)} were not active")


@symbols.command(
    "sync",
    help=f"Add all symbols of the vendor's list ({format_calls(CALL_PRICES.symbol_list)}); deactivates none.",
)
@click.option("--exchange", default="US", show_default=True, help="Exchange code of the vendor's list.")
@click.option("--type", "symbol_type", help="Only symbols of this vendor type, for example 'Common Stock' or ETF.")
@add_common_options
def symbols_sync(exchange: str, symbol_type: str | None, as_of: datetime | None, debug: bool) -> None:
    """Add all symbols of the vendor's list; deactivates none."""
    from backfill_assets.backfill.job_request import open_engine
    from backfill_assets.backfill.symbol_sync import sync_universe

    with open_engine(load_command_settings(as_of, debug=debug)) as engine:
        synced = sync_universe(engine, exchange.upper(), symbol_type)
    click.echo(f"{synced.listed} listed by the vendor, {synced.added} added, {synced.unusable} not usable as tickers")
