"""The upgrade of a database of version 0.3.0 (migration 19): no row is lost, and it is done whole or not at all."""

from collections.abc import Callable

import psycopg
import pytest

from backfill_assets.errors import DatabaseUnavailable
from backfill_assets_tests.integration.test_store_migrate import fetch, read_schema, run_migrations
from backfill_assets_tests.integration.upgrades import (
    NUMBER_0_3_0,
    build_database,
    cut_off_upgrade,
    name_later,
    require_preserved_rows,
)

LATER = name_later(NUMBER_0_3_0)


@pytest.fixture
def url_0_3_0(create_database: Callable[..., str]) -> str:
    """A database of version 0.3.0 with rows in every table."""
    url = create_database(None)
    build_database(url, NUMBER_0_3_0, ["rows_0019.sql"])
    return url


def test_every_row_is_preserved_and_new_tables_are_empty(url_0_3_0: str, plain_template_url: str) -> None:
    require_preserved_rows(url_0_3_0, plain_template_url, LATER)


def test_an_upgrade_that_is_cut_off_leaves_nothing_behind_and_is_repeated(
    url_0_3_0: str, plain_template_url: str
) -> None:
    """A reader of evidence keeps the last of the new migrations waiting; then the server ends the upgrade's session."""
    assert cut_off_upgrade(url_0_3_0, "backfill.session_evidence", "doubts", NUMBER_0_3_0) == LATER
    assert read_schema(url_0_3_0) == read_schema(plain_template_url)


def test_a_table_of_another_program_in_the_way_is_named_and_nothing_is_made(url_0_3_0: str) -> None:
    with psycopg.connect(url_0_3_0, autocommit=True) as connection:
        connection.execute("CREATE TABLE backfill.halts (halt_id integer)")
        before = read_schema(url_0_3_0)
        with pytest.raises(DatabaseUnavailable, match="halts"):
            run_migrations(url_0_3_0)
        assert read_schema(url_0_3_0) == before
        connection.execute("DROP TABLE backfill.halts")
    assert run_migrations(url_0_3_0) == LATER


def test_the_new_migrations_leave_what_version_0_3_0_reads_and_writes(database_url: str) -> None:
    recorded = fetch(
        database_url, f"SELECT DISTINCT readable_since FROM backfill.migrations WHERE number > {NUMBER_0_3_0}"
    )
    assert recorded == [(9,)]
