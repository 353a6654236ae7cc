"""Records whether ``market_symbols`` and ``market_data`` have exactly the definition that this program gives them.

Other programs share the two tables, and may have created them. A *managed* table has this program's columns, types,
keys and constraints, no more and no less; only such a table may get another column type or partitions. ``market_data``
may be plain, as earlier versions made it, or have the partitions of ``store.postgres.bar_partitions``. Whether a table
can be used at all is decided in ``takeover_check``.
"""

from collections import Counter
from collections.abc import Iterator

from backfill_assets.store.postgres.connection import Connection

CONTRACT_TABLES = ("market_symbols", "market_data")
_SELECT_TABLE_ID = "SELECT %(table)s::text::regclass::oid"
_SHOW_SEARCH_PATH = "SELECT current_setting('search_path')"
_SET_SEARCH_PATH = "SELECT set_config('search_path', %(path)s, true)"
_DROP_COPIES = "DROP TABLE pg_temp.market_data, pg_temp.market_symbols"
# The form that contract_tables.sql makes: by time, with an outer partition at either end.
IS_OWN_FORM = """
    c.relkind = 'p' AND pg_get_partkeydef(c.oid) = 'RANGE ("timestamp")'
    AND (SELECT count(*) = 2 FROM pg_inherits i JOIN pg_class part ON part.oid = i.inhrelid
         WHERE i.inhparent = c.oid AND part.relname ~ '^market_data_(before|from)_')
"""
_SELECT_KIND = f"""
SELECT CASE
    WHEN c.relkind <> 'r' AND NOT ({IS_OWN_FORM}) THEN 'is partitioned'
    WHEN c.relpersistence <> 'p' THEN 'is not logged'
    WHEN c.relrowsecurity THEN 'has row security'
    WHEN c.relhasrules THEN 'has rules'
    WHEN EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = c.oid AND NOT g.tgisinternal
                 AND g.tgname !~ '^backfill_') THEN 'has triggers of another program'
    WHEN c.relkind = 'r' AND EXISTS (SELECT FROM pg_inherits i WHERE c.oid IN (i.inhrelid, i.inhparent))
    THEN 'inherits or is inherited'
END
FROM pg_class c WHERE c.oid = %(table_id)s
"""  # noqa: S608 - a constant is inserted
_SELECT_COLUMNS = r"""
SELECT a.attname::text, concat_ws(' ',
    format_type(a.atttypid, a.atttypmod),
    CASE WHEN a.attcollation <> t.typcollation THEN 'COLLATE ' || a.attcollation::regcollation END,
    CASE WHEN a.attnotnull THEN 'NOT NULL' END,
    CASE WHEN a.attidentity <> '' THEN 'IDENTITY' WHEN a.attgenerated <> '' THEN 'GENERATED' END,
    'DEFAULT ' || regexp_replace(pg_get_expr(d.adbin, d.adrelid), '^nextval\(.*\)$', 'nextval(its sequence)'))
FROM pg_attribute a
JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attrelid = %(table_id)s AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum
"""
# NOT NULL is compared with the columns: only from PostgreSQL 18 on it is a constraint of its own (contype n).
_SELECT_CONSTRAINTS = """
SELECT pg_get_constraintdef(c.oid) FROM pg_constraint c WHERE c.conrelid = %(table_id)s AND c.contype <> 'n'
UNION ALL
SELECT regexp_replace(pg_get_indexdef(i.indexrelid), '^.* USING', 'UNIQUE INDEX USING') FROM pg_index i
WHERE i.indrelid = %(table_id)s AND i.indisunique AND NOT EXISTS (
    SELECT FROM pg_constraint c WHERE c.conindid = i.indexrelid AND c.contype IN ('p', 'u', 'x'))
"""
_UPSERT_TABLE = """
INSERT INTO backfill.contract_tables (table_name, is_managed, differences)
VALUES (%(table)s, %(is_managed)s, %(differences)s)
ON CONFLICT (table_name) DO UPDATE SET is_managed = EXCLUDED.is_managed, differences = EXCLUDED.differences,
    recorded_at = EXCLUDED.recorded_at
"""


def record_contract_tables(connection: Connection, definition: str) -> None:
    """Compare both tables with ``definition`` and store the result in ``backfill.contract_tables``.

    The record is of this moment: a later migration that relies on it calls this again, in its transaction.

    Args:
        connection: with a transaction open.
        definition: the SQL that creates the two tables; temporary copies are made with it and dropped again.
    """
    for table, differences in compare_contract_tables(connection, definition).items():
        values = {"table": table, "is_managed": not differences, "differences": differences}
        connection.execute(_UPSERT_TABLE, values)


def compare_contract_tables(connection: Connection, definition: str) -> dict[str, list[str]]:
    """By table, how it differs from ``definition``, a line each; arguments as for ``record_contract_tables``."""
    table_ids = {table: _read_table_id(connection, table) for table in CONTRACT_TABLES}
    search_path = connection.execute(_SHOW_SEARCH_PATH).fetchall()[0][0]
    connection.execute(_SET_SEARCH_PATH, {"path": "pg_temp"})
    connection.execute(definition.encode())
    differences = {
        table: list(_find_differences(connection, table_id, _read_table_id(connection, table)))
        for table, table_id in table_ids.items()
    }
    connection.execute(_DROP_COPIES)
    connection.execute(_SET_SEARCH_PATH, {"path": search_path})
    return differences


def _read_table_id(connection: Connection, table: str) -> int:
    return int(connection.execute(_SELECT_TABLE_ID, {"table": table}).fetchall()[0][0])


def _find_differences(connection: Connection, table_id: int, copy_id: int) -> Iterator[str]:
    """How a table differs from its copy, a line each."""
    ((kind,),) = connection.execute(_SELECT_KIND, {"table_id": table_id}).fetchall()
    if kind is not None:
        yield f"the table {kind}"
    columns, expected_columns = _read_columns(connection, table_id), _read_columns(connection, copy_id)
    for name in sorted(columns.keys() | expected_columns.keys()):
        found, expected = columns.get(name), expected_columns.get(name)
        if found is None or expected is None:
            yield f"missing column {name}" if found is None else f"additional column {name} ({found})"
        elif found != expected:
            yield f"column {name} is {found} instead of {expected}"
    constraints, expected_constraints = _read_constraints(connection, table_id), _read_constraints(connection, copy_id)
    yield from (f"missing constraint {text}" for text in sorted((expected_constraints - constraints).elements()))
    yield from (f"additional constraint {text}" for text in sorted((constraints - expected_constraints).elements()))


def _read_columns(connection: Connection, table_id: int) -> dict[str, str]:
    """Name → type, NOT NULL and default."""
    return dict(connection.execute(_SELECT_COLUMNS, {"table_id": table_id}).fetchall())


def _read_constraints(connection: Connection, table_id: int) -> Counter[str]:
    """The definitions of keys, checks and unique indexes; their names do not matter."""
    return Counter(text for (text,) in connection.execute(_SELECT_CONSTRAINTS, {"table_id": table_id}))
