"""``symbols``: the universe, which symbols must be complete."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from backfill_assets.cli.options import common, settings_of
from backfill_assets.errors import UsageError

MOST_BYTES = 1_000_000

if TYPE_CHECKING:
    from backfill_assets.market.calendar.tickers import Ticker


@click.group()
def symbols() -> None:
    """The universe: which symbols must be complete."""


def _named(tickers: tuple[str, ...], file: Path | None) -> "tuple[Ticker, ...]":
    from backfill_assets.market.calendar.tickers import parse_tickers

    listed = _read(file) if file else []
    if not tickers and not listed:
        raise UsageError("no symbols given; name some, or use --file with one a line")
    return parse_tickers([*tickers, *listed])


def _read(file: Path) -> list[str]:
    """The symbols of a text file: one or more a line, ``#`` starts a comment."""
    try:
        with file.open("rb") as opened:
            content = opened.read(MOST_BYTES + 1)
        lines = content.decode("utf-8-sig").splitlines() if len(content) <= MOST_BYTES else []
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--file {file} cannot be read as text: {type(error).__name__}; one symbol a line") from None
    if len(content) > MOST_BYTES:
        raise UsageError(f"--file {file} is too long; a symbols file has at most {MOST_BYTES:,} bytes")
    found = [part for line in lines for part in line.partition("#")[0].replace(",", " ").split()]
    if not found:
        raise UsageError(f"--file {file} names no symbol; write one a line")
    return found


@symbols.command("add")
@click.argument("tickers", nargs=-1)
@click.option("--file", type=click.Path(path_type=Path), help="A text file with a symbol a line; # starts a comment.")
@common
def symbols_add(tickers: tuple[str, ...], file: Path | None, as_of: datetime | None, debug: bool) -> None:
    """Add symbols to the universe, or make them active again."""
    from backfill_assets.backfill.job_request import opened_engine
    from backfill_assets.store.symbols import add_symbols

    named = _named(tickers, file)
    with opened_engine(settings_of(as_of, debug=debug)) as engine, engine.database.transaction() as connection:
        new = add_symbols(connection, named)
    click.echo(f"{new} added or reactivated, {len(named) - new} were active already")


@symbols.command("list")
@click.option("--all", "everyone", is_flag=True, help="Inactive ones too.")
@common
def symbols_list(everyone: bool, as_of: datetime | None, debug: bool) -> None:
    """Print the universe, one ticker a line."""
    from backfill_assets.backfill.job_request import opened_engine
    from backfill_assets.market.calendar.tickers import DEFAULT_EXCHANGE
    from backfill_assets.store.symbols import list_symbols

    with opened_engine(settings_of(as_of, debug=debug)) as engine, engine.database.transaction() as connection:
        for symbol in list_symbols(connection, DEFAULT_EXCHANGE, only_active=not everyone):
            click.echo(f"{symbol.ticker}" + ("" if symbol.is_active else "  inactive"))


@symbols.command("deactivate")
@click.argument("tickers", nargs=-1, required=True)
@common
def symbols_deactivate(tickers: tuple[str, ...], as_of: datetime | None, debug: bool) -> None:
    """Take symbols out of the universe; their bars stay."""
    from backfill_assets.backfill.job_request import opened_engine
    from backfill_assets.store.symbols import deactivate_symbols

    named = _named(tickers, None)
    with opened_engine(settings_of(as_of, debug=debug)) as engine, engine.database.transaction() as connection:
        gone = deactivate_symbols(connection, named)
    click.echo(f"{len(gone)} deactivated, {len(named) - len(gone)} were not active")


@symbols.command("sync")
@click.option("--exchange", default="US", show_default=True, help="Whose list to take.")
@click.option("--type", "kind", help="Only this type, for example 'Common Stock' or ETF.")
@common
def symbols_sync(exchange: str, kind: str | None, as_of: datetime | None, debug: bool) -> None:
    """Add every symbol of the vendor's list (1 call); deactivates nobody."""
    from backfill_assets.backfill.job_request import opened_engine
    from backfill_assets.backfill.symbol_sync import sync_universe

    with opened_engine(settings_of(as_of, debug=debug)) as engine:
        synced = sync_universe(engine, exchange.upper(), kind)
    click.echo(f"{synced.listed} listed by the vendor, {synced.added} added, {synced.unusable} not usable as tickers")
