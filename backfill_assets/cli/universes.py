"""``universes``: symbols under a name, whose sessions get certificates of their own."""

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from backfill_assets.cli.command_group import CommandGroup
from backfill_assets.cli.exchange_choice import (
    add_exchange_choice,
    choose_of_universe,
    list_chosen,
    require_one_exchange,
)
from backfill_assets.cli.named_symbols import collect_tickers
from backfill_assets.cli.options import (
    DurationType,
    UniverseType,
    add_common_options,
    add_format_option,
    load_command_settings,
)
from backfill_assets.config.counts import format_count
from backfill_assets.errors import UsageError

if TYPE_CHECKING:
    from backfill_assets.store.universes import NamedUniverse

MAX_INCOMPLETE = 1_000_000  # more than any exchange has symbols
NO_DEADLINE = "none"
_BY_NAME = "the one that has the universe"
_FILE_HELP = "A symbols file, as of: symbols add --file."
_MAX_INCOMPLETE_HELP = "So many symbols may be incomplete once a session is overdue."
_DEADLINE_HELP = "After a session's close; then it is certified however many lack, for instance 16h."


@click.group(cls=CommandGroup)
def universes() -> None:
    """Universes with a name: a session gets a certificate for each, when it is complete for its symbols."""


@universes.command("list")
@add_exchange_choice("those of BACKFILL_EXCHANGES")
@add_format_option("table", "json")
@add_common_options
def universes_list(exchange: str | None, output_format: str, as_of: datetime | None, debug: bool) -> None:
    """Show the universes, how many symbols each has now, and its gates."""
    from backfill_assets.backfill.job_request import open_engine
    from backfill_assets.store.universes import list_universe_symbols, list_universes

    settings = load_command_settings(as_of, debug=debug)
    with open_engine(settings) as engine, engine.database.transaction() as connection:
        found = [one for code in list_chosen(settings, exchange) for one in list_universes(connection, code)]
        members = [list_universe_symbols(connection, universe) for universe in found]
    counts = [(len(symbols), sum(not symbol.is_active for symbol in symbols)) for symbols in members]
    described = [{**_describe(u), "symbols": n, "inactive": i} for u, (n, i) in zip(found, counts, strict=True)]
    if output_format == "json":
        click.echo(json.dumps(described, indent=1))
        return
    for universe, (count, inactive) in zip(found, counts, strict=True):
        of_them = f" ({inactive:,} inactive)" if inactive else ""
        click.echo(f"{universe.label}: {format_count(count, 'symbol')}{of_them}; {_describe_gates(universe)}")


@universes.command("show")
@click.argument("name", type=UniverseType())
@add_exchange_choice(_BY_NAME)
@add_format_option("table", "json")
@add_common_options
def universes_show(name: str, exchange: str | None, output_format: str, as_of: datetime | None, debug: bool) -> None:
    """Print the symbols of the universe NAME, one a line."""
    from backfill_assets.backfill.job_request import open_engine
    from backfill_assets.store.universes import find_universe, list_universe_symbols

    with open_engine(load_command_settings(as_of, debug=debug)) as engine, engine.database.transaction() as connection:
        code = choose_of_universe(connection, engine.settings, exchange, name)
        universe = find_universe(connection, code, name)
        symbols = list_universe_symbols(connection, universe, engine.settings.as_of)
    names = [str(symbol.ticker) for symbol in symbols]
    if output_format == "json":
        click.echo(json.dumps({**_describe(universe), "symbols": names}, indent=1))
        return
    click.echo(f"{universe.label}: {format_count(len(names), 'symbol')}; {_describe_gates(universe)}", err=True)
    for symbol in symbols:
        click.echo(f"{symbol.ticker}{'' if symbol.is_active else '  inactive'}")


@universes.command("add")
@click.argument("name", type=UniverseType())
@click.argument("tickers", nargs=-1)
@click.option("--file", type=click.Path(path_type=Path), help=_FILE_HELP)
@click.option("--max-incomplete", type=click.IntRange(0, MAX_INCOMPLETE), help=f"{_MAX_INCOMPLETE_HELP}  [default: 0]")
@click.option("--deadline", type=DurationType(), help=f"{_DEADLINE_HELP}  [default: none]")
@add_common_options
def universes_add(
    name: str,
    tickers: tuple[str, ...],
    file: Path | None,
    max_incomplete: int | None,
    deadline: timedelta | None,
    as_of: datetime | None,
    debug: bool,
) -> None:
    """Create the universe NAME, or add symbols to it. Symbols must be in the store (symbols add), of one exchange.

    What a universe begins with belongs to it on all days; what is added later, from then on.
    """
    from backfill_assets.backfill.job_request import open_engine
    from backfill_assets.store.universes import (
        add_members,
        create_universe,
        find_symbols,
        find_universe,
        list_universes,
    )

    chosen = collect_tickers(tickers, file)
    exchange = require_one_exchange(chosen)
    settings = load_command_settings(as_of, debug=debug)
    with open_engine(settings) as engine, engine.database.transaction() as connection:
        symbols = find_symbols(connection, exchange, chosen)
        if name in {universe.name for universe in list_universes(connection, exchange)}:
            if max_incomplete is not None or deadline is not None:
                raise UsageError(f"{name} is there already; its gates are changed by: backfill-assets universes set")
            universe = find_universe(connection, exchange, name)
            _require_members(universe)
            added = add_members(connection, universe, symbols, settings.now())
            others = f"{len(symbols) - added} belonged to it already"
            click.echo(f"{universe.label}: {format_count(added, 'symbol')} added, {others}")
            return
        gates = {"max_incomplete": max_incomplete or 0, "deadline": deadline}
        universe = create_universe(connection, exchange, name, symbols, **gates)  # type: ignore[arg-type]
    click.echo(f"{universe.label}: created with {format_count(len(symbols), 'symbol')}; {_describe_gates(universe)}")


def _parse_deadline(context: click.Context, parameter: click.Parameter, value: str | None) -> timedelta | str | None:
    return value if value in (None, NO_DEADLINE) else DurationType().convert(value, parameter, context)


@universes.command("set")
@click.argument("name", type=UniverseType())
@click.option("--max-incomplete", type=click.IntRange(0, MAX_INCOMPLETE), help=_MAX_INCOMPLETE_HELP)
@click.option("--deadline", callback=_parse_deadline, help=f"{_DEADLINE_HELP}  {NO_DEADLINE}: there is none.")
@add_exchange_choice(_BY_NAME)
@add_common_options
def universes_set(
    name: str,
    max_incomplete: int | None,
    deadline: timedelta | str | None,
    exchange: str | None,
    as_of: datetime | None,
    debug: bool,
) -> None:
    """Change what certificates of the universe NAME may lack; counts for later ones."""
    from backfill_assets.backfill.job_request import open_engine
    from backfill_assets.store.universes import find_universe, set_gates

    if max_incomplete is None and deadline is None:
        raise UsageError("nothing to set; give --max-incomplete, --deadline, or both")
    with open_engine(load_command_settings(as_of, debug=debug)) as engine, engine.database.transaction() as connection:
        code = choose_of_universe(connection, engine.settings, exchange, name)
        universe = find_universe(connection, code, name)
        changed = set_gates(
            connection,
            universe,
            max_incomplete=universe.max_incomplete if max_incomplete is None else max_incomplete,
            deadline=universe.deadline if deadline is None else deadline if isinstance(deadline, timedelta) else None,
        )
    click.echo(f"{changed.label}: {_describe_gates(changed)}")


@universes.command("remove")
@click.argument("name", type=UniverseType())
@click.argument("tickers", nargs=-1)
@click.option("--file", type=click.Path(path_type=Path), help=_FILE_HELP)
@add_exchange_choice(f"of the symbols, else {_BY_NAME}")
@add_common_options
def universes_remove(
    name: str,
    tickers: tuple[str, ...],
    file: Path | None,
    exchange: str | None,
    as_of: datetime | None,
    debug: bool,
) -> None:
    """Take symbols out of the universe NAME from now on; without symbols, remove it. Certificates stay."""
    from backfill_assets.backfill.job_request import open_engine
    from backfill_assets.store.universes import delete_universe, find_symbols, find_universe, remove_members

    chosen = collect_tickers(tickers, file) if tickers or file else ()
    settings = load_command_settings(as_of, debug=debug)
    with open_engine(settings) as engine, engine.database.transaction() as connection:
        named = require_one_exchange(chosen) if chosen else exchange
        code = choose_of_universe(connection, settings, named, name)
        universe = find_universe(connection, code, name)
        if not chosen:
            delete_universe(connection, universe)
            click.echo(f"{universe.label}: removed; its certificates stay")
            return
        _require_members(universe)
        symbols = find_symbols(connection, code, chosen)
        removed = remove_members(connection, universe, symbols, settings.now())
    click.echo(
        f"{universe.label}: {format_count(removed, 'symbol')} removed, {len(symbols) - removed} did not belong to it"
    )


def _require_members(universe: "NamedUniverse") -> None:
    if universe.has_all_symbols:
        raise UsageError("the universe 'all' has every active symbol; see: backfill-assets symbols add, deactivate")


def _describe(universe: "NamedUniverse") -> dict[str, Any]:
    deadline = universe.deadline
    return {
        "name": universe.name,
        "exchange": universe.exchange,
        "max_incomplete": universe.max_incomplete,
        "deadline_hours": None if deadline is None else deadline.total_seconds() / 3600,
        "created_at": None if universe.created_at is None else universe.created_at.isoformat(),
    }


def _describe_gates(universe: "NamedUniverse") -> str:
    allowed = format_count(universe.max_incomplete, "symbol")
    text = f"certificates may lack {allowed} once a session is overdue" if universe.max_incomplete else ""
    if universe.deadline is not None:
        hours = f"{universe.deadline.total_seconds() / 3600:g} h"
        text += f"{'; ' if text else ''}any number from {hours} after the close"
    return text or "certificates lack nothing"
