"""Checks that existing tables ``market_symbols`` and ``market_data`` can be used (docs/design.md, "Contract tables").

The check runs before anything is migrated or written, so that unsuitable tables are reported with all their faults and
not by the first statement that fails. Missing tables are no fault: ``migrate`` creates them.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from backfill_assets.errors import DatabaseUnavailable
from backfill_assets.store.postgres.connection import Connection, Database
from backfill_assets.store.postgres.database_errors import describe_database

_TEXT_TYPES = ("varchar", "text")
_INTEGER_TYPES = ("int4", "int8")
_PRICE_TYPES = ("float8", "numeric")
_TIMESTAMP_TYPES = ("timestamptz",)
_REQUIRED_COLUMNS = {
    "market_symbols": {
        **{"symbol_id": _INTEGER_TYPES, "symbol": _TEXT_TYPES, "exchange": _TEXT_TYPES},
        **{"is_active": ("bool",), "updated_at": (*_TIMESTAMP_TYPES, "timestamp")},
    },
    "market_data": {
        **{"symbol_id": _INTEGER_TYPES, "timestamp": _TIMESTAMP_TYPES, "interval_type": _TEXT_TYPES},
        **{
            "open_price": _PRICE_TYPES,
            "high_price": _PRICE_TYPES,
            "low_price": _PRICE_TYPES,
            "close_price": _PRICE_TYPES,
        },
        "volume": ("int8", "numeric"),
    },
}
_PROVENANCE_COLUMNS = {  # created where they are missing
    **{"source": _TEXT_TYPES, "source_interval": _TEXT_TYPES, "source_rows": ("int2", *_INTEGER_TYPES)},
    **{"is_final": ("bool",), "fetched_at": _TIMESTAMP_TYPES, "volume_known": ("bool",)},
}
_WRITTEN_COLUMNS = {
    "market_symbols": {"symbol", "exchange", "is_active"},
    "market_data": {*_REQUIRED_COLUMNS["market_data"], *_PROVENANCE_COLUMNS},
}
_UPDATED_COLUMNS = {"market_symbols": {"updated_at"}, "market_data": set[str]()}  # not written into new rows
_UNIQUE_KEYS = {frozenset({"symbol_id", "interval_type", "timestamp"})}

_SELECT_COLUMNS = """
SELECT c.relname, c.relkind IN ('r', 'p'), a.attname, t.typname,
       a.attnotnull AND NOT a.atthasdef AND a.attidentity = '', a.attgenerated <> '' OR a.attidentity = 'a',
       EXISTS (SELECT FROM pg_rewrite r WHERE r.ev_class = c.oid AND r.ev_type IN ('2', '3')  -- UPDATE, INSERT
               AND (pg_get_ruledef(r.oid) !~ 'NOTHING;$' OR r.is_instead AND r.ev_qual = '<>'))
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_type t ON t.oid = a.atttypid
WHERE c.oid IN (to_regclass('market_symbols'), to_regclass('market_data')) ORDER BY c.relname DESC, a.attnum
"""
_IS_NEW_TABLE = "SELECT to_regclass('backfill.migrations') IS NULL AND to_regclass('market_data') IS NOT NULL"
_SELECT_UNIQUE_KEYS = """
SELECT array_agg(a.attname::text) FROM pg_index i
JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
WHERE i.indrelid = to_regclass('market_data') AND i.indisunique AND i.indisvalid AND i.indimmediate
  AND i.indpred IS NULL
GROUP BY i.indexrelid, i.indnkeyatts, i.indnatts HAVING count(*) = i.indnatts AND i.indnkeyatts = i.indnatts
"""
# Once, before anything is made; by the unique key, so that it is quick. It fails if a constraint or policy fails.
_READ_NO_BAR = """
SELECT FROM market_data WHERE symbol_id = 0 AND interval_type = '' AND "timestamp" = now()
"""
_SELECT_LARGE_KEYS = """
SELECT symbol_id FROM market_symbols WHERE symbol_id NOT BETWEEN -2147483648 AND 2147483647 LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class _Column:
    type_name: str
    is_required: bool
    is_generated: bool


def require_contract(database: Database) -> None:
    """Make sure that ``market_symbols`` and ``market_data``, where they exist, can be used.

    Raises:
        DatabaseUnavailable: names every fault of the tables and columns, or the database refuses to read them.
    """
    with database.transaction() as connection:
        faults = list(_find_faults(connection))
        if not faults and connection.execute(_IS_NEW_TABLE).fetchall()[0][0]:
            connection.execute(_READ_NO_BAR)
    if faults:
        raise DatabaseUnavailable(
            f"{describe_database(database.url)} holds tables that cannot be used: {'; '.join(faults)}; "
            "correct that, or point DATABASE_URL to another database"
        )


def _find_faults(connection: Connection) -> Iterator[str]:
    tables: dict[str, dict[str, _Column]] = {}
    for table, is_table, column, *properties, has_rules in connection.execute(_SELECT_COLUMNS).fetchall():
        if not is_table and table not in tables:
            yield f"{table} is not a table"
        elif has_rules and table not in tables:
            yield f"{table} has rules with actions or for every row, for which PostgreSQL has no INSERT … ON CONFLICT"
        tables.setdefault(table, {})[column] = _Column(*properties)
    for table, columns in tables.items():
        yield from _find_table_faults(table, columns)
    if _has_wide_keys(tables) and (large := connection.execute(_SELECT_LARGE_KEYS).fetchone()):
        yield f"market_symbols.symbol_id has values that need more than 32 bits, for instance {large[0]}"
    if "market_data" in tables:
        keys = {frozenset(names) for (names,) in connection.execute(_SELECT_UNIQUE_KEYS)}
        if not keys & _UNIQUE_KEYS:
            yield "market_data has no unique key of symbol_id, interval_type and timestamp (or only a deferrable one)"


def _has_wide_keys(tables: dict[str, dict[str, _Column]]) -> bool:
    key = tables.get("market_symbols", {}).get("symbol_id")
    return key is not None and key.type_name == "int8"


def _find_table_faults(table: str, columns: dict[str, _Column]) -> Iterator[str]:
    for name, type_names in {
        **_REQUIRED_COLUMNS[table],
        **(_PROVENANCE_COLUMNS if table == "market_data" else {}),
    }.items():
        if name not in columns:
            if name in _REQUIRED_COLUMNS[table]:
                yield f"{table} has no column {name} ({' or '.join(type_names)})"
        elif columns[name].type_name not in type_names:
            yield f"{table}.{name} is {columns[name].type_name}, not {' or '.join(type_names)}"
    for name, column in columns.items():
        if column.is_required and name not in _WRITTEN_COLUMNS[table]:
            yield f"{table}.{name} must have a default or allow null"
        if column.is_generated and name in _WRITTEN_COLUMNS[table] | _UPDATED_COLUMNS[table]:
            yield f"{table}.{name} is generated and cannot be written"
