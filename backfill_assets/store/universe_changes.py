"""Who was in the universe when: changes of ``market_symbols`` as they were made or found, and its rows at a moment.

No trigger stands on the table, which may be another program's. Each command that changes it records the differences in
its transaction; what another program changed is found when a job is built or a sensor looks for work, and counts from
then on. What a row means is decided in ``symbols``.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from backfill_assets.market.calendar.tickers import Symbol
from backfill_assets.store.census.recount import add_symbols
from backfill_assets.store.postgres.connection import Connection

_LOCK = 0x756E6976  # "univ" in ASCII: one process at a time records
_TAKE_LOCK = "SELECT pg_advisory_xact_lock(%(lock)s)"
# The newest row of each symbol, in the order of the index read backwards, beside what the table holds.
_DIFFERENCES = """
SELECT coalesce(p.symbol_id, n.symbol_id) AS symbol_id,
       CASE WHEN p.symbol_id IS NULL THEN n.symbol ELSE p.symbol END AS symbol,
       CASE WHEN p.symbol_id IS NULL THEN n.exchange ELSE p.exchange END AS exchange,
       p.symbol_id IS NOT NULL AND p.is_active AS is_active,
       CASE WHEN p.symbol_id IS NULL THEN 'deleted'
            WHEN n.symbol_id IS NOT NULL AND n.kind <> 'deleted' THEN 'changed'
            WHEN EXISTS (SELECT FROM backfill.universe_changes) THEN 'added'
            ELSE 'recorded' END AS kind
FROM (SELECT symbol_id::integer AS symbol_id, symbol::text AS symbol, exchange::text AS exchange,
             coalesce(is_active, true) AS is_active FROM market_symbols) p
FULL JOIN (SELECT DISTINCT ON (symbol_id) symbol_id, symbol, exchange, is_active, kind
           FROM backfill.universe_changes ORDER BY symbol_id DESC, changed_at DESC, change_id DESC) n USING (symbol_id)
WHERE CASE WHEN p.symbol_id IS NULL THEN n.kind <> 'deleted'
           WHEN n.symbol_id IS NULL OR n.kind = 'deleted' THEN true
           ELSE (p.symbol, p.exchange, p.is_active) IS DISTINCT FROM (n.symbol, n.exchange, n.is_active) END
"""
# A standby server, or a role that may only read, records nothing.
_IS_TO_RECORD = f"""
SELECT current_setting('transaction_read_only') = 'off'
   AND has_table_privilege('backfill.universe_changes', 'INSERT') AND EXISTS ({_DIFFERENCES})
"""
_RECORD = f"""
INSERT INTO backfill.universe_changes (symbol_id, symbol, exchange, is_active, kind, changed_at)
SELECT symbol_id, symbol, exchange, is_active, kind, (SELECT coalesce(%(at)s, clock_timestamp()))
FROM ({_DIFFERENCES}) AS found ORDER BY symbol_id
"""  # noqa: S608 - constants are inserted
_SELECT_BOUNDS = """
SELECT changed_at, %(moment)s < clock_timestamp() FROM backfill.universe_changes ORDER BY change_id LIMIT 1
"""
_SELECT_CHANGE_TIMES = "SELECT DISTINCT changed_at FROM backfill.universe_changes ORDER BY 1"
_SELECT_STATE = """
SELECT n.symbol_id, n.symbol, n.exchange, n.is_active, EXISTS (
    SELECT FROM market_symbols m WHERE m.symbol_id = n.symbol_id), EXISTS (
    SELECT FROM backfill.listings l WHERE l.symbol_id = n.symbol_id AND l.withdrawn_at IS NULL)
FROM (SELECT DISTINCT ON (symbol_id) symbol_id, symbol, exchange, is_active, kind FROM backfill.universe_changes
      WHERE changed_at <= %(moment)s ORDER BY symbol_id DESC, changed_at DESC, change_id DESC) n
WHERE n.kind <> 'deleted'
"""


@dataclass(frozen=True, slots=True)
class RecordedRow:
    """A row of ``market_symbols`` as it was.

    ``is_there_now`` is False if it was deleted since, ``has_listing`` is whether it has a listing now.
    """

    symbol_id: int
    symbol: str | None
    exchange: str | None
    is_active: bool
    is_there_now: bool
    has_listing: bool


@dataclass(frozen=True, slots=True)
class RecordedUniverse:
    """What is recorded of the universe at a moment.

    Attributes:
        rows: the rows of then, ordered by symbol_id; None if what the table holds now stands for them: before the first
            record, and for a moment that is not past.
        first_record: when the universe was recorded first, UTC; None if it never was.
        is_assumed: whether today's rows stand for earlier ones that nobody recorded.
    """

    rows: tuple[RecordedRow, ...] | None
    first_record: datetime | None
    is_assumed: bool

    @property
    def active_ids(self) -> frozenset[int] | None:
        """The symbol_ids that were active then; None if those of now stand for them."""
        return None if self.rows is None else frozenset(row.symbol_id for row in self.rows if row.is_active)


@dataclass(frozen=True, slots=True)
class UniverseAt:
    """The universe of a moment.

    Attributes:
        moment: UTC.
        symbols: those that were there, ordered by ticker, each with whether it was active then.
        first_record: when the universe was recorded first, UTC; None if it never was.
        deleted: how many were active then whose rows were deleted since; they are left out.
        is_assumed: whether it is today's, because the moment lies before the first record.
    """

    moment: datetime
    symbols: tuple[Symbol, ...]
    first_record: datetime | None
    deleted: int = 0
    is_assumed: bool = False

    @property
    def active(self) -> tuple[Symbol, ...]:
        """The symbols that were active then."""
        return tuple(symbol for symbol in self.symbols if symbol.is_active)

    def describe(self) -> str:
        """What a person should know of it, in one line; empty if it is recorded and complete."""
        name = f"universe of {self.moment:%Y-%m-%d %H:%M} UTC"
        if self.is_assumed:
            since = f"since {self.first_record:%Y-%m-%d %H:%M} UTC" if self.first_record else "from the next run on"
            return f"{name}: assumed to be today's, because changes are recorded {since}"
        if self.deleted:
            rows = "1 symbol is" if self.deleted == 1 else f"{self.deleted:,} symbols are"
            return f"{name}: {rows} left out, deleted from market_symbols since"
        return ""


def begin_universe_change(connection: Connection) -> None:
    """Record what other programs changed before, and let no other process change the table until the transaction ends.

    Call it before ``market_symbols`` is changed: two processes that lock its rows first would wait for each other.
    """
    connection.execute(_TAKE_LOCK, {"lock": _LOCK})
    record_universe_changes(connection)


def record_universe_changes(connection: Connection, moment: datetime | None = None) -> int:
    """Record how ``market_symbols`` differs from the newest recorded state; returns in how many rows.

    One statement if nothing changed. A read-only server, or a role without the right, records nothing.

    Args:
        connection: with a transaction open; call it in the transaction that changes the table, after the change.
        moment: when it was changed, UTC; by default the database server's clock. Not before the newest record.
    """
    if connection.execute(_IS_TO_RECORD.encode()).fetchall() != [(True,)]:
        return 0
    connection.execute(_TAKE_LOCK, {"lock": _LOCK})
    add_symbols(connection)
    return connection.execute(_RECORD.encode(), {"at": moment}).rowcount


def read_universe_at(connection: Connection, moment: datetime) -> RecordedUniverse:
    """The rows of ``market_symbols`` at ``moment`` (aware), as far as they are recorded."""
    bounds = connection.execute(_SELECT_BOUNDS, {"moment": moment}).fetchone()
    if bounds is None:
        return RecordedUniverse(None, None, is_assumed=True)
    first_record, is_past = bounds[0].astimezone(UTC), bounds[1]
    if moment < first_record or not is_past:
        return RecordedUniverse(None, first_record, is_assumed=moment < first_record)
    rows = connection.execute(_SELECT_STATE, {"moment": moment}).fetchall()
    return RecordedUniverse(tuple(RecordedRow(*row) for row in sorted(rows)), first_record, is_assumed=False)


def list_change_times(connection: Connection) -> list[datetime]:
    """When changes were recorded, ascending; between two of them the recorded universe is the same."""
    return [changed_at for (changed_at,) in connection.execute(_SELECT_CHANGE_TIMES)]
