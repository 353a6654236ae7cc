"""Runs of neighbouring rows with equal keys: groups of a table that is ordered by its keys, without grouping it anew.

Grouping with pandas costs a millisecond and more for each column and call, however few the rows are.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from backfill_assets.market.arrays import Bools, Int64


def find_run_starts(*keys: NDArray[Any]) -> Int64:
    """The position of each run's first row; ``keys`` are columns of the same length, one at least."""
    return np.flatnonzero(_differs_from_last(keys))


def find_run_ends(*keys: NDArray[Any]) -> Int64:
    """The position of each run's last row; ``keys`` are columns of the same length, one at least."""
    return np.flatnonzero(np.append(_differs_from_last(keys), True)[1:]) if len(keys[0]) else np.zeros(0, np.int64)


def sort_distinct(*parts: Int64) -> Int64:
    """All values of some arrays, ascending, each once.

    ``np.unique`` of numpy 2.4 hashes whole numbers, which takes 50 times as long for half a million different ones.
    """
    values = np.sort(np.concatenate(parts))
    return values[find_run_starts(values)]


def _differs_from_last(keys: tuple[NDArray[Any], ...]) -> Bools:
    """Whether a row has other keys than the one before; shape (rows,)."""
    differs = np.ones(len(keys[0]), bool)
    differs[1:] = False
    for key in keys:
        differs[1:] |= key[1:] != key[:-1]
    return differs
