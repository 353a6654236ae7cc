"""Minutes and windows without a trade. They belong to the true bars; how they are published is in ``data_quirks``."""

from dataclasses import dataclass

import numpy as np

from backfill_assets.market.arrays import Bools
from backfill_assets.sandbox.config import DataQuirks
from backfill_assets.sandbox.world.random_draws import make_generator

_NO_TRADE_SLOT_SHARE = 0.15  # half-hours without any trade in a thin ticker
_QUIET_WINDOW_SHARE = 0.3
_VENUE_QUIET_SHARE = 0.15  # windows without a trade on the single venue only
_TRADED_MINUTE_SHARE = 0.35


@dataclass(frozen=True)
class QuietPeriods:
    """The periods of one session without a trade.

    Attributes:
        minutes: regular minutes without a consolidated trade, shape (minutes,).
        windows: five-minute windows without a trade on the single venue, shape (minutes / 5,), rounded up.
        flat: windows that are published as flat rows instead of all-null ones, same shape.
    """

    minutes: Bools
    windows: Bools
    flat: Bools


def count_windows(minutes: int) -> int:
    """Count the five-minute windows of a session; where it ends within one, that is shorter."""
    return -(-minutes // 5)


def make_quiet_session(minutes: int) -> QuietPeriods:
    """Make a session without a trade."""
    windows = np.ones(count_windows(minutes), bool)
    return QuietPeriods(np.ones(minutes, bool), windows, np.zeros(len(windows), bool))


def draw_thin_session(minutes: int, *parts: str | int) -> QuietPeriods:
    """Draw a session of a thin ticker; a window without a consolidated trade has none on the venue either."""
    rng = make_generator("thin", *parts)
    windows = count_windows(minutes)
    no_trade = np.repeat(rng.random(-(-windows // 6)) < _NO_TRADE_SLOT_SHARE, 6)[:windows]
    quiet = no_trade | (rng.random(windows) < _QUIET_WINDOW_SHARE)
    traded = rng.random((windows, 5)) < _TRADED_MINUTE_SHARE
    traded[np.arange(windows), rng.integers(0, 5, windows)] = True
    traded[-1, 0] |= minutes % 5 != 0  # a short last window has fewer minutes to choose from
    traded[quiet] = False
    venue = quiet | (rng.random(windows) < _VENUE_QUIET_SHARE)
    return QuietPeriods(~traded.reshape(-1)[:minutes], venue, np.zeros(windows, bool))


def draw_liquid_session(minutes: int, quirks: DataQuirks, *parts: str | int) -> QuietPeriods:
    """Draw a session of a liquid ticker: a few windows and minutes without a trade."""
    windows = count_windows(minutes)
    if not (quirks.null_rows or quirks.flat_rows or quirks.quiet_minutes):
        return QuietPeriods(np.zeros(minutes, bool), np.zeros(windows, bool), np.zeros(windows, bool))
    rng = make_generator("quiet", *parts)
    drawn = rng.random(windows)
    flat = drawn < quirks.flat_rows
    quiet = drawn < quirks.flat_rows + quirks.null_rows
    return QuietPeriods(rng.random(minutes) < quirks.quiet_minutes, quiet, flat)


def add_halt(quiet: QuietPeriods, halt: tuple[int, int]) -> QuietPeriods:
    """The periods with a halt: minutes from the open, first and the one after the last; whole five-minute windows."""
    minutes, windows = quiet.minutes.copy(), quiet.windows.copy()
    minutes[slice(*halt)] = True
    windows[halt[0] // 5 : halt[1] // 5] = True
    return QuietPeriods(minutes, windows, quiet.flat)
