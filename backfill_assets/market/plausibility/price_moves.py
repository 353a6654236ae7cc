"""How far the prices of a name usually move from row to row, and the rows of chosen sessions with their neighbours.

What ``price_spikes`` and ``scale_breaks`` share. What a move means is decided there.
"""

from dataclasses import dataclass

import numpy as np

from backfill_assets.market.arrays import Bools, Floats, Int64
from backfill_assets.market.plausibility.day_figures import DayFigures
from backfill_assets.market.plausibility.session_panel import SessionPanel

# Moves of a few percent that return are usual around news; smaller errors are left to the day's range (``day_ranges``).
MIN_MOVE_SHARE = 0.1
# In units of the usual move: three of four rows move less. Bursts of news move a liquid name by five to six of them.
MIN_MOVE_UNITS = 10.0
USUAL_MOVE_QUANTILE = 0.75  # the median of a thin name is often 0, while its price bounces between bid and ask
LEFT_OUT_MOVES = 3  # the largest: a spike of two rows makes three
MIN_MOVES = 10  # fewer do not tell what is usual: 13 bars are a session
UNKNOWN_MOVE_SHARE = 0.5  # then only what other tools take for an error, a step of 50 %
MIN_MOVE_STEPS = 5  # prices of a cheap name come in whole cents, and jump by them
MAX_SESSIONS_APART = 5  # sessions further apart than a week say nothing about each other's prices


@dataclass(frozen=True, eq=False)
class NeighbouredRows:
    """Rows in order of symbol and time, without the places where no row is; arrays of the shape (rows,).

    Attributes:
        line: the panel's line of each row.
        column: its column.
        stretch: rows of one stretch are neighbours; another symbol and sessions that are left out begin a new one.
        is_first: whether it is the first row of its session.
        split_ratio: the split that takes effect with the row, 1 for all but first rows and where none is known.
        open: prices.
    """

    line: Int64
    column: Int64
    stretch: Int64
    is_first: Bools
    split_ratio: Floats
    open: Floats
    high: Floats
    low: Floats
    close: Floats

    def __len__(self) -> int:
        return len(self.line)

    def shift(self, values: Floats, by: int) -> Floats:
        """The values of the rows ``by`` places before (negative: after), NaN beyond the stretch."""
        shifted = np.full(len(self), np.nan)
        if 0 < by < len(self):
            same = self.stretch[by:] == self.stretch[:-by]
            shifted[by:] = np.where(same, values[:-by], np.nan)
        elif -len(self) < by < 0:
            same = self.stretch[:by] == self.stretch[-by:]
            shifted[:by] = np.where(same, values[-by:], np.nan)
        return shifted


def find_lively_lines(panel: SessionPanel, share: float) -> Int64:
    """The lines in which a row's prices, and the close before it, lie apart by more than ``share`` of the lowest."""
    if not len(panel):
        return np.zeros(0, np.int64)
    # Few sessions are so wide at all, those beside them included; only their rows are looked at.
    high, low = np.fmax.reduce(panel.high, axis=1), np.fmin.reduce(panel.low, axis=1)
    highest, lowest = high.copy(), low.copy()
    beside = _are_beside(panel)
    highest[1:] = np.where(beside, np.fmax(high[1:], high[:-1]), high[1:])
    lowest[1:] = np.where(beside, np.fmin(low[1:], low[:-1]), low[1:])
    wide = np.flatnonzero(highest > (1 + share) * lowest)
    close_before = _get_close_before(panel, wide)
    if len(wide):
        has_before = np.r_[False, beside][wide]
        night = np.where(has_before, _get_last(panel.close[np.maximum(wide - 1, 0)]), np.nan)
        close_before = np.where(np.isnan(close_before), night[:, None], close_before)
    above = np.fmax(panel.high[wide], close_before) > (1 + share) * np.fmin(panel.low[wide], close_before)
    return wide[(above & panel.is_present[wide]).any(axis=1)]


def gather_rows(panel: SessionPanel, lines: Int64, days: DayFigures) -> NeighbouredRows:
    """The rows of ``lines`` (ascending) and of the lines before and after each of them."""
    is_chosen = np.zeros(len(panel), bool)
    for near in (lines - 1, lines, lines + 1):
        is_chosen[near[(near >= 0) & (near < len(panel))]] = True
    chosen = np.flatnonzero(is_chosen)
    position, column = np.nonzero(panel.is_present[chosen])
    line = chosen[position]
    is_first = np.ones(len(line), bool)
    is_first[1:] = line[1:] != line[:-1]
    starts_stretch = is_first.copy()
    beside = np.r_[False, _are_beside(panel)] if len(panel) else np.zeros(0, bool)
    starts_stretch[1:] &= ~(beside[line[1:]] & (line[1:] == line[:-1] + 1))
    split = days.split_ratio[line]
    return NeighbouredRows(
        line=line,
        column=column,
        stretch=np.cumsum(starts_stretch),
        is_first=is_first,
        split_ratio=np.where(is_first & ~np.isnan(split), split, 1.0),
        open=panel.open[line, column],
        high=panel.high[line, column],
        low=panel.low[line, column],
        close=panel.close[line, column],
    )


def measure_usual_moves(panel: SessionPanel, lines: Int64) -> Floats:
    """The move that three of four rows of a session stay below, its three largest aside; a logarithm, shape (lines,).

    A row's move is its range, or the way from the close before if that is longer. A session with few rows is
    measured together with those before and after it; NaN where these are too few, too.
    """
    usual = _measure_quantile(_compute_moves(panel, lines))
    scarce = np.flatnonzero(np.isnan(usual))
    if len(scarce):
        beside = np.r_[False, _are_beside(panel), False]
        of_line = lines[scarce]
        before, after = beside[of_line], beside[of_line + 1]
        moves = [_compute_moves(panel, of_line)]
        for has, step in ((before, -1), (after, 1)):
            moves.append(np.where(has[:, None], _compute_moves(panel, np.where(has, of_line + step, of_line)), np.nan))
        usual[scarce] = _measure_quantile(np.concatenate(moves, axis=1))
    return usual


def get_lowest_judged(panel: SessionPanel) -> float:
    """The price from which on moves are judged: below five cents one step of the price is 20 % of it and more."""
    return MIN_MOVE_STEPS * panel.market.price_step


def compute_move_limits(usual_move: Floats, price: Floats, price_step: float) -> Floats:
    """From which distance on, as a logarithm, a reverting move is improbable, at a usual move, a price and its step."""
    known = np.where(np.isnan(usual_move), np.log1p(UNKNOWN_MOVE_SHARE), MIN_MOVE_UNITS * usual_move)
    limits: Floats = np.fmax(np.fmax(known, np.log1p(MIN_MOVE_SHARE)), np.log1p(MIN_MOVE_STEPS * price_step / price))
    return limits


def _are_beside(panel: SessionPanel) -> Bools:
    """Whether each line but the first belongs to the symbol of the line before, at most a week later."""
    beside: Bools = panel.has_line_before[1:] & (np.diff(panel.session) <= MAX_SESSIONS_APART)
    return beside


def _get_last(values: Floats) -> Floats:
    """The last value of each line that is present."""
    position = values.shape[1] - 1 - np.argmax(~np.isnan(values[:, ::-1]), axis=1)
    last: Floats = values[np.arange(len(values)), position]
    return last


def _compute_moves(panel: SessionPanel, lines: Int64) -> Floats:
    """The moves of the rows of each line, NaN where no row is, shape (lines, columns)."""
    step = np.abs(np.log(panel.close[lines] / _get_close_before(panel, lines)))
    moves: Floats = np.fmax(np.log(panel.high[lines] / panel.low[lines]), step)
    return moves


def _get_close_before(panel: SessionPanel, lines: Int64) -> Floats:
    """The last close before each place within the session, NaN before the first row, shape (lines, columns)."""
    close = panel.close[lines]
    latest = np.maximum.accumulate(np.where(np.isnan(close), -1, np.arange(close.shape[1])), axis=1)
    before = np.full(close.shape, np.nan)
    before[:, 1:] = np.take_along_axis(close, np.maximum(latest[:, :-1], 0), axis=1)
    before[:, 1:][latest[:, :-1] < 0] = np.nan
    return before


def _measure_quantile(moves: Floats) -> Floats:
    count = (~np.isnan(moves)).sum(axis=1) - LEFT_OUT_MOVES
    position = np.floor(USUAL_MOVE_QUANTILE * np.maximum(count - 1, 0)).astype(np.int64)
    values = np.take_along_axis(np.sort(moves, axis=1), position[:, None], axis=1)[:, 0]
    return np.where(count >= MIN_MOVES, values, np.nan)
