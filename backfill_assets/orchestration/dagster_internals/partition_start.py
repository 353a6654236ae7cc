"""The first day that is a partition: the same in a server and in every process that runs for it.

A server works it out when it loads the definitions and Dagster keeps it with each run's plan ("reconstruction
metadata"); the worker of a run loads the definitions again and takes it from there. Worked out anew, it would
be a later one as soon as a session has opened since, and the run of an older day would fail.
"""

from datetime import date

from dagster._core.definitions.definitions_load_context import DefinitionsLoadContext, DefinitionsLoadType

from backfill_assets.config.settings import Settings
from backfill_assets.market.calendar.tickers import DEFAULT_EXCHANGE
from backfill_assets.orchestration.partitions import first_day_for
from backfill_assets.store.postgres.database import open_database
from backfill_assets.store.symbols import list_symbols

KEY = "backfill_assets/first_day"


def first_partition_day(settings: Settings) -> date:
    """The server's first day in a process that runs for it; in the server, what settings and universe give now.

    Raises:
        DatabaseUnavailable: no database: the universe's size decides how many days are partitions.
    """
    context = DefinitionsLoadContext.get()
    again = context.load_type is DefinitionsLoadType.RECONSTRUCTION
    told = context.reconstruction_metadata.get(KEY) if again else None
    first = date.fromisoformat(told) if told else first_day_for(settings, _universe_size(settings))
    context.add_to_pending_reconstruction_metadata(KEY, first.isoformat())
    return first


def _universe_size(settings: Settings) -> int:
    database = open_database(settings)
    try:
        with database.transaction() as connection:
            return len(list_symbols(connection, DEFAULT_EXCHANGE))
    finally:
        database.close()
