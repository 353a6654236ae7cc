"""The first day that is a partition: the same in a server and in every process that runs for it.

A server works it out when it loads the definitions and Dagster keeps it with each run's plan ("reconstruction
metadata"); the worker of a run loads the definitions again and takes it from there. Worked out anew, it would
be a later one as soon as a session has opened since, and the run of an older day would fail.
"""

from datetime import date

from dagster._core.definitions.definitions_load_context import DefinitionsLoadContext, DefinitionsLoadType

from backfill_assets.config.settings import Settings
from backfill_assets.market.calendar.tickers import DEFAULT_EXCHANGE
from backfill_assets.orchestration.partitions import compute_first_day
from backfill_assets.store.postgres.database import open_database
from backfill_assets.store.symbols import list_symbols

METADATA_KEY = "backfill_assets/first_day"


def resolve_first_partition_day(settings: Settings) -> date:
    """The server's first day in a process that runs for it; in the server, what settings and universe give now.

    Raises:
        DatabaseUnavailable: no database: the universe's size decides how many days are partitions.
    """
    context = DefinitionsLoadContext.get()
    is_reconstruction = context.load_type is DefinitionsLoadType.RECONSTRUCTION
    stored_day = context.reconstruction_metadata.get(METADATA_KEY) if is_reconstruction else None
    first = (
        date.fromisoformat(stored_day) if stored_day else compute_first_day(settings, _count_active_symbols(settings))
    )
    context.add_to_pending_reconstruction_metadata(METADATA_KEY, first.isoformat())
    return first


def _count_active_symbols(settings: Settings) -> int:
    database = open_database(settings)
    try:
        with database.transaction() as connection:
            return len(list_symbols(connection, DEFAULT_EXCHANGE))
    finally:
        database.close()
