"""Which vendor's bars a database holds: those of one host, so that sandbox bars and real ones never mix."""

from backfill_assets.errors import UsageError
from backfill_assets.store.postgres.connection import Connection

_SELECT_HOST = "SELECT host FROM backfill.source_host"
_INSERT_HOST = "INSERT INTO backfill.source_host (host) VALUES (%(host)s) ON CONFLICT DO NOTHING"


def read_source_host(connection: Connection) -> str | None:
    """The host whose bars are stored; None before the first bar is."""
    row = connection.execute(_SELECT_HOST).fetchone()
    return None if row is None else str(row[0])


def require_source_host(connection: Connection, host: str) -> None:
    """Make sure that bars of ``host`` may be stored here.

    Raises:
        UsageError: the database holds bars of another host.
    """
    bound_host = read_source_host(connection)
    if bound_host is not None and bound_host != host:
        raise UsageError(
            f"this database holds bars of {bound_host}, and the vendor is now {host}: one database holds the bars "
            "of one host; use another database (DATABASE_URL or BACKFILL_HOME), "
            f"or set EODHD_BASE_URL back to {bound_host}, or EODHD_SOURCE_HOST={bound_host} if {host} is a proxy of it"
        )


def bind_source_host(connection: Connection, host: str) -> None:
    """Bind the database to ``host``, whose bars are stored here from now on.

    Raises:
        UsageError: the database holds bars of another host.
    """
    connection.execute(_INSERT_HOST, {"host": host})
    require_source_host(connection, host)
