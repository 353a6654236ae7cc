"""Where the tickers of a universe stand: their keys in the table, and the position of each.

A *row* is a ticker's position in the universe looked at, everywhere above the store.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backfill_assets.store.symbols import Symbol

Int64 = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Places:
    """The keys of a universe by row, shape (tickers,)."""

    keys: Int64

    @classmethod
    def of(cls, symbols: Sequence[Symbol]) -> "Places":
        """The universe in its own order."""
        return cls(np.array([s.symbol_id for s in symbols], np.int64))

    @property
    def size(self) -> int:
        """How many tickers there are."""
        return len(self.keys)

    def array(self, rows: Int64) -> str:
        """The keys of ``rows`` as the text of a Postgres array, which is sent ten times as fast as a list."""
        return "{" + ",".join(map(str, self.keys[rows].tolist())) + "}"

    def rows(self, keys: NDArray[Any]) -> Int64:
        """The row of each key, all of them known."""
        found: Int64 = self._order[np.searchsorted(self.keys, keys, sorter=self._order)]
        return found

    def find(self, keys: NDArray[Any]) -> Int64:
        """The row of each key, −1 for one that is not of this universe."""
        at = np.minimum(np.searchsorted(self.keys, keys, sorter=self._order), self.size - 1)
        row = self._order[at]
        return np.where(self.keys[row] == keys, row, -1)

    @cached_property
    def _order(self) -> Int64:
        return np.argsort(self.keys)
