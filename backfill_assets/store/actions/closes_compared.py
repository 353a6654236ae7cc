"""Our adjusted closes beside the vendor's, by symbol: what the check and the morning's findings say of them."""

from dataclasses import dataclass

import numpy as np

from backfill_assets.market.actions.adjusted_closes import Difference, compute_differences, find_differences
from backfill_assets.store.actions.adjusted_close_reader import ActionWithoutFactor, ClosesRead

BPS_PER_UNIT = 10_000


@dataclass(frozen=True, slots=True)
class ClosesCompared:
    """Our adjusted closes of one symbol beside the vendor's.

    Attributes:
        symbol_id: the symbol.
        days: how many days are compared.
        worst_bps: the largest difference that is not one of ``differences``, in basis points.
        without_factor: how many more days have no factor of ours.
        closes_differ: how many official closes are not the daily ones, which stand in for them.
        differences: where the two series part, each with its cause.
        missing: actions without a factor.
    """

    symbol_id: int
    days: int
    worst_bps: float = 0.0
    without_factor: int = 0
    closes_differ: int = 0
    differences: tuple[Difference, ...] = ()
    missing: tuple[ActionWithoutFactor, ...] = ()

    @property
    def unexplained(self) -> list[str]:
        """The differences that are not explained, in words."""
        return [str(difference) for difference in self.differences if not difference.cause.is_explained]

    @property
    def inconsistencies(self) -> list[str]:
        """Those, and the actions whose records contradict each other or lack a close, in words."""
        return self.unexplained + [
            f"{item.kind} of {item.ex_date} has no factor: {item.reason}"
            for item in self.missing
            if item.is_inconsistent
        ]


def compare_closes(read: ClosesRead) -> list[ClosesCompared]:
    """Compare adjusted closes with the vendor's of the same moment, by symbol; of those with rows or such actions."""
    difference, agrees = compute_differences(read.closes)
    off = np.where(agrees, np.abs(difference), 0.0) * BPS_PER_UNIT
    found: dict[int, list[Difference]] = {}
    for item in find_differences(read.closes, read.actions, read.known_until):
        found.setdefault(item.symbol_id, []).append(item)
    missing: dict[int, list[ActionWithoutFactor]] = {}
    for action in read.missing:
        missing.setdefault(action.symbol_id, []).append(action)
    keys, begins = np.unique(read.closes.symbol_id, return_index=True)
    own = dict(zip(keys.tolist(), np.split(off, begins[1:]), strict=False))
    nothing = np.zeros(0)
    return [
        ClosesCompared(
            symbol_id=key,
            days=len(own.get(key, nothing)) + read.unadjusted.get(key, 0),
            worst_bps=float(own.get(key, nothing).max(initial=0.0)),
            without_factor=read.without_factor.get(key, 0),
            closes_differ=read.closes_differ.get(key, 0),
            differences=tuple(found.get(key, ())),
            missing=tuple(missing.get(key, ())),
        )
        for key in sorted({*own, *read.unadjusted, *read.without_factor, *missing})
    ]
