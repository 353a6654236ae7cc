"""``bars``: bars of some symbols as the reader gives them, as table, CSV, Parquet or Arrow."""

import sys
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from backfill_assets.cli.exchange_choice import SupportedExchangeType
from backfill_assets.cli.options import (
    InstantType,
    UniverseType,
    add_common_options,
    add_format_option,
    add_interval_option,
    load_command_settings,
    make_console,
)
from backfill_assets.cli.read_options import MomentType, add_read_options, get_read_end
from backfill_assets.errors import UsageError

if TYPE_CHECKING:
    import pyarrow as pa

BINARY_FORMATS = ("parquet", "arrow")


@click.command()
@click.argument("tickers", metavar="[TICKER]...", nargs=-1)
@click.option(
    "--universe", type=UniverseType(), help="Every symbol of this universe instead of named ones; see: universes list."
)
@click.option(
    "--exchange",
    type=SupportedExchangeType(),
    default="US",
    show_default=True,
    help="Of the universe, and of tickers without a suffix.",
)
@click.option(
    "--start", type=MomentType(), required=True, help="First session date, or a time from which slots begin (ISO 8601)."
)
@click.option(
    "--end", type=MomentType(), required=True, help="Last session date, included, or a time by which slots have ended."
)
@add_interval_option
@add_read_options
@click.option("--known-at", type=InstantType(), help="Bars as this store held them at this time.")
@click.option(
    "--point-in-time",
    type=InstantType(),
    help="For backtests: only what was published by this time, as it is known now.",
)
@click.option("--provisional", is_flag=True, help="Also provisional bars of sessions that are not published yet.")
@click.option("--grid", is_flag=True, help="One row for each slot, also for those without a bar.")
@click.option("--columns", help="Only these columns, in this order, comma-separated.  [default: all]")
@add_format_option("table", "csv", *BINARY_FORMATS)
@click.option(
    "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write to this file instead of standard output."
)
@add_common_options
def bars(
    tickers: tuple[str, ...],
    universe: str | None,
    start: datetime | date,
    end: datetime | date,
    columns: str | None,
    output_format: str,
    output: Path | None,
    as_of: datetime | None,
    debug: bool,
    **options: Any,
) -> None:
    """Read bars of TICKER, and say on standard error how complete they are. No vendor calls.

    Without --require any, fewer bars than expected are an error.
    """
    from backfill_assets.reading import read_bars

    if bool(tickers) == bool(universe):
        raise UsageError("name the symbols or give --universe, for example: backfill-assets bars AAPL MSFT")
    if output_format == "table" and output is not None:
        raise UsageError("--output needs --format csv, parquet or arrow")
    if output_format in BINARY_FORMATS and output is None and sys.stdout.isatty():
        raise UsageError(f"--format {output_format} is not for a terminal; give --output FILE or a pipe")
    result = read_bars(
        list(tickers) or None,
        start,
        get_read_end(end),
        universe=universe,
        columns=_split_columns(columns),
        format="arrow",
        settings=load_command_settings(as_of, debug=debug),
        **options,
    )
    _write(result.frame, output_format, output)
    click.echo(str(result.health), err=True)


def _split_columns(columns: str | None) -> list[str] | None:
    names = [name.strip() for name in (columns or "").split(",") if name.strip()]
    if columns is not None and not names:
        raise UsageError("--columns is empty; name at least one, for example --columns symbol,timestamp,close")
    return names or None


def _write(table: "pa.Table", output_format: str, output: Path | None) -> None:
    from backfill_assets.cli.bar_rendering import show_bars, write_bars
    from backfill_assets.reading.files import replace_file

    if output_format == "table":
        show_bars(make_console(), table)
    elif output is None:
        sys.stdout.flush()
        write_bars(table, output_format, sys.stdout.buffer)
    else:
        replace_file(output, lambda file: write_bars(table, output_format, file))
