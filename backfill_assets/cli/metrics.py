"""``metrics``: the state of the store in Prometheus' text format, once or served over HTTP."""

import sys
from datetime import datetime
from typing import TYPE_CHECKING

import click

from backfill_assets.cli.options import add_common_options, load_command_settings
from backfill_assets.errors import UsageError

if TYPE_CHECKING:
    from backfill_assets.config.settings import Settings

DEFAULT_HOST, DEFAULT_PORT = "127.0.0.1", 9464  # the port of OpenTelemetry's exporters for Prometheus
MAX_PATIENCE_SECONDS = 3.0  # with a database that is away; a scrape waits ten seconds
_CLOSE_SECONDS = 1.0


@click.command()
@click.option("--serve", "is_served", is_flag=True, help="Serve them over HTTP until interrupted.")
@click.option("--host", help=f"Address to listen at, with --serve.  [default: {DEFAULT_HOST}]")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help=f"Port, with --serve; 0 picks a free one.  [default: {DEFAULT_PORT}]",
)
@add_common_options
def metrics(is_served: bool, host: str | None, port: int | None, as_of: datetime | None, debug: bool) -> None:
    """Print metrics for Prometheus: slots by state, freshness, calls, runs, alerts and the sensor's last look.

    The figures are those of ``status``. With --serve each scrape of /metrics is one pass over the database, and status
    503 says that it cannot be used.
    """
    settings = load_command_settings(as_of, debug=debug)
    if not is_served:
        if host is not None or port is not None:
            raise UsageError("--host and --port need --serve")
        _print_metrics(settings)
        return
    _serve_metrics(settings, DEFAULT_HOST if host is None else host, DEFAULT_PORT if port is None else port)


def _print_metrics(settings: "Settings") -> None:
    from backfill_assets.backfill.job_request import open_engine
    from backfill_assets.metrics.reader import format_metrics, read_families

    with open_engine(settings) as engine:
        text, _ = format_metrics(read_families(engine))
    sys.stdout.write(text.decode())


def _serve_metrics(settings: "Settings", host: str, port: int) -> None:
    from threading import Thread

    from backfill_assets.metrics.reader import MetricsReader
    from backfill_assets.metrics.server import serve

    patience = min(settings.database_patience_seconds, MAX_PATIENCE_SECONDS)
    reader = MetricsReader(settings.model_copy(update={"database_patience_seconds": patience}))
    serve(reader.read, host, port, announce=lambda url: click.echo(f"metrics at {url}"))
    closing = Thread(target=reader.close, daemon=True)  # may wait for a pass that hangs, and the process must end
    closing.start()
    closing.join(_CLOSE_SECONDS)
