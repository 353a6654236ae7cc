"""The simulation of improbable data at a small size: right sessions are not doubted, and what is promised is found."""

import numpy as np
import pytest

from backfill_assets.sandbox.oddities import OddityKind
from bench.plausibility.counts import count_clean, count_kind
from bench.plausibility.injections import inject
from bench.plausibility.markets import aggregate_panel, draw_market
from bench.plausibility.volumes import SORTS

SMALL = 1200  # sessions


@pytest.mark.parametrize("sort", SORTS)
def test_clean_sessions_are_not_doubted(sort: str) -> None:
    count = count_clean(sort, SMALL)
    assert count.sessions == SMALL
    assert count.doubted == 0, count.rules


@pytest.mark.parametrize("kind", OddityKind)
def test_what_is_promised_is_found(kind: OddityKind) -> None:
    count = count_kind(kind, "liquid", SMALL)
    assert count.promised > 10
    assert count.keeps_promise, count
    assert count.marked_bars >= 0.99 * count.bars


@pytest.mark.parametrize("sort", SORTS)
def test_markets_are_repeatable_and_consistent(sort: str) -> None:
    market, again = (draw_market(np.random.default_rng(5), sort, 300) for _ in range(2))
    rows, days = market.rows, market.days
    assert np.array_equal(rows.close, again.rows.close, equal_nan=True)
    present = rows.is_present
    assert (rows.high >= np.fmax(rows.open, rows.close))[present].all()
    assert (rows.low <= np.fmin(rows.open, rows.close))[present].all()
    known = days.is_known
    assert (np.nanmax(rows.high[known], axis=1) <= days.high[known] + 1e-6).all()
    assert (np.nansum(rows.volume[known], axis=1) <= days.volume[known]).all()
    bars = aggregate_panel(rows)
    assert np.nansum(bars.volume) == np.nansum(rows.volume)
    assert np.array_equal(np.fmax.reduce(bars.high, axis=1), np.fmax.reduce(rows.high, axis=1), equal_nan=True)


def test_injection_changes_only_what_it_names() -> None:
    market = draw_market(np.random.default_rng(5), "liquid", 300)
    injected = inject(np.random.default_rng(6), market, OddityKind.ROW_SPIKE)
    wrong = injected.changed.any(axis=1)
    assert injected.changed.sum(axis=1)[wrong].tolist() == [1] * int(wrong.sum())
    assert np.array_equal(injected.wrong.rows.close[~wrong], market.rows.close[~wrong], equal_nan=True)
    assert np.array_equal(injected.wrong.rows.volume, market.rows.volume, equal_nan=True)
