"""Brings a database to the schema of this version: one schema for a new database, numbered SQL files for an older one.

``store/migrations`` holds the SQL. A new database gets ``contract_tables.sql``, ``schema.sql`` and ``functions.sql``,
and migrations 1 to 9 are recorded as applied. A database of migration 8 gets ``0009_standard_names.sql`` and
``functions.sql``; the result is the same schema. Migrations go forward only.

The first line of a numbered file is ``-- readable since: N``, which is stored in ``backfill.migrations``: a program
that knows migration N can go on reading and writing the database after this migration. An additive migration keeps the
N of the one before it; one that renames, removes or changes the meaning of something has its own number. Nothing reads
that column yet.

Whether existing tables can be used at all is decided in ``takeover_check``; what they may refuse is logged once here
(``takeover_warnings``).
"""

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable

from backfill_assets.errors import DatabaseUnavailable
from backfill_assets.store.postgres.connection import Connection, Database
from backfill_assets.store.postgres.takeover_record import record_contract_tables
from backfill_assets.store.postgres.takeover_warnings import record_table_warnings

SCHEMA_NUMBER = 9  # the migration that schema.sql and functions.sql are equal to
MIGRATIONS_OF_0_1_0 = (  # a new database has them recorded, too, so that version 0.1.0 refuses it by number
    "0001_contract_tables.sql",
    "0002_working_tables.sql",
    "0003_vendor_budget.sql",
    "0004_live.sql",
    "0005_alerts.sql",
    "0006_source_host.sql",
    "0007_reviews.sql",
    "0008_by_day.sql",
)
OLDEST_UPGRADABLE = len(MIGRATIONS_OF_0_1_0)
_LOCK = 0x6261636B  # "back" in ASCII: one migration at a time in one database; version 0.1.0 uses the same lock
_log = logging.getLogger(__name__)
_READABLE_SINCE = re.compile(r"-- readable since: (\d+)\n")
_TAKE_LOCK = "SELECT pg_advisory_xact_lock(%(lock)s)"
_HAS_MIGRATIONS = "SELECT to_regclass('backfill.migrations') IS NOT NULL"
_MAY_MIGRATE = "SELECT has_schema_privilege('backfill', 'CREATE')"
_SELECT_NUMBERS = "SELECT number FROM backfill.migrations"
_RECORD_MIGRATION = """
INSERT INTO backfill.migrations (number, name, readable_since) VALUES (%(number)s, %(name)s, %(readable_since)s)
"""


@dataclass(frozen=True, slots=True)
class Migration:
    """A numbered SQL file; a program that knows migration ``readable_since`` can work with the result."""

    number: int
    name: str
    sql: str
    readable_since: int


def load_migrations() -> dict[int, Migration]:
    """The numbered SQL files of this version by number, ascending. Migrations 1 to 8 have none any more.

    Raises:
        ValueError: a file does not begin with ``-- readable since: N``, or N is not a migration up to its own.
    """
    names = sorted(f.name for f in _get_folder().iterdir() if f.name[:4].isdecimal())
    return {migration.number: migration for migration in map(_load_migration, names)}


def migrate(database: Database) -> list[str]:
    """Create the schema or apply the migrations that are missing.

    Safe to call from several processes at once: they wait for each other under an advisory lock that ends with the
    transaction.

    Returns:
        The names of the files applied; empty if the schema was there already.

    Raises:
        DatabaseUnavailable: a newer version of this program has migrated the database, it is older than version
            0.1.0, or the server refuses a statement, for instance because of an event trigger; then nothing has
            changed.
    """
    known = {*range(1, SCHEMA_NUMBER), *load_migrations()}
    with database.transaction() as connection:  # one of its own: a lock held while waiting below would be a deadlock
        applied = _read_applied(connection)
        if applied == known:
            return []
        if applied < known:
            _require_right_to_migrate(connection, max(applied, default=0), max(known))
    return database.retry_transaction(_migrate_under_lock)  # also after a deadlock with a run that is under way


def _migrate_under_lock(connection: Connection) -> list[str]:
    migrations = load_migrations()
    connection.execute(_TAKE_LOCK, {"lock": _LOCK})
    applied = _read_applied(connection)
    _require_upgradable(applied, {*range(1, SCHEMA_NUMBER), *migrations})
    names = []
    if not applied:
        names.append(_create_schema(connection, migrations[SCHEMA_NUMBER]))
        applied = set(range(1, SCHEMA_NUMBER + 1))
    names += [_apply(connection, m) for m in migrations.values() if m.number not in applied]
    if names:
        for warning in record_table_warnings(connection):
            _log.warning("the existing table market_data: %s", warning)
    return names


def _require_right_to_migrate(connection: Connection, found: int, needed: int) -> None:
    """A role that may only read can use the schema of this version, and cannot bring it there."""
    if found and connection.execute(_MAY_MIGRATE).fetchall() == [(False,)]:
        raise DatabaseUnavailable(
            f"the database has the schema of migration {found}, this version needs {needed}, and the user of"
            " DATABASE_URL may not change it; run `backfill-assets status` once as the owner of schema backfill"
        )


def _require_upgradable(applied: set[int], known: set[int]) -> None:
    if unknown := applied - known:
        raise DatabaseUnavailable(
            f"the database has migration {max(unknown)}, which this version does not know; upgrade backfill_assets"
        )
    if applied and not applied.issuperset(range(1, OLDEST_UPGRADABLE + 1)):
        raise DatabaseUnavailable(
            f"the database has migration {max(applied)}, and this version upgrades from migration {OLDEST_UPGRADABLE}; "
            "run backfill_assets 0.1.0 (commit 2bde12b) on it once, for instance `backfill-assets status`, "
            "and start this version again"
        )


def _create_schema(connection: Connection, baseline: Migration) -> str:
    """Create the schema in a new database and record migrations 1 to 9 as applied."""
    _execute_files(connection, ["contract_tables.sql", "schema.sql", "functions.sql"])
    record_contract_tables(connection, _read_file("contract_tables.sql"))
    for number, name in enumerate(MIGRATIONS_OF_0_1_0, start=1):
        _record_migration(connection, number, name, readable_since=number)
    _record_migration(connection, baseline.number, baseline.name, baseline.readable_since)
    return "schema.sql"


def _apply(connection: Connection, migration: Migration) -> str:
    connection.execute(migration.sql.encode())
    if migration.number == SCHEMA_NUMBER:
        _execute_files(connection, ["contract_tables.sql", "functions.sql"])
        record_contract_tables(connection, _read_file("contract_tables.sql"))
    _record_migration(connection, migration.number, migration.name, migration.readable_since)
    return migration.name


def _record_migration(connection: Connection, number: int, name: str, readable_since: int) -> None:
    connection.execute(_RECORD_MIGRATION, {"number": number, "name": name, "readable_since": readable_since})


def _read_applied(connection: Connection) -> set[int]:
    exists = connection.execute(_HAS_MIGRATIONS).fetchone()
    if not exists or not exists[0]:
        return set()
    return {row[0] for row in connection.execute(_SELECT_NUMBERS)}


def _load_migration(name: str) -> Migration:
    sql = _read_file(name)
    header = _READABLE_SINCE.match(sql)
    if header is None or not 1 <= int(header[1]) <= int(name[:4]):
        raise ValueError(f"{name} must begin with '-- readable since: N', N being its own number or an earlier one")
    return Migration(int(name[:4]), name, sql, int(header[1]))


def _execute_files(connection: Connection, names: Sequence[str]) -> None:
    for name in names:
        connection.execute(_read_file(name).encode())


def _read_file(name: str) -> str:
    return (_get_folder() / name).read_text("utf-8")


def _get_folder() -> Traversable:
    return files("backfill_assets.store") / "migrations"
