"""An unusable database or vendor: one error line that says what is wrong and where, and the right exit code."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest

from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.postgres.connection import Database
from backfill_assets_tests import external_tables
from backfill_assets_tests.acceptance.conftest import User
from backfill_assets_tests.acceptance.fixed_answer_server import IMPATIENT, Vendor, answering
from backfill_assets_tests.conftest import bars_in

UserOf = Callable[..., User]
Sandboxed = Callable[..., Sandbox]
NewDatabase = Callable[..., str]


@contextmanager
def logged_in(url: str, name: str, *rights: str) -> Iterator[str]:
    """The address of a database for a new role with exactly the given rights."""
    where = psycopg.conninfo.conninfo_to_dict(url)
    role = f"{name}_{where['dbname']}"
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {role} LOGIN".encode())
        for right in rights:
            admin.execute(right.format(role=role, database=where["dbname"]).encode())
        yield psycopg.conninfo.make_conninfo(url, user=role)
        admin.execute(f"DROP OWNED BY {role}".encode())
        admin.execute(f"DROP ROLE {role}".encode())


def test_database_user_without_rights_in_an_empty_database(user_of: UserOf, new_database: NewDatabase) -> None:
    with logged_in(new_database(None), "stranger") as url:
        for command in ("report", "run", "status", "symbols list", "symbols add AAPL"):
            said = user_of(DATABASE_URL=url).types(command)
            assert said.code == 5, said
            assert "permission denied for" in said.error
            assert "give the user of DATABASE_URL that right" in said.error


def test_database_user_without_rights_in_a_migrated_database(user_of: UserOf, database_url: str) -> None:
    with logged_in(database_url, "guest") as url:
        said = user_of(DATABASE_URL=url).types("report")
    assert (said.code, "permission denied for schema backfill" in said.error) == (5, True)


def test_database_user_with_read_rights_gets_a_report_and_no_run(
    user_of: UserOf, sandboxed: Sandboxed, database_url: str
) -> None:
    user = user_of(sandboxed())
    user.types("symbols add AAPL")
    rights = (
        "GRANT USAGE ON SCHEMA backfill TO {role}",
        "GRANT SELECT ON ALL TABLES IN SCHEMA backfill, public TO {role}",
    )
    with logged_in(database_url, "reader", *rights) as url:
        assert user.types("report --format json", DATABASE_URL=url).json[0]["estimated_missing_bars"] == 26
        said = user.types("run", DATABASE_URL=url)
        assert said.code == 5
        assert "permission denied for table" in said.err
        assert "give the user of DATABASE_URL that right" in said.err


def test_documented_rights_are_enough_to_run(
    user_of: UserOf, sandboxed: Sandboxed, database_url: str, database: Database
) -> None:
    """Of the database user (SECURITY.md)."""
    user = user_of(sandboxed())
    user.types("symbols add AAPL NOSUCH")
    rights = (
        "GRANT USAGE ON SCHEMA backfill TO {role}",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA backfill TO {role}",
        "GRANT SELECT, INSERT, UPDATE ON market_data, market_symbols TO {role}",
        "GRANT USAGE ON SEQUENCE market_symbols_symbol_id_seq TO {role}",
    )
    with logged_in(database_url, "worker", *rights) as url:
        assert [user.types(c, DATABASE_URL=url).code for c in ("symbols add MSFT", "run", "verify", "status")] == [
            0,
            3,
            3,
            0,
        ]
        said = user.types("run --force --symbols AAPL", DATABASE_URL=url)
    assert said.code == 0, said
    assert len(bars_in(database, "MSFT")) == 26


def test_existing_tables_without_the_right_to_alter_them_are_refused(
    user_of: UserOf, new_database: NewDatabase
) -> None:
    url = new_database(None)
    external_tables.build(url)
    rights = (
        "GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}",
        "GRANT CREATE ON SCHEMA public TO {role}",
        "GRANT CREATE ON DATABASE {database} TO {role}",
    )
    with logged_in(url, "writer", *rights) as restricted_url:
        said = user_of(DATABASE_URL=restricted_url).types("report")
        assert (said.code, "must be owner of table market_data" in said.error) == (5, True)


def test_read_only_database_is_refused(user_of: UserOf, new_database: NewDatabase) -> None:
    url = new_database(None)
    read_only = psycopg.conninfo.make_conninfo(url, options="-c default_transaction_read_only=on")
    said = user_of(DATABASE_URL=read_only).types("report")
    assert said.code == 5
    assert "is read-only: cannot execute" in said.error


def test_replica_gives_a_report_and_no_run(user_of: UserOf, sandboxed: Sandboxed, database_url: str) -> None:
    user = user_of(sandboxed())
    user.types("symbols add AAPL")
    read_only = psycopg.conninfo.make_conninfo(database_url, options="-c default_transaction_read_only=on")
    assert user.types("report", DATABASE_URL=read_only).code == 0
    said = user.types("run", DATABASE_URL=read_only)
    assert (said.code, "is read-only" in said.err) == (5, True)


ALTERATIONS = {
    "no price": ("ALTER TABLE market_data DROP open_price", "market_data has no column open_price (float8 or numeric)"),
    "local time": (
        "ALTER TABLE market_data ALTER timestamp TYPE timestamp",
        "market_data.timestamp is timestamp, not timestamptz",
    ),
    "prices as text": (
        "ALTER TABLE market_data DROP high_price, ADD high_price text",
        "market_data.high_price is text, not",
    ),
    "small volume": ("ALTER TABLE market_data ALTER volume TYPE integer", "market_data.volume is int4, not int8"),
    "text key": (
        "ALTER TABLE market_data DROP CONSTRAINT market_data_symbol_id_fkey, ALTER symbol_id TYPE text",
        "market_data.symbol_id is text, not int4 or int8",
    ),
    "no key": (
        "ALTER TABLE market_data DROP CONSTRAINT market_data_symbol_id_timestamp_interval_type_key",
        "market_data has no unique key of symbol_id, interval_type and timestamp",
    ),
    "a partial key": (
        "ALTER TABLE market_data DROP CONSTRAINT market_data_symbol_id_timestamp_interval_type_key;"
        "CREATE UNIQUE INDEX ON market_data (symbol_id, timestamp, interval_type) WHERE interval_type = '1d'",
        "market_data has no unique key",
    ),
    "a key of more": (
        "ALTER TABLE market_data DROP CONSTRAINT market_data_symbol_id_timestamp_interval_type_key;"
        "CREATE UNIQUE INDEX ON market_data (symbol_id, timestamp, interval_type, volume)",
        "market_data has no unique key",
    ),
    "a column that must be given": (
        "ALTER TABLE market_data ADD venue text NOT NULL",
        "market_data.venue must have a default or allow null",
    ),
    "another source": ("ALTER TABLE market_data ADD source integer", "market_data.source is int4, not varchar or text"),
    "no exchange": (
        "ALTER TABLE market_symbols DROP exchange",
        "market_symbols has no column exchange (varchar or text)",
    ),
    "a flag as text": (
        "ALTER TABLE market_symbols ALTER is_active DROP DEFAULT, ALTER is_active TYPE text",
        "market_symbols.is_active is text, not bool",
    ),
    "a view": (
        "ALTER TABLE market_data RENAME TO bars; CREATE VIEW market_data AS SELECT * FROM bars",
        "market_data is not a table",
    ),
    "other tables of that name": (
        "DROP TABLE house_signals, market_data, market_symbols;"
        "CREATE TABLE market_data (id int); CREATE TABLE market_symbols (name text)",
        "market_symbols has no column symbol_id (int4 or int8)",
    ),
}


@pytest.mark.parametrize(("alteration", "message"), ALTERATIONS.values(), ids=ALTERATIONS)
def test_unsuitable_schema_is_reported_by_table_and_column_and_left_unchanged(
    user_of: UserOf, new_database: NewDatabase, alteration: str, message: str
) -> None:
    url = new_database(None)
    external_tables.build(url)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(alteration.encode())
        columns = (
            "SELECT table_schema, table_name, column_name, data_type FROM information_schema.columns ORDER BY 1, 2, 3"
        )
        before = connection.execute(columns).fetchall()
        for command in ("report", "run", "symbols add AAPL"):
            said = user_of(DATABASE_URL=url).types(command)
            assert (said.code, message in said.error) == (5, True), said
            assert "correct that, or point DATABASE_URL to another database" in said.error
        assert connection.execute(columns).fetchall() == before


def test_tables_of_the_documented_schema_are_accepted(user_of: UserOf, new_database: NewDatabase) -> None:
    url = new_database(None)
    external_tables.build(url)
    user = user_of(DATABASE_URL=url)
    assert [user.types(command).code for command in ("symbols add AAPL", "report", "report")] == [0, 0, 0]


ADDRESSES = [
    *("not a url", "http://x/db", "postgresql://h:99999999/db", "postgresql://h/db?nonsense=1", "postgres"),
    *("sqlite:///bars.db", "host=/nonexistent dbname=x", "postgresql://[::1", "postgresql://127.0.0.1:1/x"),
]


@pytest.mark.parametrize("url", ADDRESSES)
def test_invalid_database_url_is_refused(user_of: UserOf, url: str) -> None:
    said = user_of(DATABASE_URL=url).types("report")
    assert (said.code, "DATABASE_URL" in said.error) == (5, True), said


def test_database_that_does_not_exist_is_named(user_of: UserOf, database_url: str) -> None:
    said = user_of(DATABASE_URL=psycopg.conninfo.make_conninfo(database_url, dbname="nowhere")).types("report")
    assert (said.code, 'database "nowhere" does not exist' in said.error) == (5, True)


@pytest.mark.parametrize("folder", ["/dev/null/x", "~no-such-user/x"])
def test_invalid_home_folder_is_refused(user_of: UserOf, folder: str) -> None:
    said = user_of(DATABASE_URL="", BACKFILL_HOME=folder).types("report")
    assert (said.code, "BACKFILL_HOME" in said.error) == (5, True)


def test_html_page_instead_of_data_ends_the_run(user_of: UserOf) -> None:
    page = Vendor(body=b"<html><title>Welcome to nginx!</title></html>", headers={"content-type": "text/html"})
    with answering(page) as url:
        user = user_of(EODHD_BASE_URL=url, **IMPATIENT)
        user.types("symbols add AAPL")
        said = user.types("run")
    assert (said.code, "with an HTML page instead of data" in said.out) == (4, True)
    assert "Traceback" not in said.err


def test_https_address_without_tls_is_unreachable(user_of: UserOf) -> None:
    with answering(Vendor()) as url:
        user = user_of(EODHD_BASE_URL=url.replace("http:", "https:"), **IMPATIENT)
        user.types("symbols add AAPL")
        said = user.types("run")
    assert (said.code, "check the network and EODHD_BASE_URL" in said.out) == (6, True)


TOKENS = {
    401: (b"Unauthenticated", "check EODHD_API_TOKEN"),
    403: (b"Unauthenticated", "check EODHD_API_TOKEN"),
    402: (b"You exceeded your daily API requests limit.  Please contact support", "counter resets at midnight UTC"),
    # an expired subscription is a free plan again
    406: (
        b"Only EOD data allowed for free users. Please, contact our support team",
        "the token's plan does not include",
    ),
}


@pytest.mark.parametrize("status", TOKENS)
def test_wrong_expired_or_exhausted_token_ends_the_run(user_of: UserOf, status: int) -> None:
    body, advice = TOKENS[status]
    with answering(Vendor(403 if status == 406 else status, body, {"content-type": "text/html"})) as url:
        user = user_of(EODHD_BASE_URL=url, **IMPATIENT)
        user.types("symbols add AAPL MSFT")
        said = user.types("run")
    assert said.code == 4
    assert advice in said.out
    assert "Traceback" not in said.err
