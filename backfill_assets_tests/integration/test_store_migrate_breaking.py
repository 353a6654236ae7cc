"""Migrations that older programs can and cannot go on with: who refuses which, and what waits for a person.

A migration of the future is a file of its own in a copy of the folder of migrations.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

import psycopg
import pytest

from backfill_assets.errors import DatabaseUnavailable
from backfill_assets.store.postgres import migrate as migrate_module
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.postgres.migrate import NEWEST_OF_0_8_0, find_pending, load_migrations, migrate
from backfill_assets_tests.integration.test_store_migrate import RECORDED, fetch, run_migrations

NEWEST = max(load_migrations())
ADDITIVE = (
    f"{NEWEST + 1:04}_notes.sql",
    "-- readable since: 9\n--\n-- Notes.\nCREATE TABLE backfill.notes (note text);\n",
)
BREAKING = (
    f"{NEWEST + 2:04}_runs.sql",
    f"-- readable since: {NEWEST + 2}\n--\n-- Runs have another name. More\n-- about it.\n\n"
    "ALTER TABLE backfill.runs RENAME TO attempts;\n",
)
AFTER_BREAKING = (
    f"{NEWEST + 3:04}_marks.sql",
    f"-- readable since: {NEWEST + 2}\nCREATE TABLE backfill.marks (m text);\n",
)
WAITS = rf"waits for {BREAKING[0]} \(Runs have another name\), after which .* stop them all, .* --allow-breaking"


class LaterVersion:
    """This program with further migrations, as a later version has them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        shutil.copytree(str(files("backfill_assets.store") / "migrations"), folder)

    @contextmanager
    def install(self, *added: tuple[str, str]) -> Iterator[None]:
        """Add files; until the end of the block, this is the version that works."""
        for name, sql in added:
            (self._folder / name).write_text(sql)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(migrate_module, "_get_folder", lambda: self._folder)
            yield


@pytest.fixture
def later_version(tmp_path: Path) -> LaterVersion:
    """A version that has no more migrations yet."""
    return LaterVersion(tmp_path / "migrations")


def test_additive_migrations_are_recorded_where_version_0_8_0_does_not_look(database_url: str) -> None:
    released = {number for number in load_migrations() if number <= NEWEST_OF_0_8_0} | set(range(1, 9))
    assert {number for (number,) in fetch(database_url, "SELECT number FROM backfill.migrations")} == released
    additive = {number for (number,) in fetch(database_url, "SELECT number FROM backfill.additive_migrations")}
    assert additive == {number for number in load_migrations() if number > NEWEST_OF_0_8_0}


@pytest.mark.parametrize(
    ("number", "readable_since", "is_refused"),
    [(9998, 9, False), (9998, NEWEST, False), (9998, NEWEST + 1, True), (9998, 9997, True)],
)
def test_an_unknown_migration_is_refused_only_by_programs_that_are_too_old_for_it(
    database_url: str, number: int, readable_since: int, is_refused: bool
) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        values = [number, "of the future", readable_since]
        connection.execute("INSERT INTO backfill.additive_migrations VALUES (%s, %s, now(), %s)", values)
    if not is_refused:
        assert run_migrations(database_url) == []
        return
    with pytest.raises(DatabaseUnavailable, match=f"has migration {number}, which this version does not know"):
        run_migrations(database_url)


def test_a_program_goes_on_after_additive_migrations_and_refuses_a_breaking_one(
    database_url: str, later_version: LaterVersion
) -> None:
    with later_version.install(ADDITIVE):
        assert run_migrations(database_url) == [ADDITIVE[0]]
    assert run_migrations(database_url) == []
    database = Database(database_url)
    with later_version.install(BREAKING, AFTER_BREAKING):
        with pytest.raises(DatabaseUnavailable, match=WAITS):
            migrate(database)
        assert NEWEST + 2 not in dict(fetch(database_url, RECORDED))
        assert [m.name for m in find_pending(database).migrations] == [BREAKING[0], AFTER_BREAKING[0]]
        assert migrate(database, allow_breaking=True) == [BREAKING[0], AFTER_BREAKING[0]]
        assert migrate(database) == []
    database.close()
    assert fetch(database_url, "SELECT max(number) FROM backfill.migrations") == [(NEWEST + 2,)]
    with pytest.raises(DatabaseUnavailable, match=f"has migration {NEWEST + 3}, which this version does not know"):
        run_migrations(database_url)


def test_a_new_database_gets_breaking_migrations_without_being_asked(
    create_database: Callable[..., str], later_version: LaterVersion
) -> None:
    with later_version.install(BREAKING):
        assert run_migrations(create_database(None))[-1] == BREAKING[0]


@pytest.mark.parametrize("since", [8, NEWEST - 1, NEWEST + 2])
def test_a_file_is_readable_since_the_one_before_or_itself(later_version: LaterVersion, since: int) -> None:
    with (
        later_version.install((ADDITIVE[0], f"-- readable since: {since}\nSELECT 1;\n")),
        pytest.raises(ValueError, match=r"that number, or its own|must begin with"),
    ):
        load_migrations()


def test_roles_that_read_the_migrations_read_the_additive_ones(create_database: Callable[..., str]) -> None:
    url = create_database(None)
    older = {number: m for number, m in load_migrations().items() if number <= NEWEST_OF_0_8_0}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(migrate_module, "load_migrations", lambda: older)
        run_migrations(url)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE ROLE reads_migrations")
        try:
            connection.execute("GRANT SELECT ON backfill.migrations TO reads_migrations")
            assert run_migrations(url)[0] == "0039_additive_migrations.sql"
            may = "has_table_privilege('reads_migrations', 'backfill.additive_migrations', '{}')"
            assert fetch(url, f"SELECT {may.format('SELECT')}, {may.format('INSERT')}") == [(True, False)]
        finally:
            connection.execute("DROP OWNED BY reads_migrations; DROP ROLE reads_migrations")
