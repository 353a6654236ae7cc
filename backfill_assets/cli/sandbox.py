"""``sandbox``: a local server that imitates the vendor's API."""

from datetime import datetime
from pathlib import Path
from typing import Any

import click

from backfill_assets.cli.options import (
    InstantType,
    MillisecondRangeType,
    add_common_options,
    load_command_settings,
)
from backfill_assets.errors import UsageError


class ExchangesType(click.ParamType[tuple[str, ...]]):
    """Codes of exchanges beside the US, comma-separated."""

    name = "codes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """Split and check the codes; US, which is always there, may be among them."""
        from backfill_assets.market.exchanges.registry import DEFAULT_EXCHANGE, get_profile

        if isinstance(value, tuple):
            return value
        codes = [code for part in value.split(",") if (code := part.strip().upper())]
        try:
            for code in codes:
                get_profile(code)
        except UsageError as error:
            self.fail(str(error), param, ctx)
        return tuple(dict.fromkeys(code for code in codes if code != DEFAULT_EXCHANGE))


@click.command()
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address or name of this machine to listen on; 0.0.0.0 for all, so that containers and other machines can"
    " use the sandbox, too. It has no access control.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8008,
    show_default=True,
    help="Port; 0 picks a free one.",
)
@click.option(
    "--symbols",
    "symbol_count",
    type=click.IntRange(1, 10_000),
    default=30,
    show_default=True,
    help="Number of symbols.",
)
@click.option(
    "--exchanges",
    type=ExchangesType(),
    default="",
    help="Further exchanges with as many symbols each, comma-separated, for example LSE,CC,FOREX.  [default: US alone]",
)
@click.option("--now", type=InstantType(), help="Start time of the sandbox's clock.  [default: the current time]")
@click.option(
    "--latency-ms",
    type=MillisecondRangeType(),
    default="0-0",
    show_default=True,
    help="Latency of answers, A-B, uniformly distributed.",
)
@click.option(
    "--per-minute", type=click.IntRange(1), default=1200, show_default=True, help="Limit of requests a minute."
)
@click.option("--daily", type=click.IntRange(1), default=100_000, show_default=True, help="Limit of calls a UTC day.")
@click.option(
    "--replay",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Serve the answers recorded in this folder.",
)
@add_common_options
def sandbox(
    host: str,
    port: int,
    symbol_count: int,
    exchanges: tuple[str, ...],
    now: datetime | None,
    latency_ms: tuple[float, float],
    per_minute: int,
    daily: int,
    replay: Path | None,
    as_of: datetime | None,
    debug: bool,
) -> None:
    """Run a local imitation of the vendor's API until interrupted; accepts any token."""
    from backfill_assets.sandbox.actions import ActionRates
    from backfill_assets.sandbox.config import DataQuirks, SandboxConfig
    from backfill_assets.sandbox.server.listener import describe_exposure
    from backfill_assets.sandbox.server.serve import serve
    from backfill_assets.sandbox.world.exchange_worlds import build_realistic_exchange

    settings = load_command_settings(as_of, debug=debug)
    config = SandboxConfig(
        host=host,
        port=port,
        symbols=symbol_count,
        now=now or settings.as_of,
        latency_ms=latency_ms,
        per_minute=per_minute,
        daily=daily,
        replay=replay,
        quirks=DataQuirks.build_realistic(),
        action_rates=ActionRates.build_realistic(),
        exchanges={exchange: build_realistic_exchange(exchange, symbol_count) for exchange in exchanges},
    )
    unset_source_host = (
        " EODHD_SOURCE_HOST=" if settings.source_host else ""
    )  # simulated bars must not be recorded as another host's

    def announce(url: str) -> None:
        click.echo(f"sandbox listening at {url}")
        click.echo(f"  export EODHD_BASE_URL={url} EODHD_API_TOKEN=sandbox{unset_source_host}")
        for line in describe_exposure(host, url):
            click.echo(line)

    serve(config, announce=announce)
