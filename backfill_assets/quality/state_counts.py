"""How many slots of each symbol and session are in which state, unverified and present ones told apart.

``session_counts`` derives from a coverage alone what a partition needs. Here the external bars are known, too.
"""

import numpy as np

from backfill_assets.market.arrays import Int64
from backfill_assets.market.equal_runs import sort_distinct
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.market.gaps.slot_states import SlotState


def count_states_by_session(coverage: Coverage, first: int = 0, after: int | None = None) -> Int64:
    """The expected slots in each state, shape (symbols, sessions, states); the last axis is indexed by ``SlotState``.

    Args:
        coverage: with its ``external_bars`` read; those that are not open count as ``UNVERIFIED``.
        first: the ordinal of the first slot that counts.
        after: the ordinal after the last one; None: all from ``first`` on.
    """
    grid, slots = coverage.grid, coverage.open_slots
    after = grid.size if after is None else after
    shape = (len(coverage.symbols), len(grid.sessions), len(SlotState))
    sizes = np.diff(np.clip(grid.session_offsets, first, max(first, after)))
    expected = np.where(coverage.absence_evidence.is_listed, sizes, 0)
    open_keys = grid.get_slot_keys(slots.row, slots.ordinal)
    external_keys = sort_distinct(coverage.external_bars.slot_key)
    external_row, external_ordinal = grid.split_slot_keys(external_keys[~np.isin(external_keys, open_keys)])
    row = np.concatenate([slots.row, external_row])
    ordinal = np.concatenate([slots.ordinal, external_ordinal])
    session = grid.session_index[ordinal]
    state = np.concatenate([coverage.slot_states.state, np.full(len(external_row), SlotState.UNVERIFIED)])
    is_expected = (expected[row, session] > 0) & (ordinal >= first) & (ordinal < after)
    cell = ((row * shape[1] + session) * shape[2] + state)[is_expected]
    counts = np.bincount(cell, minlength=int(np.prod(shape))).reshape(shape)
    counts[:, :, SlotState.PRESENT] = expected - counts.sum(axis=2)
    return counts.astype(np.int64)
