"""What stands in the contract tables under names that no collected exchange uses, as sentences."""

from collections.abc import Collection
from dataclasses import replace

from backfill_assets.market.exchanges.names import find_exchange
from backfill_assets.store.name_notes import describe_names
from backfill_assets.store.postgres.connection import Connection
from backfill_assets.store.symbols import Universe, read_universe


def read_unused_names(connection: Connection, exchanges: Collection[str]) -> list[str]:
    """The sentences about all ``exchanges`` (the vendor's codes), each once."""
    universes = [read_universe(connection, exchange) for exchange in exchanges]
    return describe_unused_names(connection, universes, exchanges)


def describe_unused_names(
    connection: Connection, universes: Collection[Universe], exchanges: Collection[str]
) -> list[str]:
    """The same of universes that were read already, one for each of ``exchanges``."""
    notes = [
        note for universe in universes for note in describe_names(connection, _drop_collected(universe, exchanges))
    ]
    return list(dict.fromkeys(notes))


def _drop_collected(universe: Universe, exchanges: Collection[str]) -> Universe:
    """``universe`` without the rows of the other exchanges that are collected."""
    unused = {name: n for name, n in universe.other_exchanges.items() if find_exchange(name) not in exchanges}
    return replace(universe, other_exchanges=unused)
