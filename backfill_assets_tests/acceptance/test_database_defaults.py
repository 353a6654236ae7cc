"""Databases with other encodings, defaults and objects than ours work, or are refused before anything is made."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.resources import files

import psycopg
import pytest

from backfill_assets.errors import DatabaseUnavailable
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.postgres.connection import Connection, Database
from backfill_assets.store.postgres.migrate import migrate
from backfill_assets.store.postgres.session_settings import require_server_version
from backfill_assets_tests.acceptance.conftest import User
from backfill_assets_tests.conftest import read_stored_bars
from backfill_assets_tests.integration.test_backfill_engine import MONDAY, TUESDAY, build_expected_bars

MakeUser = Callable[..., User]
StartSandbox = Callable[..., Sandbox]
CreateDatabase = Callable[..., str]
COMMANDS = ("symbols add AAPL MSFT", "run", "report", "verify", "status", "why AAPL 2026-06-02", "plan")
# Everything that a role or a database can have as a default and that changes what SQL means, what the driver reads, or
# how long a statement may take.
DEFAULTS = {
    "DateStyle": "German",
    "IntervalStyle": "iso_8601",
    "TimeZone": "Asia/Kathmandu",
    "extra_float_digits": "-15",
    "bytea_output": "escape",
    "standard_conforming_strings": "off",
    "backslash_quote": "on",
    "escape_string_warning": "on",
    "array_nulls": "off",
    "transform_null_equals": "on",
    "quote_all_identifiers": "on",
    "xmloption": "document",
    "default_transaction_isolation": "serializable",
    "default_transaction_deferrable": "on",
    "client_encoding": "LATIN1",
    "client_min_messages": "debug1",
    "row_security": "off",
    "check_function_bodies": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "statement_timeout": "900ms",
    "lock_timeout": "1ms",
    "transaction_timeout": "900ms",
    "idle_in_transaction_session_timeout": "900ms",
    "idle_session_timeout": "300ms",
    "plpgsql.extra_errors": "all",
    "plpgsql.variable_conflict": "use_column",
    "search_path": '"$user", public',
}


def set_defaults(url: str, **defaults: str) -> None:
    name = psycopg.conninfo.conninfo_to_dict(url)["dbname"]
    with psycopg.connect(url, autocommit=True) as admin:
        known = {row[0] for row in admin.execute("SELECT name FROM pg_settings")}
        for setting, value in defaults.items():
            if setting in known or "." in setting:
                quoted = value if setting == "search_path" else f"'{value}'"
                admin.execute(f"ALTER DATABASE {name} SET {setting} = {quoted}".encode())


@contextmanager
def create_encoded_database(url: str, encoding: str, locale: str = "LC_COLLATE 'C' LC_CTYPE 'C'") -> Iterator[str]:
    name = f"encoded_{encoding.lower()}"
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(
            f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' {locale} STRATEGY FILE_COPY".encode()
        )
        yield psycopg.conninfo.make_conninfo(url, dbname=name)
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def require_complete_run(make_user: MakeUser, sandbox: Sandbox, url: str) -> None:
    """Run every command, and compare the stored bars with the vendor's."""
    user = make_user(sandbox, DATABASE_URL=url)
    for command in COMMANDS:
        result = user.run_cli(command)
        assert result.code == 0, (command, result)
    database = Database(url)
    for symbol in ("AAPL", "MSFT"):
        assert read_stored_bars(database, symbol) == build_expected_bars(sandbox, symbol, MONDAY, TUESDAY)
    database.close()


def test_defaults_of_a_database_change_nothing(
    make_user: MakeUser, start_sandbox: StartSandbox, create_database: CreateDatabase
) -> None:
    url = create_database(None)
    set_defaults(url, **DEFAULTS)
    require_complete_run(make_user, start_sandbox(), url)


def test_defaults_of_a_database_change_nothing_behind_a_pooler(
    make_user: MakeUser, start_sandbox: StartSandbox, pooler_url: str, template_url: str
) -> None:
    """A pooler in transaction mode keeps no settings of a session."""
    name = str(psycopg.conninfo.conninfo_to_dict(pooler_url)["dbname"])
    set_defaults(psycopg.conninfo.make_conninfo(template_url, dbname=name), **DEFAULTS)
    require_complete_run(make_user, start_sandbox(), pooler_url)


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1", "EUC_JP", "WIN1252"])
def test_any_encoding_of_the_database_works(
    make_user: MakeUser, start_sandbox: StartSandbox, database_url: str, encoding: str
) -> None:
    with create_encoded_database(database_url, encoding) as url:
        require_complete_run(make_user, start_sandbox(), url)


TEXT = "„Ünïcode“ – 日本 → \0 \ud800"


@pytest.mark.parametrize(
    ("encoding", "stored"),
    [
        ("UTF8", "„Ünïcode“ – 日本 → \\0 ?"),
        ("SQL_ASCII", "„Ünïcode“ – 日本 → \\0 ?"),
        ("LATIN1", '"Ünïcode" - ?? -> \\0 ?'),
        ("WIN1252", "„Ünïcode“ – ?? -> \\0 ?"),
    ],
)
def test_text_that_the_encoding_lacks_is_stored_in_a_readable_form(
    database_url: str, encoding: str, stored: str
) -> None:
    with create_encoded_database(database_url, encoding) as url:
        database = Database(url)
        with database.transaction() as connection:
            assert connection.execute("SELECT %s::text, %s::text[]", [TEXT, [TEXT]]).fetchone() == (stored, [stored])
        database.close()


def test_text_of_another_program_that_is_not_utf_8_is_reported(database_url: str) -> None:
    with create_encoded_database(database_url, "SQL_ASCII") as url:
        database = Database(url)
        with (
            pytest.raises(DatabaseUnavailable, match="holds text of another program that is not UTF-8"),
            database.transaction() as session,
        ):
            session.execute("SELECT chr(255)::text").fetchone()
        database.close()


LIMITS = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")


def read_limits(url: str) -> list[str]:
    database = Database(url)
    with database.transaction() as connection:
        row = connection.execute(
            " UNION ALL ".join(f"SELECT current_setting('{n}')" for n in LIMITS).encode()
        ).fetchall()
    database.close()
    return [setting for (setting,) in row]


def test_limits_for_other_work_do_not_apply_but_those_of_the_address_do(create_database: CreateDatabase) -> None:
    url = create_database(None)
    set_defaults(url, **dict.fromkeys(LIMITS, "700ms"))
    assert read_limits(url) == ["0", "0", "1min"]
    given = " ".join(f"-c {name}=7s" for name in LIMITS)
    assert read_limits(psycopg.conninfo.make_conninfo(url, options=given)) == ["7s", "7s", "7s"]


def test_isolation_is_read_committed_whatever_the_default_is(create_database: CreateDatabase) -> None:
    url = create_database(None)
    set_defaults(url, default_transaction_isolation="serializable")
    database = Database(url)
    with database.transaction() as connection:
        assert connection.execute("SHOW transaction_isolation").fetchone() == ("read committed",)
    database.close()


def test_a_server_that_is_too_old_is_named() -> None:
    require_server_version(140000)
    with pytest.raises(DatabaseUnavailable, match="the server is PostgreSQL 13; 14 or newer is needed"):
        require_server_version(130014)


def test_a_server_that_ends_unused_connections_at_once_is_named(create_database: CreateDatabase) -> None:
    """Refused before anything is made."""
    url = create_database(None)
    change(url, f"ALTER DATABASE {psycopg.conninfo.conninfo_to_dict(url)['dbname']} SET idle_session_timeout = '99ms'")
    with pytest.raises(DatabaseUnavailable, match=r"idle_session_timeout is 99 ms, .* to 0, or to 100 ms or more"):
        migrate(Database(url))
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT to_regnamespace('backfill') IS NULL").fetchall() == [(True,)]


def test_sql_files_are_ascii() -> None:
    """The server converts the text of a statement to the encoding of its database, comments included."""
    sql_files = [
        file for file in (files("backfill_assets.store") / "migrations").iterdir() if file.name.endswith(".sql")
    ]
    assert len(sql_files) > 3
    assert [file.name for file in sql_files if not file.read_text("utf-8").isascii()] == []


def change(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement.encode())


OBSTACLES = {
    "a table of another program": (
        "CREATE SCHEMA backfill; CREATE TABLE backfill.runs (id int)",
        "its schema backfill holds objects of another program (runs)",
    ),
    "a function of another program": (
        "CREATE SCHEMA backfill; CREATE FUNCTION backfill.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "its schema backfill holds objects of another program (f)",
    ),
    "another migrations table": (
        "CREATE SCHEMA backfill; CREATE TABLE backfill.migrations (version text)",
        "its schema backfill holds objects of another program (migrations)",
    ),
}


@pytest.mark.parametrize(("statement", "message"), OBSTACLES.values(), ids=OBSTACLES)
def test_objects_of_another_program_are_named_before_anything_is_made(
    make_user: MakeUser, create_database: CreateDatabase, statement: str, message: str
) -> None:
    url = create_database(None)
    change(url, statement)
    result = make_user(DATABASE_URL=url).run_cli("status")
    assert (result.code, message in result.error) == (5, True), result
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT to_regclass('market_data')").fetchone() == (None,)


def test_an_empty_schema_of_the_name_is_used(make_user: MakeUser, create_database: CreateDatabase) -> None:
    url = create_database(None)
    change(url, "CREATE SCHEMA backfill")
    assert make_user(DATABASE_URL=url).run_cli("status").code == 0


DAMAGES = {
    "search_path leads nowhere": (
        "ALTER DATABASE {name} SET search_path = other",
        "search_path (other) does not lead to market_data, which is in public: put public first",
    ),
    "search_path leads to other tables": (
        "CREATE SCHEMA other; CREATE TABLE other.market_data (LIKE public.market_data INCLUDING ALL);"
        "ALTER DATABASE {name} SET search_path = other, public",
        "leads to other.market_data, but the schema backfill was set up for public.market_data: put public first",
    ),
    "bars are gone": ("DROP TABLE market_data", "market_data is gone although the schema backfill exists"),
    "symbols are gone": ("DROP TABLE market_symbols", "market_symbols is gone although the schema backfill exists"),
    "tables and functions are gone": (
        "DROP TABLE backfill.findings, backfill.runs; DROP FUNCTION backfill.clear_provenance CASCADE",
        "of its schema backfill these are gone: clear_provenance, findings, runs; restore them",
    ),
    "a table has lost a column": (
        "ALTER TABLE backfill.runs DROP heartbeat_at",
        "does not have what this version expects: column",
    ),
}


@pytest.mark.parametrize(("statement", "message"), DAMAGES.values(), ids=DAMAGES)
def test_a_schema_that_was_changed_later_is_reported(
    make_user: MakeUser, database_url: str, statement: str, message: str
) -> None:
    change(database_url, statement.format(name=psycopg.conninfo.conninfo_to_dict(database_url)["dbname"]))
    result = make_user().run_cli("status")
    assert (result.code, message in result.error) == (5, True), result


REFUSALS = {
    "a trigger": (
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''closed for today''; END';"
        "CREATE TRIGGER t BEFORE INSERT ON market_symbols FOR EACH ROW EXECUTE FUNCTION refuse()",
        "has a trigger or a function of another program that refuses: closed for today",
        "; see what it checks",
    ),
    "a trigger with an error code of its own": (
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN RAISE ''closed for today'' USING ERRCODE = ''HX001''; END';"
        "CREATE TRIGGER t BEFORE INSERT ON market_symbols FOR EACH ROW EXECUTE FUNCTION refuse()",
        "has a function of another program that fails: closed for today",
        "; see what it checks",
    ),
    "a check": (
        "ALTER TABLE market_symbols ADD CONSTRAINT house_names CHECK (exchange = 'XNAS')",
        'refuses a row: new row for relation "market_symbols" violates check constraint "house_names"',
        "; change that rule",
    ),
    "a short column": (
        "ALTER TABLE market_symbols ALTER symbol TYPE varchar(2)",
        "refuses a row: value too long for type character varying(2)",
        "; change that rule",
    ),
    "row security": (
        "ALTER TABLE market_symbols ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;"
        "CREATE ROLE secured LOGIN; GRANT ALL ON ALL TABLES IN SCHEMA public, backfill TO secured;"
        "GRANT USAGE ON SCHEMA backfill TO secured; GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO secured",
        "refuses: new row violates row-level security policy",
        "; give the user of DATABASE_URL that right",
    ),
}


@pytest.mark.parametrize(("statement", "message", "advice"), REFUSALS.values(), ids=REFUSALS)
def test_a_refusal_of_the_database_is_no_bug(database_url: str, statement: str, message: str, advice: str) -> None:
    change(database_url, statement)
    is_secured = "secured" in statement
    database = Database(psycopg.conninfo.make_conninfo(database_url, user="secured") if is_secured else database_url)
    attempts: list[str] = []

    def insert(connection: Connection) -> None:
        attempts.append("attempt")
        connection.execute("INSERT INTO market_symbols (symbol) VALUES ('AAPL')")

    with pytest.raises(DatabaseUnavailable) as raised:
        database.retry_transaction(insert)
    assert len(attempts) == 1, "the server is reachable"
    database.close()
    if is_secured:
        change(database_url, "DROP OWNED BY secured; DROP ROLE secured")
    assert message in str(raised.value)
    assert advice in str(raised.value)


def test_wrong_sql_and_broken_rules_of_our_own_tables_stay_bugs(database: Database) -> None:
    with pytest.raises(psycopg.errors.SyntaxError), database.transaction() as connection:
        connection.execute("SELEKT 1")
    with pytest.raises(psycopg.errors.NotNullViolation), database.transaction() as connection:
        connection.execute("INSERT INTO backfill.findings (kind) VALUES ('x')")
