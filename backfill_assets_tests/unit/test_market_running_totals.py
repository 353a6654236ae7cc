"""Which volumes are taken for running totals: recorded sessions, each form, real volumes, the day's balance."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from backfill_assets.market.arrays import Bools, Floats
from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.plausibility.day_balance import settle_by_day
from backfill_assets.market.plausibility.day_figures import DayFigures
from backfill_assets.market.plausibility.doubted_rows import list_doubted_volumes
from backfill_assets.market.plausibility.rules import Rule
from backfill_assets.market.plausibility.running_totals import find_running_totals
from backfill_assets.market.plausibility.session_panel import SessionPanel
from backfill_assets_tests.frames import FramesBuilt, build_bars
from backfill_assets_tests.unit.market_builders import build_grid, make_session_rows
from backfill_assets_tests.unit.recorded_running_totals import (
    DAY_VOLUMES,
    SUM_BEFORE_LONE,
    build_recorded_session,
)
from bench.plausibility.volumes import SORTS, draw_volumes

DAYS = tuple(DAY_VOLUMES)
LONE_DAY = "2026-02-12"
DAY = "2026-05-06"
ROWS = 78


def find(volume: Floats, day_volume: float | None = None, seconds: int = 300) -> tuple[Bools, Bools]:
    """Rows that are proven, and rows that are only doubted, of sessions of different symbols; shape as ``volume``."""
    number = np.arange(len(volume))
    values = np.where(volume > 0, volume, np.nan)
    panel = SessionPanel(number, 0 * number, 0 * number, 0 * number + ROWS, seconds, *[values] * 5)
    days = DayFigures.create_unknown(len(volume))
    if day_volume is not None:
        days = replace(days, volume=np.full(len(volume), day_volume))
    proven, doubted = np.zeros((2, *volume.shape), bool)
    for doubt in find_running_totals(panel, days, np.ones(len(volume), bool)):
        found = proven if doubt.withheld_volume else doubted
        found[doubt.symbol_id, doubt.first_stamp // seconds] = True
    return proven, doubted


def build(volumes: Sequence[float] | Floats, day: str = DAY, **arguments: object) -> FramesBuilt:
    return build_bars(make_session_rows(day, volumes), build_grid(day), INTERVALS["5m"], **arguments)


def know_day(volume: float) -> dict[str, object]:
    return {"find_days": lambda symbols, _: replace(DayFigures.create_unknown(len(symbols)), volume=np.array([volume]))}


def make_liquid_volumes(seed: int = 1, median: float = 300_000.0) -> Floats:
    row = np.arange(ROWS)
    shape = 1 + 2 * np.exp(-row / 4) + 1.5 * np.exp(-(ROWS - 1 - row) / 3)
    volumes = np.floor(median * shape * np.exp(0.2 * np.random.default_rng(seed).standard_normal(ROWS)))
    volumes[[0, -1]] *= 3
    return volumes


@pytest.mark.parametrize("with_day", [False, True], ids=["day unknown", "day known"])
@pytest.mark.parametrize("day", DAYS)
def test_every_recorded_running_total_is_found_and_no_other_row(day: str, with_day: bool) -> None:
    for seed in range(20):
        session = build_recorded_session(day, seed)
        proven, doubted = find(session.published[None], DAY_VOLUMES[day] * 1.01 if with_day else None)
        assert (proven | doubted)[0].tolist() == session.is_total.tolist()
        assert doubted.any() == (day == LONE_DAY and not with_day)
        assert not np.any(find(session.true[None]))
        assert not np.any(find(session.true[None], DAY_VOLUMES[day] * 1.01))


@pytest.mark.parametrize("day", DAYS[1:])
def test_bars_lack_the_running_totals_but_keep_their_prices(day: str) -> None:
    session = build_recorded_session(day)
    built = build(session.published, day)
    expected = build(session.true, day)
    assert built.bars["volume"].sum() == session.true[~session.is_total].sum()
    assert set(built.rejects["reason"]) == {"volume_running_total"}
    assert sorted(built.rejects["volume"]) == sorted(session.published[session.is_total])
    assert built.bars[["open", "high", "low", "close"]].equals(expected.bars[["open", "high", "low", "close"]])
    assert sum(doubt.withheld_volume for doubt in built.doubts) == session.published[session.is_total].sum()


def test_a_lone_running_total_keeps_its_volume_until_the_day_proves_it() -> None:
    session = build_recorded_session(LONE_DAY)
    doubted, proven = build(session.published, LONE_DAY), build(session.published, LONE_DAY, **know_day(39.3e6))
    assert doubted.bars["volume"].sum() == session.published.sum()
    assert doubted.rejects.empty
    (doubt,) = doubted.doubts
    assert doubt.rule is Rule.VOLUME_RUNNING_TOTAL
    assert doubt.withheld_volume == 0
    assert doubt.figures["volume"] == 17_476_979
    assert doubt.figures["sum_before"] == pytest.approx(SUM_BEFORE_LONE, abs=ROWS)
    assert proven.bars["volume"].sum() == session.true[~session.is_total].sum()
    assert [found.withheld_volume for found in proven.doubts] == [17_476_979]


@pytest.mark.parametrize("count", [2, 3, 6, 12])
@pytest.mark.parametrize("slip", [0.0, 0.013], ids=["exact", "slipping"])
def test_totals_that_continue_the_sum_are_proven_wherever_they_are(count: int, slip: float) -> None:
    random = np.random.default_rng(count)
    volume = np.array([make_liquid_volumes(seed) for seed in range(200)])
    is_total = np.argsort(np.argsort(random.random((200, ROWS - 15)), axis=1), axis=1) < count
    is_total = np.pad(is_total, ((0, 0), (14, 1)))
    totals = np.floor(np.cumsum(volume, axis=1) * (1 - slip * random.random(volume.shape)))
    proven, doubted = find(np.where(is_total, totals, volume))
    assert ((proven | doubted) & is_total).sum() >= 0.995 * is_total.sum()
    assert (proven & is_total).sum() >= (0.95 if count == 2 else 0.995) * is_total.sum()  # two side by side are doubts
    assert not ((proven | doubted) & ~is_total).any()


def test_totals_above_the_sum_and_falling_ones_are_found_beside_exact_ones() -> None:
    random = np.random.default_rng(5)
    volume = np.array([make_liquid_volumes(seed) for seed in range(200)])
    columns = [16, 25, 33, 41, 52, 66]
    factors = np.where(np.arange(6) % 2 == 0, 1.0, random.uniform(0.6, 1.6, (200, 6)))
    published = volume.copy()
    published[:, columns] = np.floor(np.cumsum(volume, axis=1)[:, columns] * factors)
    proven, doubted = find(published)
    assert proven[:, columns].mean() >= 0.99
    assert not np.delete(proven | doubted, columns, axis=1).any()


@pytest.mark.parametrize("factor", [0.6, 1.0, 1.4])
def test_a_lone_total_of_twenty_medians_is_doubted(factor: float) -> None:
    volume = np.array([make_liquid_volumes(seed) for seed in range(200)])
    total = np.floor(np.cumsum(volume, axis=1)[:, 45] * factor)
    published = volume.copy()
    published[:, 45] = total
    proven, doubted = find(published)
    assert doubted[:, 45].all()
    assert doubted.sum() == 200
    assert not proven.any()


def test_a_total_beside_a_burst_of_the_opening_is_doubted() -> None:
    volume = make_liquid_volumes()
    volume[1:12] *= np.linspace(20, 2, 11)
    volume[45] = np.floor(0.8 * volume[:45].sum())
    proven, doubted = find(volume[None])
    assert np.flatnonzero(doubted[0]).tolist() == [45]
    assert not proven.any()


def test_what_else_may_be_a_total_is_doubted_where_totals_are_proven() -> None:
    volume = make_liquid_volumes()
    true = volume.copy()
    for column, factor in ((20, 1.0), (30, 1.0), (40, 1.0), (77, 0.7)):
        volume[column] = np.floor(true[: column + 1].sum() * factor)
    proven, doubted = find(volume[None])
    assert np.flatnonzero(proven[0]).tolist() == [20, 30, 40]
    assert np.flatnonzero(doubted[0]).tolist() == [77]


REAL = {
    "recorded last row": [*make_liquid_volumes()[:-1], 3_380_000],
    "opening burst": [2_500_000, 2_400_000, 2_500_000, *make_liquid_volumes()[3:]],
    "index rebalance": [*make_liquid_volumes()[:-1], 10 * sum(make_liquid_volumes())],
    "last row as large as the rest": [*make_liquid_volumes()[:-1], sum(make_liquid_volumes()[:-1])],
    "rebalance that begins early": [*make_liquid_volumes()[:-3], 4e6, 9e6, 4e8],
    "earnings": [volume * 6 / (1 + at / 10) for at, volume in enumerate(make_liquid_volumes())],
    "news": [*make_liquid_volumes()[:40], *(3e5 + 2e7 * 0.7**at for at in range(38))],
    "news that are over in minutes": [*make_liquid_volumes()[:40], 15e6, 7e6, 3e6, 1e6, *make_liquid_volumes()[44:]],
    "a close that begins early": [*make_liquid_volumes()[:-4], 14e6, 16e6, 17e6, 22e6],
    "block trade of a thin name": [*make_liquid_volumes(3, 300)[:40], 30_000, *make_liquid_volumes(4, 300)[41:]],
    "round lots": [*[100, 100, 200] * 26],
    "round lots that double": [100, 100, 200, 400, 800, 1_600, 3_200, *[100] * 40, 10_000, *[200] * 30],
    "round lots, a block after each": [*[100, 100, 100, 300] * 19, 100, 100],
    "reopening": [*make_liquid_volumes()[:30], 0, 0, 0, 0, 12e6, *make_liquid_volumes()[35:]],
    "nothing": [0] * ROWS,
}


@pytest.mark.parametrize("name", REAL)
def test_real_volumes_are_left_alone(name: str) -> None:
    volume = np.array([REAL[name]], float)
    assert not np.any(find(volume))
    assert not np.any(find(volume, float(volume.sum())))


@pytest.mark.parametrize("sort", SORTS)
def test_no_clean_session_is_doubted(sort: str) -> None:
    assert not np.any(find(draw_volumes(np.random.default_rng(15), sort, 4_000)))


@pytest.mark.parametrize(
    ("at", "factor", "gap"),
    [(77, 1.0, 0), (0, 60.0, 0), (30, 0.7, 3), (5, 1.5, 0)],
    ids=["last", "first", "gap", "early"],
)
def test_the_day_proves_a_running_total_wherever_it_is(at: int, factor: float, gap: int) -> None:
    volume = make_liquid_volumes()
    volume[at - gap : at] = 0
    day_volume = 1.02 * volume.sum()
    volume[at] = np.floor(volume[: at + 1].sum() * factor)
    assert not find(volume[None])[0].any()
    proven, _ = find(volume[None], day_volume)
    assert np.flatnonzero(proven[0]).tolist() == [at]


def test_too_much_volume_in_every_row_is_no_running_total() -> None:
    volume = make_liquid_volumes()
    assert not np.any(find(volume[None], volume.sum() / 2))


@pytest.mark.parametrize(
    ("total", "volumes", "day_volume", "usual_share", "proven", "confirmed"),
    [
        (56, [17], 40, np.nan, [True], [False]),
        (56, [17], 60, np.nan, [False], [False]),
        (56, [17], np.nan, 0.5, [False], [False]),
        (56, [17], 38, np.nan, [False], [False]),
        (56, [17], 120, 0.5, [False], [True]),
        (56, [17], 80, 0.5, [False], [False]),
        (70, [17, 14], 45, 0.9, [True, True], [False, False]),
        (80, [40, 2], 50, 0.9, [True, False], [False, True]),
        (100, [20, 20, 20], 70, np.nan, [False, False, False], [False, False, False]),
    ],
    ids=[
        "one exceeds the day",
        "one of a venue that is a part",
        "day unknown",
        "too much without it",
        "no more than usual",
        "more than usual",
        "each alone exceeds the day",
        "one proven, the other usual",
        "not known which",
    ],
)
def test_the_day_settles_doubted_volumes(
    total: float,
    volumes: list[float],
    day_volume: float,
    usual_share: float,
    proven: list[bool],
    confirmed: list[bool],
) -> None:
    settled = settle_by_day(total, np.array(volumes, float), day_volume, usual_share)
    assert settled.is_proven.tolist() == proven
    assert settled.is_confirmed.tolist() == confirmed


def test_two_rows_of_a_slot_are_one_doubt_that_tells_both() -> None:
    session = build_recorded_session(DAY)
    built = build(session.published)
    first = built.doubts[0]
    assert first.figures["row"] == "14:30 UTC, 14:45 UTC"
    volumes = list_doubted_volumes(first.first_stamp, first.figures)
    assert volumes == [(first.first_stamp, 11_998_333), (first.first_stamp + 900, 14_397_470)]
    assert first.last_stamp == first.first_stamp + 900
    assert first.withheld_volume == 11_998_333 + 14_397_470
    assert [len(list_doubted_volumes(doubt.first_stamp, doubt.figures)) for doubt in built.doubts] == [2, 1, 1, 1, 1]


def test_a_volume_that_a_person_decided_to_be_right_is_kept_until_it_changes() -> None:
    session = build_recorded_session(DAY)
    (stamp, volume), *_ = list_doubted_volumes(*_describe(build(session.published)))
    kept = build(session.published, excused={(0, stamp): volume})
    assert kept.bars["volume"].sum() == session.true[~session.is_total].sum() + volume
    assert volume not in kept.rejects["volume"].tolist()
    assert kept.doubts[0].figures["row"] == "14:45 UTC"
    changed = build(session.published, excused={(0, stamp): volume - 1})
    assert volume in changed.rejects["volume"].tolist()


def _describe(built: FramesBuilt) -> tuple[int, object]:
    return built.doubts[0].first_stamp, built.doubts[0].figures
