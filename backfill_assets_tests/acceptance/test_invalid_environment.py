"""Invalid databases and vendors: one error line that names the cause, and the exit code."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest

from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.postgres.connection import Database
from backfill_assets_tests import external_tables
from backfill_assets_tests.acceptance.conftest import User
from backfill_assets_tests.acceptance.stub_vendor import FAST_RETRIES, StubVendor, serve_stub
from backfill_assets_tests.conftest import read_stored_bars

MakeUser = Callable[..., User]
StartSandbox = Callable[..., Sandbox]
CreateDatabase = Callable[..., str]


@contextmanager
def create_role(url: str, name: str, *rights: str) -> Iterator[str]:
    """Create a role with exactly the given rights; yields the database address for that role."""
    parameters = psycopg.conninfo.conninfo_to_dict(url)
    role = f"{name}_{parameters['dbname']}"
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {role} LOGIN".encode())
        for right in rights:
            admin.execute(right.format(role=role, database=parameters["dbname"]).encode())
        yield psycopg.conninfo.make_conninfo(url, user=role)
        admin.execute(f"DROP OWNED BY {role}".encode())
        admin.execute(f"DROP ROLE {role}".encode())


def test_user_without_rights_in_an_empty_database_is_refused(
    make_user: MakeUser, create_database: CreateDatabase
) -> None:
    with create_role(create_database(None), "no_rights") as url:
        for command in ("report", "run", "status", "symbols list", "symbols add AAPL"):
            result = make_user(DATABASE_URL=url).run_cli(command)
            assert result.code == 5, result
            assert "permission denied for" in result.error
            assert "give the user of DATABASE_URL that right" in result.error


@pytest.mark.parametrize("name", ["DATABASE_URL", "DAGSTER_POSTGRES_URL"])
def test_addresses_with_bytes_that_are_no_text_are_refused(make_user: MakeUser, name: str) -> None:
    result = make_user(**{name: "postgresql://ann:hush\udc80@127.0.0.1/bars"}).run_cli("status")
    assert (result.code, result.error) == (2, f"{name} contains bytes that are not UTF-8; write them as % codes")


def test_user_without_rights_in_a_migrated_database_is_refused(make_user: MakeUser, database_url: str) -> None:
    with create_role(database_url, "no_rights") as url:
        result = make_user(DATABASE_URL=url).run_cli("report")
    assert (result.code, "permission denied for schema backfill" in result.error) == (5, True)


def test_user_with_read_rights_may_report_but_not_run(
    make_user: MakeUser, start_sandbox: StartSandbox, database_url: str
) -> None:
    user = make_user(start_sandbox())
    user.run_cli("symbols add AAPL")
    rights = (
        "GRANT USAGE ON SCHEMA backfill TO {role}",
        "GRANT SELECT ON ALL TABLES IN SCHEMA backfill, public TO {role}",
    )
    with create_role(database_url, "reader", *rights) as url:
        assert user.run_cli("report --format json", DATABASE_URL=url).json[0]["estimated_missing_bars"] == 26
        result = user.run_cli("run", DATABASE_URL=url)
        assert result.code == 5
        assert "permission denied for table" in result.err
        assert "give the user of DATABASE_URL that right" in result.err


def test_documented_rights_are_enough_to_run(
    make_user: MakeUser, start_sandbox: StartSandbox, database_url: str, database: Database
) -> None:
    """The rights of the database user that SECURITY.md lists."""
    user = make_user(start_sandbox())
    user.run_cli("symbols add AAPL NOSUCH")
    rights = (
        "GRANT USAGE ON SCHEMA backfill TO {role}",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA backfill TO {role}",
        "GRANT SELECT, INSERT, UPDATE ON market_data, market_symbols TO {role}",
        "GRANT USAGE ON SEQUENCE market_symbols_symbol_id_seq TO {role}",
    )
    with create_role(database_url, "worker", *rights) as url:
        assert [user.run_cli(c, DATABASE_URL=url).code for c in ("symbols add MSFT", "run", "verify", "status")] == [
            0,
            3,
            3,
            0,
        ]
        result = user.run_cli("run --force --symbols AAPL", DATABASE_URL=url)
    assert result.code == 0, result
    assert len(read_stored_bars(database, "MSFT")) == 26


def test_existing_tables_without_the_right_to_alter_them_are_refused(
    make_user: MakeUser, create_database: CreateDatabase
) -> None:
    url = create_database(None)
    external_tables.create_external_tables(url)
    rights = (
        "GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}",
        "GRANT CREATE ON SCHEMA public TO {role}",
        "GRANT CREATE ON DATABASE {database} TO {role}",
    )
    with create_role(url, "writer", *rights) as restricted_url:
        result = make_user(DATABASE_URL=restricted_url).run_cli("report")
        assert (result.code, "must be owner of table market_data" in result.error) == (5, True)


def test_read_only_database_is_refused(make_user: MakeUser, create_database: CreateDatabase) -> None:
    url = create_database(None)
    read_only = psycopg.conninfo.make_conninfo(url, options="-c default_transaction_read_only=on")
    result = make_user(DATABASE_URL=read_only).run_cli("report")
    assert result.code == 5
    assert "is read-only: cannot execute" in result.error


def test_read_replica_allows_a_report_but_no_run(
    make_user: MakeUser, start_sandbox: StartSandbox, database_url: str
) -> None:
    user = make_user(start_sandbox())
    user.run_cli("symbols add AAPL")
    read_only = psycopg.conninfo.make_conninfo(database_url, options="-c default_transaction_read_only=on")
    assert user.run_cli("report", DATABASE_URL=read_only).code == 0
    result = user.run_cli("run", DATABASE_URL=read_only)
    assert (result.code, "is read-only" in result.err) == (5, True)


ALTERATIONS = {
    "no price column": (
        "ALTER TABLE market_data DROP open_price",
        "market_data has no column open_price (float8 or numeric)",
    ),
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
    "a key with another column": (
        "ALTER TABLE market_data DROP CONSTRAINT market_data_symbol_id_timestamp_interval_type_key;"
        "CREATE UNIQUE INDEX ON market_data (symbol_id, timestamp, interval_type, volume)",
        "market_data has no unique key",
    ),
    "a column without a default": (
        "ALTER TABLE market_data ADD venue text NOT NULL",
        "market_data.venue must have a default or allow null",
    ),
    "source as a number": (
        "ALTER TABLE market_data ADD source integer",
        "market_data.source is int4, not varchar or text",
    ),
    "no exchange": (
        "ALTER TABLE market_symbols DROP exchange",
        "market_symbols has no column exchange (varchar or text)",
    ),
    "a flag as text": (
        "ALTER TABLE market_symbols ALTER is_active DROP DEFAULT, ALTER is_active TYPE text",
        "market_symbols.is_active is text, not bool",
    ),
    "keys of 64 bits": (
        "ALTER TABLE market_symbols ALTER symbol_id TYPE bigint;"
        "INSERT INTO market_symbols (symbol_id, symbol) VALUES (3000000000, 'AAPL')",
        "market_symbols.symbol_id has values that need more than 32 bits, for instance 3000000000",
    ),
    "a generated time of change": (
        "ALTER TABLE market_symbols DROP updated_at;"
        "ALTER TABLE market_symbols ADD updated_at timestamptz GENERATED ALWAYS AS ('2026-01-01Z') STORED",
        "market_symbols.updated_at is generated and cannot be written",
    ),
    "a view": (
        "ALTER TABLE market_data RENAME TO bars; CREATE VIEW market_data AS SELECT * FROM bars",
        "market_data is not a table",
    ),
    "other tables of the same names": (
        "DROP TABLE house_signals, market_data, market_symbols;"
        "CREATE TABLE market_data (id int); CREATE TABLE market_symbols (name text)",
        "market_symbols has no column symbol_id (int4 or int8)",
    ),
}


@pytest.mark.parametrize(("alteration", "message"), ALTERATIONS.values(), ids=ALTERATIONS)
def test_unsupported_schema_is_reported_and_left_unchanged(
    make_user: MakeUser, create_database: CreateDatabase, alteration: str, message: str
) -> None:
    url = create_database(None)
    external_tables.create_external_tables(url)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(alteration.encode())
        columns_query = (
            "SELECT table_schema, table_name, column_name, data_type FROM information_schema.columns ORDER BY 1, 2, 3"
        )
        columns_before = connection.execute(columns_query).fetchall()
        for command in ("report", "run", "symbols add AAPL"):
            result = make_user(DATABASE_URL=url).run_cli(command)
            assert (result.code, message in result.error) == (5, True), result
            assert "correct that, or point DATABASE_URL to another database" in result.error
        assert connection.execute(columns_query).fetchall() == columns_before


def test_tables_of_the_documented_schema_are_accepted(make_user: MakeUser, create_database: CreateDatabase) -> None:
    url = create_database(None)
    external_tables.create_external_tables(url)
    user = make_user(DATABASE_URL=url)
    assert [user.run_cli(command).code for command in ("symbols add AAPL", "report", "report")] == [0, 0, 0]


INVALID_DATABASE_URLS = [
    *("not a url", "http://x/db", "postgresql://h:99999999/db", "postgresql://h/db?nonsense=1", "postgres"),
    *("sqlite:///bars.db", "host=/nonexistent dbname=x", "postgresql://[::1", "postgresql://127.0.0.1:1/x"),
]


@pytest.mark.parametrize("url", INVALID_DATABASE_URLS)
def test_invalid_database_url_is_refused(make_user: MakeUser, url: str) -> None:
    result = make_user(DATABASE_URL=url).run_cli("report")
    assert (result.code, "DATABASE_URL" in result.error) == (5, True), result


def test_database_that_does_not_exist_is_named(make_user: MakeUser, database_url: str) -> None:
    result = make_user(DATABASE_URL=psycopg.conninfo.make_conninfo(database_url, dbname="no_such_database")).run_cli(
        "report"
    )
    assert (result.code, 'database "no_such_database" does not exist' in result.error) == (5, True)


@pytest.mark.parametrize("folder", ["/dev/null/x", "~no-such-user/x"])
def test_invalid_home_folder_is_refused(make_user: MakeUser, folder: str) -> None:
    result = make_user(DATABASE_URL="", BACKFILL_HOME=folder).run_cli("report")
    assert (result.code, "BACKFILL_HOME" in result.error) == (5, True)


def test_html_page_instead_of_data_ends_the_run_with_exit_code_4(make_user: MakeUser) -> None:
    vendor = StubVendor(body=b"<html><title>Welcome to nginx!</title></html>", headers={"content-type": "text/html"})
    with serve_stub(vendor) as url:
        user = make_user(EODHD_BASE_URL=url, **FAST_RETRIES)
        user.run_cli("symbols add AAPL")
        result = user.run_cli("run")
    assert (result.code, "with an HTML page instead of data" in result.out) == (4, True)
    assert "Traceback" not in result.err


def test_https_address_without_tls_ends_the_run_with_exit_code_6(make_user: MakeUser) -> None:
    with serve_stub(StubVendor()) as url:
        user = make_user(EODHD_BASE_URL=url.replace("http:", "https:"), **FAST_RETRIES)
        user.run_cli("symbols add AAPL")
        result = user.run_cli("run")
    assert (result.code, "check the network and EODHD_BASE_URL" in result.out) == (6, True)


TOKEN_ERRORS = {
    401: (b"Unauthenticated", "check EODHD_API_TOKEN"),
    403: (b"Unauthenticated", "check EODHD_API_TOKEN"),
    402: (b"You exceeded your daily API requests limit.  Please contact support", "counter resets at midnight UTC"),
    # an expired subscription counts as a free plan
    406: (
        b"Only EOD data allowed for free users. Please, contact our support team",
        "the token's plan does not include",
    ),
}


@pytest.mark.parametrize("status", TOKEN_ERRORS)
def test_wrong_expired_or_exhausted_token_ends_the_run(make_user: MakeUser, status: int) -> None:
    body, advice = TOKEN_ERRORS[status]
    with serve_stub(StubVendor(403 if status == 406 else status, body, {"content-type": "text/html"})) as url:
        user = make_user(EODHD_BASE_URL=url, **FAST_RETRIES)
        user.run_cli("symbols add AAPL MSFT")
        result = user.run_cli("run")
    assert result.code == 4
    assert advice in result.out
    assert "Traceback" not in result.err


def test_base_url_without_api_is_an_invalid_setting_and_leaves_no_trace(
    make_user: MakeUser, start_sandbox: Callable[..., Sandbox], database: Database
) -> None:
    sandbox = start_sandbox()
    user = make_user(sandbox)
    user.run_cli("symbols add AAPL MSFT TSLA")
    wrong_url = sandbox.base_url.removesuffix("/api")
    result = user.run_cli("run --format json", EODHD_BASE_URL=wrong_url)
    assert result.code == 2
    assert result.json["stopped"].startswith(f"{wrong_url} does not answer as the vendor does")
    assert "check EODHD_BASE_URL" in result.json["stopped"]
    with database.transaction() as connection:
        for table in ("session_evidence", "listing_lives", "findings"):
            assert connection.execute(f"SELECT FROM backfill.{table}".encode()).fetchall() == [], table
    assert user.run_cli("run --quiet").code == 0
    assert user.run_cli("verify").code == 0
    assert "EODHD_BASE_URL" in user.run_cli("symbols sync", EODHD_BASE_URL=wrong_url).error
    live_settings = {"BACKFILL_LIVE": "true", "BACKFILL_AS_OF": "2026-06-03T15:00:00+00:00"}
    live = user.run_cli("live --once", EODHD_BASE_URL=wrong_url, **live_settings)
    assert live.code == 2
    assert f"failed: {wrong_url} does not answer as the vendor does" in live.out
    assert user.run_cli("live --once", **{**live_settings, "BACKFILL_AS_OF": "2026-06-03T15:06:00+00:00"}).code == 0
