"""Which absent slots are usual: symbols that are rarely traded skip some (docs/decisions/0007 and 0072). Pure.

A symbol is *thin* if many of its sessions lack any slot. That alone explains nothing: an absent slot is usual only if
many of the symbol's other sessions lack the *same* one. Else a slot that every session lacks, as a break that the
calendar does not know, would explain every slot that is lost.
"""

from dataclasses import dataclass

import numpy as np

from backfill_assets.market.arrays import Bools, Int64
from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.market.calendar.timestamps import DAY_SECONDS
from backfill_assets.market.equal_runs import sort_distinct
from backfill_assets.market.gaps.evidence import (
    NO_ENTRY,
    AbsenceEvidence,
    RequestHistory,
    SlotBaseline,
    look_up,
)
from backfill_assets.market.gaps.gap_rules import GapRules

# So many tickers must have been asked before a slot that none of them has is no chance but a hole. Ten rarely traded
# ones that each skip half of their slots lack one together once in a thousand times.
MIN_TICKERS_FOR_HOLE = 10


@dataclass(frozen=True, eq=False)
class SameSlotCounts:
    """How often the same slot was absent in a symbol's other published sessions; arrays of the shape (slots,).

    Attributes:
        other_sessions: how many of the symbol's last published sessions have the slot, its own session left out; 0 for
            symbols that hardly ever lack one.
        absent: in how many of those it was not returned.
        absent_or_sparse: in how many of those it was not returned, or its bar lacks source rows.
    """

    other_sessions: Int64
    absent: Int64
    absent_or_sparse: Int64


def is_thin(row: Int64, entry: Int64, history: RequestHistory, evidence: AbsenceEvidence, rules: GapRules) -> Bools:
    """Whether the symbol of each slot often lacks slots, according to its other published sessions.

    Args:
        row: the symbol of each slot, shape (slots,).
        entry: the entry of its symbol and session in ``history``, or ``NO_ENTRY``; same shape.
        history: past requests.
        evidence: counts published and incomplete sessions.
        rules: from when a symbol is thin.
    """
    is_incomplete = np.zeros(len(history.row), bool)
    is_incomplete[history.not_returned_entry] = True
    # The session at hand must not explain itself: leave it out of the last 20.
    is_published = look_up(history.published, entry, default=False)
    is_published_incomplete = look_up(history.published & is_incomplete, entry, default=False)
    other_sessions = evidence.published_sessions[row] - is_published
    incomplete_sessions = evidence.incomplete_sessions[row] - is_published_incomplete
    thin: Bools = (other_sessions >= rules.thin_min_sessions) & (
        incomplete_sessions >= rules.thin_min_share * other_sessions
    )
    return thin


def is_usual(
    row: Int64, ordinal: Int64, has_bar: Bools, grid: SlotGrid, baseline: SlotBaseline, rules: GapRules
) -> Bools:
    """Whether the symbol of each slot often lacks this very slot; false for symbols that hardly ever lack one.

    Args:
        row: the symbol of each slot, shape (slots,).
        ordinal: the slot in ``grid``; same shape.
        has_bar: whether it has a bar, of which source rows may be absent, as in sessions that lack it; same shape.
        grid: the slots of the window looked at.
        baseline: what the symbols' sessions lacked.
        rules: how often that must be.
    """
    counts = count_same_slot(row, ordinal, grid, baseline)
    lacking = np.where(has_bar, counts.absent_or_sparse, counts.absent)
    usual: Bools = (counts.other_sessions >= rules.thin_min_sessions) & (
        lacking >= rules.usual_min_share * counts.other_sessions
    )
    return usual


def count_same_slot(row: Int64, ordinal: Int64, grid: SlotGrid, baseline: SlotBaseline) -> SameSlotCounts:
    """Count the other sessions of each slot's symbol that have, and that lack, the slot of the same time of day.

    ``row`` and ``ordinal`` have the shape (slots,), ``ordinal`` is one of ``grid``.
    """
    known = baseline.grid
    if known is None or not len(row):
        none = np.zeros(len(row), np.int64)
        return SameSlotCounts(none, none, none)
    known_time, time, time_count = _number_times(known, grid)
    ordinal_at = np.full((len(known.sessions) + 1, time_count), NO_ENTRY, np.int64)  # the last line: no session
    ordinal_at[known.session_index, known_time] = np.arange(known.size)
    position = np.searchsorted(baseline.rows, row)
    is_known = np.append(baseline.rows, NO_ENTRY)[position] == row
    position, time_of_slot = np.where(is_known, position, 0), time[ordinal]
    own_session = _find_own_sessions(grid, known)[grid.session_index[ordinal]]
    own_ordinal = ordinal_at[own_session, time_of_slot]
    # The session at hand must not explain itself, if it is among those that count.
    counts_own = (own_ordinal != NO_ENTRY) & baseline.is_published[position, own_session]
    own_key = known.get_slot_keys(row, own_ordinal)

    def count(lacking: Int64) -> Int64:
        """How many other sessions lack the slot, according to the slot keys of what is lacking."""
        key_row, key_ordinal = known.split_slot_keys(lacking)
        totals = np.zeros((len(baseline.rows), time_count), np.int64)
        np.add.at(totals, (np.searchsorted(baseline.rows, key_row), known_time[key_ordinal]), 1)
        own: Int64 = (counts_own & np.isin(own_key, lacking)).astype(np.int64)
        others: Int64 = totals[position, time_of_slot] - own
        return others

    totals = baseline.is_published.astype(np.int64) @ (ordinal_at[:-1] != NO_ENTRY)
    other_sessions = totals[position, time_of_slot] - counts_own
    absent, lacking = count(baseline.absent), count(sort_distinct(baseline.absent, baseline.sparse))
    return SameSlotCounts(*(np.where(is_known, counts, 0) for counts in (other_sessions, absent, lacking)))


def _number_times(*grids: SlotGrid) -> tuple[Int64, Int64, int]:
    """A number for the time of day of each slot of two grids, shape (slots,) each, and how many there are.

    It is the time on the clock of the market at which the interval begins in which the slot lies: sessions that open
    late, close early or have a break number their slots differently, and a late open may begin within an interval.
    """
    begins = [_find_clock_intervals(grid) for grid in grids]
    times, number = np.unique(np.concatenate(begins), return_inverse=True)
    first, second = np.split(number, [len(begins[0])])
    return first, second, len(times)


def _find_clock_intervals(grid: SlotGrid) -> Int64:
    """The interval of the market's clock in which each slot lies, counted from its session's day on; (slots,)."""
    if not grid.sessions:
        return np.zeros(0, np.int64)
    market = grid.sessions[0].market
    anchor = 3600 * market.grid_anchor.hour + 60 * market.grid_anchor.minute
    zone_offsets = [session.open.astimezone(market.zone).utcoffset() for session in grid.sessions]
    ahead = np.array([0 if offset is None else offset.total_seconds() for offset in zone_offsets], np.int64)
    midnight = grid.session_days.astype(np.int64) * DAY_SECONDS - ahead
    intervals: Int64 = (grid.starts - midnight[grid.session_index] - anchor) // grid.interval.seconds
    return intervals


def _find_own_sessions(grid: SlotGrid, known: SlotGrid) -> Int64:
    """The position in ``known`` of each session of ``grid``, ``NO_ENTRY`` for others; shape (sessions,)."""
    position = np.searchsorted(known.session_days, grid.session_days)
    is_same = np.append(known.session_days, np.datetime64("NaT"))[position] == grid.session_days
    return np.where(is_same, position, NO_ENTRY)
