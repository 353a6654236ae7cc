"""Listing periods, renamings and recycled codes of all tickers, and whose corporate actions are whose.

A ticker's ``root`` is its first name. Draws depend on the root, so a renaming does not change prices. A code that two
instruments had one after the other has two holders; one of them has a name of its own here (``POL#2``), which the
vendor's users never see. Everything else is called a symbol.
"""

from collections.abc import Iterable, Iterator
from datetime import date
from functools import lru_cache

from backfill_assets.sandbox.actions import Action, SpinOff, Split, make_split
from backfill_assets.sandbox.config import SandboxConfig
from backfill_assets.sandbox.world.action_draws import ActionDraws
from backfill_assets.sandbox.world.session_index import SessionIndex


class ListingHistory:
    """Listing data of all tickers of a sandbox.

    Attributes:
        symbols: all codes, old and new names included.
        holders: all symbols that have prices: the codes, and the other holders of recycled ones.
        get_root: gets the first name of a ticker.
    """

    def __init__(self, config: SandboxConfig, symbols: Iterable[str], session_index: SessionIndex) -> None:
        self._config = config
        self._predecessors = {new: old for old, (new, _) in config.renamed.items()}
        named = (*config.listed, *config.delisted, *config.renamed, *self._predecessors, *config.recycled)
        configured = (*named, *config.thin, *sorted(config.absences.without_intraday))
        self.symbols = tuple(dict.fromkeys((*symbols, *configured)))
        self._all_symbols = frozenset(self.symbols)
        self._others = {get_other_holder(code, self._predecessors): code for code in config.recycled}
        self.holders = (*self.symbols, *self._others)
        self.get_root = lru_cache(maxsize=None)(self._find_root)  # asked for with every session
        self._assigned = self._assign_actions()
        self._draws = ActionDraws(config.action_rates, config.seed, session_index, config.feed.currency)
        self._list_of_root = lru_cache(maxsize=None)(self._list_root_actions)

    def find_holder(self, code: str, day: date) -> str:
        """Find which symbol ``code`` stands for on ``day``: between two holders, the earlier one."""
        recycled = self._config.recycled.get(code)
        if recycled is None:
            return code
        other = get_other_holder(code, self._predecessors)
        is_later = day >= recycled.since
        return code if is_later == (code in self._predecessors) else other

    def list_served_holders(self, code: str, today: date) -> list[str]:
        """List the symbols whose rows the vendor gives under ``code`` on ``today``, in the order of their days."""
        recycled = self._config.recycled.get(code)
        days = [date.min] if recycled is None else [recycled.ended, recycled.since]
        holders = [self.find_holder(code, day) for day in days if recycled is None or day <= today or day == days[0]]
        return [symbol for symbol in holders if self._is_served(symbol, code, today)]

    def get_first_day(self, symbol: str) -> date:
        """Get the first trading day; for a renamed ticker that of its first name."""
        listed, code = self._config.listed, self._others.get(symbol, symbol)
        if self._is_later_holder(symbol):
            return self._config.recycled[code].since
        return listed.get(code) or listed.get(self.get_root(symbol)) or self._config.history_from

    def has_first_day(self, symbol: str) -> bool:
        """Whether the ticker was listed after the sandbox's history begins."""
        return self.get_first_day(symbol) != self._config.history_from

    def get_last_day(self, symbol: str) -> date | None:
        """Get the last trading day; None: still listed."""
        code = self._others.get(symbol, symbol)
        if code in self._config.recycled and not self._is_later_holder(symbol) and code not in self._config.renamed:
            return self._config.recycled[code].ended
        return self._config.delisted.get(code)

    def get_price_factor(self, symbol: str) -> float:
        """Get what the drawn prices of a symbol are multiplied by: 1 but for the other holder of a recycled code."""
        code = self._others.get(symbol)
        return 1.0 if code is None else self._config.recycled[code].price_factor

    def is_known(self, code: str, today: date) -> bool:
        """Whether the vendor knows ``code`` on ``today``: what is or was listed has this name now.

        A renamed ticker that is also delisted stays known, up to its last day.
        """
        return code in self._all_symbols and bool(self.list_served_holders(code, today))

    def is_delisted(self, code: str, today: date) -> bool:
        """Whether the last trading day has passed."""
        last = self.get_last_day(self.find_holder(code, today))
        return last is not None and today > last

    def is_listed_on(self, symbol: str, day: date) -> bool:
        """Whether ``day`` lies between the first and the last trading day, both inclusive."""
        last = self.get_last_day(symbol)
        return self.get_first_day(symbol) <= day and (last is None or day <= last)

    def list_actions(self, symbol: str) -> tuple[Action, ...]:
        """List the corporate actions of an instrument under all its names, oldest first."""
        return self._list_of_root(self.get_root(symbol))

    def find_latest_split(self, symbol: str, day: date) -> Split | None:
        """Find the latest split that took effect by ``day``."""
        splits = [action for action in self.list_actions(symbol) if isinstance(action, Split) and not action.is_mistake]
        return next((split for split in reversed(splits) if split.ex_date <= day), None)

    def _find_root(self, symbol: str) -> str:
        while symbol in self._predecessors:
            symbol = self._predecessors[symbol]
        return symbol

    def _is_later_holder(self, symbol: str) -> bool:
        code = self._others.get(symbol, symbol)
        return code in self._config.recycled and (symbol == code) == (code in self._predecessors)

    def _is_served(self, symbol: str, code: str, today: date) -> bool:
        if today < self.get_first_day(symbol):
            return False
        if symbol != code:
            return True
        renaming = self._config.renamed.get(code)
        if renaming is not None and today >= renaming[1] and code not in self._config.delisted:
            return False
        predecessor = self._predecessors.get(code)
        return predecessor is None or today >= self._config.renamed[predecessor][1]

    def _list_root_actions(self, root: str) -> tuple[Action, ...]:
        actions = [*self._assigned.get(root, ()), *self._draws.draw(root)]
        first = self.get_first_day(root)
        return tuple(sorted((a for a in actions if a.ex_date > first), key=lambda action: action.ex_date))

    def _assign_actions(self) -> dict[str, list[Action]]:
        """Give each action to the instrument that its code stands for on the ex-date."""
        by_root: dict[str, list[Action]] = {}
        for code, action in _iterate_actions(self._config):
            by_root.setdefault(self.get_root(self.find_holder(code, action.ex_date)), []).append(action)
        return by_root


def get_other_holder(code: str, predecessors: Iterable[str]) -> str:
    """Get the name of a recycled code's holder that is not the one known by ``code`` alone.

    If another ticker is renamed to ``code``, that one is ``code``, and the holder before it has the other name.
    """
    return f"{code}#1" if code in predecessors else f"{code}#2"


def _iterate_actions(config: SandboxConfig) -> Iterator[tuple[str, Action]]:
    for code, (day, ratio) in config.splits.items():
        yield code, make_split(day, ratio)
    for code, (day, divisor) in config.spinoffs.items():
        yield code, SpinOff(day, divisor)
    for code, actions in config.actions.items():
        for action in actions:
            yield code, action
