"""Counts stored bars for the census: those that were there before its triggers, and on request all of them.

Which months of which symbols have to be counted stands in ``backfill.census_symbols``. A block of symbols is one
transaction and one snapshot: the bars are counted, and the deltas that the snapshot shows are dropped, because the
count has them; later ones stay. Writers go on meanwhile.
"""

from collections.abc import Sequence
from datetime import date

from backfill_assets.store.census.months import COUNTS, set_counts, try_lock_census
from backfill_assets.store.postgres.connection import Connection, Database

BLOCK_SIZE = 25  # symbols; ten years of half hours are 800,000 bars
_SELECT_NEW_SYMBOLS = """
SELECT symbol_id FROM market_symbols m
WHERE NOT EXISTS (SELECT FROM backfill.census_symbols c WHERE c.symbol_id = m.symbol_id) ORDER BY symbol_id
"""
# What never had a bar is counted. Without statistics the planner may read the whole table for each symbol.
_ADD_SYMBOLS = """
INSERT INTO backfill.census_symbols (symbol_id, uncounted)
SELECT id, CASE WHEN EXISTS (SELECT FROM market_data b WHERE b.symbol_id = id)
                  OR EXISTS (SELECT FROM backfill.census_months m WHERE m.symbol_id = id)
                  OR id = ANY (ARRAY(SELECT symbol_id FROM backfill.census_deltas)) THEN '{(,)}' ELSE '{}'
           END::datemultirange
FROM unnest(%(ids)s::bigint[]) AS id ORDER BY id
ON CONFLICT DO NOTHING
"""
_FORCE_INDEX_SCANS, _ALLOW_SEQUENTIAL_SCANS = "SET LOCAL enable_seqscan = off", "SET LOCAL enable_seqscan TO DEFAULT"
_COUNT_BLOCK = f"""
WITH chosen AS MATERIALIZED (
    SELECT symbol_id, uncounted, marks FROM backfill.census_symbols WHERE uncounted <> '{{}}'
    ORDER BY symbol_id LIMIT %(size)s
), dropped AS (
    DELETE FROM backfill.census_deltas d USING chosen c WHERE d.symbol_id = c.symbol_id AND c.uncounted @> d.month
), done AS (
    UPDATE backfill.census_symbols s SET uncounted = '{{}}' FROM chosen c
    WHERE s.symbol_id = c.symbol_id AND s.marks = c.marks
), block AS MATERIALIZED (
    SELECT array_agg(symbol_id) AS ids,
           CASE WHEN bool_or(lower_inf(uncounted)) THEN '-infinity' ELSE min(lower(uncounted)) END AS since,
           CASE WHEN bool_or(upper_inf(uncounted)) THEN 'infinity' ELSE max(upper(uncounted)) END AS until
    FROM chosen
)
SELECT b.symbol_id, b.interval_type, b.month, {", ".join(f"b.{name}" for name in COUNTS)}
FROM block CROSS JOIN LATERAL backfill.count_stored_bars(
    ids, since::timestamp AT TIME ZONE 'UTC', until::timestamp AT TIME ZONE 'UTC') b
JOIN chosen c ON c.symbol_id = b.symbol_id AND c.uncounted @> b.month
UNION ALL
SELECT m.symbol_id, m.interval_type, m.month, 0, 0, 0, 0, 0
FROM chosen c JOIN backfill.census_months m ON m.symbol_id = c.symbol_id AND c.uncounted @> m.month
"""  # noqa: S608 - only constants are inserted
_COUNT_LEFT = "SELECT count(*) FROM backfill.census_symbols WHERE uncounted <> '{}'"
_MARK = """
INSERT INTO backfill.census_symbols AS s (symbol_id, uncounted)
SELECT id, '{(,)}' FROM unnest(%(ids)s::bigint[]) AS id ORDER BY id
ON CONFLICT (symbol_id) DO UPDATE
SET uncounted = s.uncounted + datemultirange(daterange(%(first)s::date, %(until)s::date)), marks = s.marks + 1
"""


def add_symbols(connection: Connection) -> None:
    """Let the census know new symbols. Those without a bar need not be counted later, so before their first request."""
    ids = [row[0] for row in connection.execute(_SELECT_NEW_SYMBOLS)]
    if ids:
        connection.execute(_FORCE_INDEX_SCANS)
        connection.execute(_ADD_SYMBOLS, {"ids": ids})
        connection.execute(_ALLOW_SEQUENTIAL_SCANS)


def count_uncounted(database: Database, *, size: int = BLOCK_SIZE) -> int:
    """Count one block of symbols that were not counted yet; returns how many symbols are left.

    While another process counts or folds, nothing is done.
    """
    with database.transaction() as connection:
        if try_lock_census(connection):
            add_symbols(connection)
            set_counts(connection, connection.execute(_COUNT_BLOCK.encode(), {"size": size}).fetchall())
        left: int = connection.execute(_COUNT_LEFT).fetchall()[0][0]
        return left


def mark_uncounted(
    connection: Connection, symbol_ids: Sequence[int], first: date | None = None, until: date | None = None
) -> None:
    """Have the months of symbols counted again, from ``first`` until before ``until``, both first days of months.

    Readers count them in another way until ``count_uncounted`` has done so.
    """
    connection.execute(_MARK, {"ids": list(symbol_ids), "first": first, "until": until})
