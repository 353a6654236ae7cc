"""Our adjusted closes beside the vendor's: one series within a basis point, or parted by a named cause."""

from datetime import date

import numpy as np
import pytest

from backfill_assets.market.actions.adjusted_closes import (
    AdjustedCloses,
    Cause,
    Difference,
    KnownAction,
    compute_differences,
    find_differences,
)
from backfill_assets.market.arrays import Floats

DAYS = np.arange("2026-03-02", "2026-06-01", dtype="datetime64[D]")
DAYS = DAYS[np.is_busday(DAYS)]
READ = np.datetime64("2026-06-01")
DIVIDEND = KnownAction(1, date(2026, 5, 8), "dividend")
SPLIT = KnownAction(1, date(2026, 4, 1), "split")
SPIN_OFF = KnownAction(1, date(2026, 4, 15), "spin-off")
ACTIONS = (DIVIDEND, SPLIT, SPIN_OFF)
FACTORS = {"dividend": 0.9937, "split": 0.25, "spin-off": 1 / 2.39}


def build_factors(*actions: KnownAction, dividend: float = 0.9937) -> Floats:
    factors = np.ones(len(DAYS))
    for action in actions:
        factor = dividend if action.kind == "dividend" else FACTORS[action.kind]
        factors[np.datetime64(action.ex_date) > DAYS] *= factor
    return factors


def build_closes(ours: Floats, vendor: Floats, price: float = 200.0, read: np.datetime64 = READ) -> AdjustedCloses:
    """One symbol with closes in cents, and the vendor's adjusted ones in four decimals."""
    raw = np.round(price * np.exp(np.cumsum(np.random.default_rng(2).normal(0, 0.02, len(DAYS)))), 2)
    size = len(DAYS)
    return AdjustedCloses(np.ones(size, np.int64), DAYS, np.full(size, read), raw, ours, np.round(raw * vendor, 4))


def find(ours: Floats, vendor: Floats, actions: tuple[KnownAction, ...] = ACTIONS) -> list[Difference]:
    return find_differences(build_closes(ours, vendor), actions, {})


@pytest.mark.parametrize("price", [0.09, 1.3, 30.0, 900.0])
def test_the_same_actions_give_the_same_series(price: float) -> None:
    factors = build_factors(*ACTIONS)
    closes = build_closes(factors, factors, price)
    assert find_differences(closes, ACTIONS, {}) == []
    assert compute_differences(closes)[1].all()


def test_a_basis_point_is_allowed_and_two_are_not() -> None:
    factors = build_factors(*ACTIONS)
    assert find(factors, factors * np.exp(0.9e-4)) == []
    assert len(find(factors, factors * np.exp(2e-4))) == 1


@pytest.mark.parametrize(
    ("ours", "vendor", "cause", "ex_date"),
    [
        pytest.param((SPLIT,), (SPLIT, DIVIDEND), Cause.NOT_AMONG_ACTIONS, DIVIDEND.ex_date, id="we lack a dividend"),
        pytest.param((SPLIT, DIVIDEND), (SPLIT,), Cause.VENDOR_LACKS_IT, DIVIDEND.ex_date, id="the vendor lacks it"),
        pytest.param((SPLIT, DIVIDEND), (DIVIDEND,), Cause.VENDOR_LACKS_SPLIT, SPLIT.ex_date, id="it lacks a split"),
        pytest.param((SPLIT, SPLIT), (SPLIT,), Cause.OTHER_FACTOR, SPLIT.ex_date, id="we apply a split twice"),
        pytest.param((SPIN_OFF,), (SPIN_OFF, SPIN_OFF), Cause.SPIN_OFF, SPIN_OFF.ex_date, id="a spin-off twice"),
        pytest.param((SPIN_OFF,), (), Cause.SPIN_OFF, SPIN_OFF.ex_date, id="a spin-off not"),
    ],
)
def test_each_difference_is_found_once_with_its_cause(
    ours: tuple[KnownAction, ...], vendor: tuple[KnownAction, ...], cause: Cause, ex_date: date
) -> None:
    (difference,) = find(build_factors(*ours), build_factors(*vendor), ours)
    assert difference.cause == cause
    assert difference.after < ex_date <= difference.until


def test_another_amount_is_another_factor() -> None:
    (difference,) = find(build_factors(*ACTIONS), build_factors(*ACTIONS, dividend=0.97))
    assert (difference.cause, difference.cause.is_explained) == (Cause.OTHER_FACTOR, False)


@pytest.mark.parametrize(("known_until", "cause"), [("2026-05-07", Cause.NOT_READ_YET), ("2026-05-08", None)])
def test_what_was_not_read_yet_is_no_inconsistency(known_until: str, cause: Cause | None) -> None:
    closes = build_closes(build_factors(SPLIT), build_factors(SPLIT, DIVIDEND))
    (difference,) = find_differences(closes, [SPLIT], {1: date.fromisoformat(known_until)})
    assert difference.cause == (cause or Cause.NOT_AMONG_ACTIONS)


def test_two_differences_are_told_apart() -> None:
    found = find(build_factors(*ACTIONS), build_factors(SPIN_OFF))
    assert [(d.cause, d.until) for d in found] == [
        (Cause.VENDOR_LACKS_IT, DIVIDEND.ex_date),
        (Cause.VENDOR_LACKS_SPLIT, SPLIT.ex_date),
    ]
    assert [d.factor for d in found] == [pytest.approx(1 / 0.9937, rel=1e-5), pytest.approx(4, rel=1e-5)]


def test_a_row_that_was_read_on_the_ex_date_may_lack_it() -> None:
    action = KnownAction(1, date(2026, 6, 1), "dividend")
    closes = build_closes(np.full(len(DAYS), 0.99), np.ones(len(DAYS)))
    (difference,) = find_differences(closes, [action], {})
    assert difference.cause == Cause.READ_ON_EX_DATE
    assert difference.cause.is_explained


def test_each_reading_is_a_series_of_its_own() -> None:
    """Rows that were read before the dividend are not adjusted for it, by either side."""
    factors, size = build_factors(DIVIDEND), len(DAYS)
    late, early = build_closes(factors, factors), build_closes(np.ones(size), np.ones(size), read=DAYS[10])
    both = AdjustedCloses(
        *(np.concatenate([getattr(part, name) for part in (early, late)]) for name in late.__dataclass_fields__)
    )
    assert find_differences(both, ACTIONS, {}) == []
    assert (
        find_differences(AdjustedCloses(*(getattr(both, n)[:0] for n in late.__dataclass_fields__)), ACTIONS, {}) == []
    )
