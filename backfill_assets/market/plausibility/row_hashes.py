"""Hashes of rows and of runs of rows, by which equal ones are found among millions without comparing each pair.

64 bits, not cryptographic: among ten million runs, two different ones are equal once in several hundred thousand times.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from backfill_assets.market.arrays import Bools, Floats, Int64
from backfill_assets.market.price_digits import SMALL_PRICE

Hashes = NDArray[np.uint64]

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # odd, with bits all over: 2**64 divided by the golden ratio
_SHIFT = np.uint64(29)
_EIGHTH = np.uint64(1 << 61)
_PRICE_UNITS = 1e6  # prices from 0.01 on are compared to the sixth decimal, as they are stored


def hash_prices(columns: Sequence[Floats]) -> Hashes:
    """One hash for each position of some arrays of prices of the same shape."""
    hashes = np.zeros(columns[0].shape, np.uint64)
    for prices in columns:
        hashes ^= _to_bits(prices)
        hashes = _mix(hashes)
    return hashes


def choose_sample(columns: Sequence[Floats]) -> Bools:
    """An eighth of the positions of some arrays of prices, the same ones for equal prices."""
    total = columns[0].copy()
    for number, prices in enumerate(columns[1:]):
        total += prices * (2 * number + 3)
    chosen: Bools = _to_bits(total) * _MULTIPLIER < _EIGHTH
    return chosen


def hash_runs(hashes: Hashes, length: int) -> Hashes:
    """One hash for each ``length`` hashes in a row, by the position of the first; the others have none."""
    count = max(0, len(hashes) - length + 1)
    runs = np.zeros(count, np.uint64)
    for position in range(length):
        runs = _mix(runs ^ hashes[position : position + count])
    return runs


def add_to_hashes(hashes: Hashes, values: Int64) -> Hashes:
    """Hashes that are equal only where the ``values`` are equal, too."""
    return _mix(hashes ^ _mix(values.astype(np.uint64)))


def find_shared(hashes: Hashes) -> Bools:
    """Which hashes are there more than once."""
    ordered = np.sort(hashes)
    shared = ordered[1:][ordered[1:] == ordered[:-1]]
    if not len(shared):
        return np.zeros(len(hashes), bool)
    position = np.minimum(np.searchsorted(shared, hashes), len(shared) - 1)
    is_shared: Bools = shared[position] == hashes
    return is_shared


def pair_with_previous(hashes: Hashes) -> tuple[Int64, Int64]:
    """Positions of equal hashes: each that has an equal one before it, and the nearest such."""
    order = np.argsort(hashes, kind="stable")
    is_equal = hashes[order][1:] == hashes[order][:-1]
    return order[1:][is_equal], order[:-1][is_equal]


def _to_bits(prices: Floats) -> Hashes:
    units = np.where(np.abs(prices) < SMALL_PRICE, prices, np.rint(prices * _PRICE_UNITS))
    bits: Hashes = units.view(np.uint64)
    return bits


def _mix(hashes: Hashes) -> Hashes:
    mixed = hashes * _MULTIPLIER  # wraps around
    return mixed ^ (mixed >> _SHIFT)
