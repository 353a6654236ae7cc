"""Intraday rows as columns, and operations on them: select, concatenate, sort, aggregate."""

from dataclasses import dataclass

import numpy as np

from backfill_assets.market.arrays import Bools, Floats, Int64

NULL_VOLUME = -1  # stands for null


@dataclass(frozen=True)
class IntradayColumns:
    """Rows of one ticker at one interval, in published order.

    Attributes:
        timestamps: epoch seconds UTC of the start of each row, shape (rows,).
        prices: open, high, low, close, shape (4, rows); NaN is null.
        volumes: shares, shape (rows,); −1 is null.
    """

    timestamps: Int64
    prices: Floats
    volumes: Int64

    def __len__(self) -> int:
        """The number of rows."""
        return len(self.timestamps)

    def select(self, chosen: "Bools | Int64 | slice") -> "IntradayColumns":
        """Select rows by a mask, positions or a slice."""
        return IntradayColumns(self.timestamps[chosen], self.prices[:, chosen], self.volumes[chosen])


NO_ROWS = IntradayColumns(np.zeros(0, np.int64), np.zeros((4, 0)), np.zeros(0, np.int64))


def concatenate_rows(*parts: IntradayColumns) -> IntradayColumns:
    """Concatenate the rows of all parts."""
    return IntradayColumns(
        np.concatenate([part.timestamps for part in parts]),
        np.concatenate([part.prices for part in parts], axis=1),
        np.concatenate([part.volumes for part in parts]),
    )


def sort_by_timestamp(rows: IntradayColumns) -> IntradayColumns:
    """Sort by time stamp; rows with equal stamps keep their order."""
    return rows.select(np.argsort(rows.timestamps, kind="stable"))


def make_flat_row(timestamp: int, price: float, volume: int = NULL_VOLUME) -> IntradayColumns:
    """Make one row whose four prices are equal."""
    return IntradayColumns(np.array([timestamp], np.int64), np.full((4, 1), price), np.array([volume], np.int64))


def aggregate_rows(rows: IntradayColumns, starts: Int64) -> IntradayColumns:
    """Aggregate ordered rows to bars that start at ``starts`` (ascending); a start without a row gives no bar."""
    group = np.searchsorted(starts, rows.timestamps, side="right") - 1
    firsts = np.flatnonzero(np.diff(group, prepend=-1))
    if len(firsts) == 0:
        return NO_ROWS
    lasts = np.append(firsts[1:], len(rows)) - 1
    opens, highs, lows, closes = rows.prices
    prices = np.stack(
        [
            opens[firsts],
            np.maximum.reduceat(highs, firsts),
            np.minimum.reduceat(lows, firsts),
            closes[lasts],
        ]
    )
    return IntradayColumns(starts[group[firsts]], prices, np.add.reduceat(rows.volumes, firsts))
