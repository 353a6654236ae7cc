"""Says what a table ``market_data`` of another program may refuse or change, before a bar meets it.

Nothing of this prevents the table from being used: a refused bar is kept with the database's words
(``store.bars.refused_bars``). Faults that make a table unusable are in ``takeover_check``.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import psycopg
from psycopg.types.json import Jsonb

from backfill_assets.config.counts import format_count
from backfill_assets.market.bars.source_rows import PRICE_LIMIT, PRICES
from backfill_assets.market.price_digits import PRICE_DECIMALS
from backfill_assets.store.postgres.connection import Connection
from backfill_assets.store.postgres.database_errors import SERVER_ERRORS
from backfill_assets.store.postgres.takeover_record import IS_OWN_FORM

LARGE_VOLUME = 10**10  # shares in a bar; the most traded stocks reach a tenth of that in half an hour
LONGEST_TEXTS = {"interval_type": 5, "source": 40, "source_interval": 4}  # 30min, a usual host name, live
_PRICE_COLUMNS = tuple(f"{name}_price" for name in PRICES)
_SAMPLE_PRICES = (0.01, 25.5, 99_999.0)
_SAMPLE_VOLUMES = (0, 1_000, 10**9)

# The modifier of a numeric type holds precision and scale; that of a varchar is its length + 4.
_SELECT_COLUMNS = """
SELECT a.attname::text, format_type(a.atttypid, a.atttypmod), t.typname,
       CASE t.typname WHEN 'numeric' THEN ((a.atttypmod - 4) >> 16) & 65535 ELSE a.atttypmod - 4 END,
       (((a.atttypmod - 4) & 2047) # 1024) - 1024
FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
WHERE a.attrelid = to_regclass('market_data') AND a.attnum > 0 AND a.atttypmod >= 4 AND a.attname = ANY (%(columns)s)
ORDER BY a.attnum
"""
_SELECT_PARTITIONING = f"""
SELECT pg_get_partkeydef(c.oid), p.partdefid <> 0,
       (SELECT array_agg(pg_get_expr(i.relpartbound, i.oid) ORDER BY pg_get_expr(i.relpartbound, i.oid))
        FROM pg_inherits h JOIN pg_class i ON i.oid = h.inhrelid WHERE h.inhparent = c.oid)
FROM pg_class c JOIN pg_partitioned_table p ON p.partrelid = c.oid
WHERE c.oid = to_regclass('market_data')
  AND NOT ({IS_OWN_FORM})  -- which has a place for every bar
"""  # noqa: S608 - a constant is inserted
_SELECT_CHECKS = """
SELECT conname::text, pg_get_expr(conbin, conrelid), pg_get_constraintdef(oid) FROM pg_constraint
WHERE conrelid = to_regclass('market_data') AND contype = 'c' ORDER BY conname
"""
_COUNT_VIOLATIONS = """
SELECT count(*) FROM jsonb_populate_recordset(NULL::market_data, %(samples)s) AS market_data WHERE NOT ({check})
"""
_SELECT_TRIGGERS = """
SELECT g.tgname::text, g.tgfoid::regproc::text FROM pg_trigger g
WHERE g.tgparentid = 0 AND NOT g.tgisinternal AND g.tgrelid IN (
      SELECT to_regclass('market_data') UNION ALL SELECT relid FROM pg_partition_tree(to_regclass('market_data')))
  AND g.tgenabled NOT IN ('D', 'R')
  AND g.tgtype & 20 <> 0  -- INSERT or UPDATE
  AND NOT EXISTS (SELECT FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
                  WHERE p.oid = g.tgfoid AND n.nspname = 'backfill')
ORDER BY g.tgname
"""
# The foreign key of symbol_id holds for every bar: symbol_ids are read from market_symbols. A unique key that contains
# the key of a bar, or a column that has a default and is not written, holds, too.
_SELECT_KEYS = """
SELECT conname::text, pg_get_constraintdef(oid) FROM pg_constraint
WHERE conrelid = to_regclass('market_data') AND contype = 'f'
  AND (confrelid <> to_regclass('market_symbols') OR cardinality(conkey) > 1)
UNION ALL
SELECT i.indexrelid::regclass::text, regexp_replace(pg_get_indexdef(i.indexrelid), '^.* USING', 'UNIQUE USING')
FROM pg_index i WHERE i.indrelid = to_regclass('market_data') AND (i.indisunique OR i.indisexclusion)
  AND NOT (SELECT count(*) = 3 FROM pg_attribute a WHERE a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
           AND a.attname IN ('symbol_id', 'interval_type', 'timestamp') AND NOT i.indisexclusion)
  AND NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
                  AND (a.attidentity <> '' OR a.atthasdef) AND a.attgenerated = ''
                  AND a.attname NOT IN ('symbol_id', 'interval_type', 'timestamp', 'volume'))
ORDER BY 1
"""
_SELECT_KIND = """
SELECT c.relrowsecurity, c.relhasrules, EXISTS (SELECT FROM pg_inherits i WHERE i.inhparent = c.oid AND c.relkind = 'r')
FROM pg_class c WHERE c.oid = to_regclass('market_data')
"""
_RECORD_WARNINGS = "UPDATE backfill.contract_tables SET warnings = %(warnings)s WHERE table_name = 'market_data'"


@dataclass(frozen=True, slots=True)
class _Column:
    """A column with a size: of a text its length, of a numeric its digits in all and after the point."""

    name: str
    declared: str
    type_name: str
    size: int
    scale: int

    @property
    def limit(self) -> int | None:
        """From where on a numeric column refuses values; None for texts."""
        return 10 ** (self.size - self.scale) if self.type_name == "numeric" else None


def record_table_warnings(connection: Connection) -> Sequence[str]:
    """Find what ``market_data`` may refuse or change, and store it in ``backfill.contract_tables``; a line each."""
    warnings = find_table_warnings(connection)
    connection.execute(_RECORD_WARNINGS, {"warnings": list(warnings)})
    return warnings


def find_table_warnings(connection: Connection) -> Sequence[str]:
    """What ``market_data`` may refuse or change, a line each; empty for the table that this program creates."""
    names = [*_PRICE_COLUMNS, "volume", *LONGEST_TEXTS]
    columns = [_Column(*row) for row in connection.execute(_SELECT_COLUMNS, {"columns": names}).fetchall()]
    return [
        *_find_partition_warnings(connection),
        *_find_column_warnings(columns),
        *_find_check_warnings(connection, _build_sample_bars(columns)),
        *_find_key_and_trigger_warnings(connection),
    ]


def _find_partition_warnings(connection: Connection) -> Iterator[str]:
    """Partitions have bounds. The bound of a partition is text like ``FOR VALUES FROM ('2026-06-01') TO (…)``."""
    row = connection.execute(_SELECT_PARTITIONING).fetchone()
    if row is None or row[1] or row[0].startswith("HASH"):
        return
    key, _, bounds = row
    count = f"{format_count(len(bounds), 'partition')}, " if bounds else ""
    bounds = bounds or ["there is none"]
    shown = bounds if len(bounds) <= 2 else [bounds[0], "…", bounds[-1]]
    yield (
        f"market_data is partitioned by {key} without a DEFAULT partition: bars outside its partitions are refused"
        f" ({count}{', '.join(shown)})"
    )


def _find_column_warnings(columns: Sequence[_Column]) -> Iterator[str]:
    """A line for each fault and type; it names all columns of that type that have the fault."""
    names: dict[tuple[str, str], list[str]] = {}
    for column in columns:
        for fault in _find_column_faults(column):
            names.setdefault((column.declared, fault), []).append(column.name)
    for (declared, fault), named in names.items():
        yield f"{', '.join(named)} {'is' if len(named) == 1 else 'are'} {declared}: {fault}"


def _find_column_faults(column: _Column) -> Iterator[str]:
    is_volume = column.name == "volume"
    if column.limit is None:
        if column.size < LONGEST_TEXTS.get(column.name, 0):
            yield "longer values are refused"
        return
    if column.limit < (LARGE_VOLUME if is_volume else PRICE_LIMIT):
        yield f"values from {column.limit:,} on are refused"
    if not is_volume and column.scale < PRICE_DECIMALS:
        yield f"prices are rounded to {column.scale} of {PRICE_DECIMALS} decimals"


def _build_sample_bars(columns: Sequence[_Column]) -> list[dict[str, object]]:
    """Bars as the vendor has them, as far as the columns hold them.

    Cheap and expensive, moving and flat, with many shares and none.
    """
    limits = {column.name: column.limit for column in columns if column.limit is not None}
    highest_price = min((limits[name] for name in _PRICE_COLUMNS if name in limits), default=PRICE_LIMIT)
    return [
        {
            **{"symbol_id": 1, "interval_type": "30m", "timestamp": "2026-06-01 13:30+00"},
            **{"open_price": price, "high_price": price * high, "low_price": price * low, "close_price": price},
            **{"volume": volume, "source": "eodhd.com", "source_interval": "5m", "source_rows": 6, "is_final": True},
            "fetched_at": "2026-06-02 00:00+00",
        }
        for price in _SAMPLE_PRICES
        for high, low in ((1, 1), (1.5, 0.5))
        for volume in _SAMPLE_VOLUMES
        if 2 * price < highest_price and volume < limits.get("volume", LARGE_VOLUME)
    ]


def _find_check_warnings(connection: Connection, samples: list[dict[str, object]]) -> Iterator[str]:
    """CHECK constraints that do not hold for some of the sample bars, or that cannot be tried."""
    for name, check, definition in connection.execute(_SELECT_CHECKS).fetchall():
        query = _COUNT_VIOLATIONS.format(check=check.replace("%", "%%"))
        try:
            with connection.transaction():
                violations = connection.execute(query.encode(), {"samples": Jsonb(samples)}).fetchall()[0][0]
        except psycopg.DatabaseError as error:  # a function of the constraint may raise any
            if error.sqlstate is None or error.sqlstate[:2] in SERVER_ERRORS:
                raise
            yield f"constraint {name}, {definition}, may refuse bars ({error.diag.message_primary})"
            continue
        if violations:
            yield f"constraint {name}, {definition}, refuses some bars"


def _find_key_and_trigger_warnings(connection: Connection) -> Iterator[str]:
    for name, definition in connection.execute(_SELECT_KEYS).fetchall():
        yield f"key {name}, {definition}, may refuse bars"
    for name, function in connection.execute(_SELECT_TRIGGERS).fetchall():
        yield f"trigger {name} ({function}) may refuse or change bars"
    for has_row_security, has_rules, has_children in connection.execute(_SELECT_KIND).fetchall():
        if has_row_security:
            yield "market_data has row security: its policies may refuse bars"
        if has_rules:
            yield "market_data has rules: they may drop bars"
        if has_children:
            yield "other tables inherit from market_data: its keys do not hold for their rows"
