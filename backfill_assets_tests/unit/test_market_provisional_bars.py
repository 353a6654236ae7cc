"""Provisional bars: single cases, and random cases compared with a slow model and with the trades."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.market.live.provisional_bars import EXACT_FIELDS, PROVISIONAL_COLUMNS, build_provisional_bars
from backfill_assets_tests.unit.live_builders import DAY, Sample, Tape, convert_stamps, make_sample, make_sample_table
from backfill_assets_tests.unit.market_builders import build_grid, parse_epoch

GRID = build_grid(DAY)
OPEN, CLOSE = int(GRID.starts[0]), int(GRID.ends[-1])


def build_bars(samples: Sequence[Sample], grid: SlotGrid = GRID) -> list[dict[str, Any]]:
    bars = build_provisional_bars(convert_stamps(make_sample_table(samples)), grid)
    assert list(bars.columns) == list(PROVISIONAL_COLUMNS)
    return bars.to_dict("records")


def list_exact_fields(bar: dict[str, Any]) -> list[str]:
    return [name for name in EXACT_FIELDS if bar[f"{name}_exact"]]


def get_values(bar: dict[str, Any]) -> tuple[float, ...]:
    return tuple(bar[name] for name in ("open", "high", "low", "close", "volume"))


def test_the_first_slot_starts_at_volume_zero() -> None:
    (bar,) = build_bars([make_sample("09:45", 10.4, 900, high=10.6), make_sample("10:00", 10.2, 1500, high=10.6)])
    assert bar["timestamp"] == parse_epoch(f"{DAY} 09:30")
    assert get_values(bar) == (10.0, 10.6, 10.0, 10.2, 1500)
    assert (bar["samples"], list_exact_fields(bar)) == (2, ["open", "high", "low", "close", "volume"])


def test_a_later_slot_is_the_difference_of_two_samples() -> None:
    samples = [
        make_sample("10:00", 10.2, 1500, high=10.6, low=9.8),
        make_sample("10:10", 10.4, 1800, high=10.6, low=9.8),
        make_sample("10:20", 9.7, 2100, high=10.6, low=9.6),
        make_sample("10:30", 9.9, 2600, high=10.6, low=9.6),
    ]
    bar = build_bars(samples)[1]
    assert get_values(bar) == (10.2, 10.4, 9.6, 9.9, 1100)  # the day's high is unchanged: the highest sampled price
    assert (bar["samples"], list_exact_fields(bar)) == (4, ["low", "close", "volume"])


def test_samples_near_the_edges_are_used_but_not_marked_exact() -> None:
    samples = [
        make_sample(at, 10 + n / 10, 100 * n) for n, at in enumerate(["09:45", "09:59", "10:04", "10:29", "10:34"])
    ]
    first, second = build_bars(samples)
    assert (first["volume"], second["volume"], second["open"], second["close"]) == (100, 200, 10.1, 10.3)
    assert (second["since"], second["until"]) == (parse_epoch(f"{DAY} 09:59"), parse_epoch(f"{DAY} 10:29"))
    assert list_exact_fields(first) == ["open", "low"]  # the day's high rose again after 09:59, perhaps before 10:00
    assert list_exact_fields(second) == []


@pytest.mark.parametrize(
    ("at", "known"),
    [("09:57", False), ("09:58", True), ("10:00", True), ("10:01", True), ("10:05", True), ("10:06", False)],
)
def test_a_sample_counts_up_to_the_tolerance_from_an_edge(at: str, known: bool) -> None:
    bars = build_bars([make_sample("09:45", 10, 100), make_sample(at, 10.1, 200)])
    assert len(bars) == known


@pytest.mark.parametrize(
    ("before", "after", "volume"),
    [("09:57", "10:04", 300), ("09:57", "10:06", 200), ("09:55", "10:06", 200), ("09:54", "10:06", None)],
    ids=["later sample", "later one too late", "earlier one just within the tolerance", "neither"],
)
def test_a_later_sample_is_used_if_it_is_better_at_the_edge(before: str, after: str, volume: int | None) -> None:
    bars = build_bars([make_sample("09:45", 10, 100), make_sample(before, 10, 200), make_sample(after, 10, 300)])
    assert [bar["volume"] for bar in bars] == ([] if volume is None else [volume])


def test_a_missing_sample_leaves_both_slots_at_its_edge_without_a_bar() -> None:
    edges = ["10:00", "10:30", "11:00", "12:00", "12:30"]
    bars = build_bars([make_sample(at, 10, 100 * n) for n, at in enumerate(edges, 1)])
    assert [bar["timestamp"] for bar in bars] == [
        parse_epoch(f"{DAY} {at}") for at in ("09:30", "10:00", "10:30", "12:00")
    ]


def test_a_slot_without_trades_has_volume_zero() -> None:
    bars = build_bars([make_sample("10:00", 10, 100), make_sample("10:30", 10, 100), make_sample("11:00", 10, 120)])
    assert [bar["volume"] for bar in bars] == [100, 0, 20]


def test_a_volume_that_was_corrected_downwards_yields_no_bar() -> None:
    bars = build_bars([make_sample("10:00", 10, 100), make_sample("10:30", 10, 90), make_sample("11:00", 10, 120)])
    assert [bar["volume"] for bar in bars] == [100, 30]


def build_last_bars(*samples: Sample) -> list[dict[str, Any]]:
    return [bar for bar in build_bars([make_sample("15:30", 10, 1000), *samples]) if bar["ordinal"] == 12]


def test_the_last_slot_ends_before_the_close() -> None:
    (bar,) = build_last_bars(make_sample("15:59", 10.1, 1400), make_sample("16:04", 10.5, 9000))
    assert (bar["close"], bar["volume"], list_exact_fields(bar)) == (10.1, 400, [])


def test_the_price_of_a_sample_at_the_close_counts_and_its_volume_does_not() -> None:
    (bar,) = build_last_bars(
        make_sample("15:55", 10.1, 1400), make_sample("16:00", 10.2, 9000), make_sample("16:05", 10.2, 9000)
    )
    assert (bar["close"], bar["high"], bar["volume"]) == (10.2, 10.2, 400)
    assert bar["until"] == parse_epoch(f"{DAY} 15:55")
    assert list_exact_fields(bar) == []


def test_the_last_slot_waits_for_a_better_sample_while_one_may_arrive() -> None:
    assert build_last_bars(make_sample("15:55", 10.1, 1400)) == []
    assert len(build_last_bars(make_sample("15:55", 10.1, 1400), make_sample("16:05", 10.2, 9000))) == 1


def test_samples_after_the_close_yield_no_bar() -> None:
    assert build_last_bars(make_sample("16:00", 10.2, 9000), make_sample("16:10", 10.2, 9000)) == []


def test_early_closes_and_the_short_last_slot_of_1h_are_built() -> None:
    early = build_grid("2026-11-27")
    stamps = [int(at) for at in [*early.starts[1:], early.ends[-1] - 60, early.ends[-1] + 60]]
    samples: list[Sample] = [(0, at, 10.0, 11.0, 9.0, 10.0, 100.0 * n) for n, at in enumerate(stamps, 1)]
    assert [bar["volume"] for bar in build_bars(samples, early)] == [100] * 7
    hours = build_grid(DAY, interval="1h")
    ends = [int(at) for at in [*hours.starts[1:], hours.ends[-1] - 60]]
    assert len(build_bars([(0, at, 10.0, 11.0, 9.0, 10.0, 100.0 * n) for n, at in enumerate(ends, 1)], hours)) == 7


def test_no_samples_yield_no_bars() -> None:
    assert build_bars([]) == []


# Compared with a slow model, one ticker and one slot at a time.

Reading = tuple[int, float, float, float, float, float]  # stamp, open, high, low, close, volume


def find_edge_sample(own_samples: list[Reading], edge: int, grid: SlotGrid) -> Reading | None:
    tolerance = grid.interval.seconds // 6
    if edge == grid.starts[0]:
        return (edge, own_samples[-1][1], -np.inf, np.inf, own_samples[-1][1], 0.0)
    closes = edge == grid.ends[-1]
    before = [s for s in own_samples if s[0] < edge or (s[0] == edge and not closes)]
    after = [s for s in own_samples if s not in before]
    if before and edge - before[-1][0] <= tolerance / 2:
        return before[-1]
    if after and after[0][0] - edge <= tolerance and not closes:
        return after[0]
    return before[-1] if before and after and edge - before[-1][0] <= tolerance else None


def build_bars_slowly(samples: Sequence[Sample], grid: SlotGrid) -> list[tuple[float, ...]]:
    bars = []
    for symbol_id in sorted({s[0] for s in samples}):
        own_samples: list[Any] = sorted(s[1:] for s in samples if s[0] == symbol_id)
        for start, end in zip(grid.starts.tolist(), grid.ends.tolist(), strict=True):
            first, last = find_edge_sample(own_samples, start, grid), find_edge_sample(own_samples, end, grid)
            if first is None or last is None or last[5] < first[5]:
                continue
            at_close = [s for s in own_samples if s[0] == end and end == grid.ends[-1]]
            price = at_close[0] if at_close else last
            used = [first, *(s for s in own_samples if first[0] < s[0] <= price[0])]
            prices = [s[4] for s in used]
            high = max([*prices, *([price[2]] if price[2] > first[2] else [])])
            low = min([*prices, *([price[3]] if price[3] < first[3] else [])])
            sample_count = len(used) - (start == grid.starts[0])
            bars.append(
                (symbol_id, start, first[4], high, low, price[4], last[5] - first[5], sample_count, first[0], last[0])
            )
    return bars


@st.composite
def draw_samples(draw: st.DrawFn) -> list[Sample]:
    """Stamps near the edges of slots; values without any relation between samples."""
    samples = {}
    for symbol_id in range(draw(st.integers(1, 2))):
        edges = st.sampled_from([*GRID.starts.tolist()[:4], *GRID.starts.tolist()[-2:], CLOSE])
        offsets = st.sampled_from([-301, -300, -151, -150, -60, 0, 60, 240, 300, 301, 900])
        for edge, offset in draw(st.lists(st.tuples(edges, offsets), max_size=14)):
            price = st.integers(1, 9)
            low, high = sorted((draw(price), draw(price)))
            if edge + offset > OPEN:
                values = (
                    float(draw(price)),
                    float(high),
                    float(low),
                    float(draw(price)),
                    float(draw(st.integers(0, 30))),
                )
                samples[symbol_id, edge + offset] = values
    return [(symbol_id, at, *values) for (symbol_id, at), values in samples.items()]


@pytest.mark.no_cover
@given(draw_samples())
@settings(max_examples=150, deadline=None)
def test_every_bar_equals_the_bar_of_the_slow_model(samples: list[Sample]) -> None:
    plain = ("symbol_id", "timestamp", "open", "high", "low", "close", "volume", "samples", "since", "until")
    assert [tuple(bar[name] for name in plain) for bar in build_bars(samples)] == build_bars_slowly(samples, GRID)


@given(draw_samples())
@settings(max_examples=50, deadline=None)
def test_every_row_is_a_valid_bar(samples: list[Sample]) -> None:
    for bar in build_bars(samples):
        assert bar["low"] <= min(bar["open"], bar["close"]) <= max(bar["open"], bar["close"]) <= bar["high"]
        assert bar["low"] > 0
        assert bar["volume"] >= 0


# Compared with the trades.


@given(
    seed=st.integers(0, 10_000),
    trades=st.sampled_from([3, 40, 400, 4000]),
    stamps=st.lists(st.integers(1, 400), min_size=1, max_size=90, unique=True),
)
@settings(max_examples=60, deadline=None)
def test_exact_fields_equal_the_trades_and_volumes_add_up(seed: int, trades: int, stamps: list[int]) -> None:
    tape = Tape.draw(seed, OPEN, CLOSE - OPEN, trades)
    samples = [s for at in sorted(stamps) if (s := tape.build_sample(OPEN + 60 * at)) is not None]
    bars = build_bars(samples)
    for bar in bars:
        slot = tape.select_since(bar["timestamp"]).select_before(bar["timestamp"] + 1800)
        expected = {"volume": slot.shares.sum()}
        if len(slot.prices):
            expected |= {
                "open": slot.prices[0],
                "high": slot.prices.max(),
                "low": slot.prices.min(),
                "close": slot.prices[-1],
            }
        for name in list_exact_fields(bar):
            if name in expected:
                assert bar[name] == expected[name], name
        between = tape.select_since(bar["since"]).select_before(bar["until"])
        assert bar["volume"] == between.shares.sum()
    pairs = pairwise(bars)
    assert all(a["until"] == b["since"] for a, b in pairs if b["ordinal"] == a["ordinal"] + 1)


def test_a_whole_session_adds_up_to_the_last_sample_before_the_close() -> None:
    tape = Tape.draw(7, OPEN, CLOSE - OPEN, 5000)
    samples = [tape.build_sample(at) for at in range(OPEN + 240, CLOSE + 1800, 300)]
    bars = pd.DataFrame(build_bars([s for s in samples if s is not None]))
    assert len(bars) == 13
    assert bars["volume"].sum() == tape.select_before(CLOSE - 60).shares.sum()
    moved = bars.loc[bars["high_exact"], "high"]
    assert len(moved) >= 1
