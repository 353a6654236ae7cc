"""``alerts``: test the destinations, list what fails and what was sent, and answer an alert."""

import json
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import click

from backfill_assets.cli.caller import clean_text, describe_caller
from backfill_assets.cli.command_group import CommandGroup
from backfill_assets.cli.options import (
    DurationType,
    InstantType,
    add_common_options,
    add_format_option,
    load_command_settings,
    make_console,
)
from backfill_assets.errors import UsageError

if TYPE_CHECKING:
    from backfill_assets.store.alert_answers import AnswerKind

F = TypeVar("F", bound=Callable[..., Any])


@click.group(cls=CommandGroup)
def alerts() -> None:
    """Alert destinations (BACKFILL_ALERT_URLS), what is failing, and answers to it."""


@alerts.command("test")
@add_common_options
def alerts_test(as_of: datetime | None, debug: bool) -> None:
    """Send a test message to each address now; exit code 3 if a delivery fails."""
    from backfill_assets.alerts.delivery import list_addresses, send_test

    settings = load_command_settings(as_of, debug=debug)
    if not list_addresses(settings):
        raise UsageError("BACKFILL_ALERT_URLS is not set; example: mailto://user:password@example.com")
    outcomes = send_test(settings)
    for number, (scheme, error) in enumerate(outcomes, 1):
        click.echo(f"address {number} ({scheme}): {error or 'delivered'}")
    sys.exit(3 if any(error for _, error in outcomes) else 0)


@alerts.command("list")
@add_format_option("table", "json")
@add_common_options
def alerts_list(output_format: str, as_of: datetime | None, debug: bool) -> None:
    """Show what is failing and since when, and the last delivery to each address."""
    from backfill_assets.alerts.alert_status import read_alert_status
    from backfill_assets.backfill.job_request import open_engine
    from backfill_assets.cli.alert_rendering import show_alerts

    with open_engine(load_command_settings(as_of, debug=debug)) as engine:
        alert_status = read_alert_status(engine.database, engine.settings, engine.settings.now())
    if output_format == "json":
        click.echo(json.dumps(alert_status, indent=1))
    else:
        show_alerts(make_console(), alert_status)


def _add_answer_options(command: F) -> F:
    """What ``alerts ack`` and ``alerts snooze`` share."""
    for option in (
        add_format_option("table", "json"),
        click.option("--dry-run", is_flag=True, help="Show what would be answered, and record nothing."),
        click.option("--note", help="Why; shown with the alert."),
        click.option("--all", "answer_all", is_flag=True, help="Everything that fails now."),
        click.argument("names", nargs=-1, metavar="[NAME]..."),
    ):
        command = option(command)
    return add_common_options(command)


@alerts.command("ack")
@_add_answer_options
def alerts_ack(**options: Any) -> None:
    """Say that somebody works on an alert: it is not repeated until it gets worse or ends.

    NAME is the name that ``alerts list`` shows, or a part that only it has. Worse is a higher severity, twice the
    figure, or slots that are given up. Its end is told.
    """
    _answer("acknowledged", None, **options)


@alerts.command("snooze")
@click.option("--until", type=InstantType(), help="When the silence ends (ISO 8601 with time zone).")
@click.option("--for", "duration", type=DurationType(), help="How long the silence lasts, for example 2h or 1d12h.")
@_add_answer_options
def alerts_snooze(until: datetime | None, duration: timedelta | None, as_of: datetime | None, **options: Any) -> None:
    """Send nothing about an alert until a time; if it still fails then, it is told again.

    NAME is the name that ``alerts list`` shows, or a part that only it has.
    """
    from backfill_assets.config.settings import load_settings

    if (until is None) == (duration is None):
        raise UsageError("give one of --until and --for, for example --for 12h")
    now = load_settings(as_of=as_of).now()
    end = until or now + (duration or timedelta())
    if end <= now:
        raise UsageError(f"--until {end:%Y-%m-%d %H:%M} UTC is over; it is now {now:%Y-%m-%d %H:%M} UTC")
    _answer("snoozed", end, as_of=as_of, **options)


def _answer(
    kind: "AnswerKind",
    until: datetime | None,
    *,
    names: tuple[str, ...],
    answer_all: bool,
    note: str | None,
    dry_run: bool,
    output_format: str,
    as_of: datetime | None,
    debug: bool,
) -> None:
    from backfill_assets.alerts.alert_status import describe_answer
    from backfill_assets.alerts.answers import answer_alerts
    from backfill_assets.backfill.job_request import open_engine
    from backfill_assets.cli.alert_rendering import format_answer
    from backfill_assets.store.alert_answers import AlertAnswer

    if bool(names) == answer_all:
        raise UsageError("name an alert that `backfill-assets alerts list` shows, or give --all")
    text, settings = clean_text(note, "--note"), load_command_settings(as_of, debug=debug)
    answer = AlertAnswer("", kind, describe_caller(), settings.now(), until, text)
    with open_engine(settings) as engine:
        given = answer_alerts(engine.database, names, answer, dry_run=dry_run)
    if output_format == "json":
        rows = [{"name": one.name, **describe_answer(one), "recorded": not dry_run} for one in given]
        click.echo(json.dumps(rows, indent=1))
        return
    for one in given:
        click.echo(f"{'would be ' if dry_run else ''}{format_answer(describe_answer(one))}  {one.name}")
