"""``migrate``: bring the database to this version's schema before its processes start.

Every command does so, too. This one says what it does, can be run by a role of its own, and alone applies a migration
after which programs of earlier versions cannot go on.
"""

import json
from contextlib import closing
from datetime import datetime
from typing import TYPE_CHECKING

import click

from backfill_assets.cli.options import add_common_options, add_format_option, load_command_settings

if TYPE_CHECKING:
    from backfill_assets.store.postgres.migrate import PendingSchema


_ANY = 2**62  # a person waits for this command: bars in an outer partition move, however many


@click.command()
@click.option("--dry-run", is_flag=True, help="Print what would be applied, and change nothing.")
@click.option(
    "--allow-breaking",
    is_flag=True,
    help="Apply also what programs of earlier versions cannot go on after; stop them all first.",
)
@add_format_option("text", "json")
@add_common_options
def migrate(dry_run: bool, allow_breaking: bool, output_format: str, as_of: datetime | None, debug: bool) -> None:
    """Bring the database to the schema of this version.

    Run it before the processes of a new version where they use a role that may not change the schema, or where
    several start at once. Programs of the version before go on meanwhile, unless --allow-breaking is needed.
    """
    from backfill_assets.store.postgres.bar_partitions import ensure_partitions
    from backfill_assets.store.postgres.database import connect_database, find_pending_schema, prepare_schema

    settings = load_command_settings(as_of, debug=debug)
    with closing(connect_database(settings)) as database:
        pending = find_pending_schema(database)
        applied = [] if dry_run else prepare_schema(database, allow_breaking=allow_breaking)
        if not dry_run:
            ensure_partitions(database, settings.now(), most_moved=_ANY)
    if output_format == "json":
        click.echo(json.dumps(_build_report(pending, applied), indent=1))
    else:
        _print_report(pending, applied, dry_run=dry_run)


def _build_report(pending: "PendingSchema", applied: list[str]) -> dict[str, object]:
    rows = [
        {
            "name": m.name,
            "breaking": m.is_breaking,
            "needs_permission": not pending.is_new_database and m.needs_permission,
            "summary": m.summary,
        }
        for m in pending.migrations
    ]
    return {"new_database": pending.is_new_database, "pending": rows, "applied": applied}


def _print_report(pending: "PendingSchema", applied: list[str], *, dry_run: bool) -> None:
    summaries = {migration.name: migration.summary for migration in pending.migrations}
    for name in applied:
        click.echo(f"applied {name}" + (f": {summaries[name]}" if summaries.get(name) else ""))
    if not dry_run:
        click.echo("the database has the schema of this version" + ("" if applied else "; nothing to apply"))
    elif pending.is_new_database:
        click.echo("the database is new and would get the whole schema of this version")
    else:
        for migration in pending.migrations:
            click.echo(
                f"would apply {migration.name}: {migration.summary}"
                + (" (needs --allow-breaking)" if migration.needs_permission else "")
            )
        if not pending.migrations:
            click.echo("the database has the schema of this version; nothing to apply")
