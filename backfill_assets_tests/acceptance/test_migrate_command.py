"""``migrate``: what it prints, who may run it, and a breaking migration that waits.

A later version is this program with one more migration.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from backfill_assets.store.postgres.migrate import NEWEST_OF_0_8_0, load_migrations
from backfill_assets_tests.acceptance.conftest import User
from backfill_assets_tests.integration.test_store_migrate import NEWEST_RECORDED, fetch
from backfill_assets_tests.integration.test_store_migrate_breaking import LaterVersion
from backfill_assets_tests.integration.upgrades import build_database, name_later

NEWEST = max(load_migrations())
NEXT = f"{NEWEST + 1:04}_launchers.sql"
BREAKING = f"""-- readable since: {NEWEST + 1}
--
-- A run has a launcher instead of a host.

ALTER TABLE backfill.runs RENAME COLUMN host TO launcher;
"""
UP_TO_DATE = "the database has the schema of this version; nothing to apply"


@pytest.fixture
def url_0_8_0(create_database: Callable[..., str]) -> str:
    """A database whose newest migration is that of version 0.8.0."""
    url = create_database(None)
    build_database(url, NEWEST_OF_0_8_0, [])
    return url


@pytest.fixture
def reader_url(url_0_8_0: str) -> Iterator[str]:
    """The database of 0.8.0 for a role that may only read."""
    role = f"reader_{psycopg.conninfo.conninfo_to_dict(url_0_8_0)['dbname']}"
    with psycopg.connect(url_0_8_0, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(role)))
        for grant in ("USAGE ON SCHEMA backfill", "SELECT ON ALL TABLES IN SCHEMA backfill, public"):
            connection.execute(sql.SQL("GRANT " + grant + " TO {}").format(sql.Identifier(role)))
    yield psycopg.conninfo.make_conninfo(url_0_8_0, user=role)
    with psycopg.connect(url_0_8_0, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(sql.Identifier(role)))


@pytest.fixture
def later_version(tmp_path: Path) -> LaterVersion:
    """This program with one breaking migration more."""
    return LaterVersion(tmp_path / "migrations")


def test_it_prints_what_it_applies_and_a_dry_run_changes_nothing(
    make_user: Callable[..., User], url_0_8_0: str
) -> None:
    user = make_user(DATABASE_URL=url_0_8_0)
    names = name_later(NEWEST_OF_0_8_0)
    dry = user.run_cli("migrate --dry-run")
    assert [line.partition(":")[0] for line in dry.out.splitlines()] == [f"would apply {name}" for name in names]
    assert "Records migrations that only add something" in dry.out
    assert fetch(url_0_8_0, "SELECT to_regclass('backfill.additive_migrations')") == [(None,)]
    done = user.run_cli("migrate")
    assert [line.partition(":")[0] for line in done.out.splitlines()[:-1]] == [f"applied {name}" for name in names]
    assert done.out.splitlines()[-1] == "the database has the schema of this version"
    assert fetch(url_0_8_0, NEWEST_RECORDED) == [(NEWEST,)]
    for command in ("migrate", "migrate --dry-run", "migrate --allow-breaking"):
        assert user.run_cli(command).out.splitlines() == [UP_TO_DATE]
    assert json.loads(user.run_cli("migrate --format json").out) == {
        "new_database": False,
        "pending": [],
        "applied": [],
    }


def test_a_new_database_gets_the_whole_schema(
    make_user: Callable[..., User], create_database: Callable[..., str]
) -> None:
    url = create_database(None)
    user = make_user(DATABASE_URL=url)
    assert user.run_cli("migrate --dry-run").out.startswith("the database is new and would get the whole schema")
    assert fetch(url, "SELECT to_regnamespace('backfill')") == [(None,)]
    report = user.run_cli("migrate --format json").json
    assert report["new_database"]
    assert report["applied"][0] == "schema.sql"
    assert not any(migration["needs_permission"] for migration in report["pending"])
    assert user.run_cli("migrate").out.splitlines() == [UP_TO_DATE]


def test_a_role_that_may_only_read_is_told_who_has_to_migrate(
    make_user: Callable[..., User], url_0_8_0: str, reader_url: str
) -> None:
    reader, owner = make_user(DATABASE_URL=reader_url), make_user(DATABASE_URL=url_0_8_0)
    for command in ("migrate", "plan"):
        refused = reader.run_cli(command)
        assert (refused.code, refused.out) == (5, "")
        assert f"has the schema of migration {NEWEST_OF_0_8_0}" in refused.error
        assert "run `backfill-assets migrate` once as the owner" in refused.error
    assert reader.run_cli("migrate --dry-run").out.startswith("would apply 0039_")
    assert owner.run_cli("migrate").code == 0
    assert reader.run_cli("migrate").out.splitlines() == [UP_TO_DATE]


def test_a_breaking_migration_waits_until_somebody_allows_it(
    make_user: Callable[..., User], database_url: str, later_version: LaterVersion
) -> None:
    user = make_user()
    with later_version.install((NEXT, BREAKING)):
        for command in ("status", "migrate"):
            refused = user.run_cli(command)
            assert (refused.code, refused.out) == (5, "")
            assert (
                f"waits for {NEXT} (A run has a launcher instead of a host), after which programs of" in refused.error
            )
        assert user.run_cli("migrate --dry-run").out.splitlines() == [
            f"would apply {NEXT}: A run has a launcher instead of a host (needs --allow-breaking)"
        ]
    assert user.run_cli("status").code == 0
    with later_version.install():
        assert user.run_cli("migrate --allow-breaking").out.splitlines() == [
            f"applied {NEXT}: A run has a launcher instead of a host",
            "the database has the schema of this version",
        ]
        assert user.run_cli("migrate").out.splitlines() == [UP_TO_DATE]
    columns = (
        "SELECT column_name FROM information_schema.columns WHERE table_name = 'runs' AND table_schema = 'backfill'"
    )
    assert ("launcher",) in fetch(database_url, columns)
    older = user.run_cli("status")
    assert (older.code, older.out) == (5, "")
    assert f"has migration {NEWEST + 1}, which this version does not know; upgrade backfill_assets" in older.error
