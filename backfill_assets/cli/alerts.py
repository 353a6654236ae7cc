"""``alerts``: test the alert destinations, and list what is failing and what was sent."""

import json
import sys
from datetime import datetime

import click

from backfill_assets.cli.options import add_common_options, add_format_option, load_command_settings, make_console
from backfill_assets.errors import UsageError


@click.group()
def alerts() -> None:
    """Alert destinations (BACKFILL_ALERT_URLS) and what is failing."""


@alerts.command("test")
@add_common_options
def alerts_test(as_of: datetime | None, debug: bool) -> None:
    """Send a test message to each address now; exit code 3 if a delivery fails."""
    from backfill_assets.alerts.delivery import send_test

    settings = load_command_settings(as_of, debug=debug)
    if not settings.alert_urls:
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
