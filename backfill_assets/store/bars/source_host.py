"""Whose bars a database holds: one host, so that made-up bars and the vendor's never mix."""

from backfill_assets.errors import UsageError
from backfill_assets.store.postgres.connection import Connection


def stored_host(connection: Connection) -> str | None:
    """The host whose bars are stored; None before the first are."""
    row = connection.execute("SELECT host FROM backfill.source_host").fetchone()
    return None if row is None else str(row[0])


def require_host(connection: Connection, host: str) -> None:
    """Make sure that bars of ``host`` may be stored here.

    Raises:
        UsageError: the database holds another's.
    """
    held = stored_host(connection)
    if held is not None and held != host:
        raise UsageError(
            f"this database holds bars of {held}, and the vendor asked now is {host}: they do not mix; "
            f"use another database (DATABASE_URL or BACKFILL_HOME), or set EODHD_BASE_URL back to {held}, "
            f"or EODHD_SOURCE_HOST={held} where {host} only passes on its answers"
        )


def bind_host(connection: Connection, host: str) -> None:
    """Remember that bars of ``host`` are stored here, from the first on.

    Raises:
        UsageError: another's came first.
    """
    connection.execute("INSERT INTO backfill.source_host (host) VALUES (%s) ON CONFLICT DO NOTHING", [host])
    require_host(connection, host)
