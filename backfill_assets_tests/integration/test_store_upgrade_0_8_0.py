"""The upgrade of a database of version 0.8.0 (migration 38): no row is lost, and it is done whole or not at all.

All of it only adds, so 0.8.0 goes on beside it; ``test_two_versions_at_once`` runs both.
"""

from collections.abc import Callable
from contextlib import closing

import psycopg
import pytest

from backfill_assets.errors import DatabaseUnavailable
from backfill_assets.store.postgres import migrate as migrate_module
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.postgres.migrate import migrate
from backfill_assets_tests import external_tables
from backfill_assets_tests.integration.test_store_migrate import CONTRACT_ROWS, fetch, run_migrations
from backfill_assets_tests.integration.upgrades import (
    COLUMNS_OF_OTHERS,
    NEWEST,
    NUMBER_0_8_0,
    apply_migrations,
    build_database,
    list_between,
    name_later,
    require_completion,
    require_preserved_rows,
)

LATER = name_later(NUMBER_0_8_0)
ROWS = [
    "rows_0019.sql",
    "rows_0025.sql",
    "rows_0030.sql",
    "rows_0032.sql",
    "rows_0034.sql",
]  # later ones have no tables


@pytest.fixture
def url_0_8_0(create_database: Callable[..., str]) -> str:
    """A database of version 0.8.0 with rows in every table."""
    url = create_database(None)
    build_database(url, NUMBER_0_8_0, ROWS)
    return url


def test_every_row_is_preserved_and_older_programs_see_no_migration(url_0_8_0: str, plain_template_url: str) -> None:
    before = fetch(url_0_8_0, "SELECT * FROM backfill.migrations ORDER BY 1")
    require_preserved_rows(url_0_8_0, plain_template_url, LATER)
    assert fetch(url_0_8_0, "SELECT * FROM backfill.migrations ORDER BY 1") == before
    additive = fetch(url_0_8_0, "SELECT name, readable_since FROM backfill.additive_migrations ORDER BY number")
    assert additive == [(name, 9) for name in LATER]


@pytest.mark.parametrize("number", list_between(NUMBER_0_8_0, NEWEST)[::2])
def test_a_database_between_two_migrations_is_completed(url_0_8_0: str, plain_template_url: str, number: int) -> None:
    apply_migrations(url_0_8_0, NUMBER_0_8_0, number)
    require_completion(url_0_8_0, plain_template_url, number)


def test_tables_of_another_program_stay_as_they_are(create_database: Callable[..., str]) -> None:
    url = create_database(None)
    external_tables.create_external_tables(url)
    build_database(url, NUMBER_0_8_0, ROWS[:-1])
    before = fetch(url, COLUMNS_OF_OTHERS), fetch(url, CONTRACT_ROWS)
    assert run_migrations(url) == LATER
    assert (fetch(url, COLUMNS_OF_OTHERS), fetch(url, CONTRACT_ROWS)) == before


def test_behind_a_long_reader_the_upgrade_lets_others_go_first(url_0_8_0: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dump reads every table in one transaction; meanwhile processes of 0.8.0 go on sending alerts."""
    monkeypatch.setattr(migrate_module, "_LET_OTHERS_GO_FIRST", "SET LOCAL lock_timeout = '50ms'")
    with psycopg.connect(url_0_8_0) as dump, closing(Database(url_0_8_0, max_wait_seconds=0.1)) as database:
        dump.execute("SELECT count(*) FROM backfill.alert_messages")
        with pytest.raises(DatabaseUnavailable, match="lock timeout; run again when nothing else works on its tables"):
            migrate(database)
        assert fetch(url_0_8_0, "SELECT to_regclass('backfill.additive_migrations')") == [(None,)]
        dump.rollback()
        assert migrate(database) == LATER
