"""Checks that schema ``backfill`` and the contract tables are still those that this program set up.

The check runs before anything is made. Another program may use the name ``backfill``, a person may have dropped or
renamed a table, and the search_path of a user may lead elsewhere since. Whether existing contract tables have usable
columns is decided in ``takeover_check``.
"""

from backfill_assets.errors import DatabaseUnavailable
from backfill_assets.store.postgres.connection import Connection, Database
from backfill_assets.store.postgres.database_errors import OWN_SCHEMA, describe_database

_MAX_NAMES = 5
# What the schema holds after the newest migration; a test compares it with a new database.
OWN_TABLES = frozenset(
    {
        "additive_migrations",
        "alert_answers",
        "alert_endpoints",
        "alert_events",
        "alert_messages",
        "alert_owners_told",
        "alert_states",
        "alert_vendor_gaps",
        "bar_beginnings",
        "bar_versions",
        "budget",
        "bulk_files",
        "census_deltas",
        "census_months",
        "census_scopes",
        "census_symbols",
        "census_tables",
        "certificate_bars",
        "certificates",
        "certification_looks",
        "claims",
        "closures",
        "compared_days",
        "contract_tables",
        "daily_prices",
        "daily_reads",
        "daily_revisions",
        "decision_history",
        "decisions",
        "dividend_reads",
        "dividend_revisions",
        "dividends",
        "doubts",
        "evidence_changes",
        "exchange_closures",
        "exchange_closures_others",
        "exchange_files",
        "exchange_files_others",
        "exchanges",
        "findings",
        "halts",
        "hashed_sessions",
        "history_begins",
        "history_days",
        "history_goals",
        "history_listings",
        "history_progress",
        "history_state",
        "ledger",
        "ledger_by_purpose",
        "learned_closing_rows",
        "learned_sessions",
        "level_jumps",
        "listed_isins",
        "listing_lives",
        "listings",
        "live_reconciliations",
        "live_rounds",
        "live_samples",
        "live_slots",
        "migrations",
        "other_feed_answers",
        "other_feed_bars",
        "permits",
        "refused_endpoints",
        "rejects",
        "requests",
        "reviews",
        "revisions",
        "run_beats",
        "runs",
        "sensor_looks",
        "session_evidence",
        "session_fingerprints",
        "source_host",
        "spending_pause",
        "spinoff_revisions",
        "spinoffs",
        "split_reads",
        "split_revisions",
        "splits",
        "symbol_currencies",
        "ticker_breaks",
        "ticker_changes",
        "universe_changes",
        "universe_members",
        "universes",
        "unserved_symbols",
        "watched_sessions",
    }
)
OWN_FUNCTIONS = frozenset(
    {
        "adjusted_bars",
        "adjustment_arrays",
        "adjustment_factors",
        "backfill_calls_left",
        "bar_partition_years",
        "bars_known_at",
        "calls_allotted",
        "calls_left_for_purpose",
        "calls_spent",
        "charge_purpose",
        "clear_provenance",
        "convert_currency",
        "count_bars",
        "count_emptied_bars",
        "count_stored_bars",
        "counted_actions",
        "create_census_triggers",
        "create_history_triggers",
        "cut_bar_partition",
        "exchange_day_begin",
        "exchange_zone",
        "find_census_changes",
        "find_position",
        "find_refused_bars",
        "grant_permits",
        "half_of_interval",
        "has_actions",
        "is_day_used_up",
        "is_of_market_data",
        "is_sparse_bar",
        "is_spending_paused",
        "keep_bar_version",
        "keep_truncated_bars",
        "live_calls_left",
        "live_calls_reserved",
        "make_bar_partitions",
        "mark_restored_bar",
        "months_of_table",
        "price_currency",
        "price_unit",
        "raise_missing_factor",
        "request_ceiling",
        "note_evidence_change",
        "require_adjustment",
        "return_permits",
        "session_day",
        "session_day_begin",
        "settle_permits",
        "square_minute",
        "symbol_zone",
        "take_limited_permits",
        "take_live_permits",
        "take_permits",
        "unread_actions",
    }
)
# Triggers of market_data that keep the versions of bars.
HISTORY_TRIGGERS = frozenset(
    {
        "backfill_keep_deleted",
        "backfill_keep_edited",
        "backfill_keep_replaced",
        "backfill_keep_truncated",
        "backfill_mark_restored",
    }
)
# Triggers of market_data that count bars. Where they are gone, as for a role that may not create them, the census says
# that it is not kept (``store.census.reader``), and its readers count bars instead: nothing is lost.
CENSUS_TRIGGERS = frozenset({"backfill_count_deleted", "backfill_count_inserted", "backfill_count_updated"})
# Without the other one, a bar that another program overwrites stays ours. They are gone, for instance, after the table
# was created anew.
_TRIGGERS = HISTORY_TRIGGERS | {"backfill_clear_provenance"}
_SELECT_LOST_TRIGGERS = """
SELECT name FROM unnest(%(names)s::text[]) AS name
WHERE NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = to_regclass('market_data') AND tgname = name)
   OR EXISTS (SELECT FROM pg_trigger WHERE tgname = name AND tgenabled IN ('D', 'R') AND tgrelid IN (
                  SELECT to_regclass('market_data') UNION ALL
                  SELECT relid FROM pg_partition_tree(to_regclass('market_data'))))
ORDER BY name
"""
_SELECT_OWN_OBJECTS = """
SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %(schema)s AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
UNION ALL
SELECT p.proname::text FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = %(schema)s
ORDER BY 1
"""
_SELECT_MIGRATION_COLUMNS = """
SELECT a.attname::text FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %(schema)s AND c.relname = 'migrations' AND a.attnum > 0
"""
# The trigger shows which market_data was set up. A partitioned table's partitions have copies of it.
_SELECT_TABLES = """
SELECT to_regclass('market_data')::oid, to_regclass('market_symbols')::oid, current_setting('search_path'),
       (SELECT array_agg(g.tgrelid) FROM pg_trigger g JOIN pg_proc p ON p.oid = g.tgfoid
        JOIN pg_namespace n ON n.oid = p.pronamespace
        WHERE n.nspname = %(schema)s AND p.proname = 'clear_provenance'
          AND g.tgrelid NOT IN (SELECT inhrelid FROM pg_inherits)),
       (SELECT array_agg(n.nspname || '.' || c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relname IN ('market_data', 'market_symbols') AND c.relkind IN ('r', 'p'))
"""
_SELECT_NAME = """
SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = %(id)s
"""


def require_own_schema(database: Database) -> None:
    """Make sure that schema ``backfill`` is this program's, and that search_path leads to the tables it was made for.

    Raises:
        DatabaseUnavailable: names what is in the way, and what to do.
    """
    with database.transaction() as connection:
        fault = _find_fault(connection)
    if fault is not None:
        raise DatabaseUnavailable(f"{describe_database(database.url)} cannot be used: {fault}")


def require_complete_schema(database: Database) -> None:
    """Make sure that no table, function or trigger of this program is gone, before a request is paid for in vain.

    Raises:
        DatabaseUnavailable: names what is missing.
    """
    with database.transaction() as connection:
        found = {name for (name,) in connection.execute(_SELECT_OWN_OBJECTS, {"schema": OWN_SCHEMA})}
        lost = [name for (name,) in connection.execute(_SELECT_LOST_TRIGGERS, {"names": sorted(_TRIGGERS)})]
    if missing := sorted((OWN_TABLES | OWN_FUNCTIONS) - found):
        raise DatabaseUnavailable(
            f"{describe_database(database.url)} cannot be used: of its schema {OWN_SCHEMA} these are gone:"
            f" {', '.join(missing)}; restore them from a backup, or drop the whole schema to start anew (bars are kept,"
            " what is known about absent ones is lost)"
        )
    if lost:
        raise DatabaseUnavailable(
            f"{describe_database(database.url)} cannot be used: of the triggers of market_data these are gone or"
            f" disabled: {', '.join(lost)}; without them changes of bars are not kept. As the owner of market_data"
            " run: SELECT backfill.create_history_triggers(); the history of bars then begins at that moment"
        )


def _find_fault(connection: Connection) -> str | None:
    objects = [name for (name,) in connection.execute(_SELECT_OWN_OBJECTS, {"schema": OWN_SCHEMA})]
    columns = {name for (name,) in connection.execute(_SELECT_MIGRATION_COLUMNS, {"schema": OWN_SCHEMA})}
    if {"number", "name"} <= columns:
        return _find_table_fault(connection)
    if not objects:
        return None
    shown = ", ".join(objects[:_MAX_NAMES]) + (", …" if len(objects) > _MAX_NAMES else "")
    return (
        f"its schema {OWN_SCHEMA} holds objects of another program ({shown}); rename that schema, or point DATABASE_URL"
        " to another database"
    )


def _find_table_fault(connection: Connection) -> str | None:
    row = connection.execute(_SELECT_TABLES, {"schema": OWN_SCHEMA}).fetchall()[0]
    data_id, symbols_id, search_path, set_up_ids, tables = row
    if data_id is None or symbols_id is None:
        missing = "market_data" if data_id is None else "market_symbols"
        schemas = [name.rpartition(".")[0] for name in tables or [] if name.endswith(f".{missing}")]
        if not schemas:
            return (
                f"{missing} is gone although the schema {OWN_SCHEMA} exists; restore it from a backup, or drop the"
                f" schema {OWN_SCHEMA}, too, to start anew"
            )
        return (
            f"search_path ({search_path}) does not lead to {missing}, which is in {' and in '.join(schemas)}:"
            f" {_format_advice(schemas[0])}"
        )
    if set_up_ids and data_id not in set_up_ids:
        found, expected = (_read_name(connection, table_id) for table_id in (data_id, set_up_ids[0]))
        return (
            f"search_path ({search_path}) leads to {found}, but the schema {OWN_SCHEMA} was set up for {expected}:"
            f" {_format_advice(expected.partition('.')[0])}"
        )
    return None


def _read_name(connection: Connection, table_id: int) -> str:
    return str(connection.execute(_SELECT_NAME, {"id": table_id}).fetchall()[0][0])


def _format_advice(schema: str) -> str:
    return f"put {schema} first, for instance with ?options=-csearch_path%3D{schema} in DATABASE_URL"
