"""The moment at which the partitioned twin becomes ``market_data``; one transaction, which locks everybody out."""

from collections.abc import Sequence

from backfill_assets.errors import DatabaseUnavailable, UsageError
from backfill_assets.store.partitioning.copying import apply_changes, count_pending, is_emptied
from backfill_assets.store.partitioning.job import drop_change_notes
from backfill_assets.store.partitioning.table_facts import FORMER, TWIN, list_dependents
from backfill_assets.store.postgres.connection import Connection

_NOTHING_LEFT = 2**31 - 1
_LOCK_OUT_ALL = "LOCK TABLE market_data IN ACCESS EXCLUSIVE MODE"
# Each change since the comparison began was applied; those bars are compared here, the others were.
_COUNT_DIFFERENCES = f"""
WITH changed AS (
    SELECT DISTINCT symbol_id, interval_type, "timestamp" FROM backfill.partitioning_changes),
found AS (
    SELECT t::text FROM market_data t JOIN changed c
    ON t.symbol_id = c.symbol_id AND t.interval_type = c.interval_type AND t."timestamp" = c."timestamp"),
copied AS (
    SELECT t::text FROM {TWIN} t JOIN changed c
    ON t.symbol_id = c.symbol_id AND t.interval_type = c.interval_type AND t."timestamp" = c."timestamp")
SELECT count(*)
FROM ((TABLE found EXCEPT ALL TABLE copied) UNION ALL (TABLE copied EXCEPT ALL TABLE found)) AS different
"""  # noqa: S608 - a constant is inserted
_SELECT_COLUMNS = """
SELECT array_agg(attname || ' ' || format_type(atttypid, atttypmod) || attnotnull ORDER BY attnum) FROM pg_attribute
WHERE attrelid = %(table)s::text::regclass AND attnum > 0 AND NOT attisdropped
"""
_SELECT_TRIGGERS = """
SELECT tgname::text, pg_get_triggerdef(oid), tgenabled::text FROM pg_trigger
WHERE tgrelid = 'market_data'::regclass AND NOT tgisinternal ORDER BY tgname
"""
_SELECT_GRANTS = """
SELECT format('GRANT %s ON market_data TO %s%s', acl.privilege_type,
              CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(acl.grantee)) END,
              CASE WHEN acl.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) AS acl
WHERE c.oid = 'market_data'::regclass AND acl.grantee <> c.relowner
UNION ALL
SELECT format('GRANT %s (%I) ON market_data TO %s', acl.privilege_type, a.attname,
              CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(acl.grantee)) END)
FROM pg_attribute a CROSS JOIN LATERAL aclexplode(a.attacl) AS acl WHERE a.attrelid = 'market_data'::regclass
UNION ALL
SELECT format('COMMENT ON TABLE market_data IS %L', obj_description('market_data'::regclass, 'pg_class'))
WHERE obj_description('market_data'::regclass, 'pg_class') IS NOT NULL
"""
_RENAME = f"""
ALTER TABLE market_data RENAME TO {FORMER};
ALTER TABLE {FORMER} RENAME CONSTRAINT market_data_pkey TO {FORMER}_pkey;
ALTER TABLE {TWIN} RENAME TO market_data;
ALTER TABLE market_data RENAME CONSTRAINT {TWIN}_pkey TO market_data_pkey;
"""
_STATES = {"D": "DISABLE", "R": "ENABLE REPLICA", "A": "ENABLE ALWAYS"}
# The triggers of the whole table are there already, so that no history begins anew; partitions get their own. The bars
# of the former table are counted already.
_CREATE_TRIGGERS_OF_PARTITIONS = """
SELECT backfill.create_census_triggers(with_count => false);
SELECT backfill.create_history_triggers()
"""
_RECORD_SWITCHED = "UPDATE backfill.partitioning SET stage = 'switched'"
_ANALYZE = "ANALYZE market_data"


def switch_tables(connection: Connection, max_pending: int) -> bool:
    """Make the twin ``market_data``; False if so many changes came meanwhile that they must be applied before.

    Raises:
        UsageError: something refers to the table since, or it has other columns since; nothing has changed.
        DatabaseUnavailable: the copy differs; nothing has changed.
    """
    connection.execute(_LOCK_OUT_ALL)
    if is_emptied(connection) or count_pending(connection, max_pending + 1) > max_pending:
        return False
    _require_unchanged(connection)
    apply_changes(connection, _NOTHING_LEFT)
    different = connection.execute(_COUNT_DIFFERENCES).fetchall()[0][0]
    if different:
        raise DatabaseUnavailable(
            f"{different:,} bars that changed meanwhile differ in the copy of market_data; nothing has changed, run"
            " `backfill-assets partition-table --abandon` and report this as a bug"
        )
    drop_change_notes(connection, "market_data")
    triggers, grants = connection.execute(_SELECT_TRIGGERS).fetchall(), connection.execute(_SELECT_GRANTS).fetchall()
    connection.execute(_RENAME.encode())
    for statement in _list_statements(triggers, [grant for (grant,) in grants]):
        connection.execute(statement.encode())
    connection.execute(_CREATE_TRIGGERS_OF_PARTITIONS.encode())
    connection.execute(_RECORD_SWITCHED)
    return True


def analyze_bars(connection: Connection) -> None:
    """Collect the statistics of the partitioned table, which PostgreSQL does not by itself."""
    connection.execute(_ANALYZE)


def _require_unchanged(connection: Connection) -> None:
    if dependents := list_dependents(connection):
        raise UsageError(
            f"these refer to market_data itself since: {', '.join(dependents)}; drop them, run this command again, and"
            " create them afterwards"
        )
    columns = [connection.execute(_SELECT_COLUMNS, {"table": table}).fetchall() for table in ("market_data", TWIN)]
    if columns[0] != columns[1]:
        raise UsageError(
            "market_data has other columns than when its partitioning began; run `backfill-assets partition-table"
            " --abandon`, then this command again"
        )


def _list_statements(triggers: Sequence[tuple[str, str, str]], grants: Sequence[str]) -> Sequence[str]:
    """What gives the new table the triggers and rights of the former one, whose names PostgreSQL resolves anew."""
    states = [
        f"ALTER TABLE market_data {_STATES[state]} TRIGGER {name}" for name, _, state in triggers if state in _STATES
    ]
    former = [f"DROP TRIGGER {name} ON {FORMER}" for name, _, _ in triggers]
    return [*former, *(definition for _, definition, _ in triggers), *states, *grants]
