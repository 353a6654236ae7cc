"""Prices outside the settled range of their day. Needs daily data; what the rows alone show is in ``price_spikes``.

Serves rows of 1m and 5m and stored bars alike: a bar has the extremes of its rows. It does not show which of its rows
lies outside.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from backfill_assets.market.actions.spinoffs import is_plain_scale
from backfill_assets.market.arrays import Bools, Floats, Int64
from backfill_assets.market.plausibility.day_figures import DayFigures
from backfill_assets.market.plausibility.doubts import Doubt, round_price
from backfill_assets.market.plausibility.rules import Rule
from backfill_assets.market.plausibility.session_panel import SessionPanel

TOLERANCE_SHARE = 0.005  # closes at early closes lay 0.12 % from the daily one (docs/vendor.md §2.10)
TOLERANCE_TICKS = 2
SMALL_TICK_SHARE, SMALL_TICK_BELOW = 0.01, 1.0  # US shares below one dollar are quoted in 1/100 cent
SLACK = (1 + TOLERANCE_SHARE) ** 2  # a high and a low may both lie beyond their bounds
MAX_SPREAD_SHARE = 0.05  # a thin name's rows show only part of their day's range, and the factor only so exactly
MIN_COMMON_SESSIONS = 5  # sessions of a wrong scale come singly or a few in a row, a spin-off changes all before it


@dataclass(frozen=True, slots=True)
class CommonFactor:
    """Consecutive sessions whose prices all are one multiple of the daily ones, as before a spin-off.

    Attributes:
        symbol_id: the symbol.
        first_session: position in the sessions of the grid.
        last_session: the last such session, inclusive.
        factor: price of a bar / price of the day.
    """

    symbol_id: int
    first_session: int
    last_session: int
    factor: float


def find_prices_outside_day(
    panel: SessionPanel, days: DayFigures, judged: Bools
) -> tuple[list[Doubt], list[CommonFactor]]:
    """Doubt the rows that lie outside the settled range of their day by more than 0.5 % and two ticks.

    Daily prices are adjusted back for spin-offs (docs/vendor.md §5.4), all days before one. So where at least five
    sessions lie outside from the symbol's first on, and one factor brings them into their days' ranges, the factor is
    returned in place of doubts. A row that lies outside even then is doubted. Bars that step by the factor where that
    ends, as they do at a spin-off, were of another scale if it is one of a scale, such as 10 or 2. Where there are no
    spin-offs, such as of coins, all of them are doubted.

    Args:
        panel: rows or bars; every line counts as evidence of a common factor.
        days: figures for its lines; a line without a known range is not judged.
        judged: the lines to be doubted, shape (lines,).

    Returns:
        One doubt for each stretch of rows in a row, and the common factors of stretches with a judged line.
    """
    outside_lines = _find_outside_lines(panel, days)
    factor = np.ones(len(panel))
    found = []
    for stretch in _find_beginnings(panel, days, outside_lines) if panel.market.has_actions else ():
        common = _find_common_factor(panel, days, stretch)
        if common is not None:
            factor[stretch] = common
            if judged[stretch].any():
                first, last = int(panel.session[stretch[0]]), int(panel.session[stretch[-1]])
                found.append(CommonFactor(int(panel.symbol_id[stretch[0]]), first, last, common))
    doubts: list[Doubt] = []
    for line in outside_lines[judged[outside_lines]].tolist():
        low, high = float(days.low[line] * factor[line]), float(days.high[line] * factor[line])
        doubts += _doubt_line(panel, line, low, high, days.price_step)
    return doubts, found


def compute_tolerance(bound: Floats, price_step: float) -> Floats:
    """How far beyond a bound of the day's range a price may lie, at the step of prices of one unit and more."""
    tick = np.where(bound >= SMALL_TICK_BELOW, price_step, SMALL_TICK_SHARE * price_step)
    tolerance: Floats = np.maximum(TOLERANCE_SHARE * bound, TOLERANCE_TICKS * tick)
    return tolerance


def is_borne_out(days: DayFigures, line: Int64, low: Floats, high: Floats) -> Bools:
    """Whether the settled range of a line's day is known and holds prices from ``low`` to ``high``; by element."""
    day_low, day_high = days.low[line], days.high[line]
    lowest = day_low - compute_tolerance(day_low, days.price_step)
    highest = day_high + compute_tolerance(day_high, days.price_step)
    held: Bools = (low >= lowest) & (high <= highest)
    return held


def _find_outside_lines(panel: SessionPanel, days: DayFigures) -> Int64:
    if not len(panel):
        return np.zeros(0, np.int64)
    high, low = np.fmax.reduce(panel.high, axis=1), np.fmin.reduce(panel.low, axis=1)
    above = high > days.high + compute_tolerance(days.high, days.price_step)
    below = low < days.low - compute_tolerance(days.low, days.price_step)
    return np.flatnonzero(days.is_known & (above | below))


def _find_beginnings(panel: SessionPanel, days: DayFigures, outside_lines: Int64) -> Iterable[Int64]:
    """The lines outside their days of each symbol, up to its first session that lies inside its day.

    Sessions whose day is not known end nothing.
    """
    is_inside = days.is_known.copy()
    is_inside[outside_lines] = False
    inside_before = np.cumsum(is_inside)
    first_line = np.searchsorted(panel.symbol_id, panel.symbol_id[outside_lines])
    before_symbol: Int64 = inside_before[first_line] - is_inside[first_line].astype(np.int64)
    lines = outside_lines[inside_before[outside_lines] == before_symbol]
    changes = np.flatnonzero(np.diff(panel.symbol_id[lines]) != 0) + 1
    return (stretch for stretch in np.split(lines, changes) if len(stretch) >= MIN_COMMON_SESSIONS)


def _find_common_factor(panel: SessionPanel, days: DayFigures, lines: Int64) -> float | None:
    """The factor by which the days' ranges hold the rows of most of ``lines``; None if there is none.

    The rows of a session lie within its day, so the factor is between high / day's high and low / day's low. A session
    for which nothing is between, or something far from the others, has wrong rows of its own.
    """
    high, low = np.fmax.reduce(panel.high[lines], axis=1), np.fmin.reduce(panel.low[lines], axis=1)
    least, most = high / days.high[lines], low / days.low[lines]
    middle = np.sqrt(least * most)
    is_possible = least <= most * SLACK
    if not is_possible.any():
        return None
    typical = np.median(middle[is_possible])
    common = is_possible & (np.abs(np.log(middle / typical)) < np.log1p(MAX_SPREAD_SHARE))
    if common.sum() < max(MIN_COMMON_SESSIONS, len(lines) / 2):
        return None
    lower, upper = float(least[common].max()), float(most[common].min())
    factor = float(np.sqrt(lower * upper))
    is_scale = is_plain_scale(factor, tolerance=SLACK - 1) and _steps_back(panel, int(lines[-1]), factor)
    return factor if lower <= upper * SLACK and not is_scale else None


def _steps_back(panel: SessionPanel, line: int, factor: float) -> bool:
    """Whether the bars step by a factor after a line."""
    if line + 1 == len(panel) or panel.symbol_id[line] != panel.symbol_id[line + 1]:
        return False
    before, after = panel.close[line], panel.open[line + 1]
    if np.isnan(after).all():  # a session without a row
        return False
    step = float(np.log(after[~np.isnan(after)][0] / before[~np.isnan(before)][-1]))
    return bool(abs(step + np.log(factor)) < abs(step))


def _doubt_line(panel: SessionPanel, line: int, low: float, high: float, price_step: float) -> Sequence[Doubt]:
    """One doubt for each stretch of rows outside the day's range."""
    present = np.flatnonzero(panel.is_present[line])
    highs, lows = panel.high[line, present], panel.low[line, present]
    highest_allowed = high + float(compute_tolerance(np.array(high), price_step))
    lowest_allowed = low - float(compute_tolerance(np.array(low), price_step))
    is_outside = (highs > highest_allowed) | (lows < lowest_allowed)
    edges = np.flatnonzero(np.diff(np.r_[False, is_outside, False].astype(np.int8)))
    return [
        Doubt(
            rule=Rule.PRICE_OUTSIDE_DAY,
            symbol_id=int(panel.symbol_id[line]),
            session=int(panel.session[line]),
            first_stamp=panel.get_stamp(line, int(present[start])),
            last_stamp=panel.get_stamp(line, int(present[end - 1])),
            figures={
                "lowest": float(lows[start:end].min()),
                "highest": float(highs[start:end].max()),
                "day_low": low,
                "day_high": high,
                "lowest_allowed": round_price(lowest_allowed),
                "highest_allowed": round_price(highest_allowed),
            },
        )
        for start, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
    ]
