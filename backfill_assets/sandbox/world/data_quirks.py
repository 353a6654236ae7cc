"""The awkward traits, laid over clean rows: what the vendor writes where the truth is simple.

Each function draws from a stream of its own, so switching one trait leaves the others as they are.
"""

from dataclasses import dataclass
from datetime import date

import numpy as np

from backfill_assets.market.calendar.sessions import Session
from backfill_assets.sandbox.config import Traits
from backfill_assets.sandbox.wire.rows import ABSENT, Rows, flat_row, in_order, joined
from backfill_assets.sandbox.world.minute_paths import FIVE_MINUTES, MINUTE, single_precision
from backfill_assets.sandbox.world.quiet_periods import Quiet
from backfill_assets.sandbox.world.random_draws import Int64, stream, unit

_MISSING_FROM, _MISSING_TO = date(2025, 10, 13), date(2025, 10, 27)  # whole market (EODHD.md §2)


@dataclass(frozen=True)
class Scene:
    """Whose rows these are: everything the draws depend on."""

    seed: int
    root: str
    session: Session
    traits: Traits

    @property
    def day(self) -> int:
        """The session's day as an ordinal."""
        return self.session.day.toordinal()

    def struck(self, what: str, probability: float) -> bool:
        """Whether something of that probability happens to this ticker in this session."""
        return probability > 0 and unit(self.seed, what, self.root, self.day) < probability

    def stream(self, what: str) -> np.random.Generator:
        """A generator for one purpose."""
        return stream(self.seed, what, self.root, self.day)


def preliminary(scene: Scene, rows: Rows, interval: str) -> Rows:
    """The rows as first published, before a revision: other volumes, sometimes another close."""
    if len(rows) == 0:
        return rows
    rng = scene.stream(f"preliminary {interval}")
    touched = rng.integers(0, len(rows), min(4, len(rows)))
    volumes, prices = rows.volumes.copy(), rows.prices.copy()
    volumes[touched] = np.maximum(volumes[touched] * rng.uniform(0.9, 0.99, len(touched)), 1).astype(np.int64)
    prices[3, touched[0]] = prices[2, touched[0]]
    return Rows(rows.stamps, prices, volumes)


def with_quiet_windows(rows: Rows, stamps: Int64, quiet: Quiet) -> Rows:
    """The full grid: all-null rows, or flat ones at the last price, where there was no trade."""
    if len(rows) == len(stamps):
        return rows
    prices = np.full((4, len(stamps)), np.nan)
    volumes = np.full(len(stamps), ABSENT, np.int64)
    traded = ~quiet.windows
    prices[:, traded], volumes[traded] = rows.prices, rows.volumes
    for at in np.flatnonzero(quiet.flat):
        before = prices[3, :at]
        known = before[~np.isnan(before)]
        if len(known):
            prices[:, at] = known[-1]
    return Rows(stamps, prices, volumes)


def with_cumulative_volumes(scene: Scene, rows: Rows) -> Rows:
    """Six to twelve rows hold the session's volume so far, in the ticker's bad months."""
    month = scene.session.day.year * 12 + scene.session.day.month
    if unit(scene.seed, "cumulative", scene.root, month) >= scene.traits.cumulative_months:
        return rows
    rng = scene.stream("cumulative")
    candidates = np.flatnonzero(rows.volumes[1:] > 0) + 1
    chosen = rng.permutation(candidates)[: int(rng.integers(6, 13))]
    volumes = rows.volumes.copy()
    volumes[chosen] = np.cumsum(np.maximum(rows.volumes, 0))[chosen]
    return Rows(rows.stamps, rows.prices, volumes)


def stale_copy(scene: Scene, rows: Rows) -> Rows:
    """A copy of one row as it stood earlier: same stamp and open, narrower, less volume."""
    at = np.flatnonzero(rows.volumes > 1)
    if len(at) == 0:
        return rows.where(slice(0, 0))
    chosen = int(scene.stream("duplicate").choice(at))
    copy = rows.where(slice(chosen, chosen + 1))
    opened, _, low, _ = copy.prices[:, 0]
    prices = np.array([[opened], [opened], [low], [low]])
    return Rows(copy.stamps, prices, copy.volumes // 2)


def halt_prints(scene: Scene, rows: Rows) -> Rows:
    """One or two null-volume rows off the five-minute grid, like 13:21."""
    rng = scene.stream("halt")
    traded = np.flatnonzero(rows.volumes > 0)[:-1]
    if len(traded) == 0:
        return rows.where(slice(0, 0))
    chosen = np.unique(rng.choice(traded, int(rng.integers(1, 3))))
    stamps = rows.stamps[chosen] + MINUTE * rng.integers(1, 5, len(chosen))
    prices = np.repeat(rows.prices[3:4, chosen], 4, axis=0)
    return Rows(stamps, prices, np.full(len(chosen), ABSENT, np.int64))


def close_print(scene: Scene, official_close: float) -> Rows | None:
    """The flat null-volume row at the close; None where it is missing (EODHD.md §2, Close, 5m)."""
    traits, session = scene.traits, scene.session
    if not traits.close_print or scene.struck("no print", traits.print_missing):
        return None
    if traits.print_missing_weeks:
        year, week, _ = session.day.isocalendar()
        known = _MISSING_FROM <= session.day <= _MISSING_TO
        if known or unit(scene.seed, "week", year, week) < traits.print_missing_weeks:
            return None
    price = official_close
    if session.is_early_close and unit(scene.seed, "early", scene.day) < traits.print_off_early:
        price = round(official_close * 1.0011, 2)
    return flat_row(_epoch(session), float(single_precision(np.array([price]))[0]))


def five_minute_rows(
    scene: Scene, rows: Rows, stamps: Int64, quiet: Quiet, official_close: float, repaired: bool
) -> Rows:
    """The 5m rows of a whole session as the vendor writes them."""
    traits = scene.traits
    grid = with_quiet_windows(rows, stamps, quiet)
    if traits.cumulative_months and not repaired:
        grid = with_cumulative_volumes(scene, grid)
    parts = [grid]
    if scene.struck("duplicate", traits.duplicates):
        parts.insert(0, stale_copy(scene, rows))
    if scene.struck("halt", traits.halt_prints):
        parts.append(halt_prints(scene, rows))
    last = close_print(scene, official_close) if len(rows) else None
    if last is not None:
        parts.append(last)
        if scene.struck("post", traits.post_prints):
            later = _epoch(scene.session) + FIVE_MINUTES * (1 + int(40 * unit(scene.root, scene.day)))
            parts.append(flat_row(later, float(last.prices[3, 0])))
    return grid if len(parts) == 1 else in_order(joined(*parts))


def shuffled(scene: Scene, rows: Rows) -> Rows:
    """The rows in no order."""
    return rows.where(scene.stream("order").permutation(len(rows)))


def _epoch(session: Session) -> int:
    return int(session.close.timestamp())
