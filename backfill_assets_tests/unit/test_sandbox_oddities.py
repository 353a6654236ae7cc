"""Improbable data of the sandbox: each kind is repeatable, off by default, does what it says, and can be put right."""

from collections.abc import Iterator
from datetime import date

import numpy as np
import pytest

from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.sessions import Session
from backfill_assets.sandbox.config import DataQuirks, SandboxConfig
from backfill_assets.sandbox.oddities import Mending, Oddity, OddityKind, OddityRates
from backfill_assets.sandbox.world.intraday_columns import IntradayColumns
from backfill_assets.sandbox.world.publication import FINAL_STAGE
from backfill_assets.sandbox.world.simulation import World

LISTED, SPLIT = date(2026, 6, 3), date(2026, 6, 2)
SYMBOLS = 16


def make_world(rates: OddityRates) -> World:
    return World(
        SandboxConfig(
            symbols=SYMBOLS,
            listed={"MSFT": LISTED},
            splits={"AMZN": (SPLIT, 3.0)},
            quirks=DataQuirks(close_print=False, oddities=rates),
        )
    )


CLEAN = make_world(OddityRates())


def list_week(world: World) -> tuple[Session, ...]:
    index = world.session_index
    return tuple(index.sessions[index.slice_days(date(2026, 6, 1), date(2026, 6, 5))])


def iter_wrong(world: World) -> Iterator[tuple[Oddity, IntradayColumns, IntradayColumns]]:
    """Each wrong session of a week with its right and its published 5m rows."""
    for symbol in CLEAN.symbols:
        for session in list_week(world):
            for oddity in world.list_oddities(symbol, session):
                right = CLEAN.build_traded_rows(symbol, session, "5m", revised=True)
                yield oddity, right, world.get_published_rows(symbol, session, "5m", FINAL_STAGE)


def list_only(kind: OddityKind) -> list[tuple[Oddity, IntradayColumns, IntradayColumns]]:
    wrong = list(iter_wrong(make_world(OddityRates.build_only(kind))))
    assert wrong
    return wrong


def test_nothing_is_odd_by_default() -> None:
    for quirks in (DataQuirks.build_clean(), DataQuirks.build_realistic()):
        assert quirks.oddities == OddityRates()
    assert list(iter_wrong(CLEAN)) == []


@pytest.mark.parametrize("kind", OddityKind)
def test_kind_is_repeatable_named_and_leaves_the_true_bars(kind: OddityKind) -> None:
    world = make_world(OddityRates.build_only(kind))
    again = make_world(OddityRates.build_only(kind))
    for oddity, right, published in list_only(kind):
        session = next(s for s in list_week(world) if s.day == oddity.day)
        differs = (right.prices != published.prices).any(axis=0) | (right.volumes != published.volumes)
        if kind is not OddityKind.BEFORE_LISTING:
            assert tuple(right.timestamps[differs].tolist()) == oddity.stamps
        assert again.get_published_rows(oddity.symbol, session, "5m").volumes.tolist() == published.volumes.tolist()
        assert again.list_oddities(oddity.symbol, session) == [oddity]
        is_ordered = (published.prices[1] >= published.prices[[0, 2, 3]].max(axis=0)) & (
            published.prices[2] <= published.prices[[0, 1, 3]].min(axis=0)
        )
        assert is_ordered.all()
        true_bars = [m.true_bars(oddity.symbol, session, INTERVALS["30m"], "5m") for m in (world, CLEAN)]
        assert true_bars[0].equals(true_bars[1])


def test_running_totals_are_as_far_off_as_their_kind_says() -> None:
    bounds = {
        OddityKind.EXACT_RUNNING_TOTALS: (0.9999, 1.0001),
        OddityKind.SLIPPING_RUNNING_TOTALS: (0.9849, 1.0),
        OddityKind.EXCESSIVE_RUNNING_TOTALS: (1.0, 2.0),
        OddityKind.UNSTEADY_RUNNING_TOTALS: (0.599, 1.4),
        OddityKind.LONE_RUNNING_TOTAL: (0.499, 1.2),
    }
    for kind, (low, high) in bounds.items():
        for oddity, right, published in list_only(kind):
            wrong = np.isin(right.timestamps, oddity.stamps)
            ratios = (published.volumes / np.cumsum(right.volumes))[wrong]
            assert ratios.min() >= low
            assert ratios.max() <= high
            assert wrong.sum() == 1 if kind is OddityKind.LONE_RUNNING_TOTAL else 6 <= wrong.sum() <= 12
            assert np.array_equal(published.prices, right.prices)


def test_spikes_are_in_one_row_first_and_last_ones_too() -> None:
    for kind in (OddityKind.FIELD_SPIKE, OddityKind.ROW_SPIKE):
        wrong = list_only(kind)
        assert all(len(oddity.stamps) == 1 for oddity, _, _ in wrong)
        places = {int(np.flatnonzero(right.timestamps == oddity.stamps[0])[0]) for oddity, right, _ in wrong}
        assert {0, 77} < places
        assert all(max(oddity.factor, 1 / oddity.factor) > 1.019 for oddity, _, _ in wrong)
    fields = {tuple((right.prices != published.prices).any(axis=1)) for _, right, published in list_only(kind)}
    assert fields == {(True,) * 4}


def test_prices_are_taken_from_the_session_that_the_kind_names() -> None:
    for oddity, right, published in list_only(OddityKind.STALE_OPEN):
        session = next(s for s in list_week(CLEAN) if s.day == oddity.day)
        before = CLEAN.session_index.find_earlier(session, 1)
        assert before is not None
        assert published.prices[0, 0] == pytest.approx(CLEAN.get_official_bar(oddity.symbol, before).close, rel=1e-6)
        assert np.array_equal(published.prices[:, 1:], right.prices[:, 1:])
    for kind, rows_later in ((OddityKind.REPEATED_SESSION, {0}), (OddityKind.SHIFTED_SESSION, {*range(-12, 13)} - {0})):
        for oddity, _, published in list_only(kind):
            session = next(s for s in list_week(CLEAN) if s.day == oddity.day)
            earlier = [CLEAN.session_index.find_earlier(session, n) for n in range(1, 21)]
            closes = [CLEAN.build_traded_rows(oddity.symbol, s, "5m", revised=True).prices[3] for s in earlier if s]
            middle = published.prices[3, 20:50]
            found = {
                shift for other in closes for shift in rows_later if (other[20 + shift : 50 + shift] == middle).all()
            }
            assert len(found) == 1, (kind, oddity)


def test_whole_sessions_are_scaled_frozen_or_doubled() -> None:
    for _, _, published in list_only(OddityKind.FROZEN_SESSION):
        assert len(np.unique(published.prices)) == 1
        assert published.volumes.max() == 0
    for oddity, right, published in list_only(OddityKind.OVERNIGHT_STEP):
        assert published.prices == pytest.approx(right.prices * oddity.factor, rel=1e-5)
    for oddity, _, _ in list_only(OddityKind.SPLIT_WITHOUT_STEP):
        assert (oddity.symbol, oddity.factor) == ("AMZN", pytest.approx(3.0))
        assert oddity.day >= SPLIT
    for oddity, _, published in list_only(OddityKind.BEFORE_LISTING):
        assert oddity.day < LISTED
        assert len(published) == 78
    rates = OddityRates.build_only(OddityKind.DOUBLED_VOLUMES)
    index = CLEAN.session_index
    half_year = index.sessions[index.slice_days(date(2026, 1, 1), date(2026, 6, 30))]
    doubled = [s for s in half_year if make_world(rates).list_oddities("AAPL", s)]
    assert 9 <= len(doubled) <= 31
    assert half_year.index(doubled[-1]) - half_year.index(doubled[0]) == len(doubled) - 1


def test_scaled_prices_do_not_fall_below_five_cents() -> None:
    for kind in (OddityKind.SCALED_ROWS, OddityKind.SCALED_FROM_ROW):
        for oddity, right, published in list_only(kind):
            assert published.prices.min() >= 0.0499
            factors = (published.prices / right.prices)[:, np.isin(right.timestamps, oddity.stamps)]
            assert factors == pytest.approx(oddity.factor, rel=1e-3)
            first = int(np.flatnonzero(np.isin(right.timestamps, oddity.stamps))[0])
            assert len(oddity.stamps) == 78 - first or (
                kind is OddityKind.SCALED_ROWS and 3 <= len(oddity.stamps) <= 20
            )


def test_wrong_session_is_put_right_as_it_says() -> None:
    kind = OddityKind.ROW_SPIKE
    for mending in Mending:
        world = make_world(OddityRates.build_only(kind, mending))
        session = list_week(world)[0]
        (oddity,) = world.list_oddities("AAPL", session)
        assert oddity.mending is mending
        right, minutes = (CLEAN.get_published_rows("AAPL", session, interval) for interval in ("5m", "1m"))
        early = FINAL_STAGE._replace(mended=False)
        later = world.get_published_rows("AAPL", session, "5m")
        assert not np.array_equal(world.get_published_rows("AAPL", session, "5m", early).prices, right.prices)
        assert np.array_equal(later.prices, right.prices) == (mending is Mending.MENDED)
        one_minute = world.get_published_rows("AAPL", session, "1m", early)
        absent = len(minutes) - len(one_minute)
        assert absent == {Mending.OTHER_FEED: 0, Mending.BOTH_FEEDS: 4}.get(mending, 5)
        times = world.get_publication_times("AAPL", session, "5m")
        if mending is Mending.MENDED:
            stages = [times.get_stage(oddity.mended_at - 1), times.get_stage(oddity.mended_at)]
            assert [stage and stage.mended for stage in stages] == [False, True]


def test_another_seed_makes_other_sessions_wrong_in_the_same_market() -> None:
    worlds = [make_world(OddityRates(seed=seed, row_spike=0.3)) for seed in (0, 1)]
    days = [[(o.symbol, o.day) for o, _, _ in iter_wrong(world)] for world in worlds]
    assert days[0] != days[1]
    assert all(0 < len(found) < 60 for found in days)
