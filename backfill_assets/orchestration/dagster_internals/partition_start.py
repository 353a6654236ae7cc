"""The first day that is a partition: the same in the code server and in every run worker that it starts.

The code server computes the day of each exchange when it loads the definitions, and Dagster stores it with each run's
plan ("reconstruction metadata"). The worker of a run loads the definitions again and reads the stored days. If it
computed them anew, it would get later ones once another session has opened, and a run over the oldest day would fail.

Relies on ``DefinitionsLoadContext`` and ``DefinitionsLoadType``: https://github.com/dagster-io/dagster/pull/24490
(2024), repaired by https://github.com/dagster-io/dagster/pull/28416 (2025). Upstream: no issue found; it would be
"make reconstruction metadata a public API, so that definitions can depend on a value computed once in the code server".
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import date

from dagster._core.definitions.definitions_load_context import DefinitionsLoadContext, DefinitionsLoadType

from backfill_assets.config.settings import Settings
from backfill_assets.market.exchanges.profile import MarketProfile
from backfill_assets.orchestration.exchange_names import add_exchange
from backfill_assets.orchestration.partitions import compute_first_day
from backfill_assets.store.postgres.database import open_database
from backfill_assets.store.symbols import list_symbols

METADATA_KEY = "backfill_assets/first_day"


def resolve_first_partition_days(settings: Settings, markets: Sequence[MarketProfile]) -> dict[str, date]:
    """By exchange the first day: in a run worker that of its code server, else from settings and universe.

    Raises:
        DatabaseUnavailable: no database; the number of symbols decides how many days are partitions.
    """
    computed: dict[str, date] = {}

    def compute(market: MarketProfile) -> str:
        if not computed:
            computed.update(compute_first_partition_days(settings, markets))
        return computed[market.exchange].isoformat()

    def resolve(market: MarketProfile) -> date:
        return date.fromisoformat(compute_once(add_exchange(METADATA_KEY, market.exchange), lambda: compute(market)))

    return {market.exchange: resolve(market) for market in markets}


def compute_first_partition_days(settings: Settings, markets: Sequence[MarketProfile]) -> dict[str, date]:
    """By exchange the first day as a code server that loads the definitions now would compute it.

    Raises:
        DatabaseUnavailable: no database.
    """
    counts = _count_active_symbols(settings, markets)
    return {market.exchange: compute_first_day(settings, market, counts[market.exchange]) for market in markets}


def compute_once(key: str, compute: Callable[[], str]) -> str:
    """What ``compute`` returned when the code server loaded the definitions; every later load has it by ``key``."""
    context = DefinitionsLoadContext.get()
    is_reconstruction = context.load_type is DefinitionsLoadType.RECONSTRUCTION
    stored = context.reconstruction_metadata.get(key) if is_reconstruction else None
    value = compute() if stored is None else str(stored)
    context.add_to_pending_reconstruction_metadata(key, value)
    return value


def _count_active_symbols(settings: Settings, markets: Sequence[MarketProfile]) -> Mapping[str, int]:
    database = open_database(settings)
    try:
        with database.transaction() as connection:
            return {market.exchange: len(list_symbols(connection, market.exchange)) for market in markets}
    finally:
        database.close()
