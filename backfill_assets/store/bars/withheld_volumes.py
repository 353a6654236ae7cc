"""Volumes that a rule had withheld from a bar: put back when a person finds them right, and taken out by an undo.

Each write keeps the bar's old values as a revision with the decision's number. Which volumes are withheld is decided in
``market.plausibility``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.store.postgres.connection import Connection

REASONS = ("volume_running_total", "volume_cumulative")  # of the rejects; the second is that of version 0.3.0
_THE_BAR = """
symbol_id = %(symbol_id)s AND interval_type = ANY (%(spellings)s) AND timestamp = %(slot)s
AND source_interval = %(source_interval)s AND is_final AND volume_known IS NOT FALSE
"""
_LOCK_BAR = f"SELECT 1 FROM market_data WHERE {_THE_BAR} FOR UPDATE"  # noqa: S608 - only constants are inserted
_KEEP_OLD_VALUES = f"""
INSERT INTO backfill.revisions (symbol_id, interval_type, timestamp, open_price, high_price, low_price, close_price,
                                volume, source_interval, source_rows, fetched_at, decision_id)
SELECT symbol_id, interval_type, timestamp, open_price, high_price, low_price, close_price, volume, source_interval,
       source_rows, fetched_at, %(decision_id)s
FROM market_data WHERE {_THE_BAR}
"""  # noqa: S608 - only constants are inserted
_ADD_VOLUME = f"""
UPDATE market_data m SET volume = o.volume + %(volume)s, source_rows = o.source_rows + %(rows)s,
       fetched_at = clock_timestamp()
FROM (SELECT symbol_id, interval_type, timestamp, volume, source_rows FROM market_data WHERE {_THE_BAR}) o
WHERE (m.symbol_id, m.interval_type, m.timestamp) = (o.symbol_id, o.interval_type, o.timestamp)
RETURNING m.volume = o.volume + %(volume)s
"""  # noqa: S608 - only constants are inserted
# A slot may be short. A row after it is in the next bar, which has its prices.
_SUPERSEDE_REJECTS = """
UPDATE backfill.rejects r SET superseded_intervals = superseded_intervals || %(interval)s::text
WHERE symbol_id = %(symbol_id)s AND source_interval = %(source_interval)s AND reason = ANY (%(reasons)s)
  AND timestamp >= %(slot)s AND timestamp < %(end)s
  AND superseded_at IS NULL AND %(interval)s <> ALL (superseded_intervals)
  AND NOT EXISTS (SELECT FROM market_data m
                  WHERE m.symbol_id = r.symbol_id AND m.interval_type = ANY (%(spellings)s)
                    AND m.timestamp > %(slot)s AND m.timestamp <= r.timestamp)
RETURNING extract(epoch FROM timestamp)::bigint, volume
"""
_RESTORE_REJECTS = """
UPDATE backfill.rejects r SET superseded_intervals = array_remove(r.superseded_intervals, %(interval)s::text),
       superseded_at = NULL
FROM unnest(%(stamps)s::bigint[], %(volumes)s::float8[]) AS t (stamp, volume)
WHERE r.symbol_id = %(symbol_id)s AND r.source_interval = %(source_interval)s AND r.reason = ANY (%(reasons)s)
  AND r.timestamp = to_timestamp(t.stamp) AND r.volume = t.volume
"""


@dataclass(frozen=True, slots=True)
class WithheldVolume:
    """Shares that the bar of a slot (start, UTC) lacks.

    ``source_interval`` is what the bar was built from, ``rows`` how many rows have that volume.
    """

    symbol_id: int
    slot: datetime
    source_interval: str
    volume: int
    rows: int


def put_back_volume(
    connection: Connection, withheld: WithheldVolume, interval: Interval, decision_id: int
) -> dict[str, Any] | None:
    """Add a withheld volume to its bar, and supersede the rejected rows that it came from.

    Args:
        connection: with a transaction open.
        withheld: the volume.
        interval: of the bar, with the table's spellings.
        decision_id: the decision that the rows are right.

    Returns:
        What ``take_out_volume`` needs, as JSON values; None if the bar is gone, is another program's or was not changed
        by the table.
    """
    values = _build_values(withheld, interval, decision_id)
    if connection.execute(_LOCK_BAR, values).fetchone() is None:
        return None
    rejects = connection.execute(_SUPERSEDE_REJECTS, values).fetchall()
    rows = len(rejects) or withheld.rows  # a volume that the day disproved was withheld without rejecting its row
    if not _add(connection, {**values, "rows": rows}):
        return None
    return {
        "symbol_id": withheld.symbol_id,
        "slot": withheld.slot.isoformat(),
        "source_interval": withheld.source_interval,
        "volume": withheld.volume,
        "rows": rows,
        "rejects": [[stamp, volume] for stamp, volume in rejects],
    }


def take_out_volume(connection: Connection, state: Mapping[str, Any], interval: Interval, decision_id: int) -> bool:
    """Undo ``put_back_volume``, which returned ``state``; returns whether the bar is as it was before.

    The caller has made sure that the bar has the values that putting back gave it.
    """
    slot = datetime.fromisoformat(state["slot"])
    withheld = WithheldVolume(state["symbol_id"], slot, state["source_interval"], state["volume"], state["rows"])
    values = _build_values(withheld, interval, decision_id)
    if not _add(connection, {**values, "volume": -withheld.volume, "rows": -withheld.rows}):
        return False
    rejects = state["rejects"]
    stamps, volumes = [stamp for stamp, _ in rejects], [volume for _, volume in rejects]
    connection.execute(_RESTORE_REJECTS, {**values, "stamps": stamps, "volumes": volumes})
    return True


def _add(connection: Connection, values: Mapping[str, Any]) -> bool:
    connection.execute(_KEEP_OLD_VALUES, values)
    row = connection.execute(_ADD_VOLUME, values).fetchone()
    return bool(row and row[0])


def _build_values(withheld: WithheldVolume, interval: Interval, decision_id: int) -> dict[str, Any]:
    return {
        "symbol_id": withheld.symbol_id,
        "spellings": list(interval.spellings),
        "interval": interval.name,
        "slot": withheld.slot,
        "end": withheld.slot + timedelta(seconds=interval.seconds),
        "source_interval": withheld.source_interval,
        "volume": withheld.volume,
        "reasons": list(REASONS),
        "decision_id": decision_id,
    }
