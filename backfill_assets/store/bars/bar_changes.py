"""Reads which bars of this program differ between two moments, and up to which moment nothing can be added any more.

The versions are kept by the triggers of the schema (docs/decisions/0056). What a caller gets is made in
``reading.changes``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from numpy.typing import NDArray

from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.store.bars.bar_writer import read_server_time
from backfill_assets.store.bars.stored_values import select_volume
from backfill_assets.store.postgres.array_reader import read_columns
from backfill_assets.store.postgres.connection import Connection

PRICES = ("open", "high", "low", "close")
NO_VOLUME = -(2**63)  # there is no bar, or its volume is not known
_IS_STANDBY = "SELECT pg_is_in_recovery()"
# A write takes the moment of a bar after it has locked the table, and keeps the lock until its transaction ends. So
# whoever may still add a bar of an earlier moment holds one. The start of another role's transaction is
# hidden from most roles, that of a prepared one from all.
_SELECT_WRITERS = """
SELECT DISTINCT l.virtualtransaction, coalesce(a.usename::text, 'a prepared transaction'), a.xact_start
FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'relation' AND l.granted AND l.pid IS DISTINCT FROM pg_backend_pid()
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND l.relation IN (SELECT to_regclass('market_data') UNION ALL
                     SELECT relid FROM pg_partition_tree(to_regclass('market_data')))
  AND l.mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
"""
_VALUES = """
open_price::float8 AS open, high_price::float8 AS high, low_price::float8 AS low, close_price::float8 AS close,
{volume}::bigint AS volume, source_interval::text AS source_interval, is_final
"""
_VERSION = _VALUES.format(volume="volume")  # null where it was not known
_BAR = _VALUES.format(volume=f"({select_volume('m')})")
_OF_WINDOW = "symbol_id = ANY (%(ids)s::int[]) AND interval_type = ANY (%(spellings)s)"
_NEWEST = "SELECT DISTINCT ON (symbol_id, timestamp)"
# A version that holds at both moments has not changed; nor has the bar of market_data unless it came in between.
_SELECT_CHANGES = f"""
WITH before AS (
    {_NEWEST} symbol_id, timestamp, {_VERSION} FROM backfill.bar_versions
    WHERE {_OF_WINDOW} AND source IS NOT NULL
      AND known_from <= %(since)s AND known_to > %(since)s AND known_to <= %(until)s
    ORDER BY symbol_id, timestamp, known_to DESC
), after AS (
    {_NEWEST} * FROM (
        SELECT symbol_id, timestamp, {_VERSION}, known_from FROM backfill.bar_versions
        WHERE {_OF_WINDOW} AND source IS NOT NULL
          AND known_to > %(until)s AND known_from > %(since)s AND known_from <= %(until)s
        UNION ALL
        SELECT m.symbol_id, m.timestamp, {_BAR}, greatest(m.fetched_at, b.known_from) FROM market_data m
        LEFT JOIN backfill.bar_beginnings b USING (symbol_id, interval_type, timestamp)
        WHERE m.symbol_id = ANY (%(ids)s::int[]) AND m.interval_type = ANY (%(spellings)s) AND m.source IS NOT NULL
          AND m.fetched_at <= %(until)s AND greatest(m.fetched_at, b.known_from) > %(since)s
          AND (b.known_from <= %(until)s) IS NOT FALSE
    ) begun ORDER BY symbol_id, timestamp, known_from DESC
), ended AS (
    {_NEWEST} symbol_id, timestamp, ended_by, known_to FROM backfill.bar_versions
    WHERE {_OF_WINDOW} AND known_to > %(since)s AND known_to <= %(until)s
    ORDER BY symbol_id, timestamp, known_to DESC
), named AS (SELECT symbol_id, row - 1 AS row FROM unnest(%(ids)s::int[]) WITH ORDINALITY AS u (symbol_id, row))
SELECT n.row, timestamp AS stamp, coalesce(a.known_from, e.known_to) AS changed_at, coalesce(e.ended_by, '') AS cause,
       (b.symbol_id IS NOT NULL)::int + 2 * (a.symbol_id IS NOT NULL)::int AS held,
       {", ".join(f"coalesce({t}.{c}, 'NaN') AS {old}_{c}" for t, old in (("b", "old"), ("a", "new")) for c in PRICES)},
       coalesce(b.volume, {NO_VOLUME}) AS old_volume, coalesce(a.volume, {NO_VOLUME}) AS new_volume,
       coalesce(b.source_interval, '') AS old_source_interval, coalesce(a.source_interval, '') AS new_source_interval,
       coalesce(b.is_final IS FALSE, false) AS old_provisional, coalesce(a.is_final IS FALSE, false) AS new_provisional
FROM before b FULL JOIN after a USING (symbol_id, timestamp) LEFT JOIN ended e USING (symbol_id, timestamp)
JOIN named n USING (symbol_id)
WHERE (b.open, b.high, b.low, b.close, b.volume, b.is_final)
      IS DISTINCT FROM (a.open, a.high, a.low, a.close, a.volume, a.is_final)
ORDER BY n.row, stamp
"""  # noqa: S608 - only constants are inserted
_COLUMN_TYPES = {
    **{"row": ">i8", "stamp": ">i8", "changed_at": ">i8", "cause": "text", "held": ">i4"},
    **{f"{when}_{price}": ">f8" for when in ("old", "new") for price in PRICES},
    **{"old_volume": ">i8", "new_volume": ">i8", "old_source_interval": "text", "new_source_interval": "text"},
    **{"old_provisional": ">i1", "new_provisional": ">i1"},
}
IN_OLD, IN_NEW = 1, 2  # bits of the column held


@dataclass(frozen=True, slots=True)
class OpenWriters:
    """Who is writing bars.

    Attributes:
        read_at: the server's clock before they were looked for (UTC).
        since: the start of the oldest of their transactions whose start is known; None if there is none.
        oldest: the role of that one; None if there is none.
        undated: the others, by the number of the transaction, with the role.
    """

    read_at: datetime
    since: datetime | None
    oldest: str | None
    undated: dict[str, str]


def is_standby(connection: Connection) -> bool:
    """Whether the server is a copy that follows another one, where it cannot be seen who is writing there."""
    return bool(connection.execute(_IS_STANDBY).fetchall()[0][0])


def find_open_writers(connection: Connection) -> OpenWriters:
    """The transactions that may write bars of a moment up to ``read_at`` and have not ended.

    What all others wrote is seen by a snapshot that is taken afterwards, in another transaction.
    """
    read_at = read_server_time(connection).astimezone(UTC)
    writers = connection.execute(_SELECT_WRITERS).fetchall()
    dated = [(start.astimezone(UTC), role) for _, role, start in writers if start is not None]
    undated = {key: role for key, role, start in writers if start is None}
    since, oldest = min(dated, default=(None, None))
    return OpenWriters(read_at, since, oldest, undated)


def read_bar_changes(
    connection: Connection, symbol_ids: Sequence[int], interval: Interval, since: datetime, until: datetime
) -> dict[str, NDArray[Any]]:
    """The bars whose values or finality differ between two moments, ordered by symbol and slot; parallel arrays.

    Args:
        connection: with a transaction open.
        symbol_ids: whose bars.
        interval: of the bars, in any spelling.
        since: the first moment, as ``bars_known_at`` means it.
        until: the second one.

    Returns:
        ``row`` (position in ``symbol_ids``), ``stamp`` (slot start) and ``changed_at`` in microseconds since 2000,
        ``cause`` (why the newest version in between ended, empty for a new bar), ``held`` (the bits ``IN_OLD`` and
        ``IN_NEW``: at which moment the store had the bar), and for ``old_`` and ``new_`` prices (NaN without), volume
        (``NO_VOLUME`` without), ``source_interval`` and ``provisional``.
    """
    values = {"ids": list(symbol_ids), "spellings": list(interval.spellings), "since": since, "until": until}
    return read_columns(connection, _SELECT_CHANGES, values, _COLUMN_TYPES)
