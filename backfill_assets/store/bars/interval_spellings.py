"""How the rows of ``market_data`` spell their interval: ``30m`` here, ``1800`` or ``30Min`` in another program's rows.

Reading and writing must use the table's own spelling, else the bars of a slot stand there twice. What a spelling means
is decided in ``market.calendar.intervals``. A writer has one habit for all its symbols, so a sample of them shows it:
the whole table may have hundreds of millions of rows, and an index rarely begins with the interval.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from backfill_assets.market.calendar.intervals import Interval, is_other_length, recognize_interval
from backfill_assets.store.bars.bar_stats import HAS_POSSIBLE_TIME
from backfill_assets.store.postgres.connection import Connection

_SAMPLED_SYMBOLS = 300
_SAMPLED_ROWS = 20_000
_HALF_HOURS = 4 * 48  # a weekend and more
# Without statistics the planner may read the whole table for one timestamp.
_FORCE_INDEX_SCANS, _ALLOW_SEQUENTIAL_SCANS = "SET LOCAL enable_seqscan = off", "SET LOCAL enable_seqscan TO DEFAULT"
# Partial indexes do not hold all rows.
_SELECT_INDEXED_COLUMNS = """
SELECT array_agg(a.attname::text ORDER BY k.ordinality) FROM pg_index i
CROSS JOIN LATERAL unnest(i.indkey::smallint[]) WITH ORDINALITY AS k (attnum, ordinality)
JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
WHERE i.indrelid = to_regclass('market_data') AND i.indisvalid AND i.indpred IS NULL AND k.ordinality <= 2
GROUP BY i.indexrelid
"""
_SAMPLE_SYMBOLS = """
WITH sampled AS (
    SELECT symbol_id FROM (
        SELECT symbol_id, row_number() OVER (ORDER BY symbol_id) - 1 AS position, count(*) OVER () AS size
        FROM market_symbols WHERE coalesce(is_active, true)
    ) s WHERE position %% ((size - 1) / %(symbols)s + 1) = 0
), sampled_closely AS (
    SELECT symbol_id FROM sampled ORDER BY md5(symbol_id::text) LIMIT 30
)
"""
# Among bars of minutes or days those of half an hour are few. But bars of every interval begin at whole half hours.
_HALF_HOURS_BEFORE_NEWEST = """
SELECT date_bin('30 minutes', newest, 'epoch') - n * interval '30 minutes' AS half_hour
FROM generate_series(0, %(half_hours)s) AS n
"""


def _build_interval_walk(condition: str) -> str:
    """The intervals of the bars ``d`` that meet a condition, from one to the next; each step is one index lookup."""
    return f"""
    WITH RECURSIVE stored AS (
        (SELECT interval_type FROM market_data d WHERE {condition} ORDER BY interval_type LIMIT 1)
        UNION ALL
        SELECT (SELECT d.interval_type FROM market_data d
                WHERE {condition} AND d.interval_type > t.interval_type ORDER BY d.interval_type LIMIT 1)
        FROM stored t WHERE t.interval_type IS NOT NULL
    )
    SELECT t.interval_type FROM stored t WHERE t.interval_type IS NOT NULL
    """  # noqa: S608 - only constants are inserted


_BY_INTERVAL = f"""
SELECT t.interval_type, bool_or(f.source IS NULL), count(*) FROM ({_build_interval_walk("true")}) t
CROSS JOIN LATERAL (SELECT d.source FROM market_data d WHERE d.interval_type = t.interval_type LIMIT 1000) f GROUP BY 1
"""  # noqa: S608 - only constants are inserted
_BY_SYMBOL_AND_INTERVAL = f"""{_SAMPLE_SYMBOLS}
SELECT f.interval_type, bool_or(f.is_external), count(*) FROM sampled s CROSS JOIN LATERAL (
    SELECT t.interval_type, (
        SELECT d.source IS NULL FROM market_data d
        WHERE d.symbol_id = s.symbol_id AND d.interval_type = t.interval_type ORDER BY d.timestamp DESC LIMIT 1
    ) AS is_external
    FROM ({_build_interval_walk("d.symbol_id = s.symbol_id")}) t
) f GROUP BY 1
"""  # noqa: S608 - only constants are inserted
_BY_SYMBOL_AND_TIME = f"""{_SAMPLE_SYMBOLS}
SELECT coalesce(f.interval_type, 'NULL'), bool_or(f.source IS NULL), count(DISTINCT f.symbol_id)
FROM (
    SELECT s.symbol_id, x.interval_type, x.source FROM sampled s CROSS JOIN LATERAL (
        (SELECT d.* FROM market_data d WHERE d.symbol_id = s.symbol_id ORDER BY timestamp DESC LIMIT 3)
        UNION ALL
        (SELECT d.* FROM market_data d WHERE d.symbol_id = s.symbol_id ORDER BY timestamp LIMIT 3)
    ) x
    UNION ALL
    SELECT s.symbol_id, x.interval_type, x.source FROM sampled_closely s
    CROSS JOIN LATERAL (
        SELECT max(timestamp) AS newest FROM market_data d WHERE d.symbol_id = s.symbol_id AND {HAS_POSSIBLE_TIME}
    ) m
    CROSS JOIN LATERAL ({_HALF_HOURS_BEFORE_NEWEST}) h
    CROSS JOIN LATERAL (
        SELECT interval_type, source FROM market_data d
        WHERE d.symbol_id = s.symbol_id AND d.timestamp = h.half_hour LIMIT 20
    ) x
) f GROUP BY 1
"""  # noqa: S608 - only constants are inserted
_BY_TIME_AND_SYMBOL = f"""{_SAMPLE_SYMBOLS}
SELECT coalesce(x.interval_type, 'NULL'), bool_or(x.source IS NULL), count(DISTINCT s.symbol_id)
FROM sampled_closely s CROSS JOIN (SELECT max(timestamp) AS newest FROM market_data d WHERE {HAS_POSSIBLE_TIME}) m
CROSS JOIN LATERAL ({_HALF_HOURS_BEFORE_NEWEST}) h
CROSS JOIN LATERAL (
    SELECT interval_type, source FROM market_data d
    WHERE d.symbol_id = s.symbol_id AND d.timestamp = h.half_hour LIMIT 20
) x GROUP BY 1
"""  # noqa: S608 - only constants are inserted
_BY_TIME_AND_INTERVAL = f"""
SELECT t.interval_type, bool_or(x.source IS NULL), count(*)
FROM (SELECT max(timestamp) AS newest FROM market_data d WHERE {HAS_POSSIBLE_TIME}) m
CROSS JOIN LATERAL ({_HALF_HOURS_BEFORE_NEWEST}) h
CROSS JOIN LATERAL ({_build_interval_walk("d.timestamp = h.half_hour")}) t
CROSS JOIN LATERAL (
    SELECT source FROM market_data d WHERE d.timestamp = h.half_hour AND d.interval_type = t.interval_type LIMIT 100
) x GROUP BY 1
"""  # noqa: S608 - only constants are inserted
_BY_FIRST_ROWS = """
SELECT coalesce(interval_type, 'NULL'), bool_or(source IS NULL), count(*)
FROM (SELECT interval_type, source FROM market_data LIMIT %(rows)s) d GROUP BY 1
"""


# By the first columns of an index, the best one first.
_QUERIES = {
    ("interval_type",): _BY_INTERVAL,
    ("symbol_id", "interval_type"): _BY_SYMBOL_AND_INTERVAL,
    ("symbol_id", "timestamp"): _BY_SYMBOL_AND_TIME,
    ("timestamp", "symbol_id"): _BY_TIME_AND_SYMBOL,
    ("timestamp", "interval_type"): _BY_TIME_AND_INTERVAL,
}


@dataclass(frozen=True, slots=True)
class StoredSpelling:
    """A value of ``interval_type``.

    Attributes:
        text: the value.
        is_external: whether another program wrote the newest bar of a symbol with it.
        frequency: for how many symbols of the sample it was found, or how many rows, by the query.
    """

    text: str
    is_external: bool
    frequency: int


def read_spellings(connection: Connection) -> list[StoredSpelling]:
    """The spellings that a sample of the table has, the most frequent first."""
    indexed = {tuple(columns[:n]) for (columns,) in connection.execute(_SELECT_INDEXED_COLUMNS) for n in (1, 2)}
    query = next((query for columns, query in _QUERIES.items() if columns in indexed), _BY_FIRST_ROWS)
    values = {"symbols": _SAMPLED_SYMBOLS, "rows": _SAMPLED_ROWS, "half_hours": _HALF_HOURS}
    connection.execute(_FORCE_INDEX_SCANS)
    rows = connection.execute(query.encode(), values).fetchall()
    connection.execute(_ALLOW_SEQUENTIAL_SCANS)
    return sorted((StoredSpelling(*row) for row in rows), key=lambda s: (-s.frequency, s.text))


def adopt_spellings(connection: Connection, intervals: Sequence[Interval]) -> tuple[Interval, ...]:
    """The intervals with all spellings that the table has for them."""
    found: dict[Interval, list[str]] = {}
    for spelling in read_spellings(connection):
        if interval := recognize_interval(spelling.text):
            found.setdefault(interval, []).append(spelling.text)
    return tuple(
        replace(interval, spellings=tuple(dict.fromkeys((*interval.spellings, *found.get(interval, ())))))
        for interval in intervals
    )


def find_interval_spelling(connection: Connection, interval: Interval) -> str:
    """How new rows spell ``interval``: as other programs do, else as most symbols have it, else by its name."""
    weights: Counter[str] = Counter()
    for spelling in read_spellings(connection):
        if recognize_interval(spelling.text) == interval:
            weights[spelling.text] = spelling.frequency + _SAMPLED_ROWS * spelling.is_external
    return max(weights, key=lambda text: (weights[text], text == interval.name), default=interval.name)


def find_unknown_intervals(connection: Connection) -> list[str]:
    """Values of ``interval_type`` that may mean one of our intervals, but in none of the known spellings."""
    return [
        s.text for s in read_spellings(connection) if not recognize_interval(s.text) and not is_other_length(s.text)
    ]
