"""What the store holds of a window, slot by slot, and what is known about the rest.

Reads bars and evidence; ``market.gaps`` decides what they mean. One query for the bars whatever the
number of tickers, whose cost follows the window and not the history.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backfill_assets.market.gaps import (
    Classified,
    Evidence,
    OpenSlots,
    Rules,
    State,
    classify,
    overdue_provisional,
)
from backfill_assets.market.intervals import Interval
from backfill_assets.market.slots import SlotGrid
from backfill_assets.store.connection import Connection
from backfill_assets.store.symbols import Symbol

Int64 = NDArray[np.int64]

_BARS = """
SELECT a.*
FROM unnest(%(ids)s::int[]) WITH ORDINALITY AS u (symbol_id, row)
CROSS JOIN LATERAL (
    SELECT count(m.timestamp),
           extract(epoch FROM min(m.timestamp))::bigint,
           extract(epoch FROM max(m.timestamp))::bigint,
           count(*) FILTER (WHERE m.source IS NULL AND m.timestamp IS NOT NULL),
           range_agg(int4range(s.ordinal::int - 1, s.ordinal::int)) FILTER (WHERE m.timestamp IS NULL)::text,
           range_agg(int4range(s.ordinal::int - 1, s.ordinal::int)) FILTER (WHERE m.is_final = false)::text
    FROM unnest(%(starts)s::timestamptz[]) WITH ORDINALITY AS s (stamp, ordinal)
    LEFT JOIN ({held} OFFSET 0) m ON m.timestamp = s.stamp
) a ORDER BY u.row
"""
_HELD = """
    SELECT {distinct} d.timestamp, d.source, d.is_final FROM market_data d
    WHERE d.symbol_id = u.symbol_id AND d.interval_type = ANY (%(spellings)s)
      AND d.timestamp >= %(first)s AND d.timestamp <= %(last)s {order}
"""
_ONE_SPELLING = _BARS.format(held=_HELD.format(distinct="", order=""))
_BOTH_SPELLINGS = _BARS.format(
    held=_HELD.format(distinct="DISTINCT ON (d.timestamp)", order="ORDER BY d.timestamp, d.source IS NULL")
)
_EVIDENCE = """
SELECT e.symbol_id, e.session_day, extract(epoch FROM e.asked_at)::bigint, e.fruitless, e.published,
       coalesce(extract(epoch FROM e.reached)::bigint, 0), e.withheld::text
FROM backfill.evidence e
WHERE e.symbol_id = ANY (%(ids)s) AND e.interval_type = %(interval)s AND e.source_interval = %(source)s
  AND e.session_day BETWEEN %(first)s AND %(last)s
"""


@dataclass(frozen=True, eq=False)
class Coverage:
    """The state of every slot of a window for every ticker of a universe, at ``now``.

    Attributes:
        symbols: the universe; positions in it are the ``row`` of everything else.
        grid: the expected slots.
        counts: slots per ticker and ``State``, shape (symbols, states).
        missing: ``estimated_missing_bars`` per ticker: missing, and provisional ones overdue.
        first: epoch seconds of each ticker's first bar in the window, −1 without one.
        last: epoch seconds of each ticker's newest bar in the window, −1 without one.
        slots: the slots without a final bar.
        classified: what each of those is.
        duplicates: slots that both spellings of the interval hold.
        askable_at: from when a request may bring each session's bars.
        overdue_at: from when their absence counts at the latest.
    """

    symbols: tuple[Symbol, ...]
    grid: SlotGrid
    now: datetime
    counts: Int64
    missing: Int64
    first: Int64
    last: Int64
    slots: OpenSlots
    classified: Classified
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
    slots = _open_slots(rows)
    evidence = _evidence(connection, symbols, grid, source)
    classified = classify(slots, evidence, grid, rules, now)
    late = overdue_provisional(slots, classified, grid, rules, now)
    counts = _count_states(rows, slots, classified, len(symbols), grid.size)
    missing = counts[:, State.MISSING] + np.bincount(slots.row[late], minlength=len(symbols))
    return Coverage(
        symbols=tuple(symbols),
        grid=grid,
        now=now,
        counts=counts,
        missing=missing,
        first=np.array([-1 if row[1] is None else row[1] for row in rows], np.int64),
        last=np.array([-1 if row[2] is None else row[2] for row in rows], np.int64),
        slots=slots,
        classified=classified,
        duplicates=duplicates,
        askable_at=tuple(s.regular_close + rules.askable_after for s in grid.sessions),
        overdue_at=tuple(s.regular_close + rules.overdue_after for s in grid.sessions),
    )


def _held_bars(connection: Connection, symbols: Sequence[Symbol], grid: SlotGrid) -> tuple[list[tuple[Any, ...]], int]:
    if not grid.size or not symbols:
        return [(0, None, None, 0, None, None) for _ in symbols], 0
    stamps = [datetime.fromtimestamp(at, UTC) for at in grid.starts.tolist()]
    values = {
        "ids": [s.symbol_id for s in symbols],
        "starts": stamps,
        "first": stamps[0],
        "last": stamps[-1],
        "spellings": list(grid.interval.spellings),
    }
    rows = connection.execute(_ONE_SPELLING, values).fetchall()
    absent = sum(last - first for row in rows for first, last in _ranges(row[4]))
    duplicates = sum(row[0] for row in rows) - (grid.size * len(symbols) - absent)
    if duplicates:
        rows = connection.execute(_BOTH_SPELLINGS, values).fetchall()
    return rows, duplicates


def _ranges(multirange: str | None) -> list[tuple[int, int]]:
    """Read ``{[0,13),[20,21)}``; half-open, as Postgres normalises integer ranges."""
    if not multirange or multirange == "{}":
        return []
    parts = (part.split(",") for part in multirange[2:-2].split("),["))
    return [(int(first), int(last)) for first, last in parts]


def _expand(owners: list[int], ranges: list[tuple[int, int]]) -> tuple[Int64, Int64]:
    """Each range as its single values, beside its owner."""
    if not ranges:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    bounds = np.array(ranges, np.int64)
    sizes = bounds[:, 1] - bounds[:, 0]
    ends = np.cumsum(sizes)
    values = np.arange(ends[-1]) - np.repeat(ends - sizes, sizes) + np.repeat(bounds[:, 0], sizes)
    return np.repeat(np.array(owners, np.int64), sizes), values


def _open_slots(rows: list[tuple[Any, ...]]) -> OpenSlots:
    owners: dict[bool, list[int]] = {False: [], True: []}
    ranges: dict[bool, list[tuple[int, int]]] = {False: [], True: []}
    for position, row in enumerate(rows):
        for provisional, text in ((False, row[4]), (True, row[5])):
            for bounds in _ranges(text):
                owners[provisional].append(position)
                ranges[provisional].append(bounds)
    absent_row, absent = _expand(owners[False], ranges[False])
    held_row, held = _expand(owners[True], ranges[True])
    return OpenSlots(
        row=np.concatenate([absent_row, held_row]),
        ordinal=np.concatenate([absent, held]),
        provisional=np.repeat([False, True], [len(absent), len(held)]),
    )


def _evidence(connection: Connection, symbols: Sequence[Symbol], grid: SlotGrid, source: Interval) -> Evidence:
    days = {s.day: position for position, s in enumerate(grid.sessions)}
    found = []
    if days and symbols:
        values = {
            "ids": [s.symbol_id for s in symbols],
            "interval": grid.interval.name,
            "source": source.name,
            "first": min(days),
            "last": max(days),
        }
        found = [row for row in connection.execute(_EVIDENCE, values) if row[1] in days]
    position = {s.symbol_id: row for row, s in enumerate(symbols)}
    session = [days[row[1]] for row in found]
    owners, ranges = [], []
    for entry, row in enumerate(found):
        start = int(grid.first_of[session[entry]])
        for first, last in _ranges(row[6]):
            owners.append(entry)
            ranges.append((first + start, last + start))
    withheld = _expand(owners, ranges)
    return Evidence(
        row=np.array([position[row[0]] for row in found], np.int64),
        session=np.array(session, np.int64),
        asked_at=np.array([row[2] for row in found], np.int64),
        fruitless=np.array([row[3] for row in found], np.int64),
        published=np.array([row[4] for row in found], bool),
        reached=np.array([row[5] for row in found], np.int64),
        withheld_entry=withheld[0],
        withheld_ordinal=withheld[1],
    )


def _count_states(
    rows: list[tuple[Any, ...]], slots: OpenSlots, classified: Classified, tickers: int, expected: int
) -> Int64:
    counts = np.zeros((tickers, len(State)), np.int64)
    np.add.at(counts, (slots.row, classified.state), 1)
    counts[:, State.UNVERIFIED] = [row[3] for row in rows]
    counts[:, State.PRESENT] = expected - counts.sum(axis=1)
    return counts
