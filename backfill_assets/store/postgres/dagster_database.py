"""The database of Dagster's own storage: the one of the settings, else one on the server of the bars."""

from contextlib import suppress

import psycopg
from psycopg import conninfo
from sqlalchemy import URL

from backfill_assets.config.settings import Settings
from backfill_assets.errors import DatabaseUnavailable
from backfill_assets.store.postgres.connection import CONNECT_TIMEOUT_SECONDS, is_read_only
from backfill_assets.store.postgres.database_errors import describe_database, translate_errors
from backfill_assets.store.postgres.embedded import create_database, start_embedded_database
from backfill_assets.store.postgres.peer_timeouts import IDLE_LIMIT, add_client_parameters, connect
from backfill_assets.store.postgres.session_settings import read_session_settings

DAGSTER_DATABASE = "dagster"
_ENCODINGS = frozenset({"UTF8", "SQL_ASCII"})  # SQL_ASCII stores bytes as they come
_SHOW_ISOLATION = "SHOW transaction_isolation"


def prepare_dagster_database(settings: Settings) -> str:
    """Create the database if it is missing; returns its address for SQLAlchemy with the driver of dagster-postgres.

    Raises:
        DatabaseUnavailable: no server, no right to create the database, or one that cannot store Dagster's events.
    """
    if settings.dagster_postgres_url is not None:
        url = settings.dagster_postgres_url.get_secret_value()
        _to_sqlalchemy_url(url)  # raises if it is not an address
        url = _limit_waiting(url)
        with suppress(psycopg.OperationalError):  # Dagster tries longer, and says it
            url = _adapt_to_defaults(url, "DAGSTER_POSTGRES_URL")
        return _to_sqlalchemy_url(url)
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
        return _to_sqlalchemy_url(
            _adapt_to_defaults(_limit_waiting(url), f"Dagster's storage, database {DAGSTER_DATABASE!r}")
        )


def _adapt_to_defaults(url: str, name: str) -> str:
    """``url`` with options against defaults of the database or the role under which Dagster would fail.

    A pooler may refuse options; there they are given only where a default differs.
    """
    connection, address = connect(url)
    with connection:
        encoding = connection.info.parameter_status("server_encoding")
        client_encoding = connection.info.parameter_status("client_encoding")
        can_write = not is_read_only(connection)
        isolation = connection.execute(_SHOW_ISOLATION).fetchall()[0][0]
        differences = read_session_settings(connection).differences
    if encoding not in _ENCODINGS:
        raise DatabaseUnavailable(
            f"{name} has the encoding {encoding}; Dagster needs a database with the encoding UTF8"
        )
    if not can_write:
        raise DatabaseUnavailable(f"{name} is read-only (default_transaction_read_only); Dagster writes to it")
    if isolation != "read committed":
        differences["default_transaction_isolation"] = "read\\ committed"
    if not address.takes_options:  # each of Dagster's statements is a transaction of its own
        differences.pop(IDLE_LIMIT, None)
    url = address.url
    given = str(conninfo.conninfo_to_dict(url).get("options") or "")
    options = " ".join([given, *(f"-c {setting}={value}" for setting, value in differences.items())]).strip()
    changes = {"options": options} if differences else {}
    if client_encoding != "UTF8":
        changes["client_encoding"] = "utf8"
    return conninfo.make_conninfo(url, **changes) if changes else url


def _limit_waiting(url: str) -> str:
    """``url`` with the timeouts of this end; without one of its own, connecting to a silent network takes minutes."""
    timeout = conninfo.conninfo_to_dict(url).get("connect_timeout") or CONNECT_TIMEOUT_SECONDS
    return add_client_parameters(conninfo.make_conninfo(url, connect_timeout=timeout))


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
