"""The record of a partitioning that is under way: where it stands, how it begins, and how it is given up.

Everything it needs exists only meanwhile: a partitioned twin of ``market_data`` with the bars copied so far, a table of
the keys that any writer has changed since (three triggers for statements append them), and the record itself. Until the
twin takes the name in one transaction, ``market_data`` is what it was.
"""

from dataclasses import dataclass
from datetime import datetime

from backfill_assets.store.partitioning.table_facts import FORMER, TWIN, TableFacts
from backfill_assets.store.postgres.connection import Connection

BELOW_ALL_IDS, HIGHEST_ID = -(2**31) - 1, 2**31 - 1
_LOCK = 0x70617274  # "part" in ASCII: one step at a time in one database
_TAKE_LOCK = "SELECT pg_advisory_xact_lock(%(lock)s)"
_EXISTS = "SELECT to_regclass('backfill.partitioning') IS NOT NULL"
_SELECT_JOB = """
SELECT started_at, stage, copied_to, copied_rows, verified_to, verified_rows, verified_hash FROM backfill.partitioning
"""
# A writer of another program needs no right on the table of keys. Bars that TRUNCATE removes have no keys here: a row
# without one says that the twin must begin anew.
_CREATE_RECORD = """
CREATE TABLE backfill.partitioning (
    started_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    stage         text        NOT NULL DEFAULT 'copying',  -- then verifying, switched
    copied_to     bigint      NOT NULL,
    copied_rows   bigint      NOT NULL DEFAULT 0,
    verified_to   bigint      NOT NULL,
    verified_rows bigint      NOT NULL DEFAULT 0,
    verified_hash numeric     NOT NULL DEFAULT 0
);
INSERT INTO backfill.partitioning (copied_to, verified_to) VALUES ({below_all}, {below_all});
CREATE TABLE backfill.partitioning_changes (
    symbol_id     integer,
    interval_type text,
    "timestamp"   timestamptz,
    is_applied    boolean NOT NULL DEFAULT false  -- to the twin
);
CREATE INDEX ON backfill.partitioning_changes (symbol_id);
CREATE FUNCTION backfill.note_partitioning_change() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP IN ('INSERT', 'UPDATE') THEN
        INSERT INTO backfill.partitioning_changes SELECT symbol_id, interval_type, "timestamp" FROM new_rows;
    END IF;
    IF TG_OP IN ('DELETE', 'UPDATE') THEN
        INSERT INTO backfill.partitioning_changes SELECT symbol_id, interval_type, "timestamp" FROM old_rows;
    END IF;
    IF TG_OP = 'TRUNCATE' THEN
        INSERT INTO backfill.partitioning_changes DEFAULT VALUES;
    END IF;
    RETURN NULL;
END $$;
"""
_CREATE_TWIN = """
CREATE TABLE {twin} (LIKE market_data INCLUDING ALL) PARTITION BY RANGE ("timestamp");
CREATE TABLE market_data_before_{first} PARTITION OF {twin} FOR VALUES FROM (MINVALUE) TO ('{first}-01-01 00:00+00');
CREATE TABLE market_data_from_{end} PARTITION OF {twin} FOR VALUES FROM ('{end}-01-01 00:00+00') TO (MAXVALUE);
"""
_CREATE_YEAR = """
CREATE TABLE market_data_{year} PARTITION OF {twin}
    FOR VALUES FROM ('{year}-01-01 00:00+00') TO ('{next}-01-01 00:00+00');
"""
# Last, because it locks out other writers until the end of the transaction. They fire for replicated rows, too.
_CREATE_TRIGGERS = "".join(
    f"""
CREATE TRIGGER backfill_partitioning_{event.lower()} AFTER {event} ON market_data {rows}
    FOR EACH STATEMENT EXECUTE FUNCTION backfill.note_partitioning_change();
ALTER TABLE market_data ENABLE ALWAYS TRIGGER backfill_partitioning_{event.lower()};
"""
    for event, rows in (
        ("INSERT", "REFERENCING NEW TABLE AS new_rows"),
        ("UPDATE", "REFERENCING NEW TABLE AS new_rows OLD TABLE AS old_rows"),
        ("DELETE", "REFERENCING OLD TABLE AS old_rows"),
        ("TRUNCATE", ""),
    )
)
_DROP_TRIGGERS = "".join(
    f"DROP TRIGGER IF EXISTS backfill_partitioning_{event} ON {{table}};"
    for event in ("insert", "update", "delete", "truncate")
)
_DROP_CHANGES = """
DROP FUNCTION IF EXISTS backfill.note_partitioning_change();
DROP TABLE IF EXISTS backfill.partitioning_changes;
"""
_SET_LIMITS = "SET LOCAL lock_timeout = '2s'; SET LOCAL jit = off"
_SET_OWNER = "SELECT set_config('role', %(owner)s, true), set_config('search_path', %(schema)s, true)"
_SELECT_OWNER = """
SELECT pg_get_userbyid(c.relowner)::text, quote_ident(n.nspname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = 'market_data'::regclass
"""


@dataclass(frozen=True, slots=True)
class PartitioningJob:
    """Where a partitioning stands.

    Attributes:
        started_at: UTC, by the database server's clock.
        stage: ``copying``, ``verifying``, or ``switched`` when only the former table is left to remove.
        copied_to: the bars of all symbols up to this ``symbol_id`` are copied.
        copied_rows: how many these were.
        verified_to: those up to this one were compared.
        verified_rows: how many these were.
        verified_hash: the sum of their hashes, in whatever order they stand.
    """

    started_at: datetime
    stage: str
    copied_to: int
    copied_rows: int
    verified_to: int
    verified_rows: int
    verified_hash: int


def begin_step(connection: Connection) -> PartitioningJob | None:
    """Prepare a transaction of a partitioning, which waits two seconds at most; the job, or None without one."""
    owner, schema = connection.execute(_SELECT_OWNER).fetchall()[0]
    connection.execute(_SET_LIMITS)
    connection.execute(_SET_OWNER, {"owner": owner, "schema": schema})
    connection.execute(_TAKE_LOCK, {"lock": _LOCK})
    return read_job(connection)


def read_job(connection: Connection) -> PartitioningJob | None:
    """The partitioning that is under way; None without one."""
    if connection.execute(_EXISTS).fetchall() == [(False,)]:
        return None
    started_at, stage, copied_to, copied_rows, verified_to, verified_rows, hashed = connection.execute(
        _SELECT_JOB
    ).fetchall()[0]
    return PartitioningJob(started_at, stage, copied_to, copied_rows, verified_to, verified_rows, int(hashed))


def start_job(connection: Connection, facts: TableFacts) -> None:
    """Create the twin, and have every change noted from now on."""
    connection.execute(_CREATE_RECORD.format(below_all=BELOW_ALL_IDS).encode())
    end = facts.last_year + 1
    connection.execute(_CREATE_TWIN.format(twin=TWIN, first=facts.first_year, end=end).encode())
    for year in range(facts.first_year, end):
        connection.execute(_CREATE_YEAR.format(twin=TWIN, year=year, next=year + 1).encode())
    connection.execute(_CREATE_TRIGGERS.encode())


def abandon_job(connection: Connection) -> None:
    """Remove everything that a partitioning has made; ``market_data`` is as it was before."""
    connection.execute(f"{_DROP_TRIGGERS.format(table='market_data')} {_DROP_CHANGES}".encode())
    connection.execute(f"DROP TABLE {TWIN}; DROP TABLE backfill.partitioning".encode())


def drop_change_notes(connection: Connection, table: str) -> None:
    """Stop noting changes of ``table``."""
    connection.execute(f"{_DROP_TRIGGERS.format(table=table)} {_DROP_CHANGES}".encode())


def drop_former_table(connection: Connection) -> None:
    """Remove the table that was partitioned, and the record; the end."""
    connection.execute(f"DROP TABLE {FORMER}; DROP TABLE backfill.partitioning".encode())
