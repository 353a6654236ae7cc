"""Databases that refuse a statement of the migration: one error that quotes the server, and nothing is changed."""

from collections.abc import Callable

import psycopg
import pytest

from backfill_assets.errors import DatabaseUnavailable
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.postgres.migrate import migrate

REFUSALS = {
    "an event trigger against new tables": (
        "CREATE FUNCTION refuse() RETURNS event_trigger LANGUAGE plpgsql"
        " AS $$ BEGIN RAISE EXCEPTION 'ask the database team: %', tg_tag; END $$;"
        "CREATE EVENT TRIGGER refuse ON ddl_command_start EXECUTE FUNCTION refuse()",
        "ask the database team: CREATE",
    ),
    "a type of another program": (
        "CREATE SCHEMA backfill; CREATE TYPE backfill.findings AS ENUM ('a')",
        'type "findings" already exists',
    ),
}
SELECT_RELATIONS = "SELECT oid::regclass::text FROM pg_class WHERE relnamespace::regnamespace::text !~ '^(pg_|info)'"


@pytest.mark.parametrize(("statements", "reason"), REFUSALS.values(), ids=REFUSALS)
def test_a_refused_migration_quotes_the_server_and_changes_nothing(
    create_database: Callable[..., str], statements: str, reason: str
) -> None:
    url = create_database(None)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statements.encode())
        before = connection.execute(SELECT_RELATIONS.encode()).fetchall()
        database = Database(url)
        with pytest.raises(DatabaseUnavailable) as caught:
            migrate(database)
        database.close()
        assert reason in str(caught.value)
        assert connection.execute(SELECT_RELATIONS.encode()).fetchall() == before
