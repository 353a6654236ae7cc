"""Doubts as a person decides about them: which can be decided, and what a decision and its undo change.

How doubts are opened and end otherwise is in ``doubts``; volumes that are put back are in ``store.bars``.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.plausibility.rules import Rule
from backfill_assets.store.evidence.doubts import HASH_OF_BARS, Outcome, end_doubts
from backfill_assets.store.postgres.connection import Connection

_PRESENT_HASH = HASH_OF_BARS.format(symbol_id="b.symbol_id", first_slot="b.first_slot", last_slot="b.last_slot")
_SELECT_INTERVALS = """
SELECT DISTINCT interval_type FROM backfill.doubts
WHERE marks_bar AND outcome IS DISTINCT FROM 'decided' AND rule = ANY (%(rules)s) ORDER BY 1
"""
_SELECT_INTERVAL_NAME = "SELECT interval_type FROM backfill.doubts WHERE doubt_id = ANY (%(ids)s) LIMIT 1"
_SELECT_UNDECIDED = f"""
SELECT doubt_id, symbol_id, session_day, rule, first_slot, last_slot, figures, withheld_volume, source_interval,
       from_audit, opened_at, outcome, other_feed, ({_PRESENT_HASH})
FROM backfill.doubts b
WHERE marks_bar AND outcome IS DISTINCT FROM 'decided' AND interval_type = %(interval)s AND rule = ANY (%(rules)s)
  AND (%(ids)s::bigint[] IS NULL OR doubt_id = ANY (%(ids)s))
ORDER BY symbol_id, rule, session_day, first_slot, doubt_id
"""  # noqa: S608 - only constants are inserted
_LOCK_UNDECIDED = """
SELECT doubt_id, ended_at, outcome, outcome_reason, values_hash FROM backfill.doubts
WHERE doubt_id = ANY (%(ids)s) AND marks_bar AND outcome IS DISTINCT FROM 'decided' ORDER BY doubt_id FOR UPDATE
"""
# Decided about the values as they are now; a volume that was put back is among them.
_SET_HASH = f"""
UPDATE backfill.doubts b SET values_hash = ({_PRESENT_HASH}) WHERE doubt_id = ANY (%(ids)s)
"""  # noqa: S608 - only constants are inserted
_SELECT_UNCHANGED = f"""
SELECT doubt_id FROM backfill.doubts b
WHERE doubt_id = ANY (%(ids)s) AND outcome = 'decided' AND values_hash = ({_PRESENT_HASH}) AND NOT EXISTS (
    SELECT FROM backfill.doubts o
    WHERE o.symbol_id = b.symbol_id AND o.interval_type = b.interval_type AND o.rule = b.rule
      AND o.first_slot = b.first_slot AND o.marks_bar AND o.doubt_id <> b.doubt_id)
FOR UPDATE OF b
"""  # noqa: S608 - only constants are inserted
_RESTORE = """
UPDATE backfill.doubts d SET ended_at = t.ended_at, outcome = t.outcome, outcome_reason = t.reason,
       values_hash = t.values_hash, marks_bar = true
FROM unnest(%(ids)s::bigint[], %(ended_at)s::timestamptz[], %(outcomes)s::text[], %(reasons)s::text[],
            %(hashes)s::text[]) AS t (doubt_id, ended_at, outcome, reason, values_hash)
WHERE d.doubt_id = t.doubt_id
"""


@dataclass(frozen=True, slots=True)
class UndecidedDoubt:
    """A doubt that marks its bars and that nobody has decided about; attributes as the columns of the table.

    ``values_hash`` is of the bars as they are now; times are UTC.
    """

    doubt_id: int
    symbol_id: int
    session_day: date
    rule: Rule
    first_slot: datetime
    last_slot: datetime
    figures: Mapping[str, float | str | None]
    withheld_volume: int
    source_interval: str | None
    from_audit: bool
    opened_at: datetime
    outcome: Outcome | None
    other_feed: Mapping[str, Any] | None
    values_hash: str

    @property
    def is_open(self) -> bool:
        """Whether it has not ended; else it stands."""
        return self.outcome is None


def list_doubted_intervals(connection: Connection, rules: Collection[Rule]) -> list[str]:
    """The names of the intervals whose bars have doubts by some rules that nobody has decided about."""
    return [name for (name,) in connection.execute(_SELECT_INTERVALS, {"rules": sorted(rules)})]


def read_interval_name(connection: Connection, ids: Collection[int]) -> str | None:
    """The name of the interval of doubts about bars of one interval; None if the doubts do not exist."""
    row = connection.execute(_SELECT_INTERVAL_NAME, {"ids": sorted(ids)}).fetchone()
    return str(row[0]) if row else None


def list_undecided_doubts(
    connection: Connection, interval: Interval, rules: Iterable[Rule], ids: Collection[int] | None = None
) -> list[UndecidedDoubt]:
    """The doubts by some rules about bars of an interval (with the table's spellings) that a person may decide.

    They come by symbol, then rule, then session; only those with ``ids``, if given.
    """
    values = {
        "interval": interval.name,
        "spellings": list(interval.spellings),
        "rules": sorted(rules),
        "ids": None if ids is None else sorted(ids),
    }
    return [_build_doubt(row) for row in connection.execute(_SELECT_UNDECIDED.encode(), values)]


def decide_doubts(
    connection: Connection, ids: Collection[int], interval: Interval, reason: str, now: datetime, *, marks_bar: bool
) -> list[dict[str, Any]]:
    """End doubts as decided, about the bars as they are now; returns what ``restore_doubts`` needs to undo it.

    Args:
        connection: with a transaction open.
        ids: the doubts; those that ended otherwise in the meantime are left out.
        interval: of the bars, with the table's spellings.
        reason: in words.
        now: the moment, UTC.
        marks_bar: whether the bars are wrong and stay suspect.
    """
    before = connection.execute(_LOCK_UNDECIDED, {"ids": sorted(ids)}).fetchall()
    found = [row[0] for row in before]
    end_doubts(connection, found, Outcome.DECIDED, reason, now, marks_bar=marks_bar)
    connection.execute(_SET_HASH.encode(), {"ids": found, "spellings": list(interval.spellings)})
    return [
        {"id": key, "ended_at": ended_at, "outcome": outcome, "reason": old_reason, "values_hash": values_hash}
        for key, ended_at, outcome, old_reason, values_hash in before
    ]


def find_restorable_doubts(connection: Connection, ids: Collection[int], interval: Interval) -> set[int]:
    """The doubts that are decided still, about bars that have the same values and are not doubted anew."""
    values = {"ids": sorted(ids), "spellings": list(interval.spellings)}
    return {key for (key,) in connection.execute(_SELECT_UNCHANGED.encode(), values)}


def restore_doubts(connection: Connection, states: Sequence[Mapping[str, Any]]) -> None:
    """Give doubts back the state from before they were decided, as ``decide_doubts`` returned it."""
    columns = {"ids": "id", "ended_at": "ended_at", "outcomes": "outcome", "reasons": "reason", "hashes": "values_hash"}
    connection.execute(_RESTORE, {name: [state[key] for state in states] for name, key in columns.items()})


def _build_doubt(row: Sequence[Any]) -> UndecidedDoubt:
    columns = [value.astimezone(UTC) if isinstance(value, datetime) else value for value in row]
    values: dict[str, Any] = dict(zip(UndecidedDoubt.__dataclass_fields__, columns, strict=True))
    values["rule"] = Rule(values["rule"])
    values["outcome"] = Outcome(values["outcome"]) if values["outcome"] else None
    return UndecidedDoubt(**values)
