"""Prices far outside their neighbours that return, and an open that is the close of the session before.

Serves rows of 1m and 5m and stored bars. In bars it is coarser: the bars beside a spike reach further than the rows
beside it, and the usual move of a bar is larger than that of a row. Prices that are a multiple of their neighbours are
in ``scale_breaks``; ``price_doubts`` applies both.

What is promised to be found: one row, or two in succession, with a high or low outside the rows before and after by

- 10 %, and twenty usual moves of the name (three of four rows of its session move less; doubted from ten on, but a
  spike among few rows makes the usual move larger), and three ranges of the rows beside it;
- 50 % where the rows are too few to tell what is usual;
- twice that distance among the first and last three rows of a session;
- a factor of two if the symbol has no rows on one side.

An open that is the close before is promised to be found where the rest of its row and the next row lie away by twice
that distance, too. The day's settled range (``day_ranges``) tells smaller errors.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from backfill_assets.market.arrays import Bools, Floats, Int8, Int64
from backfill_assets.market.plausibility.day_figures import DayFigures
from backfill_assets.market.plausibility.day_ranges import is_borne_out
from backfill_assets.market.plausibility.doubts import Doubt, round_price
from backfill_assets.market.plausibility.price_moves import (
    MIN_MOVE_SHARE,
    NeighbouredRows,
    compute_move_limits,
    find_lively_lines,
    gather_rows,
    get_lowest_judged,
    measure_usual_moves,
)
from backfill_assets.market.plausibility.rules import Rule
from backfill_assets.market.plausibility.session_panel import SessionPanel

NEIGHBOURS = 3  # on each side; the middle one of three is right even if one of them is a spike, too
MIN_RANGES = 3.0  # of the rows beside it: after news, halts and gaps they swing, too
EDGE_FACTOR = 2.0  # across a night prices move without a row that shows it, and at the open they swing
LONE_RATIO = 2.0  # the first row of a listing moves by less
EQUAL_SHARE = 1e-6  # the noise of 32-bit prices (docs/vendor.md §2.1)
_UP, _DOWN, _STALE = 1, -1, 2
DIRECTIONS = {_UP: "up", _DOWN: "down", _STALE: "open"}
MIN_SHARED_SHARE = 0.01  # of the market's names with a bar in the slot
MIN_SHARED_NAMES = 5  # so many share a spike where fewer than 500 names are seen: two can be chance


def find_price_spikes(panel: SessionPanel, days: DayFigures, judged: Bools) -> list[Doubt]:
    """Doubt rows far outside their neighbours that return, and opens that repeat the close before.

    Rows that the settled range of their day holds are not doubted, nor are names below five steps of their prices,
    which are cents in the US.

    Args:
        panel: rows or bars; sessions beside a judged one are its neighbours.
        days: figures for its lines.
        judged: the lines to be doubted, shape (lines,).

    Returns:
        One doubt for each row; its figures have the value and the neighbours, and how far it may lie from them.
    """
    lively = find_lively_lines(panel, MIN_MOVE_SHARE)
    lively = lively[judged[lively]]
    if not len(lively):
        return []
    rows = gather_rows(panel, lively, days)
    usual_of_line = np.full(len(panel), np.nan)
    usual_of_line[lively] = measure_usual_moves(panel, lively)
    is_chosen = np.zeros(len(panel), bool)
    is_chosen[lively] = True
    usual = usual_of_line[rows.line]
    beside = _measure_beside(rows)
    price = np.fmin(beside.low_before, beside.low_after)
    limit = np.fmax(compute_move_limits(usual, price, panel.market.price_step), MIN_RANGES * beside.range)
    lowest = get_lowest_judged(panel)
    direction = _find_excursions(rows, beside, limit, lowest)
    direction[(direction == 0) & _find_stale_opens(rows, beside, EDGE_FACTOR * limit, lowest)] = _STALE
    is_hit = is_chosen[rows.line] & (direction != 0) & ~is_borne_out(days, rows.line, rows.low, rows.high)
    return [
        _make_doubt(panel, rows, beside, at, int(direction[at]), (usual[at], limit[at]))
        for at in np.flatnonzero(is_hit).tolist()
    ]


class Spike(NamedTuple):
    """A spike as the market is asked about it; ``direction`` and ``stamp`` (``first_stamp``) as its doubt has them."""

    symbol_id: int
    stamp: int
    direction: str


def find_shared_spikes(spikes: Sequence[Spike], slot_starts: Int64, names: Int64) -> Bools:
    """Which spikes are shared by at least 1 % of the market in their slot, in the same direction; shape (spikes,).

    Args:
        spikes: those of all symbols.
        slot_starts: starts of slots, ascending, epoch seconds UTC.
        names: how many symbols have a bar in each of them.
    """
    slots = (np.searchsorted(slot_starts, [spike.stamp for spike in spikes], side="right") - 1).tolist()
    sharing: dict[tuple[int, str], set[int]] = {}
    for spike, slot in zip(spikes, slots, strict=True):
        sharing.setdefault((slot, spike.direction), set()).add(spike.symbol_id)
    counts = np.array([len(sharing[slot, spike.direction]) for spike, slot in zip(spikes, slots, strict=True)])
    shared: Bools = counts >= np.maximum(MIN_SHARED_NAMES, MIN_SHARED_SHARE * names[slots])
    return shared


@dataclass(frozen=True, eq=False)
class _Beside:
    """What lies beside each row, NaN where no row is, shape (rows,).

    Attributes:
        low_before: the usual low of the rows before; like the other three.
        range: the larger of the usual ranges before and after, as a logarithm; 0 where no row is.
        close_before: the last close.
    """

    low_before: Floats
    high_before: Floats
    low_after: Floats
    high_after: Floats
    range: Floats
    close_before: Floats


def _measure_beside(rows: NeighbouredRows) -> _Beside:
    """The middle low, high and range of the three rows on each side, at the row's own scale where a split is known."""
    scale = np.cumsum(np.log(rows.split_ratio))  # of one row against another: the splits between them
    extent = np.log(rows.high / rows.low)
    sides: list[tuple[Floats, Floats]] = []
    ranges = np.zeros(len(rows))
    for sign in (1, -1):
        places = [sign * by for by in range(1, NEIGHBOURS + 1)]
        factors = [np.exp(rows.shift(scale, place) - scale) for place in places]
        lows = [-factor * rows.shift(rows.low, place) for factor, place in zip(factors, places, strict=True)]
        highs = [factor * rows.shift(rows.high, place) for factor, place in zip(factors, places, strict=True)]
        sides.append((-_take_robust(*lows), _take_robust(*highs)))
        ranges = np.fmax(ranges, _take_robust(*(rows.shift(extent, place) for place in places)))
    (low_before, high_before), (low_after, high_after) = sides
    return _Beside(low_before, high_before, low_after, high_after, ranges, rows.shift(rows.close, 1))


def _take_robust(first: Floats, second: Floats, third: Floats) -> Floats:
    """The middle of three values, the smaller of two, or the only one; the first is the last to be absent."""
    second_smaller = np.fmin(first, second)
    middle = np.fmax(second_smaller, np.fmin(np.fmax(first, second), third))
    robust: Floats = np.where(np.isnan(third), second_smaller, middle)
    return robust


def _find_excursions(rows: NeighbouredRows, beside: _Beside, limit: Floats, lowest: float) -> Int8:
    """Rows above (1) or below (-1) all their neighbours by more than the limit; 0 for others.

    None where a neighbour is below ``lowest``.
    """
    upper, lower = np.fmax(beside.high_before, beside.high_after), np.fmin(beside.low_before, beside.low_after)
    limit = np.where(_is_at_edge(rows), EDGE_FACTOR, 1.0) * limit
    # Where the symbol has no rows on one side, only the row itself shows that its price returns: its open or its close.
    is_first, is_last = np.isnan(beside.low_before), np.isnan(beside.low_after)
    own = np.where(is_first, rows.open, np.where(is_last, rows.close, np.nan))
    alone = np.where(is_first | is_last, np.fmax(limit, np.log(LONE_RATIO)), np.inf)
    is_above = (rows.high > np.fmax(upper, own) * np.exp(limit)) | (rows.high > upper * np.exp(alone))
    is_below = (rows.low < np.fmin(lower, own) * np.exp(-limit)) | (rows.low < lower * np.exp(-alone))
    is_judged = lower >= lowest
    return (is_judged * np.where(is_above, _UP, np.where(is_below, _DOWN, 0))).astype(np.int8)


def _is_at_edge(rows: NeighbouredRows) -> Bools:
    """Whether fewer than three rows of the row's own session are before it, or after it."""
    line = rows.line.astype(float)
    at_edge: Bools = (rows.shift(line, NEIGHBOURS) != line) | (rows.shift(line, -NEIGHBOURS) != line)
    return at_edge


def _find_stale_opens(rows: NeighbouredRows, beside: _Beside, limit: Floats, lowest: float) -> Bools:
    """First rows whose open is the close before, an extreme of the row, and far from its close and the next row."""
    is_equal = rows.is_first & (np.abs(rows.open - beside.close_before) <= EQUAL_SHARE * rows.open)
    next_low, next_high = rows.shift(rows.low, -1), rows.shift(rows.high, -1)
    jumps_up = (rows.open <= rows.low) & (np.fmin(rows.close, next_low) > rows.open * np.exp(limit))
    jumps_down = (rows.open >= rows.high) & (np.fmax(rows.close, next_high) * np.exp(limit) < rows.open)
    stale: Bools = is_equal & ~np.isnan(next_low) & (rows.open >= lowest) & (jumps_up | jumps_down)
    return stale


def _make_doubt(
    panel: SessionPanel,
    rows: NeighbouredRows,
    beside: _Beside,
    at: int,
    direction: int,
    moves: tuple[float, float],
) -> Doubt:
    """The doubt about a row; ``moves`` are the usual one and the one from which on a price is doubted."""
    line = int(rows.line[at])
    stamp = panel.get_stamp(line, int(rows.column[at]))
    price = {_UP: rows.high, _DOWN: rows.low, _STALE: rows.open}[direction][at]
    figures: dict[str, float | str | None] = {"direction": DIRECTIONS[direction], "price": float(price)}
    figures |= {name: float(getattr(rows, name)[at]) for name in ("open", "high", "low", "close")}
    names = ("close_before", "low_before", "high_before", "low_after", "high_after")
    figures |= {name: _get_number(getattr(beside, name)[at]) for name in names}
    figures |= {"usual_move_percent": _get_percent(moves[0]), "allowed_move_percent": _get_percent(moves[1])}
    return Doubt(Rule.PRICE_SPIKE, int(panel.symbol_id[line]), int(panel.session[line]), stamp, stamp, figures)


def _get_number(value: float) -> float | None:
    return None if np.isnan(value) else round_price(float(value))


def _get_percent(move: float) -> float | None:
    return None if np.isnan(move) else round(float(np.expm1(move)) * 100, 3)
