"""``actions``: splits, dividends and spin-offs of the universe, as they are stored."""

import csv
import io
import json
from collections.abc import Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING

import click

from backfill_assets.cli.command_group import CommandGroup
from backfill_assets.cli.options import (
    DateType,
    add_common_options,
    add_format_option,
    load_command_settings,
    make_console,
)
from backfill_assets.errors import UsageError

if TYPE_CHECKING:
    from backfill_assets.market.calendar.tickers import Symbol
    from backfill_assets.quality.action_entries import ActionEntry
    from backfill_assets.store.postgres.connection import Connection

KINDS = ("split", "dividend", "spinoff")


@click.group(cls=CommandGroup)
def actions() -> None:
    """Splits, dividends and spin-offs: what adjusted prices are computed with. Stored bars are raw."""


@actions.command("list")
@click.argument("tickers", metavar="[TICKER]...", nargs=-1)
@click.option("--start", type=DateType(), help="First ex-date, included.  [default: the oldest that is stored]")
@click.option("--end", type=DateType(), help="Last ex-date, included.  [default: announced ones, too]")
@click.option("--kind", "kinds", type=click.Choice(KINDS), multiple=True, help="Only this kind; may be repeated.")
@click.option(
    "--all", "show_all", is_flag=True, help="Also what the vendor does not list any more, and what it listed before."
)
@add_format_option("table", "json", "csv")
@add_common_options
def actions_list(
    tickers: tuple[str, ...],
    start: date | None,
    end: date | None,
    kinds: tuple[str, ...],
    show_all: bool,
    output_format: str,
    as_of: datetime | None,
    debug: bool,
) -> None:
    """Show the corporate actions of TICKER, or of every symbol, the newest first. Reads the database only."""
    from backfill_assets.backfill.job_request import open_engine
    from backfill_assets.cli.action_rendering import MAX_TABLE_ROWS, show_actions
    from backfill_assets.quality.action_entries import ACTION_KINDS
    from backfill_assets.quality.corporate_actions_listing import add_details, list_actions

    if start and end and start > end:
        raise UsageError(f"--start {start} is after --end {end}")
    settings = load_command_settings(as_of, debug=debug)
    with open_engine(settings) as engine, engine.database.transaction() as connection:
        symbols = _choose_symbols(connection, settings.exchanges, tickers)
        listed = list_actions(
            connection,
            symbols,
            settings.now(),
            first=start,
            last=end,
            kinds=kinds or ACTION_KINDS,
            with_former=show_all,
        )
        shown = len(listed) if output_format != "table" else MAX_TABLE_ROWS
        listed = add_details(connection, listed[:shown], settings.now()) + listed[shown:]
    if output_format == "json":
        click.echo(json.dumps([action.as_dict() for action in listed], indent=1))
    elif output_format == "csv":
        click.echo(_to_csv(listed), nl=False)
    else:
        exchanges = sorted({symbol.ticker.exchange for symbol in symbols})
        has_actions = any(settings.get_market(code).has_actions for code in exchanges)
        show_actions(make_console(), listed, () if has_actions else exchanges)


def _choose_symbols(connection: "Connection", enabled: Sequence[str], names: Sequence[str]) -> "list[Symbol]":
    """The symbols with these names, or all of the enabled exchanges; inactive ones, too.

    Names that the universe lacks go to standard error.
    """
    from backfill_assets.market.calendar.tickers import parse_tickers
    from backfill_assets.store.symbols import list_symbols

    wanted = parse_tickers(names)
    exchanges = dict.fromkeys(ticker.exchange for ticker in wanted) or enabled
    symbols = [symbol for code in exchanges for symbol in list_symbols(connection, code, only_active=False)]
    if not symbols:
        click.echo("no symbols; add some: backfill-assets symbols add AAPL MSFT", err=True)
    if not wanted:
        return symbols
    known = {symbol.ticker for symbol in symbols}
    for ticker in wanted:
        if ticker not in known:
            click.echo(f"{ticker} is not in the universe; add it: backfill-assets symbols add {ticker}", err=True)
    return [symbol for symbol in symbols if symbol.ticker in wanted]


def _to_csv(listed: "Sequence[ActionEntry]") -> str:
    """The fields of the JSON objects as columns; what is null is an empty field."""
    from backfill_assets.quality.action_entries import ACTION_FIELDS

    text = io.StringIO()
    writer = csv.DictWriter(text, ACTION_FIELDS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(action.as_dict() for action in listed)
    return text.getvalue()
