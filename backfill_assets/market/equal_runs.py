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


def is_any_of(keys: tuple[Int64, Int64], others: tuple[Int64, Int64]) -> Bools:
    """Whether each pair of ``keys``, two columns, is one of the pairs of ``others``; shape (keys,)."""
    first, second = (np.concatenate(pair) for pair in zip(others, keys, strict=True))
    order = np.lexsort((second, first))
    starts = find_run_starts(first[order], second[order])
    is_other = order < len(others[0])
    is_found = np.repeat(np.logical_or.reduceat(is_other, starts), np.diff(starts, append=len(order)))
    result = np.empty(len(order), bool)
    result[order] = is_found
    return result[len(others[0]) :]


def _differs_from_last(keys: tuple[NDArray[Any], ...]) -> Bools:
    """Whether a row has other keys than the one before; shape (rows,)."""
    differs = np.ones(len(keys[0]), bool)
    differs[1:] = False
    for key in keys:
        differs[1:] |= key[1:] != key[:-1]
    return differs
