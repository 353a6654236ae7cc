"""Who is listed under which name and when: births, deaths, renamings, splits.

A ticker's ``root`` is the name it was first listed under: its prices go on under the new name.
"""

from collections.abc import Iterable
from datetime import date

import numpy as np

from backfill_assets.market.arrays import Int64
from backfill_assets.sandbox.config import SandboxConfig
from backfill_assets.sandbox.world.random_draws import Float64


class ListingHistory:
    """The lives of all tickers of a sandbox."""

    def __init__(self, config: SandboxConfig, symbols: Iterable[str]) -> None:
        self._config = config
        self._predecessors = {new: old for old, (new, _) in config.renamed.items()}
        configured = (*config.listed, *config.delisted, *config.renamed, *self._predecessors, *config.thin)
        self.symbols = tuple(dict.fromkeys((*symbols, *configured)))
        self._all_symbols = frozenset(self.symbols)

    def get_root(self, symbol: str) -> str:
        """The name that draws belong to."""
        while symbol in self._predecessors:
            symbol = self._predecessors[symbol]
        return symbol

    def get_first_day(self, symbol: str) -> date:
        """The first trading day, of the predecessor's if it was renamed."""
        listed = self._config.listed
        return listed.get(symbol) or listed.get(self.get_root(symbol)) or self._config.history_from

    def get_last_day(self, symbol: str) -> date | None:
        """The last trading day; None: still listed."""
        return self._config.delisted.get(symbol)

    def is_known(self, symbol: str, today: date) -> bool:
        """Whether the vendor knows ``symbol`` on ``today``: born, and not renamed away or not yet."""
        if symbol not in self._all_symbols or today < self.get_first_day(symbol):
            return False
        renaming = self._config.renamed.get(symbol)
        if renaming is not None and today >= renaming[1]:
            return False
        predecessor = self._predecessors.get(symbol)
        return predecessor is None or today >= self._config.renamed[predecessor][1]

    def is_delisted(self, symbol: str, today: date) -> bool:
        """Whether its last trading day is over."""
        last = self.get_last_day(symbol)
        return last is not None and today > last

    def is_listed_on(self, symbol: str, day: date) -> bool:
        """Whether ``day`` lies between its first and last trading day."""
        last = self.get_last_day(symbol)
        return self.get_first_day(symbol) <= day and (last is None or day <= last)

    def has_split_or_spinoff(self, symbol: str) -> bool:
        """Whether it ever had a split or a spin-off."""
        root = self.get_root(symbol)
        return any(
            name in actions for name in (symbol, root) for actions in (self._config.splits, self._config.spinoffs)
        )

    def get_split_factor(self, symbol: str, day: date) -> float:
        """What today's prices are multiplied by to get the prices of ``day``."""
        split = self._find_split(symbol)
        return split[1] if split is not None and day < split[0] else 1.0

    def get_split_factors(self, symbol: str, ordinals: Int64) -> Float64:
        """``split_factor`` of many days, given as ordinals."""
        split = self._find_split(symbol)
        if split is None:
            return np.ones(len(ordinals))
        return np.where(ordinals < split[0].toordinal(), split[1], 1.0)

    def get_spinoff_divisors(self, symbol: str, ordinals: Int64) -> Float64:
        """What ``/eod`` divides earlier prices by, intraday does not (EODHD.md §5)."""
        spinoff = self._config.spinoffs.get(symbol) or self._config.spinoffs.get(self.get_root(symbol))
        if spinoff is None:
            return np.ones(len(ordinals))
        return np.where(ordinals < spinoff[0].toordinal(), spinoff[1], 1.0)

    def _find_split(self, symbol: str) -> tuple[date, float] | None:
        return self._config.splits.get(symbol) or self._config.splits.get(self.get_root(symbol))
