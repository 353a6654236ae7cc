"""Whose bars a database holds: one host, so that made-up bars and the vendor's never mix."""

from backfill_assets.errors import UsageError
from backfill_assets.store.postgres.connection import Connection


def read_source_host(connection: Connection) -> str | None:
    """The host whose bars are stored; None before the first are."""
    row = connection.execute("SELECT host FROM backfill.source_host").fetchone()
    return None if row is None else str(row[0])


def require_source_host(connection: Connection, host: str) -> None:
    """Make sure that bars of ``host`` may be stored here.

    Raises:
        UsageError: the database holds another's.
    """
    bound_host = read_source_host(connection)
    if bound_host is not None and bound_host != host:
        raise UsageError(
            f"this database holds bars of {bound_host}, and the vendor asked now is {host}: they do not mix; "
            f"use another database (DATABASE_URL or BACKFILL_HOME), or set EODHD_BASE_URL back to {bound_host}, "
            f"or EODHD_SOURCE_HOST={bound_host} where {host} only passes on its answers"
        )


def bind_source_host(connection: Connection, host: str) -> None:
    """Remember that bars of ``host`` are stored here, from the first on.

    Raises:
        UsageError: another's came first.
    """
    connection.execute("INSERT INTO backfill.source_host (host) VALUES (%s) ON CONFLICT DO NOTHING", [host])
    require_source_host(connection, host)
