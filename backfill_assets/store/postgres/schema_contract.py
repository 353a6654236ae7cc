"""Whether tables that other people made are the ones this program needs (DESIGN.md, the public contract).

Looks before anything is migrated or written, so that a foreign ``market_data`` is told apart by name
and type of its columns and not by the first statement that fails. Missing tables are no fault: ``migrate``
makes them.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from backfill_assets.errors import DatabaseUnavailable
from backfill_assets.store.postgres.connection import Connection, Database, describe

_TEXT = ("varchar", "text")
_KEY = ("int4", "int8")
_PRICE = ("float8", "numeric")
_STAMP = ("timestamptz",)
_NEEDED = {
    "market_symbols": {
        **{"symbol_id": _KEY, "symbol": _TEXT, "exchange": _TEXT},
        **{"is_active": ("bool",), "updated_at": (*_STAMP, "timestamp")},
    },
    "market_data": {
        **{"symbol_id": _KEY, "timestamp": _STAMP, "interval_type": _TEXT},
        **{"open_price": _PRICE, "high_price": _PRICE, "low_price": _PRICE, "close_price": _PRICE},
        "volume": ("int8", "numeric"),
    },
}
_OURS = {  # made where they are not there
    **{"source": _TEXT, "source_interval": _TEXT, "source_rows": ("int2", *_KEY)},
    **{"is_final": ("bool",), "fetched_at": _STAMP},
}
_FILLED = {"market_symbols": {"symbol", "exchange", "is_active"}, "market_data": {*_NEEDED["market_data"], *_OURS}}
_KEYS = {frozenset({"symbol_id", "interval_type", "timestamp"})}

_COLUMNS = """
SELECT c.relname, c.relkind IN ('r', 'p'), a.attname, t.typname,
       a.attnotnull AND NOT a.atthasdef AND a.attidentity = ''
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_type t ON t.oid = a.atttypid
WHERE c.oid IN (to_regclass('market_symbols'), to_regclass('market_data')) ORDER BY c.relname DESC, a.attnum
"""
_UNIQUE = """
SELECT array_agg(a.attname::text) FROM pg_index i
JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
WHERE i.indrelid = to_regclass('market_data') AND i.indisunique AND i.indisvalid AND i.indpred IS NULL
GROUP BY i.indexrelid, i.indnkeyatts, i.indnatts HAVING count(*) = i.indnatts AND i.indnkeyatts = i.indnatts
"""


@dataclass(frozen=True, slots=True)
class _Column:
    kind: str
    must_be_given: bool


def require_contract(database: Database) -> None:
    """Make sure that ``market_symbols`` and ``market_data``, where they exist, can be worked with.

    Raises:
        DatabaseUnavailable: names every table and column that is not so.
    """
    with database.transaction() as connection:
        faults = list(_faults(connection))
    if faults:
        raise DatabaseUnavailable(
            f"{describe(database.url)} holds tables that cannot be worked with: {'; '.join(faults)}; "
            "correct that, or point DATABASE_URL to another database"
        )


def _faults(connection: Connection) -> Iterator[str]:
    tables: dict[str, dict[str, _Column]] = {}
    for table, is_table, column, kind, must_be_given in connection.execute(_COLUMNS).fetchall():
        if not is_table and table not in tables:
            yield f"{table} is no table"
        tables.setdefault(table, {})[column] = _Column(kind, must_be_given)
    for table, columns in tables.items():
        yield from _faults_of(table, columns)
    if "market_data" in tables:
        keys = {frozenset(names) for (names,) in connection.execute(_UNIQUE)}
        if not keys & _KEYS:
            yield "market_data has no unique key of symbol_id, interval_type and timestamp"


def _faults_of(table: str, columns: dict[str, _Column]) -> Iterator[str]:
    for name, kinds in {**_NEEDED[table], **(_OURS if table == "market_data" else {})}.items():
        if name not in columns:
            if name in _NEEDED[table]:
                yield f"{table} lacks {name} ({' or '.join(kinds)})"
        elif columns[name].kind not in kinds:
            yield f"{table}.{name} is {columns[name].kind}, not {' or '.join(kinds)}"
    for name, column in columns.items():
        if column.must_be_given and name not in _FILLED[table]:
            yield f"{table}.{name} must have a default or allow null"
