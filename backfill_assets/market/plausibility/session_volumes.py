"""What the volumes of sessions are like: median, scatter, gaps, neighbours. What they prove is decided elsewhere.

Arrays have the shape (lines, columns) of a ``SessionPanel``, figures of whole sessions (lines, 1).
"""

from dataclasses import dataclass

import numpy as np

from backfill_assets.market.arrays import Bools, Floats, Int64

NORMAL_MEDIAN = 0.6745 * np.sqrt(2)  # of the distance of two draws from a normal distribution, in deviations


@dataclass(frozen=True, eq=False)
class SessionVolumes:
    """The volumes of sessions.

    Attributes:
        volume: shares, 0 where no row or no volume is.
        seconds: length of a row.
        has_volume: where a volume is; only these rows count in what follows.
        rows_before: how many rows are before each.
        count: how many rows a session has.
        median: of their volumes, the lower one; infinite without rows.
        is_last: the last row of its session.
        starts: when each column begins, as in ``SessionPanel``; None: one after the other.
    """

    volume: Floats
    seconds: int
    has_volume: Bools
    rows_before: Int64
    count: Int64
    median: Floats
    is_last: Bools
    starts: Int64 | None = None

    @property
    def gap_before(self) -> Int64:
        """How many seconds without rows are before each row, 0 before the first."""
        previous = find_previous(self.has_volume)
        if self.starts is None:
            gap = (np.arange(self.volume.shape[1]) - 1 - previous) * self.seconds
        else:
            gap = self.starts - np.take_along_axis(self.starts, np.maximum(previous, 0), axis=1) - self.seconds
        return np.where(self.rows_before > 0, gap, 0)

    @property
    def present_share(self) -> Floats:
        """How many of the rows between a session's first and last are present."""
        first = self.has_volume.argmax(axis=1)
        slots = self.volume.shape[1] - first - self.has_volume[:, ::-1].argmax(axis=1)
        share: Floats = self.count / slots[:, np.newaxis]
        return share


def describe_volumes(volume: Floats, seconds: int, starts: Int64 | None = None) -> SessionVolumes:
    """Describe the volumes of sessions; rows without volume are 0. ``starts`` is that of ``SessionPanel``."""
    has_volume = volume > 0
    count = has_volume.sum(axis=1, keepdims=True)
    rows_before: Int64 = np.cumsum(has_volume, axis=1) - has_volume
    ordered = np.sort(np.where(has_volume, volume, np.inf), axis=1)
    median = np.take_along_axis(ordered, np.maximum(count - 1, 0) // 2, axis=1)
    is_last = has_volume & (rows_before == count - 1)
    return SessionVolumes(volume, seconds, has_volume, rows_before, count, median, is_last, starts)


def measure_deviation(volume: Floats) -> Floats:
    """Standard deviation of the logarithm of volumes from one row to the next, by its median; infinite if unknown."""
    with np.errstate(divide="ignore", invalid="ignore"):
        steps = np.abs(np.diff(np.log(volume), axis=1))
    steps[~np.isfinite(steps)] = np.nan
    is_known = ~np.isnan(steps).all(axis=1)
    deviation = np.full((len(steps), 1), np.inf)
    deviation[is_known, 0] = np.nanmedian(steps[is_known], axis=1) / NORMAL_MEDIAN
    return deviation


def get_neighbours(volume: Floats, is_neighbour: Bools) -> tuple[Floats, Floats]:
    """The volumes of the nearest neighbours before and after each row, 0 without one."""
    return _get_before(volume, is_neighbour), _get_before(volume[:, ::-1], is_neighbour[:, ::-1])[:, ::-1]


def _get_before(volume: Floats, is_neighbour: Bools) -> Floats:
    previous = find_previous(is_neighbour)
    found: Floats = np.where(previous >= 0, np.take_along_axis(volume, np.maximum(previous, 0), axis=1), 0.0)
    return found


def find_previous(is_wanted: Bools) -> Int64:
    """The column of the nearest wanted row before each, −1 without one."""
    columns = np.where(is_wanted, np.arange(is_wanted.shape[1]), -1)
    previous = np.maximum.accumulate(columns, axis=1)
    result: Int64 = np.pad(previous, ((0, 0), (1, 0)), constant_values=-1)[:, :-1]
    return result
