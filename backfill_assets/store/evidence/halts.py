"""Halts in the store: slots in which nothing traded although the day did, what was seen, and who settled it.

The rule is in ``market.gaps.halts``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import numpy as np

from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.market.gaps.evidence import HaltedSlots
from backfill_assets.market.gaps.halts import HaltKind, HaltState
from backfill_assets.store.bars.symbol_index import SymbolIndex
from backfill_assets.store.postgres.connection import Connection

# What a person settled stays; the first moment stays while the halt does.
_UPSERT_HALTS = """
INSERT INTO backfill.halts AS h (symbol_id, interval_type, timestamp, session_day, kind, state, reason, tickers_seen,
    tickers_lacking, volume_share, usual_share, found_at, asked_at, next_request_at)
SELECT * FROM unnest(%(symbol_id)s::int[], %(interval)s::text[], %(timestamp)s::timestamptz[], %(session_day)s::date[],
    %(kind)s::text[], %(state)s::text[], %(reason)s::text[], %(tickers_seen)s::int[], %(tickers_lacking)s::int[],
    %(volume_share)s::float8[], %(usual_share)s::float8[], %(found_at)s::timestamptz[], %(asked_at)s::timestamptz[],
    %(next_request_at)s::timestamptz[])
ON CONFLICT (symbol_id, interval_type, timestamp) DO UPDATE SET
    kind = EXCLUDED.kind, state = EXCLUDED.state, reason = EXCLUDED.reason, tickers_seen = EXCLUDED.tickers_seen,
    tickers_lacking = EXCLUDED.tickers_lacking, volume_share = EXCLUDED.volume_share,
    usual_share = EXCLUDED.usual_share, found_at = EXCLUDED.found_at, asked_at = EXCLUDED.asked_at,
    next_request_at = EXCLUDED.next_request_at
WHERE h.decided_by IS NULL
"""
_COLUMNS = """
symbol_id, interval_type, timestamp, session_day, kind, state, reason, tickers_seen, tickers_lacking, volume_share,
usual_share, found_at, asked_at, next_request_at, decided_by
"""
_SELECT_HALTS = f"""
SELECT {_COLUMNS} FROM backfill.halts
WHERE symbol_id = ANY (%(ids)s) AND interval_type = %(interval)s AND session_day BETWEEN %(first)s AND %(last)s
ORDER BY timestamp, symbol_id
"""  # noqa: S608 - only constants are inserted
_SELECT_FOUND = """
SELECT symbol_id, extract(epoch FROM timestamp)::bigint, kind, extract(epoch FROM next_request_at)::float8
FROM backfill.halts
WHERE interval_type = %(interval)s AND state = 'found' AND session_day BETWEEN %(first)s AND %(last)s
"""
_DECIDE = """
UPDATE backfill.halts SET state = %(state)s, decided_by = %(by)s, next_request_at = NULL
WHERE symbol_id = %(symbol_id)s AND interval_type = %(interval)s AND session_day = %(day)s
"""
_REFUTE_RETURNED = """
UPDATE backfill.halts h SET state = 'refuted', reason = %(reason)s, next_request_at = NULL
WHERE h.symbol_id = ANY (%(ids)s) AND h.interval_type = %(interval)s AND h.state <> 'refuted' AND EXISTS (
    SELECT FROM market_data m WHERE m.symbol_id = h.symbol_id AND m.interval_type = ANY (%(spellings)s)
       AND m.timestamp = h.timestamp)
"""
RETURNED = "a bar of the slot came"


@dataclass(frozen=True, slots=True)
class StoredHalt:
    """One slot of a halt; times are UTC, attributes as the columns of ``backfill.halts``."""

    symbol_id: int
    interval_type: str
    timestamp: datetime
    session_day: date
    kind: HaltKind
    state: HaltState
    reason: str
    tickers_seen: int | None
    tickers_lacking: int | None
    volume_share: float | None
    usual_share: float | None
    found_at: datetime
    asked_at: datetime
    next_request_at: datetime | None
    decided_by: str | None = None


def record_halts(connection: Connection, halts: Sequence[StoredHalt]) -> None:
    """Store what the evidence says about slots now; what a person settled stays."""
    names = [name for name in StoredHalt.__dataclass_fields__ if name != "decided_by"]
    values: dict[str, Any] = {name: [getattr(halt, name) for halt in halts] for name in names}
    values["interval"] = values.pop("interval_type")
    values |= {name: list(map(str, values[name])) for name in ("kind", "state")}
    connection.execute(_UPSERT_HALTS, values)


def list_halts(
    connection: Connection, symbol_ids: Sequence[int], interval: Interval, first_day: date, last_day: date
) -> list[StoredHalt]:
    """What is known about halts of these symbols and session days (both inclusive), oldest first; refuted ones, too."""
    values = {"ids": list(symbol_ids), "interval": interval.name, "first": first_day, "last": last_day}
    return [_build_halt(row) for row in connection.execute(_SELECT_HALTS, values)]


def read_found_halts(connection: Connection, symbol_index: SymbolIndex, grid: SlotGrid) -> HaltedSlots:
    """The slots of ``grid`` that are halts."""
    if not grid.size or not symbol_index.size:
        return HaltedSlots.create_empty()
    days = {"first": grid.sessions[0].day, "last": grid.sessions[-1].day}
    found = connection.execute(_SELECT_FOUND, {**days, "interval": grid.interval.name}).fetchall()
    row = symbol_index.find_rows(np.array([symbol_id for symbol_id, *_ in found], np.int64))
    ordinal = grid.find_ordinals(np.array([epoch for _, epoch, *_ in found], np.int64))
    is_known = (row >= 0) & (ordinal >= 0)
    key = grid.get_slot_keys(row, ordinal)[is_known]
    order = np.argsort(key)
    is_outside = np.array([kind == HaltKind.OUTSIDE_HOURS for *_, kind, _ in found], bool)
    next_at = np.array([np.inf if at is None else at for *_, at in found], float)
    return HaltedSlots(key[order], is_outside[is_known][order], next_at[is_known][order])


def decide_halts(
    connection: Connection, symbol_id: int, interval: Interval, day: date, *, is_halt: bool, by: str
) -> int:
    """Settle the slots of a session for good, as a person says; returns how many."""
    state = HaltState.FOUND if is_halt else HaltState.REFUTED
    values = {"symbol_id": symbol_id, "interval": interval.name, "day": day, "state": str(state), "by": by}
    return connection.execute(_DECIDE, values).rowcount


def refute_returned_halts(connection: Connection, symbol_ids: Sequence[int], interval: Interval) -> int:
    """Refute halts of slots that have a bar by now; returns how many."""
    values = {"ids": list(symbol_ids), "interval": interval.name, "spellings": list(interval.spellings)}
    return connection.execute(_REFUTE_RETURNED, {**values, "reason": RETURNED}).rowcount


def _build_halt(row: Sequence[Any]) -> StoredHalt:
    columns = [value.astimezone(UTC) if isinstance(value, datetime) else value for value in row]
    values: dict[str, Any] = dict(zip(StoredHalt.__dataclass_fields__, columns, strict=True))
    return StoredHalt(**{**values, "kind": HaltKind(values["kind"]), "state": HaltState(values["state"])})
