"""Bring a database to the schema of this version: numbered SQL files, forward only."""

from importlib.resources import files

from backfill_assets.errors import DatabaseUnavailable
from backfill_assets.store.postgres.connection import Connection, Database

_LOCK = 0x6261636B  # "back": one migration at a time in one database


def load_migrations() -> dict[int, tuple[str, str]]:
    """Every migration of this version: number → (name, SQL), ascending."""
    folder = files("backfill_assets.store") / "migrations"
    found = sorted((f.name, f.read_text()) for f in folder.iterdir() if f.name.endswith(".sql"))
    return {int(name[:4]): (name, sql) for name, sql in found}


def migrate(database: Database) -> list[str]:
    """Apply what is not yet applied; returns the names applied, empty when there was nothing to do.

    Safe to call from several processes at once: they wait for each other under an advisory lock
    that ends with the transaction.

    Raises:
        DatabaseUnavailable: a newer version of this program has migrated the database already.
    """
    migrations = load_migrations()
    with database.transaction() as connection:
        if _read_applied(connection) == set(migrations):
            return []
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        connection.execute("CREATE SCHEMA IF NOT EXISTS backfill")
        connection.execute(
            "CREATE TABLE IF NOT EXISTS backfill.migrations"
            " (number integer PRIMARY KEY, name text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
        )
        applied = _read_applied(connection)
        if unknown := applied - set(migrations):
            raise DatabaseUnavailable(
                f"the database has migration {max(unknown)}, which this version does not know; upgrade backfill_assets"
            )
        return [_apply(connection, number, *migrations[number]) for number in migrations if number not in applied]


def _read_applied(connection: Connection) -> set[int]:
    exists = connection.execute("SELECT to_regclass('backfill.migrations') IS NOT NULL").fetchone()
    if not exists or not exists[0]:
        return set()
    return {row[0] for row in connection.execute("SELECT number FROM backfill.migrations")}


def _apply(connection: Connection, number: int, name: str, sql: str) -> str:
    connection.execute(sql.encode())
    connection.execute("INSERT INTO backfill.migrations (number, name) VALUES (%s, %s)", [number, name])
    return name
