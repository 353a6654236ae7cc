"""The universe as an asset: the symbols of every exchange, which are partition keys."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.listing_filter import UNUSABLE, ListingFilter, parse_filter_words
from backfill_assets.backfill.symbol_sync import SymbolSyncResult, sync_universe
from backfill_assets.orchestration.catalog import ROW_COUNT
from backfill_assets.orchestration.exchange_names import GROUP
from backfill_assets.orchestration.partitions import sync_symbol_partitions
from backfill_assets.quality.unused_names import describe_unused_names
from backfill_assets.store.relations import count_universe_rows
from backfill_assets.store.symbols import read_universe

POOL = "eodhd"
UNIVERSE_KEY = dg.AssetKey("market_symbols")


@dg.asset(key=UNIVERSE_KEY, group_name=GROUP, kinds={"postgres"}, pool=POOL)
def market_symbols(
    context: dg.AssetExecutionContext, backfill_engine: dg.ResourceParam[Engine]
) -> dg.MaterializeResult[Any]:
    """The universe: active rows of market_symbols. With BACKFILL_SYNC_EXCHANGE, adds the vendor's new symbols first."""
    synced = _sync_with_vendor(backfill_engine)
    exchanges = backfill_engine.settings.exchanges
    with backfill_engine.database.transaction() as connection:
        universes = {exchange: read_universe(connection, exchange) for exchange in exchanges}
        row_count = count_universe_rows(connection)
        notes = describe_unused_names(connection, universes.values(), exchanges)
    active = {
        exchange: [str(symbol.ticker) for symbol in universe.symbols if symbol.is_active]
        for exchange, universe in universes.items()
    }
    changes = [sync_symbol_partitions(context.instance, tickers, exchange) for exchange, tickers in active.items()]
    figures = build_universe_metadata({exchange: len(tickers) for exchange, tickers in active.items()}, changes)
    return dg.MaterializeResult(
        metadata={
            **{**figures, ROW_COUNT: row_count},
            **(_build_sync_metadata(synced) if synced else {}),
            **({"names not used": "; ".join(notes)} if notes else {}),
        }
    )


def build_universe_metadata(active: Mapping[str, int], changes: list[tuple[int, int]]) -> dict[str, Any]:
    """The figures of a materialization of the universe.

    Args:
        active: by exchange, the number of active symbols.
        changes: for each exchange, how many partitions were added and removed.
    """
    return {
        "active": sum(active.values()),
        **({"active by exchange": dg.JsonMetadataValue(dict(active))} if len(active) > 1 else {}),
        "partitions added": sum(added for added, _ in changes),
        "partitions removed": sum(removed for _, removed in changes),
    }


def _sync_with_vendor(engine: Engine) -> SymbolSyncResult | None:
    settings = engine.settings
    if settings.sync_exchange is None:
        return None
    wanted = ListingFilter(parse_filter_words(settings.sync_listing), parse_filter_words(settings.sync_type))
    return sync_universe(engine, settings.sync_exchange, wanted)


def _build_sync_metadata(synced: SymbolSyncResult) -> dict[str, int | str]:
    return {
        "listed by the vendor": synced.listed,
        "new": synced.added,
        "unusable": len(synced.left_out.get(UNUSABLE, ())),
        "left out": synced.left_out_count,
        "notes": "; ".join(synced.describe()),
    }
