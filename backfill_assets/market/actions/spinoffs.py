"""Derive spin-offs from closes as traded beside those of the daily data. Pure.

The vendor lists no spin-offs, but adjusts its daily close for them backwards, while intraday prices are raw
(docs/vendor.md §5.4). So before one, the daily close of every row that was read since is one share of the close as
traded, and from the ex-date on they are equal. A row that was read before the ex-date shows nothing of it, and neither
does one without it that was read on the ex-date: when the vendor adjusts is not known (§6.17).
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date

import numpy as np

from backfill_assets.market.actions.overnight_steps import MIN_SPLIT, is_nearer
from backfill_assets.market.arrays import Bools, Floats, Int64
from backfill_assets.market.vendor import DateArray

TOLERANCE = 0.0015  # official closes of days with an early close lay 0.12 % from the daily one (docs/vendor.md §2.10)
MIN_DIFFERENCE = 0.01  # a close nearer to the daily one is not taken for another
MIN_SESSIONS_BEFORE = 5  # sessions of a wrong scale come singly or a few in a row
MIN_SESSIONS_AFTER = 2  # one alone may be equal by chance
MIN_SHARE = 0.8  # of the sessions before that show the factor; a close may be wrong
HALF_TICK, SMALL_HALF_TICK = 0.005, 0.00005  # US shares below one dollar are quoted in 1/100 cent


@dataclass(frozen=True, eq=False)
class CloseSeries:
    """Sessions of one symbol with a close as traded and one of the daily data, oldest first; shape (sessions,).

    Attributes:
        session: position in the sessions of a grid.
        day: the date of each (``datetime64[D]``).
        first_price: as traded.
        close: as traded.
        daily_close: of the daily data.
        read_day: when the daily row was read, a date in the exchange's time zone (``datetime64[D]``).
    """

    session: Int64
    day: DateArray
    first_price: Floats
    close: Floats
    daily_close: Floats
    read_day: DateArray


@dataclass(frozen=True, slots=True)
class DerivedSpinOff:
    """A spin-off that closes show.

    Attributes:
        ex_date: the first session without the part.
        factor: daily close / close as traded before it.
        sessions: how many sessions show the factor.
    """

    ex_date: date
    factor: float
    sessions: int


def derive_spinoffs(series: CloseSeries, split_ratios: Collection[float]) -> list[DerivedSpinOff]:
    """The spin-offs of one symbol, newest first.

    Each needs

    - at least five sessions up to the one before the ex-date whose rows were read since, nearly all with one factor
      within rounding, beyond those of later spin-offs, and hardly one earlier as without it,
    - the ex-date itself, on the very next session, and one more whose closes are equal,
    - a factor below 1 that neither a wrong scale nor a split explains: the inverse of no whole number, no ratio of a
      known split, and not 3:2, and
    - if it takes a third of the price or more, bars that step by it: else the bars would be of another scale.

    Args:
        series: of one symbol.
        split_ratios: new shares for an old one of the symbol's known splits.
    """
    if not len(series.session):
        return []
    tolerance = _compute_tolerance(series)
    is_ignored = np.zeros(len(series.session), bool)
    found: list[DerivedSpinOff] = []
    while True:
        residual = _compute_difference(series) - compute_expected(series, found)
        differs = (np.abs(residual) > np.maximum(MIN_DIFFERENCE, tolerance)) & ~is_ignored
        if not differs.any():
            return found
        newest = int(np.flatnonzero(differs)[-1])
        group = _find_group(series, residual, tolerance, newest)
        spinoff = _build(series, residual, tolerance, newest, group, split_ratios)
        if spinoff is None:
            is_ignored[newest] = True
        else:
            found.append(spinoff)


def count_contradicting(series: CloseSeries, known: Collection[DerivedSpinOff], ex_date: date) -> int:
    """How many sessions before a spin-off are as without it, though their rows were read since.

    Args:
        series: of one symbol.
        known: its other spin-offs.
        ex_date: of the one in question.
    """
    residual = _compute_difference(series) - compute_expected(series, known)
    ex_day = np.datetime64(ex_date, "D")
    is_affected = (series.day < ex_day) & (series.read_day > ex_day)
    return int((is_affected & (np.abs(residual) <= _compute_tolerance(series))).sum())


def compute_expected(series: CloseSeries, spinoffs: Iterable[DerivedSpinOff]) -> Floats:
    """The logarithm of what spin-offs make of each daily close: those between its day and its reading.

    A row that was read on the ex-date of one counts as it is nearer.
    """
    difference, expected = _compute_difference(series), np.zeros(len(series.session))
    for spinoff in spinoffs:
        ex_day, share = np.datetime64(spinoff.ex_date, "D"), np.log(spinoff.factor)
        is_with = is_nearer(difference - expected, np.full(len(expected), share)) & (series.read_day == ex_day)
        expected[(series.day < ex_day) & ((series.read_day > ex_day) | is_with)] += share
    return expected


def is_plain_scale(factor: float, split_ratios: Collection[float] = (), tolerance: float = TOLERANCE) -> bool:
    """Whether a factor of prices is one of a wrong scale or of a split, within a relative tolerance, either way.

    Those are whole numbers, among them powers of ten, 3:2, and the ratios of known splits.
    """
    multiple = max(factor, 1 / factor)
    plain = [max(1.0, round(multiple)), 1.5, *(max(ratio, 1 / ratio) for ratio in split_ratios)]
    return any(abs(multiple / value - 1) <= tolerance for value in plain)


def _compute_difference(series: CloseSeries) -> Floats:
    difference: Floats = np.log(series.daily_close) - np.log(series.close)
    return difference


def _compute_tolerance(series: CloseSeries) -> Floats:
    """How far two closes may differ that are equal: by the exchange's print, and by rounding."""
    tolerance = np.full(len(series.session), TOLERANCE)
    with np.errstate(over="ignore"):  # the vendor's figures may be far beyond any price
        for prices in (series.close, series.daily_close):
            tolerance += np.where(prices >= 1, HALF_TICK, SMALL_HALF_TICK) / prices
    return tolerance


def _find_group(series: CloseSeries, residual: Floats, tolerance: Floats, newest: int) -> Int64:
    """The sessions up to ``newest`` with its factor; empty if they are too few, or others are as without one.

    Sessions before them may have another factor, by an older spin-off. A spin-off changes all days before it.
    """
    ex_day = series.day[min(newest + 1, len(series.session) - 1)]
    is_clear = np.abs(residual) <= tolerance
    knows = np.flatnonzero(((series.read_day > ex_day) | (series.read_day == ex_day) & ~is_clear)[: newest + 1])
    typical = np.median(residual[knows[-MIN_SESSIONS_BEFORE:]]) if len(knows) else np.nan
    shows = np.abs(residual[knows] - typical) <= tolerance[knows]
    others_in_a_row = np.flatnonzero(~shows[:-1] & ~shows[1:])
    begin = int(others_in_a_row[-1]) + 2 if len(others_in_a_row) else 0
    group: Int64 = knows[begin:][shows[begin:]]
    is_enough = len(group) >= max(MIN_SESSIONS_BEFORE, MIN_SHARE * len(knows[begin:])) and group[-1] == newest
    is_one = is_enough and is_clear[knows].mean() <= 1 - MIN_SHARE
    return group if is_one else np.zeros(0, np.int64)


def _build(
    series: CloseSeries,
    residual: Floats,
    tolerance: Floats,
    newest: int,
    group: Int64,
    split_ratios: Collection[float],
) -> DerivedSpinOff | None:
    """The spin-off after ``newest``, None if the sessions around it do not show one."""
    if not len(group) or not _is_clear_after(series, residual, tolerance, newest, group):
        return None
    logarithm = float(np.median(residual[group]))
    factor = float(np.exp(logarithm))
    step = np.log(series.first_price[newest + 1 : newest + 2]) - np.log(series.close[newest])
    has_step = logarithm > -MIN_SPLIT or bool(is_nearer(step, np.array([logarithm]))[0])
    if logarithm > -MIN_DIFFERENCE or is_plain_scale(factor, split_ratios) or not has_step:
        return None
    return DerivedSpinOff(series.day[newest + 1].item(), factor, len(group))


def _is_clear_after(series: CloseSeries, residual: Floats, tolerance: Floats, newest: int, group: Int64) -> bool:
    """Whether the very next session and one more are as without it; the row of the next knows as much as others."""
    after = slice(newest + 1, newest + 1 + MIN_SESSIONS_AFTER)
    is_clear: Bools = np.abs(residual[after]) <= tolerance[after]
    if len(is_clear) < MIN_SESSIONS_AFTER or not is_clear.all():
        return False
    is_next = series.session[newest + 1] == series.session[newest] + 1
    return bool(is_next and series.read_day[newest + 1] >= series.read_day[group].min())
