"""The database of Dagster's own storage: the one of the settings, else one on the server of the bars."""

import psycopg
from psycopg import conninfo
from sqlalchemy import URL

from backfill_assets.config.settings import Settings
from backfill_assets.errors import DatabaseUnavailable
from backfill_assets.store.postgres.connection import describe_database, translate_errors
from backfill_assets.store.postgres.embedded import create_database, start_embedded_database

DAGSTER_DATABASE = "dagster"


def prepare_dagster_database(settings: Settings) -> str:
    """Create the database if it is missing; returns its address for SQLAlchemy with the driver of dagster-postgres.

    Raises:
        DatabaseUnavailable: no server, or no right to create the database.
    """
    if settings.dagster_postgres_url is not None:
        return _to_sqlalchemy_url(settings.dagster_postgres_url.get_secret_value())
    if settings.database_url is None:
        return _to_sqlalchemy_url(start_embedded_database(settings.home, DAGSTER_DATABASE))
    bars_url = settings.database_url.get_secret_value()
    with translate_errors(bars_url):
        url = conninfo.make_conninfo(bars_url, dbname=DAGSTER_DATABASE)
        try:
            create_database(bars_url, DAGSTER_DATABASE)
        except psycopg.errors.InsufficientPrivilege:
            raise DatabaseUnavailable(
                f"Dagster's storage: the user of {describe_database(bars_url)} may not create database "
                f"{DAGSTER_DATABASE!r}; create it with that user as its owner, or set DAGSTER_POSTGRES_URL to a "
                "database for Dagster"
            ) from None
    return _to_sqlalchemy_url(url)


def _to_sqlalchemy_url(url: str) -> str:
    """Name the driver: SQLAlchemy 2.1 takes psycopg 3 by default, and dagster-postgres fails with that."""
    try:
        parts = {name: str(value) for name, value in conninfo.conninfo_to_dict(url).items()}
    except psycopg.ProgrammingError:
        raise DatabaseUnavailable(
            "DAGSTER_POSTGRES_URL is not a PostgreSQL address; write postgresql://user@host/name"
        ) from None
    host = parts.pop("host", None)
    socket = {"host": host} if host and host.startswith("/") else {}
    return URL.create(
        "postgresql+psycopg2",
        username=parts.pop("user", None),
        password=parts.pop("password", None),
        host=None if socket else host,
        port=int(parts.pop("port")) if "port" in parts else None,
        database=parts.pop("dbname", None),
        query={**parts, **socket},
    ).render_as_string(hide_password=False)
