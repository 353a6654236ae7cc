"""Compares the census with a full count of the stored bars, block by block, and has counted again what differs."""

import logging
from collections.abc import Iterator, Sequence

from backfill_assets.config.counts import format_count
from backfill_assets.store.census.comparison import CensusDifference, compare_census
from backfill_assets.store.census.months import try_lock_census
from backfill_assets.store.census.recount import BLOCK_SIZE, mark_uncounted
from backfill_assets.store.postgres.connection import Database

# Those that wait to be counted differ from nothing.
_SELECT_COUNTED = "SELECT symbol_id FROM backfill.census_symbols WHERE uncounted = '{}' ORDER BY symbol_id"
_log = logging.getLogger(__name__)


def verify_census(database: Database) -> Iterator[list[CensusDifference]]:
    """Count all bars again, one block of symbols after another, each in a snapshot; the differences of each block.

    Symbols that differ are marked, so that they are counted again and believed no longer until then.
    """
    for block in _list_blocks(database):
        yield _verify_block(database, block)


def verify_census_block(database: Database, turn: int) -> None:
    """The same of one block; as many turns as there are blocks verify all. Nothing where the census cannot be changed.

    So what was written past the triggers is found although nobody asks.
    """
    with database.transaction() as connection:
        if not try_lock_census(connection):
            return
    blocks = list(_list_blocks(database))
    if blocks and (found := _verify_block(database, blocks[turn % len(blocks)])):
        symbols = format_count(len({one.symbol_id for one in found}), "symbol")
        _log.warning("bars of %s were written past the triggers of the census; they are counted again", symbols)


def _list_blocks(database: Database) -> Iterator[Sequence[int]]:
    with database.transaction() as connection:
        ids = [symbol_id for (symbol_id,) in connection.execute(_SELECT_COUNTED)]
    return (ids[begin : begin + BLOCK_SIZE] for begin in range(0, len(ids), BLOCK_SIZE))


def _verify_block(database: Database, symbol_ids: Sequence[int]) -> list[CensusDifference]:
    with database.snapshot() as connection:
        found = compare_census(connection, symbol_ids)
    if found:
        with database.transaction() as connection:
            mark_uncounted(connection, sorted({one.symbol_id for one in found}))
    return found
