"""``markets``: the exchanges, what is assumed of each, and what was seen of it."""

import json
from datetime import datetime
from typing import TYPE_CHECKING

import click

from backfill_assets.cli.command_group import CommandGroup
from backfill_assets.cli.markets_probe import markets_probe
from backfill_assets.cli.options import add_common_options, add_format_option, load_command_settings, make_console

if TYPE_CHECKING:
    from backfill_assets.backfill.market_overview import MarketLine, MarketReport


@click.group(cls=CommandGroup)
def markets() -> None:
    """The exchanges: their hours, what is assumed of them, and what was seen."""


markets.add_command(markets_probe)


@markets.command("list")
@click.option("--enabled", "only_enabled", is_flag=True, help="Only those of BACKFILL_EXCHANGES.")
@add_format_option("table", "json")
@add_common_options
def markets_list(only_enabled: bool, output_format: str, as_of: datetime | None, debug: bool) -> None:
    """Print every exchange that is supported, with its status, its active symbols and its hours."""
    from backfill_assets.backfill.job_request import open_engine
    from backfill_assets.backfill.market_overview import list_markets

    with open_engine(load_command_settings(as_of, debug=debug)) as engine:
        lines = list_markets(engine, only_enabled=only_enabled)
    if output_format == "json":
        click.echo(json.dumps([line.as_dict() for line in lines], indent=2))
    else:
        _show_list(lines)


def _show_list(lines: "list[MarketLine]") -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for title in ("code", "name", "status", "enabled", "symbols", "local hours", "slots a day"):
        table.add_column(title, justify="right" if title in {"symbols", "slots a day"} else "left", no_wrap=True)
    for line in lines:
        table.add_row(
            line.market.exchange,
            line.market.name,
            str(line.market.status),
            "yes" if line.is_enabled else "",
            f"{line.symbols:,}" if line.symbols else "",
            line.hours or ("breaks not given" if line.market.needs_breaks else "not known"),
            str(line.slots or ""),
        )
    make_console().print(table)


@markets.command("show")
@click.argument("exchange")
@add_format_option("text", "json")
@add_common_options
def markets_show(exchange: str, output_format: str, as_of: datetime | None, debug: bool) -> None:
    """Print what is assumed of an exchange, what was seen, and the settings that follow for BACKFILL_MARKETS_FILE."""
    from backfill_assets.backfill.job_request import open_engine
    from backfill_assets.backfill.market_overview import report_market

    with open_engine(load_command_settings(as_of, debug=debug)) as engine:
        report = report_market(engine, exchange.upper())
    if output_format == "json":
        click.echo(json.dumps(report.as_dict(), indent=2))
    else:
        _show_report(report)


def _show_report(report: "MarketReport") -> None:
    from backfill_assets.market.exchanges.price_units import describe_price_unit
    from backfill_assets.market.learning.proposed_settings import describe_uncounted

    line, market = report.line, report.line.market
    enabled = "enabled" if line.is_enabled else f'not enabled; add "{market.exchange}" to BACKFILL_EXCHANGES'
    click.echo(f"{market.exchange}  {market.name}: {market.status}, {enabled}")
    hours = f"{line.hours}, {line.slots} slots of 30 minutes" if line.hours else line.unknown
    click.echo(f"  hours    {hours}")
    unit = describe_price_unit(market)
    click.echo(f"  prices   {unit}" + _describe_currency(market.currency, market.price_unit))
    click.echo(f"  volumes  {market.volume_kind}")
    click.echo(f"  symbols  {line.symbols:,} active")
    if report.costs:
        click.echo(f"  requests {report.costs.describe(line.symbols)}")
    if not report.attributes:
        click.echo("  Nothing is assumed: the profile was checked against the vendor's recorded answers.")
        return
    click.echo("")
    for item in report.attributes:
        mark = "assumed" if item.name in report.assumed else "set"
        click.echo(f"{item.name}\n  {mark:9}{item.assumed}\n  seen     {item.seen or 'nothing yet'}")
        nothing = f"nothing before {report.min_sessions} sessions show it" if mark == "assumed" else "no change"
        click.echo(f"  proposed {item.proposed or nothing}")
    for name in sorted(report.assumed - {item.name for item in report.attributes}):
        click.echo(f"{name}\n  assumed  {describe_uncounted(market, name)}; not counted")
    click.echo(f"\nDaily data: {report.judging}.")
    if report.settings:
        click.echo("\nProposed for BACKFILL_MARKETS_FILE (docs/markets.md); nothing is set by itself:\n")
        click.echo(report.settings, nl=False)


def _describe_currency(currency: str | None, unit: str | None) -> str:
    return f" (currency {currency})" if currency and currency != unit else ""
