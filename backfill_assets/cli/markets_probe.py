"""``markets probe``: a few requests that show what the vendor's data of one exchange are like."""

import json
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from backfill_assets.cli.exchange_choice import SupportedExchangeType
from backfill_assets.cli.options import add_common_options, add_format_option, load_command_settings
from backfill_assets.config.counts import format_count
from backfill_assets.eodhd.pricing import ASSUMED_HOURS_CALLS
from backfill_assets.errors import UsageError

if TYPE_CHECKING:
    from backfill_assets.backfill.market_probe import MarketProbe
    from backfill_assets.config.settings import Settings
    from backfill_assets.market.probe.report import ProbeReport


@click.command("probe")
@click.argument("exchange", type=SupportedExchangeType())
@click.option("--symbols", help="Symbols to ask for, comma-separated; of shares the first, best a liquid one.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="File for the recording, never overwritten.  [default: probe_EXCHANGE_TIME.json in the current folder]",
)
@click.option("--from", "recorded", type=click.Path(path_type=Path), help="Judge a recording again; makes no request.")
@click.option("--yes", is_flag=True, help="Send the requests without asking.")
@add_format_option("text", "json")
@add_common_options
def markets_probe(
    exchange: str,
    symbols: str | None,
    output: Path | None,
    recorded: Path | None,
    yes: bool,
    output_format: str,
    as_of: datetime | None,
    debug: bool,
) -> None:
    """Ask the vendor what its data of an exchange are like, record the answers, and propose what its profile should be.

    The exchange need not be enabled. The requests and their price are printed first; nothing is set by itself, and no
    bar is stored.
    """
    settings = load_command_settings(as_of, debug=debug)
    if recorded is not None:
        if symbols is not None or output is not None:
            raise UsageError("--from judges a recording and asks for nothing: leave --symbols and --output out")
        _show(_judge_file(settings, exchange, recorded), output_format)
        return
    chosen = _read_symbols(symbols, exchange)
    path = output or Path(f"probe_{exchange}_{settings.now():%Y%m%dT%H%M%SZ}.json")
    if path.exists():
        raise UsageError(f"{path} exists and is never overwritten; name another file with --output")
    if not path.parent.is_dir():
        raise UsageError(f"{path} cannot be written: there is no folder {path.parent}")
    if _send(settings, exchange, chosen, path, yes=yes):
        _show(_judge_file(settings, exchange, path), output_format)


def _read_symbols(symbols: str | None, exchange: str) -> list[str]:
    from backfill_assets.market.calendar.tickers import parse_ticker

    names = [name for part in (symbols or "").split(",") if (name := part.strip())]
    if symbols is not None and not names:
        raise UsageError("--symbols is empty; name at least one, for example --symbols VOD")
    tickers = [parse_ticker(name if "." in name else f"{name}.{exchange}") for name in names]
    for ticker in tickers:
        if ticker.exchange != exchange:
            raise UsageError(f"{ticker} is not of exchange {exchange}")
    return [ticker.symbol for ticker in tickers]


def _send(settings: "Settings", exchange: str, symbols: list[str], path: Path, *, yes: bool) -> bool:
    """Print the price, ask, send and record; returns whether anything was sent."""
    from backfill_assets.backfill.fetch.graceful_shutdown import GracefulShutdown
    from backfill_assets.backfill.job_request import open_engine
    from backfill_assets.backfill.market_probe import plan_probe, send_probe
    from backfill_assets.backfill.probe_recording import create_recording, write_recording

    with open_engine(settings) as engine:
        probe = plan_probe(engine, exchange, symbols)
        _show_plan(probe)
        if not yes and not sys.stdin.isatty():
            raise UsageError("nothing was requested: without a terminal to ask on, confirm with --yes")
        if not yes and not click.confirm("send them?", default=False, err=True):
            click.echo("nothing was requested")
            return False
        with create_recording(path) as file, GracefulShutdown(settings.stop_seconds) as shutdown:
            result = send_probe(engine, probe, shutdown)
            if result.recording.answers:
                write_recording(result.recording, file)
    if result.recording.answers:
        click.echo(f"recorded in {path}", err=True)
    if result.error is not None:
        raise result.error
    return True


def _show_plan(probe: "MarketProbe") -> None:
    from backfill_assets.backfill.market_probe import ENDPOINTS, PRICES

    for question in probe.questions:
        price, subject = PRICES[question.kind], question.subject or ("(a share)" if question.first else "")
        place = f"/{ENDPOINTS[question.kind]}{f'/{subject}' if subject else ''}"
        dates = f" {question.first:%Y-%m-%d} to {question.last:%Y-%m-%d}" if question.first and question.last else ""
        at = f" at {question.interval}" if question.interval else ""
        click.echo(f"{'?' if price is None else price:>3}  {place}{at}{dates}: {question.purpose}", err=True)
    total = f"{format_count(len(probe.questions), 'request')}, {format_count(probe.calls, 'call')}"
    unknown = f" and one of an unknown price, counted as {ASSUMED_HOURS_CALLS}" if probe.has_unknown_price else ""
    click.echo(f"{total}{unknown}", err=True)


def _judge_file(settings: "Settings", exchange: str, path: Path) -> "ProbeReport":
    from backfill_assets.backfill.probe_recording import parse_recording, read_recording
    from backfill_assets.config.calendar_cache import use_calendar_cache
    from backfill_assets.market.probe.report import judge_answers

    use_calendar_cache(settings)
    recording = read_recording(path)
    if recording.exchange != exchange:
        raise UsageError(f"--from {path} is a recording of exchange {recording.exchange}, not of {exchange}")
    return judge_answers(parse_recording(recording, settings.get_market(exchange)))


def _show(report: "ProbeReport", output_format: str) -> None:
    if output_format == "json":
        click.echo(json.dumps(_to_json(report), indent=2))
        return
    for fact in report.facts:
        click.echo(fact)
    for item in report.attributes:
        click.echo(f"\n{item.name}\n  assumed  {item.assumed}\n  seen     {item.seen or 'nothing'}")
        click.echo(f"  proposed {item.proposed or 'no change'}")
    if report.settings:
        click.echo("\nProposed for BACKFILL_MARKETS_FILE (docs/markets.md); nothing is set by itself:\n")
        click.echo(report.settings, nl=False)


def _to_json(report: "ProbeReport") -> dict[str, Any]:
    attributes = [
        {"name": item.name, "assumed": item.assumed, "seen": item.seen, "proposed": item.proposed}
        for item in report.attributes
    ]
    return {
        "exchange": report.market.exchange,
        "facts": list(report.facts),
        "attributes": attributes,
        "settings": report.settings,
    }
