"""Compares the census with a full count of the stored bars, block by block, and has counted again what differs."""

from collections.abc import Iterator

from backfill_assets.store.census.comparison import CensusDifference, compare_census
from backfill_assets.store.census.recount import BLOCK_SIZE, mark_uncounted
from backfill_assets.store.postgres.connection import Database

# Those that wait to be counted differ from nothing.
_SELECT_COUNTED = "SELECT symbol_id FROM backfill.census_symbols WHERE uncounted = '{}' ORDER BY symbol_id"


def verify_census(database: Database) -> Iterator[list[CensusDifference]]:
    """Count all bars again, one block of symbols after another, each in a snapshot; the differences of each block.

    Symbols that differ are marked, so that they are counted again and believed no longer until then.
    """
    with database.transaction() as connection:
        ids = [symbol_id for (symbol_id,) in connection.execute(_SELECT_COUNTED)]
    for begin in range(0, len(ids), BLOCK_SIZE):
        with database.snapshot() as connection:
            found = compare_census(connection, ids[begin : begin + BLOCK_SIZE])
        if found:
            with database.transaction() as connection:
                mark_uncounted(connection, sorted({one.symbol_id for one in found}))
        yield found
