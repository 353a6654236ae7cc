"""A measured window by calendar month in UTC: what each symbol lacks in each, and what explains the rest. Pure.

The states are those of ``slot_states``; ``expected_months`` has the months.
"""

from dataclasses import dataclass

import numpy as np

from backfill_assets.market.arrays import Int64
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.market.gaps.expected_months import MonthlySlots
from backfill_assets.market.gaps.slot_states import SlotState

NOT_MISSING = -1


@dataclass(frozen=True, eq=False)
class MonthlyCoverage:
    """Slots of each symbol and month by what a measurement says of them; arrays of the shape (symbols, months).

    Attributes:
        missing: missing slots, and provisional bars whose final one is overdue.
        no_trade: slots in which nothing traded.
        vendor_gap: slots that the vendor never returned.
        suspect: slots whose bar may be wrong.
        oldest_missing: epoch seconds of the oldest slot that counts in ``missing``, ``NOT_MISSING`` without one.
    """

    missing: Int64
    no_trade: Int64
    vendor_gap: Int64
    suspect: Int64
    oldest_missing: Int64


def split_by_month(coverage: Coverage, monthly: MonthlySlots, begins: Int64) -> MonthlyCoverage:
    """Count the open slots of a coverage by month.

    Args:
        coverage: as measured.
        monthly: of its grid (``expected_months.group_by_month``).
        begins: the ordinal from which on each symbol's slots count, shape (symbols,).
    """
    shape = (len(coverage.symbols), len(monthly.months))
    slots = coverage.open_slots
    month = np.searchsorted(monthly.offsets, slots.ordinal, side="right") - 1
    cell = slots.row * shape[1] + month
    is_counted = slots.ordinal >= begins[slots.row]

    def count(*states: SlotState) -> Int64:
        chosen = cell[coverage.has_state(*states) & is_counted]
        return np.bincount(chosen, minlength=shape[0] * shape[1]).reshape(shape)

    is_overdue_provisional = coverage.slot_states.overdue & coverage.has_state(SlotState.PROVISIONAL)
    is_missing = (coverage.has_state(SlotState.MISSING) | is_overdue_provisional) & is_counted
    return MonthlyCoverage(
        missing=np.bincount(cell[is_missing], minlength=shape[0] * shape[1]).reshape(shape),
        no_trade=count(SlotState.NO_TRADE),
        vendor_gap=count(SlotState.VENDOR_GAP),
        suspect=count(SlotState.SUSPECT),
        oldest_missing=_find_oldest(cell[is_missing], coverage.grid.starts[slots.ordinal[is_missing]], shape),
    )


def _find_oldest(cell: Int64, epochs: Int64, shape: tuple[int, int]) -> Int64:
    none = np.iinfo(np.int64).max
    oldest = np.full(shape[0] * shape[1], none, np.int64)
    np.minimum.at(oldest, cell, epochs)
    return np.where(oldest == none, NOT_MISSING, oldest).reshape(shape)
