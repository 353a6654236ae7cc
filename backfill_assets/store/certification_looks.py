"""What changed since certificates were last looked for, so that a look at which nothing has costs one statement.

Each write of this program shows in its evidence, which is written with the bars. What other programs write shows in the
server's statistics of ``market_data``, a few seconds late: a look that comes too early is made up for by the next one.
Without those statistics (``track_counts = off``) it shows at the next write of this program, or in the next audit.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime

from backfill_assets.store.postgres.connection import Connection

_TABLES = (
    *("market_data", "backfill.daily_prices", "backfill.exchange_closures", "backfill.listing_lives"),
    *("backfill.listings", "backfill.halts", "backfill.rejects", "backfill.unserved_symbols", "backfill.revisions"),
    "backfill.doubts",
)
# Of a partitioned table the partitions have the rows; a plain one has no tree.
_WRITES = """
SELECT coalesce(sum(pg_stat_get_tuples_inserted(relid) + pg_stat_get_tuples_updated(relid)
                    + pg_stat_get_tuples_deleted(relid)), 0)
FROM unnest(%(tables)s::text[]) AS name
CROSS JOIN LATERAL (SELECT to_regclass(name)::oid UNION SELECT relid FROM pg_partition_tree(to_regclass(name)))
    AS part (relid)
"""
_SELECT_STATE = f"""
SELECT concat_ws(' ', %(first)s::date,
    (SELECT concat_ws(',', count(*), sum(request_count), extract(epoch FROM max(requested_at)))
     FROM backfill.session_evidence WHERE session_day >= %(first)s AND interval_type = %(interval)s),
    (SELECT concat_ws(',', count(*), count(ended_at), count(*) FILTER (WHERE marks_bar), max(doubt_id),
                      extract(epoch FROM max(ended_at)))
     FROM backfill.doubts WHERE session_day >= %(first)s AND interval_type = %(interval)s),
    (SELECT concat_ws(',', count(*), extract(epoch FROM max(found_at))) FROM backfill.exchange_closures
     WHERE exchange = %(exchange)s),
    (SELECT concat_ws(',', count(*), count(withdrawn_at), max(listing_id)) FROM backfill.listings),
    (SELECT max(change_id) FROM backfill.universe_changes),
    (SELECT md5(string_agg(concat_ws(',', name, max_incomplete, deadline, created_at), ' ' ORDER BY name))
     FROM backfill.universes WHERE exchange = %(exchange)s),
    (SELECT concat_ws(',', count(*), count(member_until)) FROM backfill.universe_members
     WHERE exchange = %(exchange)s),
    ({_WRITES})),
    (SELECT concat_ws('|', fingerprint, extract(epoch FROM next_look_at)) FROM backfill.certification_looks
     WHERE exchange = %(exchange)s AND interval_type = %(interval)s)
"""  # noqa: S608 - constants are inserted
_MAY_WRITE = """
SELECT current_setting('transaction_read_only') = 'off' AND has_table_privilege('backfill.certificates', 'INSERT')
"""
_RECORD_LOOK = """
INSERT INTO backfill.certification_looks (exchange, interval_type, fingerprint, next_look_at, looked_at)
VALUES (%(exchange)s, %(interval)s, %(fingerprint)s, %(next_look_at)s, clock_timestamp())
ON CONFLICT (exchange, interval_type) DO UPDATE SET fingerprint = EXCLUDED.fingerprint,
    next_look_at = EXCLUDED.next_look_at, looked_at = EXCLUDED.looked_at
"""
_SELECT_SEEN = """
SELECT universe, session_day, bars_seen FROM backfill.hashed_sessions
WHERE exchange = %(exchange)s AND interval_type = %(interval)s AND session_day = ANY (%(days)s::date[])
"""
_RECORD_SEEN = """
INSERT INTO backfill.hashed_sessions (exchange, universe, interval_type, session_day, bars_seen)
SELECT %(exchange)s, universe, %(interval)s, day, seen
FROM unnest(%(universes)s::text[], %(days)s::date[], %(seen)s::text[]) AS hashed (universe, day, seen)
ORDER BY universe, day
ON CONFLICT (exchange, universe, interval_type, session_day) DO UPDATE SET bars_seen = EXCLUDED.bars_seen
"""


@dataclass(frozen=True, slots=True)
class Look:
    """What a look saw.

    Attributes:
        fingerprint: of everything that certificates rest on; equal if nothing was written since.
        last_fingerprint: of the last look; None without one.
        next_look_at: when time alone may make a certificate due, as the last look found it; UTC.
    """

    fingerprint: str
    last_fingerprint: str | None
    next_look_at: datetime | None

    def is_idle_at(self, now: datetime) -> bool:
        """Whether nothing has changed since the last look, and no time has come."""
        is_early = self.next_look_at is not None and now < self.next_look_at
        return is_early and self.fingerprint == self.last_fingerprint


def read_look(connection: Connection, exchange: str, interval: str, first_day: date) -> Look:
    """What certificates of sessions from ``first_day`` on rest on, as a fingerprint; one statement."""
    values = {"exchange": exchange, "interval": interval, "first": first_day, "tables": list(_TABLES)}
    fingerprint, last = connection.execute(_SELECT_STATE.encode(), values).fetchall()[0]
    if not last:
        return Look(fingerprint, None, None)
    last_fingerprint, _, moment = last.rpartition("|")
    return Look(fingerprint, last_fingerprint, datetime.fromtimestamp(float(moment), UTC))


def record_look(connection: Connection, exchange: str, interval: str, fingerprint: str, next_look_at: datetime) -> None:
    """Remember that all certificates were written that were due by ``fingerprint``."""
    values = {"exchange": exchange, "interval": interval, "fingerprint": fingerprint, "next_look_at": next_look_at}
    connection.execute(_RECORD_LOOK, values)


def read_hashed_sessions(
    connection: Connection, exchange: str, interval: str, days: Collection[date]
) -> dict[tuple[str, date], str]:
    """(universe, session) → what its bars looked like when their hash was last compared."""
    values = {"exchange": exchange, "interval": interval, "days": sorted(days)}
    return {(name, day): seen for name, day, seen in connection.execute(_SELECT_SEEN, values)}


def record_hashed_sessions(
    connection: Connection, exchange: str, interval: str, seen: Mapping[tuple[str, date], str]
) -> None:
    """Remember what the bars of sessions looked like whose hash is that of their newest certificate."""
    values = {
        **{"exchange": exchange, "interval": interval, "seen": list(seen.values())},
        **{"universes": [name for name, _ in seen], "days": [day for _, day in seen]},
    }
    connection.execute(_RECORD_SEEN, values)


def may_write_certificates(connection: Connection) -> bool:
    """Whether this role and server can write them: a standby cannot, nor a role that may only read."""
    may: bool = connection.execute(_MAY_WRITE).fetchall()[0][0]
    return may
