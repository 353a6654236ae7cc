"""What the store holds of a window, slot by slot, and what is known about the rest.

Reads bars; ``facts`` reads what explains absence, and ``market.gaps`` decides what it all means. One
query for the bars whatever the number of tickers, whose cost follows the window and not the history.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backfill_assets.market.evidence import Asked, Facts
from backfill_assets.market.gaps import Classified, OpenSlots, Rules, State, classify
from backfill_assets.market.intervals import Interval
from backfill_assets.market.slots import SlotGrid
from backfill_assets.store.connection import Connection
from backfill_assets.store.facts import read_knowledge
from backfill_assets.store.multiranges import bounds_of, expand
from backfill_assets.store.symbols import Symbol

Int64 = NDArray[np.int64]
SUSPECT_SHARE = 0.5  # of a slot's source rows; a bar from no more than that is suspect

_BARS = """
SELECT a.*
FROM unnest(%(ids)s::int[]) WITH ORDINALITY AS u (symbol_id, row)
CROSS JOIN LATERAL (
    SELECT count(m.timestamp),
           extract(epoch FROM min(m.timestamp))::bigint,
           extract(epoch FROM max(m.timestamp))::bigint,
           count(*) FILTER (WHERE m.source IS NULL AND m.timestamp IS NOT NULL),
           range_agg(int4range(s.ordinal::int - 1, s.ordinal::int)) FILTER (WHERE m.timestamp IS NULL)::text,
           range_agg(int4range(s.ordinal::int - 1, s.ordinal::int)) FILTER (WHERE m.is_final = false)::text,
           range_agg(int4range(s.ordinal::int - 1, s.ordinal::int)) FILTER (
               WHERE m.is_final AND m.source_rows <= %(share)s * s.length
                     / CASE m.source_interval WHEN '1m' THEN 60 ELSE 300 END)::text
    FROM unnest(%(starts)s::timestamptz[], %(lengths)s::int[]) WITH ORDINALITY AS s (stamp, length, ordinal)
    LEFT JOIN ({held} OFFSET 0) m ON m.timestamp = s.stamp
) a ORDER BY u.row
"""
_HELD = """
    SELECT {distinct} d.timestamp, d.source, d.is_final, d.source_rows, d.source_interval FROM market_data d
    WHERE d.symbol_id = u.symbol_id AND d.interval_type = ANY (%(spellings)s)
      AND d.timestamp >= %(first)s AND d.timestamp <= %(last)s {order}
"""
_ONE_SPELLING = _BARS.format(held=_HELD.format(distinct="", order=""))
_BOTH_SPELLINGS = _BARS.format(
    held=_HELD.format(distinct="DISTINCT ON (d.timestamp)", order="ORDER BY d.timestamp, d.source IS NULL")
)
_DISTRUSTED = """
SELECT DISTINCT r.symbol_id, extract(epoch FROM m.timestamp)::bigint
FROM backfill.rejects r
JOIN market_data m ON m.symbol_id = r.symbol_id AND m.interval_type = ANY (%(spellings)s) AND m.is_final
     AND m.timestamp <= r.timestamp AND r.timestamp < m.timestamp + make_interval(secs => %(seconds)s)
     AND m.source_interval = r.source_interval AND r.last_seen >= m.fetched_at
WHERE r.reason = 'volume_cumulative' AND r.symbol_id = ANY (%(ids)s)
  AND r.timestamp BETWEEN %(first)s AND %(last)s + make_interval(secs => %(seconds)s)
"""


@dataclass(frozen=True, eq=False)
class Coverage:
    """The state of every slot of a window for every ticker of a universe, at ``now``.

    Attributes:
        symbols: the universe; positions in it are the ``row`` of everything else.
        grid: the slots of the window.
        expected: slots within each ticker's listing life, shape (symbols,).
        counts: expected slots per ticker and ``State``, shape (symbols, states).
        missing: ``estimated_missing_bars`` per ticker: missing, and provisional ones overdue.
        first: epoch seconds of each ticker's first bar in the window, −1 without one.
        last: epoch seconds of each ticker's newest bar in the window, −1 without one.
        slots: the expected slots without a trusted final bar.
        classified: what each of those is.
        asked: what was asked of the window and came.
        facts: what else is known of it.
        duplicates: slots that both spellings of the interval hold.
        askable_at: from when a request may bring each session's bars.
        overdue_at: from when their absence counts at the latest.
    """

    symbols: tuple[Symbol, ...]
    grid: SlotGrid
    now: datetime
    expected: Int64
    counts: Int64
    missing: Int64
    first: Int64
    last: Int64
    slots: OpenSlots
    classified: Classified
    asked: Asked
    facts: Facts
    duplicates: int
    askable_at: tuple[datetime, ...]
    overdue_at: tuple[datetime, ...]

    def of(self, state: State) -> int:
        """How many slots of all tickers are in ``state``."""
        return int(self.counts[:, state].sum())

    def newest_missing(self) -> Int64:
        """Epoch seconds of each ticker's newest missing slot, −1 without one."""
        newest = np.full(len(self.symbols), -1, np.int64)
        lost = self.classified.state == State.MISSING
        np.maximum.at(newest, self.slots.row[lost], self.grid.starts[self.slots.ordinal[lost]])
        return newest

    def newest_overdue(self) -> int:
        """Epoch seconds of the newest slot whose absence counts for everybody, −1 without one."""
        due = self.grid.starts[np.array([at <= self.now for at in self.overdue_at], bool)[self.grid.session_of]]
        return int(due[-1]) if len(due) else -1


def measure(
    connection: Connection,
    symbols: Sequence[Symbol],
    grid: SlotGrid,
    source: Interval,
    rules: Rules,
    now: datetime,
) -> Coverage:
    """Compare what is stored for ``symbols`` with ``grid``, and explain the difference as of ``now``."""
    rows, duplicates = _held_bars(connection, symbols, grid)
    asked, facts = read_knowledge(connection, symbols, grid, source)
    begins, ends = _lives(facts, grid)
    slots = _open_slots(rows, _distrusted(connection, symbols, grid), begins, ends)
    classified = classify(slots, asked, facts, grid, rules, now)
    expected = np.maximum(ends - begins, 0)
    counts = _count_states(rows, slots, classified, expected)
    late_provisional = classified.late & (classified.state == State.PROVISIONAL)
    return Coverage(
        symbols=tuple(symbols),
        grid=grid,
        now=now,
        expected=expected,
        counts=counts,
        missing=counts[:, State.MISSING] + np.bincount(slots.row[late_provisional], minlength=len(symbols)),
        first=np.array([-1 if row[1] is None else row[1] for row in rows], np.int64),
        last=np.array([-1 if row[2] is None else row[2] for row in rows], np.int64),
        slots=slots,
        classified=classified,
        asked=asked,
        facts=facts,
        duplicates=duplicates,
        askable_at=tuple(s.regular_close + rules.askable_after for s in grid.sessions),
        overdue_at=tuple(s.regular_close + rules.overdue_after for s in grid.sessions),
    )


def _held_bars(connection: Connection, symbols: Sequence[Symbol], grid: SlotGrid) -> tuple[list[tuple[Any, ...]], int]:
    if not grid.size or not symbols:
        return [(0, None, None, 0, None, None, None) for _ in symbols], 0
    values = _values(symbols, grid)
    rows = connection.execute(_ONE_SPELLING, values).fetchall()
    absent = sum(last - first for row in rows for first, last in bounds_of(row[4]))
    duplicates = sum(row[0] for row in rows) - (grid.size * len(symbols) - absent)
    if duplicates:
        rows = connection.execute(_BOTH_SPELLINGS, values).fetchall()
    return rows, duplicates


def _values(symbols: Sequence[Symbol], grid: SlotGrid) -> dict[str, Any]:
    stamps = [datetime.fromtimestamp(at, UTC) for at in grid.starts.tolist()]
    return {
        "ids": [s.symbol_id for s in symbols],
        "starts": stamps,
        "lengths": (grid.ends - grid.starts).tolist(),
        "first": stamps[0],
        "last": stamps[-1],
        "spellings": list(grid.interval.spellings),
        "seconds": grid.interval.seconds,
        "share": SUSPECT_SHARE,
    }


def _distrusted(connection: Connection, symbols: Sequence[Symbol], grid: SlotGrid) -> set[tuple[int, int]]:
    """(row, ordinal) of bars whose newest source rows held a session-cumulative volume."""
    if not grid.size or not symbols:
        return set()
    row = {s.symbol_id: position for position, s in enumerate(symbols)}
    found = connection.execute(_DISTRUSTED, _values(symbols, grid)).fetchall()
    ordinals = grid.ordinals_of(np.array([stamp for _, stamp in found], np.int64))
    return {(row[key], int(at)) for (key, _), at in zip(found, ordinals, strict=True) if at >= 0}


def _lives(facts: Facts, grid: SlotGrid) -> tuple[Int64, Int64]:
    """The ordinals between which each ticker's slots are expected, half-open."""
    sessions = len(grid.sessions)
    begins = grid.first_of[np.minimum(facts.first_day, sessions)]
    ends = grid.first_of[np.clip(facts.last_day + 1, 0, sessions)]
    return begins, ends


def _open_slots(rows: list[tuple[Any, ...]], distrusted: set[tuple[int, int]], begins: Int64, ends: Int64) -> OpenSlots:
    absent = expand([row[4] for row in rows])
    provisional = expand([row[5] for row in rows])
    few = set(zip(*(part.tolist() for part in expand([row[6] for row in rows])), strict=True))
    suspect = sorted(few | distrusted)
    row = np.concatenate([absent[0], provisional[0], np.array([r for r, _ in suspect], np.int64)])
    ordinal = np.concatenate([absent[1], provisional[1], np.array([o for _, o in suspect], np.int64)])
    sizes = (len(absent[0]), len(provisional[0]), len(suspect))
    held = np.repeat([State.MISSING, State.PROVISIONAL, State.SUSPECT], sizes).astype(np.int8)
    expected = (ordinal >= begins[row]) & (ordinal < ends[row])
    return OpenSlots(row[expected], ordinal[expected], held[expected])


def _count_states(rows: list[tuple[Any, ...]], slots: OpenSlots, classified: Classified, expected: Int64) -> Int64:
    counts = np.zeros((len(rows), len(State)), np.int64)
    np.add.at(counts, (slots.row, classified.state), 1)
    counts[:, State.PRESENT] = 0  # the rest, below
    counts[:, State.UNVERIFIED] = np.minimum([row[3] for row in rows], expected - counts.sum(axis=1))
    counts[:, State.PRESENT] = expected - counts.sum(axis=1)
    return counts
