"""The columns of tables, views and functions as the database has them, for Dagster's catalog.

Tables that were taken over have columns and types of their own, so nobody needs to list them twice. What the columns
mean is not recorded in the database; ``orchestration.catalog`` says it.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from backfill_assets.store.postgres.connection import Connection

# Relations by their columns; functions by the columns that they return.
_SELECT_COLUMNS = """
SELECT wanted.name, current_database(), n.nspname, c.relname, a.attname, format_type(a.atttypid, a.atttypmod),
       NOT a.attnotnull, a.attnum
FROM unnest(%(names)s::text[]) AS wanted (name)
JOIN pg_class c ON c.oid = to_regclass(wanted.name)
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
UNION ALL
SELECT wanted.name, current_database(), n.nspname, p.proname, column_name, format_type(type_id, NULL), true, position
FROM unnest(%(names)s::text[]) AS wanted (name)
JOIN pg_namespace n ON n.nspname = split_part(wanted.name, '.', 1)
JOIN pg_proc p ON p.pronamespace = n.oid AND p.proname = split_part(wanted.name, '.', 2)
CROSS JOIN LATERAL unnest(p.proargnames, p.proallargtypes, p.proargmodes) WITH ORDINALITY
    AS argument (column_name, type_id, mode, position)
WHERE mode = 't'
ORDER BY 1, 8
"""
_COUNT_UNIVERSE = "SELECT count(*) FROM market_symbols"


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its name, its type in PostgreSQL's words, and whether it may be null."""

    name: str
    type: str
    is_nullable: bool


@dataclass(frozen=True, slots=True)
class Relation:
    """A table, view or function.

    Attributes:
        address: database.schema.name.
        columns: in the database's order.
    """

    address: str
    columns: tuple[Column, ...]


def read_relations(connection: Connection, names: Iterable[str]) -> dict[str, Relation]:
    """The tables, views and functions of these names, such as ``backfill.splits``; unknown names are left out."""
    columns: dict[str, list[Column]] = {}
    addresses: dict[str, str] = {}
    rows = connection.execute(_SELECT_COLUMNS, {"names": sorted(set(names))})
    for name, database, schema, relation, column, type_name, is_nullable, _ in rows:
        addresses[name] = f"{database}.{schema}.{relation}"
        columns.setdefault(name, []).append(Column(column, type_name, is_nullable))
    return {name: Relation(address, tuple(columns[name])) for name, address in addresses.items()}


def count_universe_rows(connection: Connection) -> int:
    """How many rows ``market_symbols`` has, inactive ones and those of other exchanges included."""
    ((count,),) = connection.execute(_COUNT_UNIVERSE).fetchall()
    return int(count)
