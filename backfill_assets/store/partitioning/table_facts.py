"""What an existing ``market_data`` is, before it is partitioned: its size, its years, and what stands in the way."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from backfill_assets.store.postgres.bar_partitions import read_partitions
from backfill_assets.store.postgres.connection import Connection
from backfill_assets.store.postgres.migrate import compare_with_own_tables

FIRST_YEARS = (2004, 2020)  # when the vendor's feeds of 1 and of 5 minutes begin; what is older shares a partition
TWIN, FORMER = "market_data_partitioned", "market_data_unpartitioned"
# Since migration 35 a volume may be null.
_ALLOWED_DIFFERENCES = frozenset({"column volume is bigint instead of bigint NOT NULL"})
_SELECT_SIZE = """
SELECT greatest(c.reltuples, 0)::bigint, pg_total_relation_size(c.oid), n.nspname::text,
       pg_get_userbyid(c.relowner)::text, pg_has_role(c.relowner, 'USAGE'),
       CASE WHEN inet_server_addr() IS NULL THEN coalesce(  -- by a socket, so that the disk is one of this machine
           nullif(pg_tablespace_location(coalesce(nullif(c.reltablespace, 0), d.dattablespace)), ''),
           (SELECT setting FROM pg_settings WHERE name = 'data_directory')) END  -- no row without the right to see it
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_database d ON d.datname = current_database()
WHERE c.oid = 'market_data'::regclass
"""
# The first entry of the key of each symbol; PostgreSQL has no index by time alone.
_SELECT_OLDEST = """
SELECT min((SELECT "timestamp" FROM market_data d WHERE d.symbol_id = s.symbol_id
            ORDER BY interval_type, "timestamp" LIMIT 1))
FROM market_symbols s
"""
_LIST_DEPENDENTS = """
SELECT DISTINCT pg_describe_object(d.classid, d.objid, 0) FROM pg_depend d
JOIN pg_class c ON c.oid = 'market_data'::regclass AND d.refobjid IN (c.oid, c.reltype)
WHERE d.deptype = 'n' AND NOT (d.classid = 'pg_trigger'::regclass AND EXISTS (
    SELECT FROM pg_trigger g WHERE g.oid = d.objid AND g.tgrelid = c.oid))
  AND NOT (d.classid = 'pg_constraint'::regclass AND EXISTS (
    SELECT FROM pg_constraint k WHERE k.oid = d.objid AND k.conrelid = c.oid))
UNION
SELECT 'publication ' || p.pubname FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid
WHERE r.prrelid = 'market_data'::regclass
ORDER BY 1
"""
_LIST_NAMESAKES = r"""
SELECT c.relname::text FROM pg_class c JOIN pg_class bars ON bars.oid = 'market_data'::regclass
WHERE c.relnamespace = bars.relnamespace
  AND (c.relname ~ '^market_data_((before|from)_)?\d{4}$' OR c.relname = ANY (%(names)s))
  AND c.relkind IN ('r', 'p', 'v', 'm', 'f') ORDER BY 1
"""


@dataclass(frozen=True, slots=True)
class TableFacts:
    """What a plain ``market_data`` holds, and what it would become.

    Attributes:
        rows: as PostgreSQL estimates them.
        size: bytes, with indexes; partitioned, it has about as many, and both exist for a while.
        schema: where the table is.
        owner: the role that it belongs to.
        first_year: the first one that becomes a partition.
        last_year: the last one.
        folder: where its files are, if that is known and may be on this machine.
    """

    rows: int
    size: int
    schema: str
    owner: str
    first_year: int
    last_year: int
    folder: str | None


def read_facts(connection: Connection, now: datetime) -> TableFacts:
    """Size and years; ``now`` decides which years are ahead."""
    rows, size, schema, owner, _, folder = connection.execute(_SELECT_SIZE).fetchall()[0]
    oldest = connection.execute(_SELECT_OLDEST).fetchall()[0][0]
    earliest, latest = FIRST_YEARS
    first_year = latest if oldest is None else min(max(oldest.astimezone(UTC).year, earliest), latest)
    return TableFacts(rows, size, schema, owner, first_year, now.astimezone(UTC).year + 1, folder)


def list_obstacles(connection: Connection) -> Sequence[str]:
    """Why the table cannot be partitioned, a line each; empty if it can."""
    return list(_find_obstacles(connection))


def list_dependents(connection: Connection) -> Sequence[str]:
    """What refers to the table itself, and would still refer to the former one: views, foreign keys, publications."""
    return [name for (name,) in connection.execute(_LIST_DEPENDENTS)]


def _find_obstacles(connection: Connection) -> Iterator[str]:
    if read_partitions(connection) is not None:
        yield "market_data is partitioned already"
        return
    differences = [line for line in compare_with_own_tables(connection) if line not in _ALLOWED_DIFFERENCES]
    if differences:
        yield (
            "market_data is not as this program makes it, and tables of other programs stay as they are:"
            f" {'; '.join(differences)}"
        )
        return
    _, _, _, owner, is_member, _ = connection.execute(_SELECT_SIZE).fetchall()[0]
    if not is_member:
        yield f"market_data belongs to {owner}; run this command as that role"
    names = [name for (name,) in connection.execute(_LIST_NAMESAKES, {"names": [TWIN, FORMER]})]
    if names:
        yield f"the names of the partitions are taken: {', '.join(names)}"
    if dependents := list_dependents(connection):
        yield (
            f"these refer to market_data itself: {', '.join(dependents)}; drop them, and create them again afterwards"
        )
