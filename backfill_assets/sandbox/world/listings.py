"""Listing periods, renamings, splits and spin-offs of all tickers.

A ticker's ``root`` is its first name. Draws depend on the root, so a renaming does not change prices.
"""

from collections.abc import Iterable
from datetime import date

import numpy as np

from backfill_assets.market.arrays import Floats, Int64
from backfill_assets.sandbox.config import SandboxConfig


class ListingHistory:
    """Listing data of all tickers of a sandbox.

    Attributes:
        symbols: all symbols, old and new names included.
    """

    def __init__(self, config: SandboxConfig, symbols: Iterable[str]) -> None:
        self._config = config
        self._predecessors = {new: old for old, (new, _) in config.renamed.items()}
        named = (*config.listed, *config.delisted, *config.renamed, *self._predecessors)
        configured = (*named, *config.thin, *sorted(config.absences.without_intraday))
        self.symbols = tuple(dict.fromkeys((*symbols, *configured)))
        self._all_symbols = frozenset(self.symbols)

    def get_root(self, symbol: str) -> str:
        """Get the first name of the ticker."""
        while symbol in self._predecessors:
            symbol = self._predecessors[symbol]
        return symbol

    def get_first_day(self, symbol: str) -> date:
        """Get the first trading day; for a renamed ticker that of its first name."""
        listed = self._config.listed
        return listed.get(symbol) or listed.get(self.get_root(symbol)) or self._config.history_from

    def has_first_day(self, symbol: str) -> bool:
        """Whether the ticker was listed after the sandbox's history begins."""
        return symbol in self._config.listed or self.get_root(symbol) in self._config.listed

    def get_last_day(self, symbol: str) -> date | None:
        """Get the last trading day; None: still listed."""
        return self._config.delisted.get(symbol)

    def is_known(self, symbol: str, today: date) -> bool:
        """Whether the vendor knows ``symbol`` on ``today``: it is or was listed, and under this name.

        A renamed ticker that is also delisted stays known, up to its last day.
        """
        if symbol not in self._all_symbols or today < self.get_first_day(symbol):
            return False
        renaming = self._config.renamed.get(symbol)
        if renaming is not None and today >= renaming[1] and symbol not in self._config.delisted:
            return False
        predecessor = self._predecessors.get(symbol)
        return predecessor is None or today >= self._config.renamed[predecessor][1]

    def is_delisted(self, symbol: str, today: date) -> bool:
        """Whether the last trading day has passed."""
        last = self.get_last_day(symbol)
        return last is not None and today > last

    def is_listed_on(self, symbol: str, day: date) -> bool:
        """Whether ``day`` lies between the first and the last trading day, both inclusive."""
        last = self.get_last_day(symbol)
        return self.get_first_day(symbol) <= day and (last is None or day <= last)

    def has_split_or_spinoff(self, symbol: str) -> bool:
        """Whether the ticker has a split or a spin-off."""
        root = self.get_root(symbol)
        return any(
            name in actions for name in (symbol, root) for actions in (self._config.splits, self._config.spinoffs)
        )

    def get_split_factor(self, symbol: str, day: date) -> float:
        """Get the factor that converts today's prices to the prices of ``day``."""
        split = self.find_split(symbol)
        return split[1] if split is not None and day < split[0] else 1.0

    def get_split_factors(self, symbol: str, ordinals: Int64) -> Floats:
        """Get the split factors of many days, given as ordinals; shape (days,)."""
        split = self.find_split(symbol)
        if split is None:
            return np.ones(len(ordinals))
        return np.where(ordinals < split[0].toordinal(), split[1], 1.0)

    def get_spinoff_divisors(self, symbol: str, ordinals: Int64) -> Floats:
        """Get the divisors that spin-offs put on ``/eod`` prices, not on intraday ones (docs/vendor.md §5.4)."""
        spinoff = self._config.spinoffs.get(symbol) or self._config.spinoffs.get(self.get_root(symbol))
        if spinoff is None:
            return np.ones(len(ordinals))
        return np.where(ordinals < spinoff[0].toordinal(), spinoff[1], 1.0)

    def find_split(self, symbol: str) -> tuple[date, float] | None:
        """Find the first day after the ticker's split, and the new shares per old one."""
        return self._config.splits.get(symbol) or self._config.splits.get(self.get_root(symbol))
