"""Halts that a person may settle: which are proposed, and what they were before somebody did.

Settling itself, and what the evidence says, is in ``halts``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from backfill_assets.store.postgres.connection import Connection

_SELECT_PROPOSED = """
SELECT symbol_id, interval_type, session_day, array_agg(timestamp ORDER BY timestamp), min(found_at),
       (array_agg(reason ORDER BY timestamp))[1], min(tickers_seen), max(volume_share), max(usual_share)
FROM backfill.halts WHERE state = 'proposed' AND decided_by IS NULL
GROUP BY symbol_id, interval_type, session_day ORDER BY session_day, symbol_id, interval_type
"""
_LOCK_SESSION = """
SELECT timestamp, state, reason, next_request_at, decided_by FROM backfill.halts
WHERE symbol_id = %(symbol_id)s AND interval_type = %(interval)s AND session_day = %(day)s
ORDER BY timestamp FOR UPDATE
"""
_RESTORE = """
UPDATE backfill.halts h SET state = t.state, next_request_at = t.next_request_at, decided_by = t.decided_by
FROM unnest(%(timestamps)s::timestamptz[], %(states)s::text[], %(next_request_at)s::timestamptz[],
            %(decided_by)s::text[]) AS t (timestamp, state, next_request_at, decided_by)
WHERE h.symbol_id = %(symbol_id)s AND h.interval_type = %(interval)s AND h.timestamp = t.timestamp
"""


@dataclass(frozen=True, slots=True)
class ProposedHalt:
    """The slots of a session that may be a halt; times are UTC, figures as the columns of ``backfill.halts``."""

    symbol_id: int
    interval_type: str
    session_day: date
    slots: tuple[datetime, ...]
    found_at: datetime
    reason: str
    tickers_seen: int | None
    volume_share: float | None
    usual_share: float | None


def list_proposed_halts(connection: Connection) -> list[ProposedHalt]:
    """The halts that the evidence does not settle and nobody did, the oldest session first."""
    return [
        ProposedHalt(key, name, day, tuple(at.astimezone(UTC) for at in slots), found_at.astimezone(UTC), *others)
        for key, name, day, slots, found_at, *others in connection.execute(_SELECT_PROPOSED)
    ]


def read_halt_states(connection: Connection, symbol_id: int, interval: str, day: date) -> list[dict[str, Any]]:
    """What is stored about the halts of a session, as JSON values but for the times; locks the rows."""
    values = {"symbol_id": symbol_id, "interval": interval, "day": day}
    names = ("timestamp", "state", "reason", "next_request_at", "decided_by")
    return [dict(zip(names, row, strict=True)) for row in connection.execute(_LOCK_SESSION, values)]


def restore_halts(connection: Connection, symbol_id: int, interval: str, states: Sequence[Mapping[str, Any]]) -> None:
    """Give the halts of a session back what ``read_halt_states`` returned."""
    values = {
        "symbol_id": symbol_id,
        "interval": interval,
        "timestamps": [state["timestamp"] for state in states],
        "states": [state["state"] for state in states],
        "next_request_at": [state["next_request_at"] for state in states],
        "decided_by": [state["decided_by"] for state in states],
    }
    connection.execute(_RESTORE, values)
