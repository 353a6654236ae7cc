"""Which failures an owner of symbols was told of, so that the same owner is told of their end."""

from backfill_assets.store.postgres.connection import Connection

_SELECT = "SELECT name FROM backfill.alert_owners_told WHERE audience = %(audience)s"
_INSERT = """
INSERT INTO backfill.alert_owners_told (name, audience) VALUES (%(name)s, %(audience)s) ON CONFLICT DO NOTHING
"""
_DELETE = "DELETE FROM backfill.alert_owners_told WHERE name = %(name)s AND audience = %(audience)s"


def list_told(connection: Connection, audience: str) -> frozenset[str]:
    """The names of what an audience was told of and not yet told the end of."""
    return frozenset(name for (name,) in connection.execute(_SELECT, {"audience": audience}))


def record_told(connection: Connection, name: str, audience: str) -> None:
    """Remember that an audience is told of a failure."""
    connection.execute(_INSERT, {"name": name, "audience": audience})


def forget_told(connection: Connection, name: str, audience: str) -> None:
    """Forget it, because it has ended."""
    connection.execute(_DELETE, {"name": name, "audience": audience})
