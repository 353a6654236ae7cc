"""What the store holds of a window, slot by slot, and what is known about the rest.

``store.bars.stored_slots`` reads bars, ``store.evidence.evidence_reader`` reads what explains absence, and
``market.gaps.slot_states`` decides what it all means.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.market.gaps.evidence import Asked, Facts
from backfill_assets.market.gaps.slot_states import Classified, OpenSlots, Rules, State, classify
from backfill_assets.store.bars.external_bars import Theirs, read_theirs
from backfill_assets.store.bars.stored_slots import Holdings, read_holdings
from backfill_assets.store.bars.symbol_index import Places
from backfill_assets.store.evidence.evidence_reader import read_knowledge
from backfill_assets.store.postgres.connection import Connection
from backfill_assets.store.symbols import Symbol

Int64 = NDArray[np.int64]

_DISTRUSTED = """
SELECT DISTINCT r.symbol_id, extract(epoch FROM m.timestamp)::bigint
FROM backfill.rejects r
JOIN market_data m ON m.symbol_id = r.symbol_id AND m.interval_type = ANY (%(spellings)s) AND m.is_final
     AND m.timestamp <= r.timestamp AND r.timestamp < m.timestamp + make_interval(secs => %(seconds)s)
     AND m.source_interval = r.source_interval AND r.last_seen >= m.fetched_at
WHERE r.reason = 'volume_cumulative' AND r.timestamp BETWEEN %(first)s AND %(last)s + make_interval(secs => %(seconds)s)
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
        asked: what was asked of the window and came: for tickers with ``slots`` all of it, else of the newest sessions.
        facts: what else is known of it; ``known``, ``skips`` and ``traded`` only of tickers with ``slots``.
        duplicates: slots that both spellings of the interval hold.
        askable_at: from when a request may bring each session's bars.
        overdue_at: from when their absence counts at the latest.
        theirs: bars that somebody else wrote, if they were looked for.
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
    theirs: Theirs = field(default_factory=Theirs.none)

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
    *,
    list_theirs: bool = False,
) -> Coverage:
    """Compare what is stored for ``symbols`` with ``grid``, and explain the difference as of ``now``.

    ``list_theirs`` also says which bars somebody else wrote; otherwise they are only counted.
    """
    places = Places.of(symbols)
    held = read_holdings(connection, places, grid)
    suspect = np.union1d(held.thin, _distrusted(connection, places, grid))
    lacking = [held.absent, held.provisional, suspect]
    open_rows = np.unique(np.concatenate(lacking) // max(1, grid.size))
    asked, facts = read_knowledge(connection, places, grid, source, open_rows)
    begins, ends = _lives(facts, grid)
    slots = _open_slots(lacking, grid, begins, ends)
    classified = classify(slots, asked, facts, grid, rules, now)
    expected = np.maximum(ends - begins, 0)
    counts = _count_states(held, slots, classified, expected)
    late_provisional = classified.late & (classified.state == State.PROVISIONAL)
    first, last = _ends_of_bars(held.absent, len(symbols), grid)
    return Coverage(
        symbols=tuple(symbols),
        grid=grid,
        now=now,
        expected=expected,
        counts=counts,
        missing=counts[:, State.MISSING] + np.bincount(slots.row[late_provisional], minlength=len(symbols)),
        first=first,
        last=last,
        slots=slots,
        classified=classified,
        asked=asked,
        facts=facts,
        duplicates=held.duplicates,
        askable_at=tuple(s.regular_close + rules.askable_after for s in grid.sessions),
        overdue_at=tuple(s.regular_close + rules.overdue_after for s in grid.sessions),
        theirs=read_theirs(connection, symbols, grid) if list_theirs else Theirs.none(),
    )


def _distrusted(connection: Connection, places: Places, grid: SlotGrid) -> Int64:
    """Slots (row × slots of the grid + ordinal) whose newest source rows held a session-cumulative volume."""
    if not grid.size or not places.size:
        return np.zeros(0, np.int64)
    values = {
        "first": datetime.fromtimestamp(int(grid.starts[0]), UTC),
        "last": datetime.fromtimestamp(int(grid.starts[-1]), UTC),
        "spellings": list(grid.interval.spellings),
        "seconds": grid.interval.seconds,
    }
    found = connection.execute(_DISTRUSTED, values).fetchall()
    ordinals = grid.ordinals_of(np.array([stamp for _, stamp in found], np.int64))
    rows = places.find(np.array([key for key, _ in found], np.int64))
    return (rows * grid.size + ordinals)[(ordinals >= 0) & (rows >= 0)]


def _lives(facts: Facts, grid: SlotGrid) -> tuple[Int64, Int64]:
    """The ordinals between which each ticker's slots are expected, half-open."""
    sessions = len(grid.sessions)
    begins = grid.first_of[np.minimum(facts.first_day, sessions)]
    ends = grid.first_of[np.clip(facts.last_day + 1, 0, sessions)]
    return begins, ends


def _open_slots(lacking: Sequence[Int64], grid: SlotGrid, begins: Int64, ends: Int64) -> OpenSlots:
    """Absent, provisional and suspect slots, where the ticker was listed."""
    kinds = [State.MISSING, State.PROVISIONAL, State.SUSPECT]
    slot = np.concatenate(lacking)
    kind = np.repeat(kinds, [len(slots) for slots in lacking]).astype(np.int8)
    row, ordinal = np.divmod(slot, max(1, grid.size))
    expected = (ordinal >= begins[row]) & (ordinal < ends[row])
    return OpenSlots(row[expected], ordinal[expected], kind[expected])


def _ends_of_bars(absent: Int64, tickers: int, grid: SlotGrid) -> tuple[Int64, Int64]:
    """Epoch seconds of each ticker's first and of its newest bar, −1 without one; ``absent`` ascends."""
    row, ordinal = np.divmod(absent, max(1, grid.size))
    begins = np.searchsorted(row, np.arange(tickers))
    lacking = np.bincount(row, minlength=tickers)
    before = np.bincount(row[ordinal == np.arange(len(absent)) - begins[row]], minlength=tickers)
    after = grid.size - ordinal == (begins + lacking)[row] - np.arange(len(absent))
    behind = np.bincount(row[after], minlength=tickers)
    starts = np.r_[grid.starts, -1]
    first = np.where(lacking < grid.size, starts[np.minimum(before, grid.size)], -1)
    last = np.where(lacking < grid.size, starts[grid.size - 1 - behind], -1)
    return first, last


def _count_states(held: Holdings, slots: OpenSlots, classified: Classified, expected: Int64) -> Int64:
    counts = np.zeros((len(expected), len(State)), np.int64)
    np.add.at(counts, (slots.row, classified.state), 1)
    counts[:, State.PRESENT] = 0  # the rest, below
    counts[:, State.UNVERIFIED] = np.minimum(held.unverified, expected - counts.sum(axis=1))
    counts[:, State.PRESENT] = expected - counts.sum(axis=1)
    return counts
