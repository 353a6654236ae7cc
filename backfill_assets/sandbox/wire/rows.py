"""Intraday rows as columns, and the little that is done with them."""

from dataclasses import dataclass

import numpy as np

from backfill_assets.sandbox.world.random_draws import Bools, Float64, Int64

ABSENT = -1  # a volume that is null


@dataclass(frozen=True)
class Rows:
    """Rows of one ticker at one interval, in the order in which they are written.

    Attributes:
        stamps: epoch seconds of each row's open, UTC.
        prices: open, high, low, close, shape (4, rows); NaN is null.
        volumes: shares; −1 is null.
    """

    stamps: Int64
    prices: Float64
    volumes: Int64

    def __len__(self) -> int:
        """How many rows."""
        return len(self.stamps)

    def where(self, chosen: "Bools | Int64 | slice") -> "Rows":
        """The chosen rows: a mask, positions or a slice."""
        return Rows(self.stamps[chosen], self.prices[:, chosen], self.volumes[chosen])


NO_ROWS = Rows(np.zeros(0, np.int64), np.zeros((4, 0)), np.zeros(0, np.int64))


def joined(*parts: Rows) -> Rows:
    """The rows of all parts, one after the other."""
    return Rows(
        np.concatenate([part.stamps for part in parts]),
        np.concatenate([part.prices for part in parts], axis=1),
        np.concatenate([part.volumes for part in parts]),
    )


def in_order(rows: Rows) -> Rows:
    """The rows by time stamp; equal stamps stay as they stand."""
    return rows.where(np.argsort(rows.stamps, kind="stable"))


def flat_row(stamp: int, price: float, volume: int = ABSENT) -> Rows:
    """One row whose four prices are the same."""
    return Rows(np.array([stamp], np.int64), np.full((4, 1), price), np.array([volume], np.int64))


def grouped(rows: Rows, starts: Int64) -> Rows:
    """Bars that begin at ``starts`` (ascending) from ordered rows; a start without a row is absent."""
    group = np.searchsorted(starts, rows.stamps, side="right") - 1
    firsts = np.flatnonzero(np.diff(group, prepend=-1))
    if len(firsts) == 0:
        return NO_ROWS
    lasts = np.append(firsts[1:], len(rows)) - 1
    opened, high, low, close = rows.prices
    prices = np.stack(
        [
            opened[firsts],
            np.maximum.reduceat(high, firsts),
            np.minimum.reduceat(low, firsts),
            close[lasts],
        ]
    )
    return Rows(starts[group[firsts]], prices, np.add.reduceat(rows.volumes, firsts))
