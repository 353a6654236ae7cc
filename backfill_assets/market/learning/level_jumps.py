"""Finds the sessions from which on a symbol's prices are 100 times what they were, or a hundredth: another unit. Pure.

A vendor's listing may switch between pounds and pence. It is no split, and no bar is wrong; a person decides what it is
(``backfill.decisions.price_units``). A few sessions at another scale, after which the old one is back, are wrong bars.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from math import sqrt

FACTOR = 100.0
MAX_MOVE = 1.4  # from one session to the next beside the factor; no share moves so far in a day without much ado
NEIGHBOURS = 3  # sessions at the level before; and so few at the new one are wrong, if the old one is back after them


@dataclass(frozen=True, slots=True)
class SessionLevel:
    """The range of a symbol's bars in a session."""

    day: date
    low: float
    high: float

    @property
    def price(self) -> float:
        """The middle of the range as a factor of both ends."""
        return sqrt(self.low * self.high)


@dataclass(frozen=True, slots=True)
class LevelJump:
    """A jump of the level.

    Attributes:
        day: the first session at the new level.
        last_day: the session before.
        old_price: the middle of its range.
        new_price: the middle of the first session's.
    """

    day: date
    last_day: date
    old_price: float
    new_price: float

    @property
    def is_up(self) -> bool:
        """Whether prices are 100 times what they were."""
        return self.new_price > self.old_price


def find_level_jumps(levels: Sequence[SessionLevel], split_days: frozenset[date] = frozenset()) -> list[LevelJump]:
    """The jumps of one symbol, the oldest first; a jump on the day of a listed split is the split's.

    Args:
        levels: its sessions with bars, the oldest first.
        split_days: ex-dates of its splits.
    """
    stretches = _split_into_stretches(levels)
    jumps = []
    for at, (before, after) in enumerate(pairwise(stretches), start=1):
        last, first = before[-1], after[0]
        stays = len(after) > NEIGHBOURS or at == len(stretches) - 1
        is_factor = _compute_step(last, first) <= FACTOR * MAX_MOVE
        if len(before) >= NEIGHBOURS and stays and is_factor and first.day not in split_days:
            jumps.append(LevelJump(first.day, last.day, last.price, first.price))
    return jumps


def _split_into_stretches(levels: Sequence[SessionLevel]) -> list[list[SessionLevel]]:
    """The sessions between steps by a factor of about 100 and more."""
    stretches: list[list[SessionLevel]] = []
    for level in levels:
        if stretches and _compute_step(stretches[-1][-1], level) < FACTOR / MAX_MOVE:
            stretches[-1].append(level)
        else:
            stretches.append([level])
    return stretches


def _compute_step(before: SessionLevel, after: SessionLevel) -> float:
    """The step as a factor of at least 1, up or down."""
    step = after.price / before.price
    return max(step, 1 / step)
