"""``partition-table``: partition an existing table of bars by years, beside those who read and write it."""

import json
import shutil
from contextlib import closing
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from backfill_assets.cli.options import add_common_options, add_format_option, load_command_settings, make_console
from backfill_assets.errors import UsageError

if TYPE_CHECKING:
    from backfill_assets.backfill.table_partitioning import PartitioningProgress
    from backfill_assets.store.partitioning.table_facts import TableFacts
    from backfill_assets.store.postgres.connection import Database

_ROWS_PER_SECOND = 38_000  # copied and compared; measured on two cores beside other work (docs/decisions/0090)


@click.command("partition-table")
@click.option("--dry-run", is_flag=True, help="Print what would be done and what it needs, and change nothing.")
@click.option("--abandon", is_flag=True, help="Give up a partitioning that is under way; market_data stays as it was.")
@add_format_option("text", "json")
@add_common_options
def partition_table(dry_run: bool, abandon: bool, output_format: str, as_of: datetime | None, debug: bool) -> None:
    """Partition an existing table of bars by years.

    Copies market_data into partitions, compares all bars by their hashes, and then gives the copy the name in one
    transaction. Others read and write meanwhile. After an interruption run it again; it goes on. New databases are
    partitioned from the start, and tables of other programs stay as they are.
    """
    from backfill_assets.backfill.table_partitioning import abandon_partitioning
    from backfill_assets.store.postgres.database import open_database

    if dry_run and abandon:
        raise UsageError("--dry-run and --abandon exclude each other; --dry-run also shows what is under way")
    settings = load_command_settings(as_of, debug=debug)
    with closing(open_database(settings)) as database:
        if abandon:
            if not abandon_partitioning(database):
                raise UsageError("no partitioning of market_data is under way")
            result: dict[str, Any] = {"abandoned": True}
        elif dry_run:
            result = _describe(database, settings.now())
        else:
            result = _partition(database, settings.now(), is_quiet=output_format == "json")
    if output_format == "json":
        click.echo(json.dumps(result, indent=1))
    elif abandon:
        click.echo("given up; market_data is as it was")
    elif dry_run:
        _show_needs(result)
    else:
        click.echo(
            f"market_data is partitioned by years: {result['rows']:,} bars, with the same hash before and after"
            f" ({result['hash_before_and_after']})"
        )


def _show_needs(needs: dict[str, Any]) -> None:
    from backfill_assets.cli.named_lines import show_named_lines

    free = needs["free_bytes"]
    lines = {
        "table": needs["table"],
        "bars": f"about {needs['rows_about']:,}",
        "size": f"{needs['bytes'] / 1e6:,.1f} MB; {needs['free_bytes_needed'] / 1e6:,.1f} MB must be free beside it",
        "free": "not known here" if free is None else f"{free / 1e6:,.1f} MB",
        "partitions": needs["partitions"],
        "time": f"about {needs['minutes_about']:,} min",
        **({"under way": needs["under_way"]} if "under_way" in needs else {}),
        "to do it": "backfill-assets partition-table",
    }
    show_named_lines(make_console(), list(lines.items()))


def _describe(database: "Database", now: datetime) -> dict[str, Any]:
    """What the command would do."""
    from backfill_assets.backfill.table_partitioning import describe_table

    facts, obstacles, job = describe_table(database, now)
    if obstacles:
        raise UsageError("; ".join(obstacles))
    minutes = max(1, round(facts.rows / _ROWS_PER_SECOND / 60))
    return {
        "table": f"{facts.schema}.market_data, plain, of {facts.owner}",
        "rows_about": facts.rows,
        "bytes": facts.size,
        "free_bytes_needed": _compute_needed(facts),
        "free_bytes": _find_free(facts),
        "partitions": f"the years {facts.first_year} to {facts.last_year}, and what is before and after",
        "minutes_about": minutes,
        **({"under_way": f"{job.stage}, {job.copied_rows:,} bars copied"} if job else {}),
    }


def _compute_needed(facts: "TableFacts") -> int:
    """The copy, and a tenth for the log of the server and the notes of changes."""
    return facts.size + facts.size // 10


def _find_free(facts: "TableFacts") -> int | None:
    """What is free where the table's files are; None if that cannot be seen from here, as of a server elsewhere."""
    try:
        return shutil.disk_usage(facts.folder).free if facts.folder else None
    except OSError:
        return None


def _partition(database: "Database", now: datetime, *, is_quiet: bool) -> dict[str, Any]:
    from backfill_assets.backfill.table_partitioning import partition_table

    def show(progress: "PartitioningProgress") -> None:
        if not is_quiet:
            click.echo(
                f"{progress.stage}: {progress.copied_rows:,} bars copied, {progress.verified_rows:,} compared", err=True
            )

    done = partition_table(database, now, show)
    return {"rows": done.verified_rows, "hash_before_and_after": str(done.verified_hash)}
