"""The first day that is a partition: the same in the code server and in every run worker that it starts.

The code server computes the day when it loads the definitions, and Dagster stores it with each run's plan
("reconstruction metadata"). The worker of a run loads the definitions again and reads the stored day. If it computed
the day anew, it would get a later one once another session has opened, and a run over the oldest day would fail.

Relies on ``DefinitionsLoadContext`` and ``DefinitionsLoadType``: https://github.com/dagster-io/dagster/pull/24490
(2024), repaired by https://github.com/dagster-io/dagster/pull/28416 (2025). Upstream: no issue found; it would be
"make reconstruction metadata a public API, so that definitions can depend on a value computed once in the code server".
"""

from collections.abc import Callable
from datetime import date

from dagster._core.definitions.definitions_load_context import DefinitionsLoadContext, DefinitionsLoadType

from backfill_assets.config.settings import Settings
from backfill_assets.market.calendar.exchanges import DEFAULT_EXCHANGE
from backfill_assets.orchestration.partitions import compute_first_day
from backfill_assets.store.postgres.database import open_database
from backfill_assets.store.symbols import list_symbols

METADATA_KEY = "backfill_assets/first_day"


def resolve_first_partition_day(settings: Settings) -> date:
    """The first day: in a run worker that of its code server, in the code server from settings and universe.

    Raises:
        DatabaseUnavailable: no database; the number of symbols decides how many days are partitions.
    """

    def compute() -> str:
        return compute_first_day(settings, _count_active_symbols(settings)).isoformat()

    return date.fromisoformat(compute_once(METADATA_KEY, compute))


def compute_once(key: str, compute: Callable[[], str]) -> str:
    """What ``compute`` returned when the code server loaded the definitions; every later load has it by ``key``."""
    context = DefinitionsLoadContext.get()
    is_reconstruction = context.load_type is DefinitionsLoadType.RECONSTRUCTION
    stored = context.reconstruction_metadata.get(key) if is_reconstruction else None
    value = compute() if stored is None else str(stored)
    context.add_to_pending_reconstruction_metadata(key, value)
    return value


def _count_active_symbols(settings: Settings) -> int:
    database = open_database(settings)
    try:
        with database.transaction() as connection:
            return len(list_symbols(connection, DEFAULT_EXCHANGE))
    finally:
        database.close()
