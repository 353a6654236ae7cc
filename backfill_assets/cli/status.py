"""``status``, ``sandbox``, ``demo`` and ``dev``: what runs around the backfill."""

import json
import sys
from datetime import datetime
from pathlib import Path

import click

from backfill_assets.cli.options import (
    InstantType,
    MillisecondRangeType,
    add_common_options,
    add_format_option,
    load_command_settings,
    make_console,
)


@click.command()
@add_format_option("table", "json")
@add_common_options
def status(form: str, as_of: datetime | None, debug: bool) -> None:
    """Show symbols, newest bar, missing bars, running backfills and the budget left."""
    from backfill_assets.backfill.job_request import open_engine
    from backfill_assets.cli.rendering import show_status
    from backfill_assets.quality.status import read_status

    with open_engine(load_command_settings(as_of, debug=debug)) as engine:
        current_status = read_status(engine.database, engine.settings)
    if form == "json":
        click.echo(json.dumps(current_status, indent=1))
    else:
        show_status(make_console(), current_status)


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=8008, show_default=True, help="0 picks a free one.")
@click.option("--symbols", "count", type=click.IntRange(1, 10_000), default=30, show_default=True)
@click.option("--now", type=InstantType(), help="Where its clock starts.  [default: the real time]")
@click.option("--latency-ms", type=MillisecondRangeType(), default="0-0", show_default=True, help="A-B, uniform.")
@click.option("--per-minute", type=click.IntRange(1), default=1200, show_default=True)
@click.option("--daily", type=click.IntRange(1), default=100_000, show_default=True)
@click.option("--replay", type=click.Path(path_type=Path, exists=True, file_okay=False), help="Serve recorded answers.")
@add_common_options
def sandbox(
    port: int,
    count: int,
    now: datetime | None,
    latency_ms: tuple[float, float],
    per_minute: int,
    daily: int,
    replay: Path | None,
    as_of: datetime | None,
    debug: bool,
) -> None:
    """Serve a local stand-in of the vendor on 127.0.0.1 until interrupted; any token is accepted."""
    from backfill_assets.sandbox.config import DataQuirks, SandboxConfig
    from backfill_assets.sandbox.server.serve import serve

    settings = load_command_settings(as_of, debug=debug)
    config = SandboxConfig(
        port=port,
        symbols=count,
        now=now or settings.as_of,
        latency_ms=latency_ms,
        per_minute=per_minute,
        daily=daily,
        replay=replay,
        quirks=DataQuirks.build_realistic(),
    )
    unset_source_host = " EODHD_SOURCE_HOST=" if settings.source_host else ""  # whose name made-up bars must not carry

    def announce(url: str) -> None:
        click.echo(f"the vendor's stand-in answers at {url}")
        click.echo(f"  export EODHD_BASE_URL={url} EODHD_API_TOKEN=sandbox{unset_source_host}")

    serve(config, announce=announce)


@click.command()
@add_common_options
def demo(as_of: datetime | None, debug: bool) -> None:
    """Show the whole way once: report, plan, backfill, proof, report.

    Without EODHD_API_TOKEN it starts the bundled sandbox and works on made-up bars in a database of its own.
    """
    from backfill_assets.cli.demo import run_demo

    run_demo(load_command_settings(as_of, debug=debug), make_console())


@click.command()
@click.option("--port", type=click.IntRange(1, 65535), default=3000, show_default=True, help="Of the UI, on 127.0.0.1.")
@add_common_options
def dev(port: int, as_of: datetime | None, debug: bool) -> None:
    """Run the Dagster UI with sensors and schedules on this machine until interrupted.

    Brings its own PostgreSQL unless DATABASE_URL is set, and the sandbox unless EODHD_API_TOKEN is.
    """
    from backfill_assets.cli.dev import run_dev_server

    sys.exit(run_dev_server(load_command_settings(as_of, debug=debug), port, make_console()))
