"""Find sessions whose volumes sum to more than the day allows: to more than its volume, or than the usual part of it.

5m is one venue's part of the day's consolidated volume, and never more (docs/vendor.md §5.4). The part of a name is
much the same every day, so volumes that are doubled for weeks show where it is steady. Single rows that are too large
are found in ``running_totals``.
"""

import numpy as np

from backfill_assets.market.arrays import Bools, Floats, Int64
from backfill_assets.market.plausibility.day_figures import DayFigures
from backfill_assets.market.plausibility.doubts import Doubt
from backfill_assets.market.plausibility.rules import Rule
from backfill_assets.market.plausibility.session_panel import SessionPanel

MAX_EXCESS = 1.001  # of the day's volume: it was divided and multiplied by splits, and bars are rounded
# The usual share is the middle one of the last 20 sessions before that were not high themselves; ten are needed to know
# how it varies. What is wrong lasts for weeks: the deviations of high sessions side by side are added up, as those of
# several samples are. Of 330,000 right sessions one lay 7.2 above its usual share, three in a row 8.3 together.
USUAL_SESSIONS, MIN_USUAL_SESSIONS = 20, 10
MIN_MULTIPLE, MIN_DEVIATIONS = 1.4, 3.0  # of a high session
MIN_HIGHEST_MULTIPLE, MIN_DEVIATIONS_TOGETHER = 1.6, 10.0
MIN_SPREAD = 0.001  # volumes are whole numbers, so that no share is known better


def find_volumes_exceeding_day(panel: SessionPanel, days: DayFigures, judged: Bools) -> list[Doubt]:
    """Doubt sessions with more volume than their settled day allows.

    A row or bar without volume (from another feed, for instance) makes the sum a part of the session's: it can still
    exceed the day's volume, but is not compared with the usual share. A day without a known volume is not judged.

    Args:
        panel: rows or bars, with at least ten sessions before those judged.
        days: the settled volumes of the lines' days.
        judged: which lines are judged, shape (lines,).
    """
    total = np.nansum(panel.volume, axis=1)
    is_partial = (panel.is_present & np.isnan(panel.volume)).any(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(is_partial | (total <= 0) | ~(days.volume > 0), np.nan, total / days.volume)
    usual = _compare_with_usual(panel, share)
    doubted = np.flatnonzero(judged & ((total > MAX_EXCESS * days.volume) | ~np.isnan(usual)))
    return [_make_doubt(panel, line, total, days, usual) for line in doubted.tolist()]


def _make_doubt(panel: SessionPanel, line: int, total: Floats, days: DayFigures, usual: Floats) -> Doubt:
    columns = np.flatnonzero(panel.is_present[line])
    return Doubt(
        rule=Rule.VOLUME_EXCEEDS_DAY,
        symbol_id=int(panel.symbol_id[line]),
        session=int(panel.session[line]),
        first_stamp=panel.get_stamp(line, int(columns[0])),
        last_stamp=panel.get_stamp(line, int(columns[-1])),
        figures={
            "session_volume": float(total[line]),
            "day_volume": float(days.volume[line]),
            "usual_share": None if np.isnan(usual[line]) else round(float(usual[line]), 4),
        },
    )


def _compare_with_usual(panel: SessionPanel, share: Floats) -> Floats:
    """The usual share of each line whose own is a multiple of it, NaN for the others; shape (lines,).

    Sessions are followed in order of time, all symbols side by side, because a high one does not count as usual.
    """
    number, position = _number_lines(panel)
    symbols = int(number.max(initial=-1)) + 1
    recent, seen = np.full((symbols, USUAL_SESSIONS), np.nan), np.zeros(symbols, np.int64)  # logarithms, in no order
    logs, usual = np.log(share), np.full(len(share), np.nan)
    excess, deviations = np.zeros((2, len(share)))
    order = np.argsort(position, kind="stable")
    for lines in np.split(order, np.flatnonzero(np.diff(position[order])) + 1):
        known = lines[~np.isnan(logs[lines])]
        symbol = number[known]
        lowest = np.fmin.reduce(recent[symbol], axis=1)
        may_be_high = (seen[symbol] >= MIN_USUAL_SESSIONS) & (logs[known] >= lowest + np.log(MIN_MULTIPLE))
        at, of = known[may_be_high], symbol[may_be_high]
        usual[at] = np.nanmedian(recent[of], axis=1)
        excess[at] = logs[at] - usual[at]
        deviations[at] = excess[at] / np.maximum(np.nanstd(recent[of], axis=1, ddof=1), MIN_SPREAD)
        counted = known[~_is_high(excess[known], deviations[known])]
        recent[number[counted], seen[number[counted]] % USUAL_SESSIONS] = logs[counted]
        seen[number[counted]] += 1
    known = np.flatnonzero(~np.isnan(logs))
    is_doubted = np.zeros(len(share), bool)
    is_doubted[known] = _is_far_above(excess[known], deviations[known], number[known])
    return np.where(is_doubted, np.exp(usual), np.nan)


def _is_high(excess: Floats, deviations: Floats) -> Bools:
    is_high: Bools = (excess >= np.log(MIN_MULTIPLE)) & (deviations >= MIN_DEVIATIONS)
    return is_high


def _is_far_above(excess: Floats, deviations: Floats, number: Int64) -> Bools:
    """Which sessions belong to a run of high ones that is far above the usual as a whole."""
    is_high = _is_high(excess, deviations)
    is_first = is_high & ~(np.roll(is_high, 1) & (np.roll(number, 1) == number))
    is_first[:1] = is_high[:1]
    run = np.cumsum(is_first)[is_high] - 1
    together = np.bincount(run, deviations[is_high]) / np.sqrt(np.bincount(run))
    highest = np.zeros(len(together))
    np.maximum.at(highest, run, excess[is_high])
    is_far = (together >= MIN_DEVIATIONS_TOGETHER) & (highest >= np.log(MIN_HIGHEST_MULTIPLE))
    result = np.zeros(len(excess), bool)
    result[is_high] = is_far[run]
    return result


def _number_lines(panel: SessionPanel) -> tuple[Int64, Int64]:
    """The number of each line's symbol in the panel, and the line's position among those of the symbol."""
    is_first = ~panel.has_line_before
    number = np.cumsum(is_first) - 1
    position = np.arange(len(panel)) - np.flatnonzero(is_first)[number] if len(panel) else np.zeros(0, np.int64)
    return number, position
