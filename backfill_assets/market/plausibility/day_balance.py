"""Settle doubted volumes by the day's volume. Which volumes are doubted is decided in ``running_totals``."""

from dataclasses import dataclass

import numpy as np

from backfill_assets.market.arrays import Bools, Floats


@dataclass(frozen=True, eq=False)
class SettledVolumes:
    """What the day says about doubted volumes of one session, shape (volumes,) each; the others stay open.

    Attributes:
        is_proven: wrong, to be withheld.
        is_confirmed: right.
    """

    is_proven: Bools
    is_confirmed: Bools


def settle_by_day(
    total: float, volumes: Floats, day_volume: float, usual_share: float = float("nan")
) -> SettledVolumes:
    """Weigh the doubted volumes of one session against the day's volume, in which its venue is a part.

    A volume is proven wrong if the session's sum exceeds the day's with it, whatever the other doubted ones are, and
    does not without all of them. What remains is confirmed if the sum with it is no more than usual. A sum between the
    usual and the day's proves nothing: of a venue with a fifth of all trades, a running total is less than the day's.

    Args:
        total: the session's sum, with the doubted volumes.
        volumes: the doubted ones, shape (volumes,).
        day_volume: of the settled day, NaN while it is unknown; then everything stays open.
        usual_share: the symbol's usual share of the venue in the day's volume, NaN while it is unknown.
    """
    rest = total - volumes.sum()
    is_proven: Bools = (rest + volumes > day_volume) & (rest <= day_volume)
    is_usual = total - volumes[is_proven].sum() <= usual_share * day_volume
    return SettledVolumes(is_proven, ~is_proven & np.full(len(volumes), is_usual))
