"""Spin-offs derived from closes as traded beside the daily ones: what shows one, and what does not."""

from dataclasses import replace

import numpy as np
import pytest

from backfill_assets.market.actions.spinoffs import (
    CloseSeries,
    DerivedSpinOff,
    count_contradicting,
    derive_spinoffs,
    is_plain_scale,
)
from backfill_assets.market.arrays import Floats

FACTOR = 1 / 2.39  # DD, 2025-11-03
SESSIONS, EX = 40, 30
DAYS = np.arange("2025-09-22", "2025-12-31", dtype="datetime64[D]")
DAYS = DAYS[np.is_busday(DAYS)][:SESSIONS]
EX_DATE = DAYS[EX].item()


def build_series(
    *spinoffs: tuple[int, float], price: float = 81.7, read_at: int = SESSIONS - 1, decimals: int = 4, seed: int = 1
) -> CloseSeries:
    """A symbol whose price falls by each factor; the daily rows were read on the day of ``read_at``, or when new."""
    rng = np.random.default_rng(seed)
    at = np.arange(SESSIONS)
    level = price * np.exp(np.cumsum(rng.normal(0, 0.02, SESSIONS)))
    shares = np.ones(SESSIONS)
    read = np.maximum(at, read_at)
    adjustment = np.ones(SESSIONS)
    for session, factor in spinoffs:
        shares[session:] *= factor
        adjustment[(at < session) & (read >= session)] *= factor
    digits = 2 if price >= 1 else 4
    close = np.round(level * shares, digits)
    first = np.round(close * np.exp(rng.normal(0, 0.01, SESSIONS)), digits)
    return CloseSeries(at, DAYS, first, close, np.round(close * adjustment, decimals), DAYS[read])


def change(values: Floats, at: int | slice, factor: float) -> Floats:
    changed = values.copy()
    changed[at] *= factor
    return changed


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("factor", [FACTOR, 0.97, 0.85, 1 / 1.31, 0.9])
def test_a_spin_off_is_derived_with_its_date_and_factor(factor: float, seed: int) -> None:
    (spinoff,) = derive_spinoffs(build_series((EX, factor), seed=seed), [])
    assert (spinoff.ex_date, spinoff.sessions) == (EX_DATE, EX)
    assert spinoff.factor == pytest.approx(factor, rel=1e-5)  # a tenth of a basis point


@pytest.mark.parametrize(("price", "decimals"), [(0.31, 4), (2.5, 4), (14, 2), (81.7, 3)])
def test_rounding_of_small_prices_is_allowed_for(price: float, decimals: int) -> None:
    (spinoff,) = derive_spinoffs(build_series((EX, 0.7), price=price, decimals=decimals), [])
    assert spinoff.ex_date == EX_DATE
    assert spinoff.factor == pytest.approx(0.7, rel=0.001)


def test_two_spin_offs_of_one_symbol() -> None:
    found = derive_spinoffs(build_series((12, 0.9), (EX, FACTOR)), [])
    assert [(s.ex_date, s.sessions) for s in found] == [(EX_DATE, 18), (DAYS[12].item(), 12)]
    assert [s.factor for s in found] == [pytest.approx(FACTOR, rel=1e-4), pytest.approx(0.9, rel=1e-4)]


@pytest.mark.parametrize("read_at", [0, EX - 1])
def test_rows_that_were_read_before_show_nothing(read_at: int) -> None:
    series = build_series((EX, FACTOR), read_at=read_at)
    assert derive_spinoffs(series, []) == []
    assert count_contradicting(series, [], EX_DATE) == 0


def test_rows_that_were_read_on_the_ex_date_count_if_they_show_it() -> None:
    adjusted, unadjusted = build_series((EX, FACTOR), read_at=EX), build_series((EX, FACTOR), read_at=0)
    assert len(derive_spinoffs(adjusted, [])) == 1
    unclear = replace(unadjusted, read_day=adjusted.read_day)
    assert derive_spinoffs(unclear, []) == []
    assert count_contradicting(unclear, [], EX_DATE) == 0
    some = replace(adjusted, daily_close=np.where(np.arange(SESSIONS) < 20, unclear.daily_close, adjusted.daily_close))
    assert [s.sessions for s in derive_spinoffs(some, [])] == [EX - 20]


@pytest.mark.parametrize(("read_again", "found"), [(1, 0), (4, 0), (5, 1), (12, 1)])
def test_it_shows_when_at_least_five_of_the_rows_are_read_again(read_again: int, found: int) -> None:
    before, after = build_series((EX, FACTOR), read_at=0), build_series((EX, FACTOR))
    again = np.arange(SESSIONS) >= EX - read_again
    mixed = replace(
        before,
        daily_close=np.where(again, after.daily_close, before.daily_close),
        read_day=np.where(again, after.read_day, before.read_day),
    )
    assert [(s.ex_date, s.sessions) for s in derive_spinoffs(mixed, [])] == [(EX_DATE, read_again)] * found


@pytest.mark.parametrize(("until", "found"), [(EX + 1, 0), (EX + 2, 1)])
def test_two_sessions_must_follow(until: int, found: int) -> None:
    series = build_series((EX, FACTOR))
    cut = CloseSeries(*(getattr(series, name)[:until] for name in CloseSeries.__dataclass_fields__))
    assert len(derive_spinoffs(cut, [])) == found


@pytest.mark.parametrize("scale", [0.1, 0.01, 10.0, 100.0, 0.5, 2.0, 1.5, 2 / 3, 1 / 15])
def test_a_wrong_scale_or_a_split_is_none(scale: float) -> None:
    """Bars of another scale, or adjusted for a split that the daily data are not adjusted for."""
    series = build_series()
    wrong = replace(
        series, close=change(series.close, slice(EX), scale), first_price=change(series.first_price, slice(EX), scale)
    )
    assert derive_spinoffs(wrong, []) == []
    assert is_plain_scale(scale)


def test_the_ratio_of_a_known_split_is_none() -> None:
    series = build_series((EX, 1 / 1.25))
    assert len(derive_spinoffs(series, [])) == 1
    assert derive_spinoffs(series, [7.0, 1.25]) == derive_spinoffs(series, [0.8]) == []


def test_a_factor_that_the_bars_do_not_step_by_is_none() -> None:
    """Daily closes that are a share of the bars', and bars that go on at their level."""
    series = build_series()
    assert derive_spinoffs(replace(series, daily_close=change(series.daily_close, slice(EX), FACTOR)), []) == []
    assert derive_spinoffs(replace(series, daily_close=change(series.daily_close, slice(EX), 2.39)), []) == []


def test_single_wrong_closes_hide_none_and_make_none() -> None:
    series = build_series((EX, FACTOR))
    closes = change(change(series.close, 7, 1.3), 22, 0.6)
    (spinoff,) = derive_spinoffs(replace(series, close=change(closes, SESSIONS - 3, 1.2)), [])
    assert (spinoff.ex_date, spinoff.sessions) == (EX_DATE, EX - 2)
    for at in (slice(3, 4), slice(10, 14), slice(0, 3), slice(SESSIONS - 1, None)):
        assert derive_spinoffs(replace(build_series(), close=change(build_series().close, at, 1.7)), []) == []


def test_the_factor_must_be_one_and_the_same() -> None:
    drift = np.exp(np.linspace(0, 0.1, SESSIONS))
    series = build_series((EX, FACTOR))
    assert derive_spinoffs(replace(series, daily_close=series.daily_close * drift), []) == []


def test_after_a_hole_the_day_is_not_known() -> None:
    series = build_series((EX, FACTOR))
    kept = np.arange(SESSIONS) != EX
    with_hole = CloseSeries(*(getattr(series, name)[kept] for name in CloseSeries.__dataclass_fields__))
    assert derive_spinoffs(with_hole, []) == []


def test_the_row_of_the_ex_date_must_have_been_read_as_late_as_those_before() -> None:
    """One that was read earlier does not rule out that the spin-off was some days later."""
    series = build_series((EX, FACTOR))
    read_day = series.read_day.copy()
    read_day[EX] = EX_DATE
    assert derive_spinoffs(replace(series, read_day=read_day), []) == []


def test_rows_that_were_read_since_and_do_not_show_it_contradict_it() -> None:
    series = build_series()
    assert count_contradicting(series, [], EX_DATE) == EX
    later = DerivedSpinOff(DAYS[35].item(), 0.9, 10)
    assert count_contradicting(build_series((35, 0.9)), [later], EX_DATE) == EX
    assert count_contradicting(build_series((EX, FACTOR), (35, 0.9)), [later], EX_DATE) == 0


@pytest.mark.parametrize("noise", [0.0, 0.0005, 0.004, 0.03])
def test_no_false_alarm_on_five_hundred_symbols_of_any_quality(noise: float) -> None:
    """Closes of last bars in place of official ones; a fifth of the closes is further off."""
    rng = np.random.default_rng(11)
    for seed in range(500):
        series = build_series(seed=seed, price=float(rng.uniform(0.2, 300)))
        off = np.exp(noise * rng.standard_t(3, SESSIONS) + 0.05 * (rng.random(SESSIONS) < 0.2))
        assert derive_spinoffs(replace(series, close=series.close * off), []) == []


def test_no_sessions() -> None:
    empty = np.zeros(0)
    days = np.zeros(0, "datetime64[D]")
    assert derive_spinoffs(CloseSeries(empty.astype(np.int64), days, empty, empty, empty, days), []) == []
