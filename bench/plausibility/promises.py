"""Which injected data the rules promise to find: rows for running totals, sessions for everything else.

Each promise is what the rule states about itself. What is not promised is counted as well.
"""

from collections.abc import Callable

import numpy as np

from backfill_assets.market.arrays import Bools, Floats
from backfill_assets.market.plausibility.day_volumes import MAX_EXCESS
from backfill_assets.market.plausibility.running_totals import (
    BLOCK_SHARES,
    CLOSING_ROWS,
    LARGE_MEDIANS,
    MAX_SUMS_ALONE,
    MIN_DEVIATIONS,
    MIN_MATCHES,
    MIN_OVER_NEIGHBOURS,
    MIN_OVER_NEIGHBOURS_ALONE,
    MIN_OVER_OTHERS,
    MIN_PRESENT_SHARE,
    MIN_ROWS_BEFORE_MATCH,
    MIN_ROWS_BEFORE_OUTLIER,
    MIN_SUMS,
    OUTLIER_MEDIANS,
    OUTLIER_SHARE,
    REOPENING_GAP,
)
from backfill_assets.market.plausibility.session_volumes import (
    SessionVolumes,
    describe_volumes,
    get_neighbours,
    measure_deviation,
)
from backfill_assets.sandbox.oddities import OddityKind
from bench.plausibility.injections import InjectedMarket
from bench.plausibility.markets import VENUE_DEVIATIONS

BEYOND_RANGE, BEYOND_TICKS = 0.005, 2  # how far outside the day's range a price must lie
MOVED_SESSIONS, LAST_SESSIONS = 15, 20
STEADY_VENUE = 0.1  # a doubled volume shows where the venue's share of the day varies no more than this
FAR_MORE = 3.0  # times the right volume: eleven of its deviations, so that a single session shows it


def find_promised(injected: InjectedMarket) -> Bools:
    """Find the cells that the rules promise to doubt, shape (lines, 78)."""
    promised: Bools = injected.changed & _PROMISES[injected.kind](injected)
    return promised


def _promise_totals(injected: InjectedMarket) -> Bools:
    """What the day's volume proves, and single totals that rows alone show."""
    return _exceed_day(injected) | _stand_alone(injected)


def _promise_totals_that_continue(injected: InjectedMarket) -> Bools:
    """The same, and exact and slipping totals of a steady session that has two which are not side by side."""
    promised = _stand_out(injected)
    is_apart = promised & ~np.pad(promised, ((0, 0), (1, 0)))[:, :-1]
    return _promise_totals(injected) | (promised & (is_apart.sum(axis=1, keepdims=True) >= MIN_MATCHES))


def _exceed_day(injected: InjectedMarket) -> Bools:
    """Totals of six medians, after five rows, on a day whose settled volume is less than the session's.

    If the venue has a steady part of the day's volume: also where the session has three times its right volume.
    """
    volume, right = _get_volumes(injected)
    session = describe_volumes(right, injected.right.rows.seconds)
    total, day = volume.sum(axis=1), injected.wrong.days.volume
    exceeds = total > MAX_EXCESS * day
    if VENUE_DEVIATIONS[injected.right.sort] <= STEADY_VENUE:
        exceeds |= ~np.isnan(day) & (total >= FAR_MORE * right.sum(axis=1))
    is_large = (session.rows_before >= MIN_ROWS_BEFORE_MATCH) & (volume >= LARGE_MEDIANS * session.median)
    promised: Bools = is_large & exceeds[:, None]
    return promised


def _stand_alone(injected: InjectedMarket) -> Bools:
    """Totals that are far too large for a steady session whose own rows are ordinary, wherever its others are.

    After ten rows, not in the last three, nor after ten minutes without rows: 20 medians, a tenth of the session, 0.45
    to 1.5 times the sum before, ten times the rows beside, four times and six deviations above all others.
    """
    volume, right = _get_volumes(injected)
    session = describe_volumes(right, injected.right.rows.seconds)
    rest, sum_before = right.sum(axis=1, keepdims=True) - right, np.cumsum(right, axis=1) - right
    largest, beside = _get_largest(session), np.maximum(*get_neighbours(right, right > 0))
    factor = np.maximum(MIN_OVER_OTHERS, np.exp(np.minimum(MIN_DEVIATIONS * measure_deviation(right), 50.0)))
    promised = _is_between(session, MIN_ROWS_BEFORE_OUTLIER, CLOSING_ROWS)
    promised &= (volume >= OUTLIER_MEDIANS * session.median) & (volume >= OUTLIER_SHARE * rest)
    promised &= (volume >= MIN_SUMS * sum_before) & (volume <= MAX_SUMS_ALONE * sum_before)
    promised &= (volume >= factor * largest) & (volume >= MIN_OVER_NEIGHBOURS_ALONE * beside)
    return promised


def _stand_out(injected: InjectedMarket) -> Bools:
    """Totals in a steady session that are four times and six deviations above its largest own row.

    Its own rows of six medians and more are in the first ten, or the last.
    """
    volume, right = _get_volumes(injected)
    session = describe_volumes(right, injected.right.rows.seconds)
    largest, beside = _get_largest(session), np.maximum(*get_neighbours(right, right > 0))
    factor = np.maximum(MIN_OVER_OTHERS, np.exp(np.minimum(MIN_DEVIATIONS * measure_deviation(right), 50.0)))
    promised: Bools = _is_between(session, MIN_ROWS_BEFORE_MATCH, 1) & (largest < LARGE_MEDIANS * session.median)
    promised &= (volume >= LARGE_MEDIANS * session.median) & (volume >= MIN_OVER_NEIGHBOURS * beside)
    return promised & (volume >= factor * largest)


def _get_largest(session: SessionVolumes) -> Floats:
    """The largest row after the first ten, except the last, and the two before a large last one; shape (lines, 1)."""
    close = np.where(session.is_last, session.volume, 0.0).max(axis=1, keepdims=True)
    is_closing = (session.rows_before >= session.count - CLOSING_ROWS) & (close >= OUTLIER_MEDIANS / 2 * session.median)
    is_counted = (session.rows_before >= MIN_ROWS_BEFORE_OUTLIER) & ~is_closing & ~session.is_last
    largest: Floats = np.where(is_counted, session.volume, 0.0).max(axis=1, keepdims=True)
    return largest


def _is_between(session: SessionVolumes, before: int, after: int) -> Bools:
    """Rows of steady sessions with so many rows before and after them, and no ten minutes without rows before."""
    is_steady = session.present_share >= MIN_PRESENT_SHARE
    is_steady &= LARGE_MEDIANS * session.median >= BLOCK_SHARES
    between: Bools = is_steady & (session.rows_before >= before) & (session.gap_before < REOPENING_GAP)
    return between & (session.count - session.rows_before > after)


def _promise_outside_day(injected: InjectedMarket) -> Bools:
    """Rows outside the settled range of their day by more than 0.5 % and two ticks."""
    rows, days = injected.wrong.rows, injected.wrong.days
    above = rows.high > days.high[:, None] + _get_tolerance(days.high)[:, None]
    below = rows.low < days.low[:, None] - _get_tolerance(days.low)[:, None]
    promised: Bools = above | below
    return promised


def _promise_repeats(injected: InjectedMarket) -> Bools:
    """Sessions of at least 12 rows with volume and ten different prices."""
    rows = injected.wrong.rows
    ordered = np.sort(np.where(injected.changed, rows.close, np.inf), axis=1)
    different = ((ordered[:, 1:] != ordered[:, :-1]) & np.isfinite(ordered[:, 1:])).sum(axis=1) + 1
    return ((injected.changed.sum(axis=1) >= 12) & (different >= 10))[:, None] & injected.changed


def _promise_frozen(injected: InjectedMarket) -> Bools:
    """Names that moved on at least 15 of the 20 sessions before, on a day that traded by its settled figures."""
    rows, wrong = injected.right.rows, injected.occurrence >= 0
    shape = (-1, injected.right.sessions)
    highest = np.fmax.reduce(rows.high, axis=1)
    counted = (np.nan_to_num(highest - np.fmin.reduce(rows.low, axis=1)) > 0) & ~wrong
    moved = np.cumsum(counted.reshape(shape), axis=1) - counted.reshape(shape)
    return ((moved.ravel() >= LAST_SESSIONS) & _is_day_known(injected))[:, None] & rows.is_present


def _promise_doubled(injected: InjectedMarket) -> Bools:
    """Names whose venue has a steady share of the day's volume."""
    is_steady = VENUE_DEVIATIONS[injected.right.sort] <= STEADY_VENUE
    return np.full(injected.changed.shape, is_steady) & _is_day_known(injected)[:, None]


def _promise_all(injected: InjectedMarket) -> Bools:
    return injected.changed


_PROMISES: dict[OddityKind, Callable[[InjectedMarket], Bools]] = {
    OddityKind.EXACT_RUNNING_TOTALS: _promise_totals_that_continue,
    OddityKind.SLIPPING_RUNNING_TOTALS: _promise_totals_that_continue,
    OddityKind.EXCESSIVE_RUNNING_TOTALS: _promise_totals,
    OddityKind.UNSTEADY_RUNNING_TOTALS: _promise_totals,
    OddityKind.LONE_RUNNING_TOTAL: _promise_totals,
    OddityKind.FIELD_SPIKE: _promise_outside_day,
    OddityKind.ROW_SPIKE: _promise_outside_day,
    OddityKind.STALE_OPEN: _promise_outside_day,
    OddityKind.SCALED_ROWS: _promise_outside_day,
    OddityKind.SCALED_FROM_ROW: _promise_outside_day,
    OddityKind.REPEATED_SESSION: _promise_repeats,
    OddityKind.SHIFTED_SESSION: _promise_repeats,
    OddityKind.FROZEN_SESSION: _promise_frozen,
    OddityKind.DOUBLED_VOLUMES: _promise_doubled,
    OddityKind.OVERNIGHT_STEP: _promise_outside_day,
    OddityKind.SPLIT_WITHOUT_STEP: _promise_outside_day,
    OddityKind.BEFORE_LISTING: _promise_all,
}


def _get_volumes(injected: InjectedMarket) -> tuple[Floats, Floats]:
    """The wrong and the right volumes, 0 where there is no row."""
    return np.nan_to_num(injected.wrong.rows.volume), np.nan_to_num(injected.right.rows.volume)


def _get_tolerance(price: Floats) -> Floats:
    return np.maximum(BEYOND_RANGE * price, BEYOND_TICKS * np.where(price < 1, 0.0001, 0.01)) * (1 + 1e-6)


def _is_day_known(injected: InjectedMarket) -> Bools:
    return injected.wrong.days.is_known
