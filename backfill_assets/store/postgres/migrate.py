"""Brings a database to the schema of this version: one schema for a new database, numbered SQL files for an older one.

``store/migrations`` holds the SQL. A new database gets ``contract_tables.sql``, ``schema.sql`` and ``functions.sql``,
migrations 1 to 9 are recorded as applied, and the later ones follow. A database of migration 8 gets
``0009_standard_names.sql`` and ``functions.sql``; the result is the same schema. Migrations go forward only.

The first line of a numbered file is ``-- readable since: N``: a program that knows migration N can go on reading and
writing the database after this migration. An *additive* migration keeps the N of the one before it; a *breaking* one,
which renames, removes or changes the meaning of something, has its own number. So

- a program refuses a migration that it does not know only if it is older than that migration's N;
- additive migrations are recorded in ``backfill.additive_migrations``, because programs up to 0.8.0 refuse any unknown
  number in ``backfill.migrations``. They can be started beside this version, until a breaking migration;
- a breaking migration of an existing database is applied only with ``allow_breaking`` (``backfill-assets migrate``).

Whether existing tables can be used at all is decided in ``takeover_check``; what they may refuse is logged once here
(``takeover_warnings``).
"""

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from itertools import pairwise

from backfill_assets.errors import DatabaseUnavailable
from backfill_assets.store.postgres.connection import Connection, Database
from backfill_assets.store.postgres.takeover_record import compare_contract_tables, record_contract_tables
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
NEWEST_OF_0_8_0 = 38  # up to here additive migrations, too, are in backfill.migrations, and none waits to be allowed
_LOCK = 0x6261636B  # "back" in ASCII: one migration at a time in one database; version 0.1.0 uses the same lock
_log = logging.getLogger(__name__)
_READABLE_SINCE = re.compile(r"-- readable since: (\d+)\n")
_FIRST_PARAGRAPH = re.compile(r"-- readable since: \d+\n(?:--\n)*((?:-- .*\n)+)")
_TAKE_LOCK = "SELECT pg_advisory_xact_lock(%(lock)s)"
# Whoever comes after a migration that waits for a table waits, too. Behind a long transaction, such as a dump, it lets
# the others go first, and is tried again.
_LET_OTHERS_GO_FIRST = "SET LOCAL lock_timeout = '5s'"
_FIND_RECORDS = """
SELECT to_regclass('backfill.migrations') IS NOT NULL, to_regclass('backfill.additive_migrations') IS NOT NULL
"""
_MAY_MIGRATE = "SELECT has_schema_privilege('backfill', 'CREATE')"
# Migrations 1 to 8 had no column readable_since; such a database has it from migration 9 on.
_SELECT_MIGRATIONS = """
SELECT number, coalesce((to_jsonb(m) ->> 'readable_since')::integer, number) FROM backfill.migrations m
"""
_SELECT_ADDITIVE = "SELECT number, readable_since FROM backfill.additive_migrations"
_RECORD_MIGRATION = """
INSERT INTO backfill.migrations (number, name, readable_since) VALUES (%(number)s, %(name)s, %(readable_since)s)
"""
_RECORD_ADDITIVE = """
INSERT INTO backfill.additive_migrations (number, name, readable_since)
VALUES (%(number)s, %(name)s, %(readable_since)s)
"""


@dataclass(frozen=True, slots=True)
class Migration:
    """A numbered SQL file; a program that knows migration ``readable_since`` can work with the result."""

    number: int
    name: str
    sql: str
    readable_since: int

    @property
    def is_breaking(self) -> bool:
        """Whether programs that do not know it cannot work with the database any more."""
        return self.readable_since == self.number

    @property
    def needs_permission(self) -> bool:
        """Whether an existing database gets it only if somebody says so."""
        return self.is_breaking and self.number > NEWEST_OF_0_8_0

    @property
    def summary(self) -> str:
        """The first sentence of the comment that the file begins with; empty if there is none."""
        comment = _FIRST_PARAGRAPH.match(self.sql)
        text = " ".join(line.removeprefix("--").strip() for line in comment[1].splitlines()) if comment else ""
        return text.partition(". ")[0].rstrip(".")


@dataclass(frozen=True, slots=True)
class PendingSchema:
    """What a database lacks of this version's schema; a new one gets all of it, as ``schema.sql`` and later files."""

    is_new_database: bool
    migrations: tuple[Migration, ...]


def load_migrations() -> dict[int, Migration]:
    """The numbered SQL files of this version by number, ascending. Migrations 1 to 8 have none any more.

    Raises:
        ValueError: a file does not begin with ``-- readable since: N``, or N is neither its own number nor that of the
            one before.
    """
    names = sorted(f.name for f in _get_folder().iterdir() if f.name[:4].isdecimal())
    migrations = [_load_migration(name) for name in names]
    for earlier, later in pairwise(migrations):
        if later.readable_since not in (earlier.readable_since, later.number):
            raise ValueError(
                f"{later.name} is readable since {later.readable_since}, but the migration before it since"
                f" {earlier.readable_since}: that number, or its own if programs without it cannot go on"
            )
    return {migration.number: migration for migration in migrations}


def migrate(database: Database, *, allow_breaking: bool = False) -> list[str]:
    """Create the schema or apply the migrations that are missing.

    Safe to call from several processes at once: they wait for each other under an advisory lock that ends with the
    transaction.

    Args:
        database: where to.
        allow_breaking: apply migrations after which programs of earlier versions cannot work with the database. A new
            database gets them in any case.

    Returns:
        The names of the files applied; empty if the schema was there already.

    Raises:
        DatabaseUnavailable: a newer version of this program has migrated the database so that this one cannot read it,
            it is older than version 0.1.0, a breaking migration is not allowed, or the server refuses a statement, for
            instance because of an event trigger; then nothing has changed.
    """
    with database.transaction() as connection:  # one of its own: a lock held while waiting below would be a deadlock
        applied = _read_applied(connection)
        pending = _choose_pending(applied, allow_breaking=allow_breaking)
        if not pending:
            return []
        found = max((number for number in applied if number < min(pending)), default=0)
        _require_right_to_migrate(connection, found, max(pending))

    def migrate_under_lock(connection: Connection) -> list[str]:
        return _migrate_under_lock(connection, allow_breaking=allow_breaking)

    return database.retry_transaction(migrate_under_lock)  # also after a deadlock with a run that is under way


def find_pending(database: Database) -> PendingSchema:
    """What ``migrate`` would apply; changes nothing.

    Raises:
        DatabaseUnavailable: as ``migrate``, but not for migrations that wait.
    """
    with database.transaction() as connection:
        applied = _read_applied(connection)
    return PendingSchema(not applied, tuple(_choose_pending(applied, allow_breaking=True).values()))


def compare_with_own_tables(connection: Connection) -> list[str]:
    """How ``market_data`` differs from the table that this program creates, a line each."""
    return compare_contract_tables(connection, _read_file("contract_tables.sql"))["market_data"]


def record_migration(connection: Connection, migration: Migration) -> None:
    """Write down that a migration was applied, where programs look that must know it."""
    is_additive = not migration.is_breaking and migration.number > NEWEST_OF_0_8_0
    values = {"number": migration.number, "name": migration.name, "readable_since": migration.readable_since}
    connection.execute(_RECORD_ADDITIVE if is_additive else _RECORD_MIGRATION, values)


def _migrate_under_lock(connection: Connection, *, allow_breaking: bool) -> list[str]:
    connection.execute(_TAKE_LOCK, {"lock": _LOCK})
    applied = _read_applied(connection)
    pending = _choose_pending(applied, allow_breaking=allow_breaking)
    if min(pending, default=0) > NEWEST_OF_0_8_0:  # earlier ones say themselves how they wait
        connection.execute(_LET_OTHERS_GO_FIRST)
    names = []
    if not applied:
        names.append(_create_schema(connection, pending.pop(SCHEMA_NUMBER)))
    names += [_apply(connection, migration) for migration in pending.values()]
    if names:
        for warning in record_table_warnings(connection):
            _log.warning("the existing table market_data: %s", warning)
    return names


def _choose_pending(applied: Mapping[int, int], *, allow_breaking: bool) -> dict[int, Migration]:
    """The migrations to apply, by number, ascending; ``applied`` has what each applied one is readable since."""
    migrations = load_migrations()
    _require_upgradable(applied, {*range(1, SCHEMA_NUMBER), *migrations})
    pending = {number: migration for number, migration in migrations.items() if number not in applied}
    if applied and not allow_breaking:
        _require_nothing_breaking(pending.values())
    return pending


def _require_right_to_migrate(connection: Connection, found: int, needed: int) -> None:
    """A role that may only read or write can use the schema of this version, and cannot bring it there."""
    if found and connection.execute(_MAY_MIGRATE).fetchall() == [(False,)]:
        raise DatabaseUnavailable(
            f"the database has the schema of migration {found}, this version needs {needed}, and the user of"
            " DATABASE_URL may not change it; run `backfill-assets migrate` once as the owner of schema backfill"
        )


def _require_upgradable(applied: Mapping[int, int], known: set[int]) -> None:
    newest = max(known)
    if unreadable := [number for number, since in applied.items() if number not in known and since > newest]:
        raise DatabaseUnavailable(
            f"the database has migration {max(unreadable)}, which this version does not know; upgrade backfill_assets"
        )
    if applied and not set(applied).issuperset(range(1, OLDEST_UPGRADABLE + 1)):
        raise DatabaseUnavailable(
            f"the database has migration {max(applied)}, and this version upgrades from migration {OLDEST_UPGRADABLE}; "
            "run backfill_assets 0.1.0 (commit 2bde12b) on it once, for instance `backfill-assets status`, "
            "and start this version again"
        )


def _require_nothing_breaking(pending: Iterable[Migration]) -> None:
    if breaking := [f"{m.name} ({m.summary})" for m in pending if m.needs_permission]:
        raise DatabaseUnavailable(
            f"the database waits for {' and '.join(breaking)}, after which programs of earlier versions cannot use it"
            " any more; stop them all, then run `backfill-assets migrate --allow-breaking`"
        )


def _create_schema(connection: Connection, baseline: Migration) -> str:
    """Create the schema in a new database and record migrations 1 to 9 as applied."""
    _execute_files(connection, ["contract_tables.sql", "schema.sql", "functions.sql"])
    record_contract_tables(connection, _read_file("contract_tables.sql"))
    for number, name in enumerate(MIGRATIONS_OF_0_1_0, start=1):
        record_migration(connection, Migration(number, name, sql="", readable_since=number))
    record_migration(connection, baseline)
    return "schema.sql"


def _apply(connection: Connection, migration: Migration) -> str:
    connection.execute(migration.sql.encode())
    if migration.number == SCHEMA_NUMBER:
        _execute_files(connection, ["contract_tables.sql", "functions.sql"])
        record_contract_tables(connection, _read_file("contract_tables.sql"))
    record_migration(connection, migration)
    return migration.name


def _read_applied(connection: Connection) -> dict[int, int]:
    """The applied migrations by number, with what each is readable since; empty in a new database."""
    exists, has_additive = connection.execute(_FIND_RECORDS).fetchall()[0]
    if not exists:
        return {}
    query = f"{_SELECT_MIGRATIONS} UNION ALL {_SELECT_ADDITIVE}" if has_additive else _SELECT_MIGRATIONS
    return dict(connection.execute(query.encode()))


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
