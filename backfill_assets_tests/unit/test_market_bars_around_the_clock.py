"""Bars of pairs that trade around the clock: rows without volume, off the grid or twice, small prices, no volumes.

``fixtures/BTC-USD_5m_2024-08-31.csv`` are rows of the vendor: prices move in rows without volume, those of 80 minutes
are absent, and one row stands off the grid. Hours from 24 on are of the next day.
"""

import math
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from backfill_assets.cli.certificate_rendering import format_values
from backfill_assets.market.bars.source_rows import ROW_COLUMNS
from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.sessions import list_sessions
from backfill_assets.market.calendar.slots import build_slot_grid
from backfill_assets.market.exchanges.registry import get_profile
from backfill_assets.market.plausibility.doubt_texts import format_figure
from backfill_assets.market.price_digits import format_price
from backfill_assets.store.bars.former_values import PricesAndVolume
from backfill_assets_tests.conftest import read_recorded_rows
from backfill_assets_tests.frames import FramesBuilt, build_bars

Vendor = tuple[str, float, float, float, float, float | None]  # time, open, high, low, close, volume
VALUES = ["open", "high", "low", "close", "volume"]
HALF_HOUR = 1800


def parse(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def build(rows: list[Vendor], first: str, last: str | None = None, exchange: str = "CC") -> FramesBuilt:
    table = pd.DataFrame([(1, parse(at), *values) for at, *values in rows], columns=list(ROW_COLUMNS))
    sessions = list_sessions(get_profile(exchange), date.fromisoformat(first), date.fromisoformat(last or first))
    source = INTERVALS["1m" if exchange == "FOREX" else "5m"]
    return build_bars(table.astype({"volume": float}), build_slot_grid(sessions, INTERVALS["30m"]), source)


def make_rows(start: str, count: int, volume: float | None = 1024.0, minutes: int = 5) -> list[Vendor]:
    """Rows that rise by a cent each."""
    at = parse(start)
    return [
        (
            datetime.fromtimestamp(at + 60 * minutes * step, UTC).strftime("%Y-%m-%d %H:%M"),
            *(10 + step / 100 + plus for plus in (0.0, 0.5, -0.5, 0.1)),
            volume,
        )
        for step in range(count)
    ]


def loop_over(rows: list[dict[str, Any]]) -> dict[int, list[Any]]:
    """Half hours as a plain loop makes them of the rows of the grid: a bar's volume is known if each row has one."""
    bars: dict[int, list[Any]] = {}
    for row in rows:
        at, volume = row["timestamp"], row["volume"]
        if at % 300:
            continue
        bar = bars.setdefault(at - at % HALF_HOUR, [row["open"], row["high"], row["low"], row["close"], 0])
        bar[1], bar[2], bar[3] = max(bar[1], row["high"]), min(bar[2], row["low"]), row["close"]
        bar[4] = None if volume is None or bar[4] is None else bar[4] + volume
    return bars


def test_recorded_rows_of_bitcoin_give_the_bars_of_a_plain_loop_and_none_is_dropped() -> None:
    recorded = read_recorded_rows("BTC-USD_5m_2024-08-31")
    rows: list[Vendor] = [(row["datetime"], *(row[name] for name in VALUES)) for row in recorded]
    built = build(rows, "2024-08-31", "2024-09-01")
    expected = loop_over(recorded)
    assert len(expected) == len(built.bars) == 12
    assert sum(row["volume"] is None for row in recorded) == 41
    assert built.ignored_rows["no_volume"] == 0
    found = built.bars.set_index("timestamp")[VALUES]
    assert {at: [None if math.isnan(v) else v for v in bar] for at, *bar in found.itertuples()} == expected
    assert found["volume"].isna().sum() == 10
    assert found.loc[parse("2024-09-01 03:00"), "volume"] == 46_672_896 + 21_496_832
    assert (built.bars["volume_known"] == found["volume"].notna().to_numpy()).all()
    assert built.bars["source_rows"].tolist() == [6] * 10 + [2, 1]
    assert built.bars["is_final"].tolist() == [True] * 11 + [False]
    assert built.rejects[["reason", "is_replaced"]].to_numpy().tolist() == [["off_grid", True]]


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("scale", [1.0, 1e-5])
def test_random_rows_of_the_days_of_the_american_clock_change_give_the_bars_of_a_plain_loop(
    seed: int, scale: float
) -> None:
    """Absent rows, hours that come twice, rows off the grid, volumes with fractions or none, and broken rows."""
    chance = np.random.default_rng(seed)
    start = parse("2024-03-10" if seed % 2 else "2024-11-03")
    stamps = start + 300 * np.flatnonzero(chance.random(2 * 288) < 0.9)
    stamps = np.r_[stamps, stamps[60:80], start + chance.integers(0, 86_400, 6)]
    close = 1 + chance.random(len(stamps))
    spread = chance.random((2, len(stamps)))
    wrong = np.where(chance.random(len(stamps)) < 0.03, 0.5, 0.0)  # a high below the low
    volume = np.where(chance.random(len(stamps)) < 0.3, np.nan, 100 * chance.random(len(stamps)))
    prices = np.round(scale * np.c_[close, close + spread[0] - 9 * wrong, close - spread[1], close], 12)
    table = pd.DataFrame({"symbol_id": 1, "timestamp": stamps, **dict(zip(VALUES, prices.T, strict=False))})
    first = datetime.fromtimestamp(start, UTC).date()
    grid = build_slot_grid(list_sessions(get_profile("CC"), first, first + timedelta(days=1)), INTERVALS["30m"])
    built = build_bars(table.assign(volume=volume), grid, INTERVALS["5m"])

    newest: dict[int, list[float]] = {}  # by stamp: a later row replaces an earlier one, unless it breaks a rule
    for at, row, amount in zip(stamps.tolist(), prices.tolist(), volume.tolist(), strict=True):
        if at % 300 == 0 and row[2] <= row[0] <= row[1] and row[2] > 0:
            newest[at] = [*(float(f"{price:.8g}") if price < 0.01 else round(price, 6) for price in row), amount]
    expected: dict[int, list[float]] = {}
    for at in sorted(newest):
        opened, high, low, last, amount = newest[at]
        bar = expected.setdefault(at - at % HALF_HOUR, [opened, high, low, last, 0.0])
        bar[1:] = [max(bar[1], high), min(bar[2], low), last, bar[4] + amount]
    found = {at: bar for at, *bar in built.bars.set_index("timestamp")[VALUES].itertuples()}
    assert found.keys() == expected.keys()
    for at, bar in expected.items():
        assert found[at][:4] == bar[:4]
        assert found[at][4] == pytest.approx(bar[4], abs=0.500001, nan_ok=True)  # whole units
    kept = len(built.rejects) + built.ignored_rows["repeated"]
    assert len(newest) + kept == len(stamps)


def test_a_row_off_the_grid_is_replaced_only_by_the_row_within_whose_interval_it_lies() -> None:
    rows = [*make_rows("2024-09-01 03:00", 6), ("2024-09-01 03:41", 11.0, 11.0, 11.0, 11.0, 2048.0)]
    built = build(rows, "2024-09-01")
    assert built.rejects[["reason", "is_replaced"]].to_numpy().tolist() == [["off_grid", False]]
    assert len(built.bars) == 1


def test_an_hour_that_comes_twice_has_the_values_of_its_last_rows_and_the_others_are_kept() -> None:
    hour = make_rows("2024-03-10 01:00", 12, None)
    again = [(at, *(price + 1 for price in prices), 2048.0) for at, *prices, _ in make_rows("2024-03-10 01:00", 12)]
    built = build([*hour, *again], "2024-03-10")
    assert built.bars[VALUES].to_numpy().tolist() == [
        [11.0, 11.55, 10.5, 11.15, 6 * 2048.0],
        [11.06, 11.61, 10.56, 11.21, 6 * 2048.0],
    ]
    assert built.rejects["reason"].tolist() == ["duplicate_stamp"] * 12
    assert built.rejects["is_replaced"].all()


def test_the_same_row_without_volume_twice_is_no_conflict() -> None:
    hour = make_rows("2024-03-10 01:00", 6, None)
    built = build([*hour, *hour], "2024-03-10")
    assert built.rejects.empty
    assert built.ignored_rows["repeated"] == 6


def test_a_volume_is_unknown_if_that_of_one_row_is() -> None:
    rows = make_rows("2024-09-01 03:00", 12, 1.7e9)
    rows[8] = (*rows[8][:5], None)
    built = build(rows, "2024-09-01")
    assert built.bars["volume"].to_numpy()[0] == 6 * 1.7e9
    assert built.bars[["volume_known", "source_rows"]].to_numpy().tolist() == [[True, 6], [False, 6]]


def test_volumes_in_currency_may_have_fractions_which_are_rounded_once() -> None:
    assert build(make_rows("2024-09-01 03:00", 6, 0.3), "2024-09-01").bars["volume"].tolist() == [2.0]


def test_prices_below_a_cent_keep_eight_digits_and_their_noise_is_no_fault() -> None:
    noisy = ("2024-09-01 03:05", 1.234e-05, 1.2339999e-05, 1.2340001e-05, 1.234e-05, 5.0)
    wrong = ("2024-09-01 03:10", 1.234e-05, 1.233e-05, 1.233e-05, 1.234e-05, 5.0)
    built = build([("2024-09-01 03:00", 1.23456789e-05, 1.3e-05, 1.2e-05, 1.25e-05, 5.0), noisy, wrong], "2024-09-01")
    assert built.bars[VALUES].to_numpy().tolist() == [[1.2345679e-05, 1.3e-05, 1.2e-05, 1.234e-05, 10.0]]
    assert built.rejects[["timestamp", "reason"]].to_numpy().tolist() == [[parse(wrong[0]), "ohlc_order"]]


def test_small_prices_of_six_decimals_have_the_noise_of_their_last_decimal() -> None:
    coarse = ("2024-09-01 03:00", 1.2e-05, 1.1e-05, 1.1e-05, 1.2e-05, 5.0)
    built = build([coarse], "2024-09-01")
    assert built.bars[VALUES[:4]].to_numpy().tolist() == [[1.2e-05, 1.2e-05, 1.1e-05, 1.2e-05]]


def test_volumes_of_currencies_mean_nothing() -> None:
    built = build(make_rows("2024-06-03 10:00", 30, 55.0, minutes=1), "2024-06-03", exchange="FOREX")
    assert np.isnan(built.bars["volume"].to_numpy()).all()
    assert not built.bars["volume_known"].any()
    assert built.bars["source_rows"].tolist() == [30]


@pytest.mark.parametrize(
    ("rows", "published", "data_until"),
    [(11, False, "2024-09-01 23:55"), (12, True, "2024-09-02 00:00"), (13, True, "2024-09-02 00:00")],
)
def test_a_day_around_the_clock_is_published_once_rows_reach_its_end(
    rows: int, published: bool, data_until: str
) -> None:
    built = build(make_rows("2024-09-01 23:00", rows), "2024-09-01", "2024-09-02")
    session = built.sessions.iloc[0]
    assert bool(session["published"]) is published
    assert bool(session["ends_before_close"]) is not published
    assert session["data_until"] == parse(data_until)
    assert built.bars["is_final"].tolist()[:2] == [True, published]


def test_a_last_row_that_is_absent_for_good_does_not_hide_that_the_day_is_published() -> None:
    rows = [row for row in make_rows("2024-09-01 23:00", 14) if not row[0].endswith("23:55")]
    session = build(rows, "2024-09-01", "2024-09-02").sessions.iloc[0]
    assert session["published"]
    assert not session["ends_before_close"]


def test_a_certificate_names_a_volume_that_is_unknown() -> None:
    assert format_values(PricesAndVolume(1.2e-05, 2.0, 1.0, 1.5, math.nan)) == "1.2e-05/2/1/1.5 × unknown volume"


@pytest.mark.parametrize(
    ("price", "text"),
    [
        *((1.2345678e-05, "1.2345678e-05"), (0.005, "0.005"), (190.123456, "190.123"), (64321.12, "64321.12")),
        *((1e6, "1000000"), (float("inf"), "inf"), (float("nan"), "nan"), (0.0, "0")),
    ],
)
def test_prices_are_shown_with_the_digits_that_matter(price: float, text: str) -> None:
    assert format_price(price) == text


def test_a_figure_below_a_cent_keeps_the_digits_of_a_price_and_a_ratio_six_decimals() -> None:
    figures = [1.2345678e-05, 0.00001, 0.000012345678912, 0.004, -0.001, 12345.5]
    assert [format_figure(value) for value in figures] == [
        *("1.2345678e-05", "0.00001", "0.000012", "0.004", "-0.001", "12,345.5")
    ]
