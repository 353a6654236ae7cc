"""Which open slots are explained: nothing is left to find out about them, although they have no trusted bar.

The one definition for reads and certificates. Pure; ``store.coverage`` measures the states.
"""

from collections.abc import Sequence

import numpy as np

from backfill_assets.market.arrays import Bools
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.market.gaps.evidence import NO_ENTRY, look_up
from backfill_assets.market.gaps.gap_rules import GapRules
from backfill_assets.market.gaps.retry_schedule import Recheck
from backfill_assets.market.gaps.slot_states import SlotState
from backfill_assets.store.evidence.doubts import SlotRange


def find_explained_slots(coverage: Coverage, open_doubts: Sequence[SlotRange], rules: GapRules) -> Bools:
    """Whether each of ``coverage.open_slots`` is no trade, a vendor gap, or a suspect bar that stays as it is.

    That is a bar whose doubt stands or was decided by a person, and one of few source rows that the vendor repeated as
    often as it is asked daily. While a doubt about it is open, nothing explains a bar.

    Args:
        coverage: measured by ``rules``.
        open_doubts: the slots that open doubts mark, of any symbol.
        rules: how often suspect bars are requested again.
    """
    state = coverage.slot_states.state
    explained: Bools = (state == SlotState.NO_TRADE) | (state == SlotState.VENDOR_GAP)
    is_suspect = state == SlotState.SUSPECT
    if is_suspect.any():
        explained |= is_suspect & _is_repeated(coverage, rules) & ~_is_in_open_doubt(coverage, open_doubts)
    return explained


def _is_repeated(coverage: Coverage, rules: GapRules) -> Bools:
    """Whether the vendor has repeated the bar of each open slot as often as it is asked daily, shape (open slots,)."""
    slots, history = coverage.open_slots, coverage.request_history
    recheck = np.zeros(len(slots.row), np.int8) if slots.recheck is None else slots.recheck
    entry_index = history.build_entry_index(len(coverage.symbols), len(coverage.grid.sessions))
    entry = entry_index[slots.row, coverage.grid.session_index[slots.ordinal]]
    request_count = look_up(history.request_count, entry, default=0)
    is_often = (entry != NO_ENTRY) & (request_count > rules.retry_schedule.max_daily_suspect_requests)
    # A doubt that stands is asked about weekly, one that a person decided never.
    repeated: Bools = np.where(recheck == Recheck.BY_COUNT, is_often, np.isin(recheck, (Recheck.WEEKLY, Recheck.NEVER)))
    return repeated


def _is_in_open_doubt(coverage: Coverage, open_doubts: Sequence[SlotRange]) -> Bools:
    slots, starts = coverage.open_slots, coverage.grid.starts[coverage.open_slots.ordinal]
    rows = {symbol.symbol_id: row for row, symbol in enumerate(coverage.symbols)}
    is_in_doubt = np.zeros(len(starts), bool)
    for doubt in open_doubts:
        if (row := rows.get(doubt.symbol_id)) is not None:
            is_in_doubt |= (slots.row == row) & (starts >= doubt.first_start) & (starts <= doubt.last_start)
    return is_in_doubt
