"""The roles of deploy/postgres/ can do their parts and nothing else, in a new database and beside another program."""

from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import conninfo

from backfill_assets.errors import DatabaseUnavailable
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.postgres.migrate import migrate
from backfill_assets_tests.acceptance.conftest import User
from backfill_assets_tests.acceptance.conftest import make_user as make_user
from backfill_assets_tests.conftest import read_stored_bars
from backfill_assets_tests.external_tables import create_external_tables
from backfill_assets_tests.integration.test_backfill_engine import MONDAY, TUESDAY, build_expected_bars

SCRIPTS = Path(__file__).parents[2] / "deploy" / "postgres"
ROLES = ("backfill_migrator", "backfill_writer", "backfill_reader")
MakeUser = Callable[..., User]


def execute(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement.encode())


def execute_script(url: str, name: str) -> None:
    execute(url, (SCRIPTS / name).read_text("ascii"))


def connect_as(url: str, role: str) -> str:
    return conninfo.make_conninfo(url, user=role)


def is_refused(url: str, statement: str) -> bool:
    try:
        execute(url, statement)
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.ReadOnlySqlTransaction):
        return True
    return False


@pytest.fixture
def drop_roles(template_url: str) -> Iterator[Callable[[str], str]]:
    """Takes the address of a database in which roles are made, and returns it; roles are of the whole server."""
    urls: list[str] = []

    def remember(url: str) -> str:
        urls.append(url)
        return url

    yield remember
    for url in urls:
        execute(url, f"ALTER DATABASE {conninfo.conninfo_to_dict(url)['dbname']} OWNER TO postgres")
        with psycopg.connect(url, autocommit=True) as connection:
            for role in [*ROLES, "administrator", "house"]:
                if connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [role]).fetchall():
                    connection.execute(f"DROP OWNED BY {role} CASCADE".encode())
                    connection.execute(f"DROP ROLE {role}".encode())


def migrate_as(url: str, role: str) -> list[str]:
    database = Database(connect_as(url, role))
    try:
        return migrate(database)
    finally:
        database.close()


def require_writer_works(make_user: MakeUser, sandbox: Sandbox, url: str, *commands: str) -> None:
    user = make_user(sandbox, DATABASE_URL=connect_as(url, "backfill_writer"))
    for command in commands:
        result = user.run_cli(command)
        assert result.code == 0, (command, result)


REFUSED_TO_READER = (
    "SET default_transaction_read_only = off; DELETE FROM market_data",
    "SET default_transaction_read_only = off; UPDATE market_symbols SET is_active = false",
    "SET default_transaction_read_only = off; INSERT INTO backfill.budget (token) VALUES ('x')",
    "SET default_transaction_read_only = off; CREATE TABLE backfill.own (id int)",
    "SELECT backfill.return_permits('x', '{}', 0, current_date); DELETE FROM backfill.permits",
)
REFUSED_TO_WRITER = (
    "DROP TABLE market_data",
    "TRUNCATE market_data",
    "ALTER TABLE market_data DISABLE TRIGGER backfill_keep_edited",
    "ALTER TABLE backfill.runs ADD own int",
    "CREATE TABLE backfill.own (id int)",
    "CREATE SCHEMA own",
    "INSERT INTO backfill.migrations VALUES (9999, 'x')",
    "DELETE FROM backfill.additive_migrations",
    "UPDATE backfill.contract_tables SET is_managed = true",
    "CREATE ROLE own",
    "CREATE DATABASE own",
    "SET ROLE backfill_migrator",
)


def test_each_role_of_a_new_database_does_its_part_only(
    drop_roles: Callable[[str], str],
    create_database: Callable[..., str],
    make_user: MakeUser,
    start_sandbox: Callable[..., Sandbox],
) -> None:
    """The script is run before anything exists, as by the container of PostgreSQL, and once more afterwards."""
    url = drop_roles(create_database(None))
    execute_script(url, "roles.sql")
    assert migrate_as(url, "backfill_migrator")
    sandbox = start_sandbox()
    require_writer_works(make_user, sandbox, url, "symbols add AAPL", "run --start 2026-06-01 --end 2026-06-02")
    execute_script(url, "roles.sql")
    reader = connect_as(url, "backfill_reader")
    database = Database(reader)
    assert read_stored_bars(database, "AAPL") == build_expected_bars(sandbox, "AAPL", MONDAY, TUESDAY)
    database.close()
    assert make_user(DATABASE_URL=reader).run_cli("status").code == 0
    writer = connect_as(url, "backfill_writer")
    assert [s for s in REFUSED_TO_READER if not is_refused(reader, s)] == []
    assert [s for s in REFUSED_TO_WRITER if not is_refused(writer, s)] == []
    execute(writer, "SELECT FROM backfill.migrations")
    execute(writer, "SELECT backfill.make_bar_partitions('market_data', 2020, 1 + extract(year FROM now())::int + 1)")
    with psycopg.connect(url) as connection:
        owners = connection.execute("SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'").fetchall()
        assert owners == [("backfill_migrator",)]
    assert is_refused(connect_as(url, "backfill_migrator"), "CREATE ROLE own")
    execute(
        connect_as(url, "backfill_migrator"), "ALTER TABLE market_data ADD x int; ALTER TABLE backfill.runs ADD x int"
    )


def test_roles_beside_another_program_by_an_administrator_who_is_no_superuser(
    drop_roles: Callable[[str], str],
    create_database: Callable[..., str],
    make_user: MakeUser,
    start_sandbox: Callable[..., Sandbox],
) -> None:
    """Tables of another program stay its own; what the program made under the administrator goes to the migrator."""
    url = drop_roles(create_database(None))
    execute(url, "CREATE ROLE administrator LOGIN CREATEROLE; CREATE ROLE house LOGIN")
    execute(url, f"ALTER DATABASE {conninfo.conninfo_to_dict(url)['dbname']} OWNER TO administrator")
    execute(url, "GRANT administrator TO house; GRANT USAGE ON SCHEMA public TO house")
    admin = connect_as(url, "administrator")
    create_external_tables(admin)
    assert migrate_as(url, "administrator")
    for _ in range(2):
        execute_script(admin, "roles.sql")
    require_writer_works(make_user, start_sandbox(), url, "symbols add AAPL", "pause --for 1h")
    assert migrate_as(url, "backfill_migrator") == []
    migrator = connect_as(url, "backfill_migrator")
    assert is_refused(migrator, "ALTER TABLE market_data ADD added int")
    assert is_refused(migrator, "DELETE FROM market_data")
    assert is_refused(connect_as(url, "backfill_writer"), "SELECT FROM house_signals")
    assert is_refused(admin, "DROP TABLE backfill.runs"), "the administrator's membership has ended"
    with psycopg.connect(url) as connection:
        owners = connection.execute("SELECT tableowner FROM pg_tables WHERE schemaname = 'public'").fetchall()
        assert set(owners) == {("administrator",)}


def test_a_role_gets_the_timeouts_and_no_other_does(
    drop_roles: Callable[[str], str], create_database: Callable[..., str]
) -> None:
    url = drop_roles(create_database(None))
    execute(url, "CREATE ROLE house LOGIN")
    execute_script(connect_as(url, "house"), "timeouts.sql")
    for role, shown in {"house": "1min", "postgres": "0"}.items():
        with psycopg.connect(connect_as(url, role)) as connection:
            assert connection.execute("SHOW idle_in_transaction_session_timeout").fetchall() == [(shown,)]


def test_a_reader_of_an_older_schema_is_told_who_may_change_it(
    drop_roles: Callable[[str], str], create_database: Callable[..., str]
) -> None:
    url = drop_roles(create_database())
    execute_script(url, "roles.sql")
    execute(url, "DELETE FROM backfill.additive_migrations")
    with pytest.raises(DatabaseUnavailable, match="as the owner of schema backfill"):
        migrate_as(url, "backfill_writer")
