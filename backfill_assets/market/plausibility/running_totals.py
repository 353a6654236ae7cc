"""Find rows whose volume is the session's running total instead of the row's own (docs/vendor.md §2.14).

The rows that stand far above their neighbours are set aside and compared with the sum of the rows before. One that
meets that sum, or continues the row set aside before it, is a *match*. Real volumes have no reason to be one: several
matches prove each other. One that meets nothing, but is far too large for its session, is an *outlier*, because
published totals also lay above the sum, or fell again. Outliers are doubted. The volumes of matches are withheld, and
those of outliers where matches prove the session or the day's volume proves them. The reasons for the figures are in
docs/decisions/0043.
"""

from dataclasses import dataclass

import numpy as np

from backfill_assets.market.arrays import Bools, Floats, Int64
from backfill_assets.market.plausibility.day_balance import settle_by_day
from backfill_assets.market.plausibility.day_figures import DayFigures
from backfill_assets.market.plausibility.doubted_rows import DAY_VOLUME, make_row_doubt
from backfill_assets.market.plausibility.doubts import Doubt
from backfill_assets.market.plausibility.rules import Rule
from backfill_assets.market.plausibility.session_panel import SessionPanel
from backfill_assets.market.plausibility.session_volumes import (
    SessionVolumes,
    describe_volumes,
    find_previous,
    get_neighbours,
    measure_deviation,
)

LARGE_MEDIANS = 6.0  # a large row, in medians of its session
MIN_OVER_NEIGHBOURS, MIN_OVER_NEIGHBOURS_ALONE = 3.0, 10.0  # the latter where nothing else proves the session
MIN_OVER_OTHERS, MIN_DEVIATIONS = 4.0, 6.0  # above the largest other row: times, and deviations of the scatter
# A match lies above the sum by its own volume, or slightly below it.
MAX_OWN_MEDIANS, MAX_OWN_SHARE, MAX_SLIP = 4.0, 0.15, 0.015
MIN_MATCHES, MIN_ROWS_BEFORE_MATCH, WEIGHT_SIDE_BY_SIDE = 2, 5, 0.25
# An outlier: in medians, in the rest of the session, and in sums of the rows before.
OUTLIER_MEDIANS, OUTLIER_SHARE, MIN_ROWS_BEFORE_OUTLIER = 20.0, 0.1, 10
MIN_SUMS, MAX_SUMS, MAX_SUMS_ALONE = 0.45, 3.0, 1.5
REOPENING_GAP, CLOSING_ROWS = 600, 3  # seconds; rows that rise with the last one, for instance by an index rebalance
# Large rows are usual where rows are absent, and where one trade of what is called a block of shares makes a large row.
# There, so many must look alike.
MIN_PRESENT_SHARE, BLOCK_SHARES, MIN_MATCHES_IF_THIN = 0.9, 10_000.0, 7


def find_running_totals(panel: SessionPanel, days: DayFigures, judged: Bools) -> list[Doubt]:
    """Doubt each row whose volume may be a running total, and withhold the volumes that are proven to be one.

    Args:
        panel: the vendor's rows.
        days: the settled volumes of the lines' days, as far as they are known.
        judged: which lines are judged, shape (lines,).
    """
    volume = np.where(panel.volume > 0, panel.volume, 0.0)
    exceeds_day = volume.sum(axis=1) > days.volume
    lines = np.flatnonzero(judged & (_has_row_like_sum(volume) | exceeds_day))
    lines = lines[_has_large_rows(volume[lines], panel.seconds) | exceeds_day[lines]]
    starts = None if panel.starts is None else panel.starts[lines]
    sessions = describe_volumes(volume[lines], panel.seconds, starts)
    aside = _set_aside(sessions)
    proven, doubted = _find_in_sessions(sessions, aside)
    by_day = np.zeros(proven.shape, bool)
    for at in np.flatnonzero(exceeds_day[lines]).tolist():
        by_day[at] = _prove_by_day(sessions, at, doubted[at], proven[at], float(days.volume[lines[at]]))
    proven |= by_day
    return [
        make_row_doubt(
            panel,
            Rule.VOLUME_RUNNING_TOTAL,
            int(lines[at]),
            int(column),
            {"sum_before": aside.sum_before[at, column], "median": sessions.median[at, 0]}
            | ({DAY_VOLUME: days.volume[lines[at]]} if by_day[at, column] else {}),
            is_withheld=bool(proven[at, column]),
        )
        for at, column in zip(*np.nonzero(proven | doubted), strict=True)
    ]


def _has_row_like_sum(volume: Floats) -> Bools:
    """Whether a row after the first ones may be an outlier or a match, shape (lines,): few clean sessions have one.

    In the sum before it, a row counts no more than its neighbour, so that earlier running totals do not hide it.
    """
    least = np.minimum(volume[:, :-1], volume[:, 1:])
    before = np.cumsum(least, axis=1)[:, MIN_ROWS_BEFORE_MATCH - 1 : -1]
    is_like_sum: Bools = volume[:, MIN_ROWS_BEFORE_MATCH:-1] > MIN_SUMS * before
    return np.asarray(is_like_sum.any(axis=1), bool)


def _has_large_rows(volume: Floats, seconds: int) -> Bools:
    """Whether sessions have as many large rows as the rule needs, shape (lines,)."""
    sessions = describe_volumes(volume, seconds)
    large = (volume >= LARGE_MEDIANS * sessions.median).sum(axis=1, keepdims=True)
    result: Bools = large >= np.where(_is_thin(sessions), MIN_MATCHES_IF_THIN, 1)
    return result[:, 0]


@dataclass(frozen=True, eq=False)
class _SetAside:
    """Rows set aside from their sessions, shape (lines, columns).

    Attributes:
        is_aside: the rows.
        ordinary: the volumes, with that of the nearest other row in the place of theirs.
        sum_before: sum of the ordinary volumes before each row.
        continues_sum: the volume is that sum and the row's own volume.
        continues_row: the volume is that of the row set aside before it, and of the rows since.
        previous: column of the row set aside before, −1 without one.
    """

    is_aside: Bools
    ordinary: Floats
    sum_before: Floats
    continues_sum: Bools
    continues_row: Bools
    previous: Int64


def _set_aside(sessions: SessionVolumes) -> _SetAside:
    volume = sessions.volume
    is_large = sessions.has_volume & (volume >= LARGE_MEDIANS * sessions.median)
    is_aside = is_large & _stands_out(sessions, ~is_large) & (sessions.rows_before > 0)
    before, after = get_neighbours(volume, sessions.has_volume & ~is_aside)
    ordinary = np.where(is_aside, np.where(after > 0, after, before), volume)
    total = np.cumsum(ordinary, axis=1)
    sum_before = total - ordinary
    previous = find_previous(is_aside)
    sum_since = np.take_along_axis(volume - total, np.maximum(previous, 0), axis=1) + sum_before

    def continues(sums: Floats) -> Bools:
        most = sums + np.maximum(MAX_OWN_MEDIANS * sessions.median, MAX_OWN_SHARE * sums)
        result: Bools = is_aside & (volume >= (1 - MAX_SLIP) * sums) & (volume <= most)
        return result

    continues_row = continues(sum_since) & (previous >= 0)
    return _SetAside(is_aside, ordinary, sum_before, continues(sum_before), continues_row, previous)


def _find_in_sessions(sessions: SessionVolumes, aside: _SetAside) -> tuple[Bools, Bools]:
    """Proven running totals, and rows that are only doubted."""
    volume, is_closing = sessions.volume, _is_closing(sessions)
    after_first = sessions.rows_before >= MIN_ROWS_BEFORE_MATCH
    is_counted = (sessions.rows_before >= MIN_ROWS_BEFORE_OUTLIER) & ~is_closing
    is_reopening = sessions.gap_before >= REOPENING_GAP
    scatter = measure_deviation(aside.ordinary)
    is_like_sum = aside.is_aside & (volume >= MIN_SUMS * aside.sum_before)
    stands_out = _exceeds_largest(volume, is_counted & ~aside.is_aside)

    is_match, is_evidence = _find_matches(sessions, aside, is_like_sum & stands_out, is_like_sum)
    is_clear = is_evidence & ~_is_thin(sessions) & ~is_reopening
    is_clear &= _exceeds_largest(volume, is_counted & ~aside.is_aside, scatter)

    sum_before = _sum_real(sessions, aside, is_match, is_like_sum)
    may_be_total = is_like_sum & stands_out & after_first & ~is_closing & ~is_reopening
    may_be_total &= (volume >= MIN_SUMS * sum_before) & (volume <= MAX_SUMS * sum_before)
    others = is_counted & ~is_match & ~may_be_total
    large = (others & (volume >= LARGE_MEDIANS * sessions.median)).sum(axis=1, keepdims=True)
    matches = _count(aside, is_evidence)
    is_proven = (_count(aside, is_clear) >= MIN_MATCHES) | (matches >= MIN_MATCHES_IF_THIN)
    is_proven &= matches > large

    is_outlier = may_be_total & _is_outlying(sessions, aside)
    is_alone = is_outlier & (volume <= MAX_SUMS_ALONE * sum_before) & _exceeds_largest(volume, others, scatter)
    is_alone &= _stands_out(sessions, ~aside.continues_sum, MIN_OVER_NEIGHBOURS_ALONE)
    is_doubted = is_outlier & is_alone.any(axis=1, keepdims=True) & _exceeds_largest(volume, others)
    proven = (is_match | may_be_total) & is_proven
    return proven, (is_doubted | (is_like_sum & after_first & is_proven)) & ~proven


def _find_matches(
    sessions: SessionVolumes, aside: _SetAside, may_be_evidence: Bools, is_like_sum: Bools
) -> tuple[Bools, Bools]:
    """The matches, and those that can prove others: not a last row that only continues a large one before the close."""
    is_continued = _find_continued(aside)
    is_match = is_like_sum & (aside.continues_sum | aside.continues_row | is_continued)
    is_match &= _stands_out(sessions, ~is_match)
    after_first = sessions.rows_before >= MIN_ROWS_BEFORE_MATCH
    is_evidence = is_match & may_be_evidence & (after_first | (aside.continues_sum & is_continued))
    return is_match, is_evidence & (aside.continues_sum | ~sessions.is_last)


def _count(aside: _SetAside, is_counted: Bools) -> Floats:
    """How many rows of each session count, shape (lines, 1); those side by side are alike anyway, and count less."""
    is_beside = aside.previous == np.arange(is_counted.shape[1]) - 1
    count: Floats = (np.where(is_beside, WEIGHT_SIDE_BY_SIDE, 1.0) * is_counted).sum(axis=1, keepdims=True)
    return count


def _sum_real(sessions: SessionVolumes, aside: _SetAside, is_match: Bools, is_like_sum: Bools) -> Floats:
    """Sum before each row, in which large rows of the opening count if they meet no sum: they are real more often."""
    after_opening = sessions.rows_before >= MIN_ROWS_BEFORE_OUTLIER
    real = np.where(is_match | (is_like_sum & after_opening), aside.ordinary, sessions.volume)
    sum_before: Floats = np.cumsum(real, axis=1) - real
    return sum_before


def _is_outlying(sessions: SessionVolumes, aside: _SetAside) -> Bools:
    """Rows that are far too large for their session by size alone, after the opening of a name that is not thin."""
    rest = np.where(aside.is_aside, 0.0, sessions.volume).sum(axis=1, keepdims=True)
    is_outlying: Bools = (sessions.volume >= OUTLIER_MEDIANS * sessions.median) & ~_is_thin(sessions)
    is_outlying &= (sessions.volume >= OUTLIER_SHARE * rest) & (sessions.rows_before >= MIN_ROWS_BEFORE_OUTLIER)
    return is_outlying


def _exceeds_largest(volume: Floats, others: Bools, scatter: Floats | float = 0.0) -> Bools:
    """Whether rows lie far above the largest of the others: by a factor, and by the scatter of the session."""
    with np.errstate(over="ignore"):
        factor = np.maximum(MIN_OVER_OTHERS, np.exp(MIN_DEVIATIONS * scatter))
    result: Bools = volume >= factor * np.where(others, volume, 0.0).max(axis=1, keepdims=True)
    return result


def _find_continued(aside: _SetAside) -> Bools:
    """Which rows the next one that was set aside continues."""
    is_continued = np.zeros(aside.is_aside.shape, bool)
    at, column = np.nonzero(aside.continues_row)
    is_continued[at, aside.previous[at, column]] = True
    return is_continued


def _prove_by_day(sessions: SessionVolumes, at: int, doubted: Bools, proven: Bools, day_volume: float) -> Bools:
    """Which large or doubted rows of a session, wherever they are, the day's volume proves wrong, shape (columns,)."""
    volume = np.where(proven, 0.0, sessions.volume[at])
    is_large = volume >= OUTLIER_MEDIANS * sessions.median[at]
    is_large &= volume >= OUTLIER_SHARE * np.where(is_large, 0.0, volume).sum()
    columns = np.flatnonzero((is_large | doubted) & ~proven)
    result = np.zeros(len(volume), bool)
    result[columns] = settle_by_day(float(volume.sum()), volume[columns], day_volume).is_proven
    return result


def _is_closing(sessions: SessionVolumes) -> Bools:
    """The last row, and the ones before it if it is large."""
    close = np.where(sessions.is_last, sessions.volume, 0.0).max(axis=1, keepdims=True)
    is_near = sessions.rows_before >= sessions.count - CLOSING_ROWS
    result: Bools = sessions.is_last | (is_near & (close >= OUTLIER_MEDIANS / 2 * sessions.median))
    return result


def _is_thin(sessions: SessionVolumes) -> Bools:
    is_thin: Bools = sessions.present_share < MIN_PRESENT_SHARE
    return is_thin | (LARGE_MEDIANS * sessions.median < BLOCK_SHARES)


def _stands_out(sessions: SessionVolumes, is_neighbour: Bools, factor: float = MIN_OVER_NEIGHBOURS) -> Bools:
    """Whether rows lie far above their neighbours; the first ones, which follow the opening, above the next."""
    before, after = get_neighbours(sessions.volume, sessions.has_volume & is_neighbour)
    is_above_before = sessions.volume >= factor * before
    is_above_before |= sessions.rows_before < MIN_ROWS_BEFORE_MATCH
    result: Bools = is_above_before & (sessions.volume >= factor * after)
    return result
