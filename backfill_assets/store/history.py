"""From which day on each symbol is to be complete, and how far its walk over the sessions before has come.

What that means, and when it changes, is in ``backfill.history``. The pause and the days are in ``history_state``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.store.evidence.findings import PLAN_LIMITED
from backfill_assets.store.evidence.known_lives import KNOWN_LIVES
from backfill_assets.store.postgres.connection import Connection

_UPSERT_GOALS = """
INSERT INTO backfill.history_goals (symbol_id, history_from) SELECT unnest(%(ids)s::int[]), %(day)s::date
ON CONFLICT (symbol_id) DO UPDATE SET history_from = EXCLUDED.history_from
"""
_SELECT_GOALS = "SELECT symbol_id, history_from FROM backfill.history_goals WHERE symbol_id = ANY (%(ids)s::int[])"
_HAS_GOALS = "SELECT EXISTS (SELECT FROM backfill.history_goals)"
_SELECT_PROGRESS = """
SELECT symbol_id, reached, oldest, look_again_at FROM backfill.history_progress
WHERE symbol_id = ANY (%(ids)s::int[]) AND interval_type = %(interval)s
"""
_UPSERT_PROGRESS = """
INSERT INTO backfill.history_progress AS h (symbol_id, interval_type, reached, oldest, look_again_at)
SELECT id, %(interval)s, day, oldest, again
FROM unnest(%(ids)s::int[], %(days)s::date[], %(oldest)s::date[], %(again)s::timestamptz[])
     AS t (id, day, oldest, again)
ORDER BY id
ON CONFLICT (symbol_id, interval_type) DO UPDATE
SET reached = EXCLUDED.reached, oldest = least(h.oldest, EXCLUDED.oldest), look_again_at = EXCLUDED.look_again_at
"""
_SELECT_LIVES = f"""
SELECT symbol_id, first_day, CASE WHEN has_ended THEN last_day END FROM {KNOWN_LIVES} l
WHERE symbol_id = ANY (%(ids)s::int[])
"""  # noqa: S608 - only a constant is inserted
# How far back anybody was ever requested, and had rows, of an exchange that has an open remark about the plan.
_SELECT_LIMITED = """
SELECT min(e.session_day), min(e.session_day) FILTER (WHERE e.source_rows > 0) FROM backfill.session_evidence e
WHERE e.symbol_id = ANY (%(ids)s::int[]) AND e.interval_type = %(interval)s AND e.source_interval = %(source)s
  AND EXISTS (SELECT FROM backfill.findings WHERE kind = %(kind)s AND subject = %(exchange)s AND resolved_at IS NULL)
"""
_CLAIM_LISTINGS = """
INSERT INTO backfill.history_listings AS h (symbol_id, requested_at)
SELECT id, clock_timestamp() FROM unnest(%(ids)s::int[]) AS t (id) ORDER BY id
ON CONFLICT (symbol_id) DO UPDATE SET requested_at = EXCLUDED.requested_at
WHERE h.requested_at < clock_timestamp() - %(lapses_after)s
RETURNING symbol_id
"""
_RELEASE_LISTINGS = "DELETE FROM backfill.history_listings WHERE symbol_id = ANY (%(ids)s::int[])"
LONGEST_CLOSURE = timedelta(days=14)  # of an exchange: no session within it says nothing
_CLAIM_LAPSES_AFTER = timedelta(minutes=10)  # of a process that died while it read


@dataclass(frozen=True, slots=True)
class HistoryProgress:
    """How far the walk over a symbol's sessions has come.

    Attributes:
        reached: this walk requested what sessions from this day on lacked.
        oldest: as far as any walk has come.
        look_again_at: when the walk begins anew (UTC); None: never.
    """

    reached: date
    oldest: date
    look_again_at: datetime | None


def write_goals(connection: Connection, symbol_ids: Sequence[int], day: date) -> None:
    """Record that these symbols are to be complete from ``day`` on, whatever the setting says."""
    connection.execute(_UPSERT_GOALS, {"ids": list(symbol_ids), "day": day})


def read_goals(connection: Connection, symbol_ids: Sequence[int]) -> dict[int, date]:
    """symbol_id → the first day, of symbols with one of their own."""
    return dict(connection.execute(_SELECT_GOALS, {"ids": list(symbol_ids)}).fetchall())


def has_goals(connection: Connection) -> bool:
    """Whether any symbol has a first day of its own."""
    (found,) = connection.execute(_HAS_GOALS).fetchone() or (False,)
    return bool(found)


def read_history_progress(
    connection: Connection, symbol_ids: Sequence[int], interval: Interval
) -> dict[int, HistoryProgress]:
    """symbol_id → how far its walk has come; symbols that were not walked over yet are left out."""
    rows = connection.execute(_SELECT_PROGRESS, {"ids": list(symbol_ids), "interval": interval.name})
    return {
        key: HistoryProgress(reached, oldest, again.astimezone(UTC) if again else None)
        for key, reached, oldest, again in rows
    }


def write_history_progress(connection: Connection, interval: Interval, progress: Mapping[int, HistoryProgress]) -> None:
    """Record how far the walks of these symbols have come, by symbol_id."""
    if not progress:
        return
    values = {
        "ids": list(progress),
        "interval": interval.name,
        "days": [one.reached for one in progress.values()],
        "oldest": [one.oldest for one in progress.values()],
        "again": [one.look_again_at for one in progress.values()],
    }
    connection.execute(_UPSERT_PROGRESS, values)


def read_known_lives(connection: Connection, symbol_ids: Sequence[int]) -> dict[int, tuple[date | None, date | None]]:
    """symbol_id → first and last day of its listing, None where it has none or it is unknown.

    Symbols whose daily history was never read, and that have no listing, are left out.
    """
    rows = connection.execute(_SELECT_LIVES.encode(), {"ids": list(symbol_ids)})
    return {symbol_id: (first, last) for symbol_id, first, last in rows}


def find_plan_begin(
    connection: Connection, exchange: str, symbol_ids: Sequence[int], interval: Interval, source: Interval
) -> date | None:
    """The first session of which any of an exchange's symbols had rows, if the vendor says that the plan limits them.

    None without that remark, and while none of them was requested further back in vain.
    """
    values = {"ids": list(symbol_ids), "interval": interval.name, "source": source.name}
    row = connection.execute(_SELECT_LIMITED, {**values, "kind": PLAN_LIMITED, "exchange": exchange}).fetchone()
    requested, answered = row or (None, None)
    return answered if answered is not None and answered - requested > LONGEST_CLOSURE else None


def claim_listings(connection: Connection, symbol_ids: Sequence[int]) -> set[int]:
    """Claim the reading of daily histories; returns those of the symbols that no other process is reading."""
    values = {"ids": list(symbol_ids), "lapses_after": _CLAIM_LAPSES_AFTER}
    return {symbol_id for (symbol_id,) in connection.execute(_CLAIM_LISTINGS, values)}


def release_listings(connection: Connection, symbol_ids: Sequence[int]) -> None:
    """Give up what ``claim_listings`` claimed."""
    connection.execute(_RELEASE_LISTINGS, {"ids": list(symbol_ids)})
