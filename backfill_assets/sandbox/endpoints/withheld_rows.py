"""Rows that the vendor lacks for some time, although it has those before and after them."""

from collections.abc import Iterable
from math import inf

import numpy as np

from backfill_assets.market.arrays import Bools, Int64
from backfill_assets.sandbox.around_the_clock import Withheld


class WithheldRows:
    """The lacking rows of one exchange, by symbol."""

    def __init__(self, withheld: Iterable[Withheld]) -> None:
        self._by_symbol: dict[str, list[tuple[float, float, float]]] = {}
        for hole in withheld:
            until = inf if hole.until is None else hole.until.timestamp()
            self._by_symbol.setdefault(hole.symbol, []).append((hole.start.timestamp(), hole.end.timestamp(), until))

    def has_any(self, symbol: str) -> bool:
        """Whether rows of ``symbol`` are lacking at some time."""
        return symbol in self._by_symbol

    def find(self, symbol: str, stamps: Int64, now: float) -> Bools:
        """Find which of ``stamps`` are lacking at ``now``, epoch seconds; shape (stamps,)."""
        lacking = np.zeros(len(stamps), bool)
        for start, end, until in self._by_symbol.get(symbol, ()):
            if now < until:
                lacking |= (stamps >= start) & (stamps < end)
        return lacking
