"""Prices of another scale: a power of ten, or a share ratio, for some rows, from one row on, or for whole sessions.

Serves rows of 1m and 5m and stored bars. A bar in which the scale changes has prices of both: its close tells. A
change and its return within one bar are a spike there (``price_spikes``). A change by a share ratio that does not
return by the next session is doubted in rows only, where a halt shows as a gap: in bars it may be a real move. What
steps overnight and stays is left to the splits.

What is promised to be found: 10, 100, 1,000 or 10,000 times the price or that part of it, and ratios of splits from 2
on, if the logarithm of the ratio is more than twenty usual moves of the name (``price_moves``); for at most five
sessions, and where it begins or ends overnight, if that night moves the price by less than 15 %.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from backfill_assets.market.arrays import Bools, Floats, Int64
from backfill_assets.market.plausibility.day_figures import DayFigures
from backfill_assets.market.plausibility.day_ranges import is_borne_out
from backfill_assets.market.plausibility.doubts import Doubt
from backfill_assets.market.plausibility.price_moves import (
    NeighbouredRows,
    compute_move_limits,
    find_lively_lines,
    gather_rows,
    get_lowest_judged,
    measure_usual_moves,
)
from backfill_assets.market.plausibility.rules import Rule
from backfill_assets.market.plausibility.session_panel import SessionPanel

RATIOS = np.array([2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 20, 25, 30, 40, 50, 100, 1000, 10000], float)
UNIT_RATIOS = np.array([10, 100, 1000, 10000], float)
SMALLEST_RATIO_SHARE = 0.6  # of the price: a step of less than 1.6 times is no ratio of 2
# As logarithms. Prices move while their scale changes, by up to 20 % in a night with earnings or a halt. The mean of a
# change and its return is nearer to a ratio: such a night is seldom on both sides.
TOLERANCE, MEAN_TOLERANCE = 0.2, 0.1
LONE_TOLERANCE, LONE_TOLERANCE_UNITS = 0.02, 4.0  # of a share ratio that does not return; in usual moves
MAX_BROKEN_SESSIONS = 5  # a longer stretch is no error of some rows but another price
HALT_SECONDS = 600  # after as long without a row a price may be another one
LONGEST_ROW_SECONDS = 300  # in longer bars a halt does not show


@dataclass(frozen=True, slots=True)
class _Step:
    """A change of the scale before the row at ``position``.

    Attributes:
        position: of the first row with the new scale.
        change: logarithm of the new price / the old one.
        ratio: the nearest ratio, of a power of ten if one is near.
        usual_move: of the name (see ``price_moves``).
    """

    position: int
    change: float
    ratio: float
    usual_move: float


def find_scale_breaks(panel: SessionPanel, days: DayFigures, judged: Bools) -> list[Doubt]:
    """Doubt rows whose prices are a power of ten or a split's ratio times those around them.

    Rows that the settled range of their day holds are not doubted, nor are names below five cents. A known split is no
    break.

    Args:
        panel: rows or bars; sessions beside a judged one are its neighbours.
        days: figures for its lines.
        judged: the lines to be doubted, shape (lines,).

    Returns:
        One doubt for each stretch within a session; its figures have the ratio and the prices on both sides.
    """
    lively = find_lively_lines(panel, SMALLEST_RATIO_SHARE)
    if not len(lively):
        return []
    rows = gather_rows(panel, _fill_between(panel, lively), days)
    steps = _find_steps(panel, rows)
    doubts: list[Doubt] = []
    for start, end, ratio in _find_stretches(panel, rows, steps):
        doubts += _make_doubts(panel, rows, days, judged, (start, end), ratio)
    return doubts


def _fill_between(panel: SessionPanel, lines: Int64) -> Int64:
    """The lines, and those between two of them that a stretch of another scale may join."""
    is_chosen = np.zeros(len(panel), bool)
    is_chosen[lines] = True
    near = (np.diff(lines) <= MAX_BROKEN_SESSIONS) & (np.diff(panel.symbol_id[lines]) == 0)
    for first, last in zip(lines[:-1][near].tolist(), lines[1:][near].tolist(), strict=True):
        is_chosen[first:last] = True
    return np.flatnonzero(is_chosen)


def _find_steps(panel: SessionPanel, rows: NeighbouredRows) -> list[_Step]:
    """Where the close is a ratio times the close before, known splits undone."""
    close_before = rows.shift(rows.close, 1)
    change = np.log(rows.close / close_before) + np.log(rows.split_ratio)
    large = np.flatnonzero(np.abs(change) > np.log(RATIOS[0]) - TOLERANCE)
    if not len(large):
        return []
    lines, line = np.unique(rows.line[large], return_inverse=True)
    usual = measure_usual_moves(panel, lines)[line]
    size = np.abs(change[large])
    ratio = _take_nearest(size, RATIOS)
    unit = _take_nearest(size, UNIT_RATIOS)
    ratio = np.where(np.abs(size - np.log(unit)) <= TOLERANCE, unit, ratio)
    is_step = np.abs(size - np.log(ratio)) <= TOLERANCE
    is_step &= size > compute_move_limits(usual, np.fmax(rows.close, close_before)[large], panel.market.price_step)
    return [
        _Step(
            int(large[at]),
            float(change[large[at]]),
            float(ratio[at] if change[large[at]] > 0 else 1 / ratio[at]),
            float(usual[at]),
        )
        for at in np.flatnonzero(is_step).tolist()
    ]


def _take_nearest(sizes: Floats, ratios: Floats) -> Floats:
    nearest: Floats = ratios[np.argmin(np.abs(sizes[:, None] - np.log(ratios)), axis=1)]
    return nearest


def _find_stretches(panel: SessionPanel, rows: NeighbouredRows, steps: list[_Step]) -> Iterable[tuple[int, int, float]]:
    """Rows of another scale: first position, position after the last, and ratio to the prices around them.

    A step and its return enclose them. After a step within a session that does not return, they reach to the session's
    end, or from its start if that is what the sessions beside it contradict.
    """
    position = 0
    while position < len(steps):
        step = steps[position]
        following = steps[position + 1] if position + 1 < len(steps) else None
        if following is not None and _is_return(rows, step, following):
            yield step.position, following.position, step.ratio
            position += 2
            continue
        is_lone = not rows.is_first[step.position] and _persists(rows, step)
        if is_lone and not _may_be_real(panel, rows, step):
            yield _choose_side(rows, step)
        position += 1


def _is_return(rows: NeighbouredRows, step: _Step, following: _Step) -> bool:
    sessions = int(rows.line[following.position - 1] - rows.line[step.position]) + 1
    is_same = rows.stretch[step.position] == rows.stretch[following.position]
    returns = abs(step.change + following.change) <= 2 * TOLERANCE
    mean = np.array([abs(step.change - following.change) / 2])
    is_near = np.abs(mean - np.log(_take_nearest(mean, RATIOS)))[0] <= MEAN_TOLERANCE
    return bool(is_same and returns and (is_near or _is_unit(step.ratio)) and sessions <= MAX_BROKEN_SESSIONS)


def _persists(rows: NeighbouredRows, step: _Step) -> bool:
    """Whether the five rows before a step and those after it lie a step apart: else some of them are spikes."""
    at = step.position
    own = np.arange(max(at - 5, 0), min(at + 5, len(rows)))
    own = own[rows.stretch[own] == rows.stretch[at]]
    before, after = np.median(rows.close[own[own < at]]), np.median(rows.close[own[own >= at]])
    return bool(abs(np.log(after / before) - step.change) < abs(step.change) / 2)


def _may_be_real(panel: SessionPanel, rows: NeighbouredRows, step: _Step) -> bool:
    """Whether a change by a share ratio that does not return may be a move: after a halt, or where none would show."""
    if _is_unit(step.ratio):
        return False
    at = step.position
    line, before = int(rows.line[at]), int(rows.column[at - 1])
    apart = panel.get_stamp(line, int(rows.column[at])) - panel.get_stamp(line, before)
    jumps = abs(np.log(rows.open[at] / rows.close[at])) < abs(step.change) / 2  # else the row itself moved
    tolerance = max(LONE_TOLERANCE, LONE_TOLERANCE_UNITS * step.usual_move)
    is_exact = abs(step.change - np.log(step.ratio)) <= tolerance
    return panel.seconds > LONGEST_ROW_SECONDS or apart > HALT_SECONDS or not jumps or not is_exact


def _is_unit(ratio: float) -> bool:
    return bool(np.isclose(max(ratio, 1 / ratio), UNIT_RATIOS).any())


def _choose_side(rows: NeighbouredRows, step: _Step) -> tuple[int, int, float]:
    """The rows after a step to the end of its session, or those before it.

    Those are wrong that lie a step away from the session beside them; if both do or none is known, the smaller part.
    """
    at = step.position
    own = np.flatnonzero(rows.line == rows.line[at])
    start, end = int(own[0]), int(own[-1]) + 1
    before = _is_far(rows, start - 1, start, step.ratio)
    after = _is_far(rows, end - 1, end, step.ratio)
    if before is None and after is not None:
        takes_before = not after
    elif before is None or (before and after):
        takes_before = at - start < end - at
    else:
        takes_before = before
    return (start, at, 1 / step.ratio) if takes_before else (at, end, step.ratio)


def _is_far(rows: NeighbouredRows, earlier: int, later: int, ratio: float) -> bool | None:
    """Whether two rows on both sides of a night are about a step apart; None if one is absent."""
    if earlier < 0 or later >= len(rows) or rows.stretch[earlier] != rows.stretch[later]:
        return None
    change = abs(np.log(rows.close[later] / rows.close[earlier] * rows.split_ratio[later]))
    return bool(change > abs(np.log(ratio)) / 2)


def _make_doubts(
    panel: SessionPanel,
    rows: NeighbouredRows,
    days: DayFigures,
    judged: Bools,
    stretch: tuple[int, int],
    ratio: float,
) -> Iterable[Doubt]:
    """A doubt for each judged session of a stretch, unless the day holds its prices."""
    start, end = stretch
    price_before = float(rows.close[start - 1]) if start and rows.stretch[start - 1] == rows.stretch[start] else None
    has_after = end < len(rows) and rows.stretch[end] == rows.stretch[end - 1]
    price_after = float(rows.close[end]) if has_after else None
    beside = [price for price in (price_before, price_after) if price is not None]
    if beside and min(beside) < get_lowest_judged(panel):
        return
    if has_after and not rows.is_first[end] and _has_other_scale(rows, end, price_after, ratio):
        end += 1  # a bar in which the scale returns
    for line in np.unique(rows.line[start:end]).tolist():
        if not judged[line]:
            continue
        own = np.arange(start, end)[rows.line[start:end] == line]
        low, high = rows.low[own], rows.high[own]
        if is_borne_out(days, np.full(1, line), low.min(keepdims=True), high.max(keepdims=True))[0]:
            continue
        yield Doubt(
            rule=Rule.SCALE_BREAK,
            symbol_id=int(panel.symbol_id[line]),
            session=int(panel.session[line]),
            first_stamp=panel.get_stamp(line, int(rows.column[own[0]])),
            last_stamp=panel.get_stamp(line, int(rows.column[own[-1]])),
            figures={
                "ratio": round(ratio, 8),
                "lowest": float(low.min()),
                "highest": float(high.max()),
                "first_close": float(rows.close[own[0]]),
                "close_before": price_before,
                "close_after": price_after,
            },
        )


def _has_other_scale(rows: NeighbouredRows, at: int, price: float | None, ratio: float) -> bool:
    """Whether a row beyond a stretch has prices of the stretch's scale, too."""
    extreme = rows.high[at] if ratio > 1 else rows.low[at]
    return price is not None and bool(abs(np.log(extreme / price)) > abs(np.log(ratio)) / 2)
