"""``symbols``: the universe, that is the symbols whose bars must be complete."""

import sys
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from backfill_assets.cli.command_group import CommandGroup
from backfill_assets.cli.exchange_choice import add_exchange_choice, list_chosen
from backfill_assets.cli.named_symbols import MAX_FAULTS, collect_tickers
from backfill_assets.cli.options import DateType, add_common_options, load_command_settings, warn_unused_names
from backfill_assets.cli.symbols_rename import symbols_rename
from backfill_assets.cli.symbols_show import symbols_show
from backfill_assets.cli.symbols_taken_over import add_taken_over, require_one_ticker
from backfill_assets.config.counts import format_count
from backfill_assets.eodhd.pricing import CALL_PRICES, format_calls
from backfill_assets.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from backfill_assets.backfill.engine import Engine
    from backfill_assets.config.settings import Settings
    from backfill_assets.market.calendar.tickers import Ticker
    from backfill_assets.store.postgres.connection import Connection


@click.group(cls=CommandGroup)
def symbols() -> None:
    """The universe: the symbols whose bars must be complete."""


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
@click.option(
    "--history-from",
    type=DateType(),
    help="These symbols become complete from this day on by themselves, whatever BACKFILL_HISTORY_FROM says.",
)
@add_common_options
def symbols_add(
    tickers: tuple[str, ...],
    file: Path | None,
    skip_bad: bool,
    delisted: bool,
    listed_from: date | None,
    history_from: date | None,
    as_of: datetime | None,
    debug: bool,
) -> None:
    """Add symbols to the universe, or reactivate them."""
    from backfill_assets.backfill.identity.lives import describe_ended
    from backfill_assets.backfill.job_request import open_engine
    from backfill_assets.store.symbol_counts import count_other_exchanges
    from backfill_assets.store.symbols import add_symbols

    if listed_from:
        require_one_ticker(tickers, is_alone=not (file or skip_bad or delisted))
    chosen = collect_tickers(tickers, file, skip_bad=skip_bad)
    with open_engine(load_command_settings(as_of, debug=debug)) as engine, _set_goal(engine, chosen, history_from):
        if listed_from:
            add_taken_over(engine, chosen[0], listed_from)
            _show_short_histories(engine, chosen)
            return
        if delisted:
            _add_delisted(engine, chosen)
            return
        with engine.database.transaction() as connection:
            new = add_symbols(connection, chosen)
            known = {*engine.settings.exchanges, *(ticker.exchange for ticker in chosen)}
            elsewhere = count_other_exchanges(connection, known, [ticker.symbol for ticker in chosen])
            ended = describe_ended(connection, chosen)
        click.echo(f"{new} added or reactivated, {len(chosen) - new} were active already")
        _show_ask_costs(engine, chosen)
        _show_short_histories(engine, chosen)
        _warn_not_enabled(engine.settings, chosen)
    _warn_ended(ended)
    if elsewhere:
        named = ", ".join(f"{name!r} ({count:,})" for name, count in list(elsewhere.items())[:MAX_FAULTS])
        click.echo(f"market_symbols also has active rows of these symbols on other exchanges: {named}", err=True)


@contextmanager
def _set_goal(engine: "Engine", chosen: "Sequence[Ticker]", first: date | None) -> "Iterator[None]":
    """Refuse a first day that the vendor's feed does not have before symbols are added; record it once they are."""
    from backfill_assets.backfill.history.goals import require_goal, set_goals

    if first is not None:
        require_goal(engine.settings, chosen, first, "--history-from")
    yield
    if first is not None:
        known = format_count(set_goals(engine, chosen, first), "symbol")
        click.echo(f"{known} to be complete from {first}; see: backfill-assets history estimate")


def _show_ask_costs(engine: "Engine", chosen: "Sequence[Ticker]") -> None:
    """Print what requests for the exchanges of tickers cost a day, of those that never close."""
    from backfill_assets.backfill.ask_costs import compute_ask_costs
    from backfill_assets.store.symbol_counts import count_active_rows

    for exchange in sorted({ticker.exchange for ticker in chosen}):
        if costs := compute_ask_costs(engine, engine.settings.get_market(exchange)):
            with engine.database.transaction() as connection:
                click.echo(costs.describe(count_active_rows(connection, exchange)))


def _warn_ended(ended: "Mapping[Ticker, str]") -> None:
    """Say of tickers whose listing has ended what to do, to standard error."""
    for ticker, end in ended.items():
        click.echo(
            f"{ticker} {end}: later bars are neither expected nor requested; if it is another company's ticker now:"
            f" backfill-assets symbols add {ticker} --listed-from DAY",
            err=True,
        )


def _warn_not_enabled(settings: "Settings", chosen: "Sequence[Ticker]") -> None:
    """Say of exchanges that are not collected what to do, to standard error."""
    from backfill_assets.config.formatting import explain_not_collected

    if lacking := sorted({ticker.exchange for ticker in chosen} - set(settings.exchanges)):
        click.echo(explain_not_collected(lacking[0], settings.exchanges, *lacking[1:]), err=True)


def _add_delisted(engine: "Engine", chosen: "Sequence[Ticker]") -> None:
    from backfill_assets.backfill.delisted_symbols import add_delisted
    from backfill_assets.cli.caller import describe_caller

    by_exchange = [[t for t in chosen if t.exchange == code] for code in dict.fromkeys(t.exchange for t in chosen)]
    results = [result for tickers in by_exchange for result in add_delisted(engine, tickers, describe_caller())]
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
@add_exchange_choice("those of BACKFILL_EXCHANGES")
@add_common_options
def symbols_list(include_inactive: bool, exchange: str | None, as_of: datetime | None, debug: bool) -> None:
    """Print the symbols of the universe, one a line, and which of them the vendor does not serve."""
    from backfill_assets.backfill.job_request import open_engine
    from backfill_assets.market.exchanges.registry import DEFAULT_EXCHANGE

    with open_engine(load_command_settings(as_of, debug=debug)) as engine:
        with engine.database.transaction() as connection:
            codes = list_chosen(engine.settings, exchange)
            listed = [_show_symbols(connection, code, include_inactive=include_inactive) for code in codes]
        if not any(listed):
            kind = "" if include_inactive else "active "
            suffixes = [f".{code}" for code in codes if code != DEFAULT_EXCHANGE]
            example = "AAPL MSFT" if len(suffixes) < len(codes) else f"SYMBOL{suffixes[0]}"
            click.echo(f"no {kind}symbols; add some: backfill-assets symbols add {example}", err=True)
        warn_unused_names(engine)


def _show_symbols(connection: "Connection", exchange: str, *, include_inactive: bool) -> int:
    """Print the symbols of an exchange, outside the US with the unit of their prices; returns how many there are."""
    from backfill_assets.backfill.identity.lives import describe_ends
    from backfill_assets.market.exchanges.registry import DEFAULT_EXCHANGE
    from backfill_assets.store.evidence.unserved_symbols import list_unserved
    from backfill_assets.store.price_units import read_price_units
    from backfill_assets.store.symbols import list_symbols

    unserved = list_unserved(connection)
    listed = list_symbols(connection, exchange, only_active=not include_inactive)
    ends = describe_ends(connection, exchange) if include_inactive else {}
    units = {} if exchange == DEFAULT_EXCHANGE else read_price_units(connection, [s.symbol_id for s in listed])
    for symbol in listed:
        unit = f"  {units[symbol.symbol_id].price_unit}" if symbol.symbol_id in units else ""
        state = "" if symbol.is_active else f"  {ends.get(symbol.symbol_id, 'inactive')}"
        if symbol.is_active and symbol.symbol_id in unserved:
            state = f"  {unserved[symbol.symbol_id]}"
        click.echo(f"{symbol.ticker}{unit}{state}")
    return len(listed)


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

    chosen, settings = collect_tickers(tickers, None), load_command_settings(as_of, debug=debug)
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
    " exchanges with intraday data, without test issues; all pairs of CC and FOREX. Activates and deactivates none.",
)
@click.option("--exchange", default="US", show_default=True, help="Exchange code of the vendor's list.")
@click.option(
    "--all-lines",
    is_flag=True,
    help="Also further lines of shares that are listed elsewhere, such as London's codes 0XXX.",
)
@click.option("--yes", is_flag=True, help="Do not ask before more than 200 symbols are added.")
@click.option(
    "--type",
    "symbol_type",
    help="Only these types of the vendor, comma-separated, for example 'Common Stock' or ETF; all: every type."
    "  [default: Common Stock, Preferred Stock, ETF and listed funds; of pairs all]",
)
@click.option(
    "--listing",
    help="Only symbols listed on these exchanges, comma-separated, for example NYSE,NASDAQ; all: everywhere."
    "  [default: all but over-the-counter markets]",
)
@add_common_options
def symbols_sync(
    exchange: str,
    all_lines: bool,
    yes: bool,
    symbol_type: str | None,
    listing: str | None,
    as_of: datetime | None,
    debug: bool,
) -> None:
    """Add the symbols of the vendor's list; activates and deactivates none."""
    from backfill_assets.backfill.job_request import open_engine
    from backfill_assets.backfill.listing_filter import ListingFilter, parse_filter_words
    from backfill_assets.backfill.symbol_sync import add_new_symbols, find_new_symbols

    wanted = ListingFilter(
        markets=parse_filter_words(listing), types=parse_filter_words(symbol_type), has_copies=all_lines
    )
    with open_engine(load_command_settings(as_of, debug=debug)) as engine:
        found = find_new_symbols(engine, exchange.upper(), wanted)
        if found.needs_consent and not yes and not sys.stdin.isatty():
            raise UsageError(f"nothing was added: {found.describe_new()}; to add that many, confirm with --yes")
        if found.new:
            click.echo(found.describe_new(), err=True)
        if found.needs_consent and not yes and not click.confirm("add them?", default=False):
            click.echo("nothing was added")
            return
        synced = add_new_symbols(engine, found)
    click.echo(f"{synced.listed:,} listed by the vendor, {synced.added:,} added, {synced.left_out_count:,} left out")
    for note in synced.describe():
        click.echo(f"  {note}")
