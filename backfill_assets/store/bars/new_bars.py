"""Inserts the bars of symbols that have none stored from their first to their last one.

Most batches are of such symbols: a first fill, or sessions that have just ended. Nothing of theirs is compared, and
nothing is looked up again before each row is written, which costs half as much (docs/decisions/0093). All others, and
those that another program stores at the same moment, are merged by ``bar_writer``.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from psycopg.errors import UniqueViolation

from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.columns import Columns
from backfill_assets.market.equal_runs import find_run_ends, find_run_starts
from backfill_assets.store.bars.bar_staging import drop_staged_bars, stage_bars
from backfill_assets.store.bars.stored_values import mark_volume
from backfill_assets.store.census.own_inserts import counted_inserts
from backfill_assets.store.postgres.connection import Connection

Outcomes = list[tuple[Any, ...]]  # symbol_id, what was done, and with how many bars
# LIMIT and LATERAL: one look at an index for each symbol, whatever is known of the table's size.
_SELECT_STORED_SYMBOLS = """
SELECT u.symbol_id FROM unnest(%(ids)s::int[], %(first)s::bigint[], %(last)s::bigint[]) AS u (symbol_id, first, last)
CROSS JOIN LATERAL (
    SELECT FROM market_data d WHERE d.symbol_id = u.symbol_id AND d.interval_type = ANY (%(spellings)s)
       AND d.timestamp BETWEEN to_timestamp(u.first) AND to_timestamp(u.last) LIMIT 1
) AS stored
"""
_STORED_VOLUME, _VOLUME_MARK = mark_volume("staged_bars")
# A sub-select: a constant that is too long for the column would be refused even where no row is inserted.
_INSERT_STAGED_BARS = f"""
WITH written AS (
    INSERT INTO market_data (symbol_id, interval_type, timestamp, open_price, high_price, low_price, close_price,
                             volume, source, source_interval, source_rows, is_final, fetched_at, volume_known)
    SELECT symbol_id, (SELECT %(spelling)s::text), stamp, open_price, high_price, low_price, close_price,
           {_STORED_VOLUME}, %(source)s, %(source_interval)s, source_rows, is_final, clock_timestamp(), {_VOLUME_MARK}
    FROM staged_bars WHERE may_insert ORDER BY symbol_id, stamp
), required AS (  -- no row, but the key: without it two writers could store the same bar
    INSERT INTO market_data (symbol_id, interval_type, timestamp) SELECT symbol_id, '', stamp FROM staged_bars
    WHERE false ON CONFLICT (symbol_id, interval_type, timestamp) DO NOTHING
)
SELECT symbol_id, CASE WHEN may_insert THEN 'inserted' ELSE 'outside' END, count(*)
FROM staged_bars GROUP BY symbol_id, may_insert
"""  # noqa: S608 - only constants are inserted


def insert_new_bars(
    connection: Connection, bars: Columns, values: Mapping[str, Any], merge: Callable[[Columns], Outcomes]
) -> Outcomes:
    """Insert the bars of symbols that have none stored, and have the others merged; returns what was done with them.

    Args:
        connection: with a transaction open.
        bars: as for ``bar_writer.write_bars``.
        values: its parameters.
        merge: compares bars with the stored ones and writes them.

    Raises:
        InvalidColumnReference: the table has lost its unique key.
    """
    is_stored = np.isin(bars["symbol_id"], find_stored_symbols(connection, bars, values["spellings"]))
    if is_stored.all():
        return merge(bars)
    if not is_stored.any():
        return _insert(connection, bars, values, merge)
    return [*_insert(connection, bars.take(~is_stored), values, merge), *merge(bars.take(is_stored))]


def find_stored_symbols(connection: Connection, bars: Columns, spellings: Sequence[str]) -> list[int]:
    """The symbol_ids of ``bars`` (``symbol_id``, ``timestamp``) with a stored bar from their first to their last."""
    ordered = bars.take(np.lexsort((bars["timestamp"], bars["symbol_id"])))
    symbol_id, stamp = ordered["symbol_id"], ordered["timestamp"]
    starts, ends = find_run_starts(symbol_id), find_run_ends(symbol_id)
    spans = {"ids": symbol_id[starts].tolist(), "first": stamp[starts].tolist(), "last": stamp[ends].tolist()}
    values = {**spans, "spellings": list(spellings)}
    return [symbol_id for (symbol_id,) in connection.execute(_SELECT_STORED_SYMBOLS, values)]


def _insert(
    connection: Connection, bars: Columns, values: Mapping[str, Any], merge: Callable[[Columns], Outcomes]
) -> Outcomes:
    of_census = INTERVALS[values["interval"]], values["spelling"], values["source_interval"]
    try:
        with connection.transaction():
            stage_bars(connection, bars)
            with counted_inserts(connection, bars, *of_census):
                outcomes = connection.execute(_INSERT_STAGED_BARS.encode(), values).fetchall()
            drop_staged_bars(connection)
    except UniqueViolation:  # another program has stored one of them meanwhile
        return merge(bars)
    return outcomes
