"""Where nobody traded: a part of the truth, however the vendor then writes it down."""

from dataclasses import dataclass

import numpy as np

from backfill_assets.sandbox.config import Traits
from backfill_assets.sandbox.world.random_draws import Bools, stream

_DEAD_SLOTS = 0.15  # half-hours in which nobody at all trades a thin ticker
_QUIET_WINDOWS = 0.3
_VENUE_QUIET = 0.15  # windows in which only the single venue saw nothing
_TRADED_MINUTES = 0.35


@dataclass(frozen=True)
class Quiet:
    """What is quiet in one session.

    Attributes:
        minutes: regular minutes without a trade on the consolidated tape.
        windows: five-minute windows without a trade on the single venue.
        flat: which of those are written as flat rows instead of all-null ones.
    """

    minutes: Bools
    windows: Bools
    flat: Bools


def quiet_session(minutes: int) -> Quiet:
    """A session without a single trade."""
    windows = np.ones(minutes // 5, bool)
    return Quiet(np.ones(minutes, bool), windows, np.zeros(len(windows), bool))


def thin_session(minutes: int, *parts: str | int) -> Quiet:
    """A session of a thin ticker; a window that is quiet on the tape is quiet on the venue too."""
    rng = stream("thin", *parts)
    windows = minutes // 5
    dead = np.repeat(rng.random(-(-windows // 6)) < _DEAD_SLOTS, 6)[:windows]
    silent = dead | (rng.random(windows) < _QUIET_WINDOWS)
    traded = rng.random((windows, 5)) < _TRADED_MINUTES
    traded[np.arange(windows), rng.integers(0, 5, windows)] = True
    traded[silent] = False
    venue = silent | (rng.random(windows) < _VENUE_QUIET)
    return Quiet(~traded.reshape(-1), venue, np.zeros(windows, bool))


def liquid_session(minutes: int, traits: Traits, *parts: str | int) -> Quiet:
    """A session of a liquid ticker: here and there a window, here and there a minute."""
    windows = minutes // 5
    if not (traits.null_rows or traits.flat_rows or traits.quiet_minutes):
        return Quiet(np.zeros(minutes, bool), np.zeros(windows, bool), np.zeros(windows, bool))
    rng = stream("quiet", *parts)
    drawn = rng.random(windows)
    flat = drawn < traits.flat_rows
    lost = drawn < traits.flat_rows + traits.null_rows
    return Quiet(rng.random(minutes) < traits.quiet_minutes, lost, flat)
