"""Splits of symbols: what they do to daily volumes, and on which days they take effect. Pure.

The vendor's daily volume is adjusted for every split between its day and the moment when the row was read, while
intraday volume is raw (docs/vendor.md §5.4). Where splits are stored is ``store.actions.splits``.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np

from backfill_assets.market.arrays import Bools, Floats, Int64
from backfill_assets.market.vendor import DateArray

# A row whose two closes differ by less was read before any split since its day: hardly a split has a ratio so near to
# 1, and the vendor rounds prices.
MAX_UNADJUSTED_DIFFERENCE = 0.005


@dataclass(frozen=True, eq=False)
class SplitHistory:
    """The known splits of some symbols, and for which days all splits are known; parallel arrays.

    Attributes:
        symbol_id: of each split, ascending; shape (splits,), like ``ex_date`` and ``ratio``.
        ex_date: the first day with the new number of shares (``datetime64[D]``), ascending within a symbol.
        ratio: new shares for an old one.
        read_symbol_id: the symbols whose splits were read, ascending; shape (symbols,), like all that follow.
        known_after: every split after this day …
        known_until: … up to this one is known (``datetime64[D]``).
        read_at: when they were read, epoch seconds UTC.
    """

    symbol_id: Int64
    ex_date: DateArray
    ratio: Floats
    read_symbol_id: Int64
    known_after: DateArray
    known_until: DateArray
    read_at: Int64


def find_split_ratios(splits: SplitHistory, symbol_id: Int64, day: DateArray) -> Floats:
    """New shares for an old one by the split that takes effect on each day.

    Args:
        splits: what is known.
        symbol_id: ascending, shape (lines,) like ``day``.
        day: session dates (``datetime64[D]``).

    Returns:
        Shape (lines,): 1 without a split, NaN where that is not known.
    """
    ratios = np.where(_is_read(splits, symbol_id, day), 1.0, np.nan)
    for lines, ex_date, ratio in _iterate_splits(splits, symbol_id):
        ratios[lines][day[lines] == ex_date] = ratio
    return ratios


def undo_splits(
    volume: Floats,
    splits: SplitHistory,
    symbol_id: Int64,
    day: DateArray,
    read_at: Int64,
    adjustment: Floats,
    zone: ZoneInfo,
) -> Floats:
    """Daily volumes in shares of their own day.

    A row whose adjusted close equals its close was read before any split since. Another one needs the splits, read
    after the row.

    Args:
        volume: as the vendor gives it, shape (lines,) like all that follow.
        splits: what is known.
        symbol_id: ascending.
        day: session dates (``datetime64[D]``).
        read_at: when the vendor's row was read, epoch seconds UTC.
        adjustment: the row's adjusted close / close, NaN where one is unknown.
        zone: of the exchange, in which the day of reading is compared with days of splits.

    Returns:
        Shape (lines,), NaN where the splits since are not known.
    """
    factors = np.ones(len(volume))
    read_day = _to_exchange_days(read_at, zone)
    for lines, ex_date, ratio in _iterate_splits(splits, symbol_id):
        is_since = (day[lines] < ex_date) & (ex_date <= read_day[lines])
        factors[lines][is_since] *= ratio
    factors[~_is_known_since(splits, symbol_id, day, read_at)] = np.nan
    factors[is_unadjusted(adjustment)] = 1.0
    undone: Floats = volume / factors
    return undone


def is_unadjusted(adjustment: Floats) -> Bools:
    """Whether an adjusted close / close shows that no split has taken effect since the day of its row."""
    unadjusted: Bools = np.abs(adjustment - 1.0) <= MAX_UNADJUSTED_DIFFERENCE
    return unadjusted


def _is_read(splits: SplitHistory, symbol_id: Int64, day: DateArray) -> Bools:
    """Whether all splits of exactly these days are known."""
    position, is_listed = _find_reads(splits, symbol_id)
    known = np.zeros(len(symbol_id), bool)
    read = position[is_listed]
    known[is_listed] = (day[is_listed] > splits.known_after[read]) & (day[is_listed] <= splits.known_until[read])
    return known


def _is_known_since(splits: SplitHistory, symbol_id: Int64, day: DateArray, read_at: Int64) -> Bools:
    """Whether all splits after the days are known that the vendor can have adjusted the rows for."""
    position, is_listed = _find_reads(splits, symbol_id)
    known = np.zeros(len(symbol_id), bool)
    read = position[is_listed]
    known[is_listed] = (day[is_listed] >= splits.known_after[read]) & (splits.read_at[read] >= read_at[is_listed])
    return known


def _find_reads(splits: SplitHistory, symbol_id: Int64) -> tuple[Int64, Bools]:
    position = np.searchsorted(splits.read_symbol_id, symbol_id).astype(np.int64)
    is_listed = position < len(splits.read_symbol_id)
    is_listed[is_listed] = splits.read_symbol_id[position[is_listed]] == symbol_id[is_listed]
    return position, is_listed


def _iterate_splits(splits: SplitHistory, symbol_id: Int64) -> Iterator[tuple[slice, np.datetime64, float]]:
    """Each split with the lines of its symbol; lines are ordered by symbol."""
    starts = np.searchsorted(symbol_id, splits.symbol_id, side="left").tolist()
    stops = np.searchsorted(symbol_id, splits.symbol_id, side="right").tolist()
    for position, (start, stop) in enumerate(zip(starts, stops, strict=True)):
        if start < stop:
            yield slice(start, stop), splits.ex_date[position], float(splits.ratio[position])


def _to_exchange_days(stamp: Int64, zone: ZoneInfo) -> DateArray:
    """The date in the exchange's time zone; rows are read in few different quarters of an hour."""
    quarters, position = np.unique(stamp // 900, return_inverse=True)
    days = [datetime.fromtimestamp(quarter * 900, zone).date() for quarter in quarters.tolist()]
    return np.array(days, "datetime64[D]")[position]
