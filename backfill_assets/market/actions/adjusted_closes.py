"""Compare closes that are adjusted by the known actions with the vendor's adjusted closes. Pure.

The vendor's adjusted closes of one reading are those of the moment of the reading, so both series end at the same
level; they must be one, within a basis point and rounding. Where they part, some action is the cause.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from itertools import groupby
from typing import Literal

import numpy as np

from backfill_assets.market.arrays import Bools, Floats, Int64
from backfill_assets.market.vendor import DateArray

MAX_DIFFERENCE = 1e-4  # a basis point
HALF_DIGIT = 0.00005  # the vendor rounds adjusted closes to four decimals
_SHOWN = (-700.0, 700.0)  # logarithms of numbers that can be shown
ActionKind = Literal["split", "dividend", "spin-off"]


class Cause(StrEnum):
    """Why the vendor's adjusted closes part from ours."""

    NOT_AMONG_ACTIONS = "the vendor adjusts for something that is not among the actions"
    OTHER_FACTOR = "the vendor adjusts by another factor"
    VENDOR_LACKS_SPLIT = "the vendor lists a split and does not adjust for it"
    VENDOR_LACKS_IT = "the vendor does not adjust for the dividend"
    SPIN_OFF = "a spin-off, for which the vendor adjusts other closes in another way"
    READ_ON_EX_DATE = "the row was read on the ex-date"
    NOT_READ_YET = "the actions since were not read yet"

    @property
    def is_explained(self) -> bool:
        """Whether our closes need no change by it: the difference is the vendor's, or goes away by itself."""
        return self not in (Cause.NOT_AMONG_ACTIONS, Cause.OTHER_FACTOR, Cause.VENDOR_LACKS_SPLIT)


@dataclass(frozen=True, slots=True)
class KnownAction:
    """An action that counts."""

    symbol_id: int
    ex_date: date
    kind: ActionKind


@dataclass(frozen=True, eq=False)
class AdjustedCloses:
    """Days of symbols with two adjusted closes, ordered by symbol, reading and day; shape (days,).

    Attributes:
        symbol_id: of each day.
        day: its date (``datetime64[D]``).
        read_day: when the vendor's row was read, a date in the exchange's time zone (``datetime64[D]``). Rows of one
            symbol and date of reading are one series.
        raw: the official close as traded.
        factor: what the actions that counted when the row was read make of it.
        vendor: the vendor's adjusted close.
    """

    symbol_id: Int64
    day: DateArray
    read_day: DateArray
    raw: Floats
    factor: Floats
    vendor: Floats


@dataclass(frozen=True, slots=True)
class Difference:
    """Where the vendor's series parts from ours.

    Attributes:
        symbol_id: the symbol.
        after: the newest day that differs …
        until: … and the day up to which the cause took effect: the next day compared, or that of the reading.
        factor: vendor's close / ours before it, beyond differences of later days.
        cause: why.
    """

    symbol_id: int
    after: date
    until: date
    factor: float
    cause: Cause

    def __str__(self) -> str:
        return f"closes up to {self.after} are {self.factor:.6g} times ours, those from {self.until} not: {self.cause}"


def compute_differences(closes: AdjustedCloses) -> tuple[Floats, Bools]:
    """The logarithm of vendor / ours of each day, and whether it is within a basis point and rounding."""
    difference: Floats = np.log(closes.vendor) - np.log(closes.raw) - np.log(closes.factor)
    return difference, np.abs(difference) <= _compute_tolerance(closes)


def find_differences(
    closes: AdjustedCloses, actions: Sequence[KnownAction], known_until: Mapping[int, date]
) -> list[Difference]:
    """Where the series part, oldest last within a reading; each once, however many days it changes.

    Args:
        closes: both series.
        actions: all that count.
        known_until: symbol_id → the day up to which all its actions were read.
    """
    difference, agrees = compute_differences(closes)
    tolerance = _compute_tolerance(closes)
    by_symbol = {
        key: list(group) for key, group in groupby(sorted(actions, key=lambda a: a.symbol_id), lambda a: a.symbol_id)
    }
    found: list[Difference] = []
    for lines in _split_series(closes):
        if agrees[lines].all():
            continue
        symbol_id, read_day = int(closes.symbol_id[lines[0]]), closes.read_day[lines[0]].item()
        of_symbol = by_symbol.get(symbol_id, [])
        offset, until, later = 0.0, read_day, 1.0
        for line in reversed(lines.tolist()):
            day, factor = closes.day[line].item(), float(closes.factor[line])
            step = float(difference[line]) - offset
            if abs(step) > tolerance[line]:
                kinds = {action.kind for action in of_symbol if day < action.ex_date <= until}
                is_on_ex_date = any(action.ex_date == read_day for action in of_symbol)
                is_lacking = abs(step + np.log(factor / later)) <= 2 * tolerance[line]
                cause = _find_cause(kinds, is_on_ex_date=is_on_ex_date and until == read_day, is_lacking=is_lacking)
                if cause is Cause.NOT_AMONG_ACTIONS and until > known_until.get(symbol_id, date.max):
                    cause = Cause.NOT_READ_YET
                found.append(Difference(symbol_id, day, until, float(np.exp(np.clip(step, *_SHOWN))), cause))
                offset += step
            until, later = day, factor
    return found


def _compute_tolerance(closes: AdjustedCloses) -> Floats:
    with np.errstate(over="ignore"):  # the vendor's figures may be far beyond any price
        tolerance: Floats = MAX_DIFFERENCE + HALF_DIGIT / closes.vendor
    return tolerance


def _split_series(closes: AdjustedCloses) -> list[Int64]:
    lines = np.arange(len(closes.symbol_id))
    is_new = (np.diff(closes.symbol_id) != 0) | (np.diff(closes.read_day) != np.timedelta64(0, "D"))
    return np.split(lines, np.flatnonzero(is_new) + 1) if len(lines) else []


def _find_cause(kinds: Set[ActionKind], *, is_on_ex_date: bool, is_lacking: bool) -> Cause:
    """The cause of a step of vendor / ours at which actions of these kinds take effect.

    ``is_lacking``: the vendor's series has no step at all there.
    """
    if not kinds:
        return Cause.NOT_AMONG_ACTIONS
    if is_on_ex_date:
        return Cause.READ_ON_EX_DATE
    if "spin-off" in kinds:
        return Cause.SPIN_OFF
    if is_lacking:
        return Cause.VENDOR_LACKS_SPLIT if "split" in kinds else Cause.VENDOR_LACKS_IT
    return Cause.OTHER_FACTOR
