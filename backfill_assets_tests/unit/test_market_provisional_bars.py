"""Provisional bars: cases that a person can check, and every case against a slow model and against the trades."""

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
from backfill_assets_tests.unit.live_builders import DAY, Sample, Tape, sample, sample_table, whole_stamps
from backfill_assets_tests.unit.market_builders import grid_of, stamp

GRID = grid_of(DAY)
OPEN, CLOSE = int(GRID.starts[0]), int(GRID.ends[-1])


def built(samples: Sequence[Sample], grid: SlotGrid = GRID) -> list[dict[str, Any]]:
    bars = build_provisional_bars(whole_stamps(sample_table(samples)), grid)
    assert list(bars.columns) == list(PROVISIONAL_COLUMNS)
    return bars.to_dict("records")


def exact(bar: dict[str, Any]) -> list[str]:
    return [name for name in EXACT_FIELDS if bar[f"{name}_exact"]]


def values(bar: dict[str, Any]) -> tuple[float, ...]:
    return tuple(bar[name] for name in ("open", "high", "low", "close", "volume"))


def test_the_first_slot_starts_at_volume_zero() -> None:
    (bar,) = built([sample("09:45", 10.4, 900, high=10.6), sample("10:00", 10.2, 1500, high=10.6)])
    assert bar["timestamp"] == stamp(f"{DAY} 09:30")
    assert values(bar) == (10.0, 10.6, 10.0, 10.2, 1500)
    assert (bar["samples"], exact(bar)) == (2, ["open", "high", "low", "close", "volume"])


def test_a_later_slot_is_the_difference_of_two_samples() -> None:
    samples = [
        sample("10:00", 10.2, 1500, high=10.6, low=9.8),
        sample("10:10", 10.4, 1800, high=10.6, low=9.8),
        sample("10:20", 9.7, 2100, high=10.6, low=9.6),
        sample("10:30", 9.9, 2600, high=10.6, low=9.6),
    ]
    bar = built(samples)[1]
    assert values(bar) == (10.2, 10.4, 9.6, 9.9, 1100)  # the high did not move: the highest price seen
    assert (bar["samples"], exact(bar)) == (4, ["low", "close", "volume"])


def test_samples_near_the_edges_are_used_and_not_marked_exact() -> None:
    samples = [sample(at, 10 + n / 10, 100 * n) for n, at in enumerate(["09:45", "09:59", "10:04", "10:29", "10:34"])]
    first, second = built(samples)
    assert (first["volume"], second["volume"], second["open"], second["close"]) == (100, 200, 10.1, 10.3)
    assert (second["since"], second["until"]) == (stamp(f"{DAY} 09:59"), stamp(f"{DAY} 10:29"))
    assert exact(first) == ["open", "low"]  # the day's high moved again after 09:59, perhaps before 10:00
    assert exact(second) == []


@pytest.mark.parametrize(
    ("at", "known"),
    [("09:57", False), ("09:58", True), ("10:00", True), ("10:01", True), ("10:05", True), ("10:06", False)],
)
def test_a_sample_counts_up_to_the_tolerance_from_an_edge(at: str, known: bool) -> None:
    bars = built([sample("09:45", 10, 100), sample(at, 10.1, 200)])
    assert len(bars) == known


@pytest.mark.parametrize(
    ("before", "after", "volume"),
    [("09:57", "10:04", 300), ("09:57", "10:06", 200), ("09:55", "10:06", 200), ("09:54", "10:06", None)],
    ids=["the one after it", "too late: the one before it", "just within", "neither"],
)
def test_once_a_later_sample_exists_the_better_neighbour_of_an_edge_is_used(
    before: str, after: str, volume: int | None
) -> None:
    bars = built([sample("09:45", 10, 100), sample(before, 10, 200), sample(after, 10, 300)])
    assert [bar["volume"] for bar in bars] == ([] if volume is None else [volume])


def test_a_missing_sample_leaves_both_slots_at_its_edge_without_a_bar() -> None:
    edges = ["10:00", "10:30", "11:00", "12:00", "12:30"]
    bars = built([sample(at, 10, 100 * n) for n, at in enumerate(edges, 1)])
    assert [bar["timestamp"] for bar in bars] == [stamp(f"{DAY} {at}") for at in ("09:30", "10:00", "10:30", "12:00")]


def test_a_slot_without_trades_has_volume_zero() -> None:
    bars = built([sample("10:00", 10, 100), sample("10:30", 10, 100), sample("11:00", 10, 120)])
    assert [bar["volume"] for bar in bars] == [100, 0, 20]


def test_a_volume_that_was_corrected_downwards_yields_no_bar() -> None:
    bars = built([sample("10:00", 10, 100), sample("10:30", 10, 90), sample("11:00", 10, 120)])
    assert [bar["volume"] for bar in bars] == [100, 30]


def at_the_end(*samples: Sample) -> list[dict[str, Any]]:
    return [bar for bar in built([sample("15:30", 10, 1000), *samples]) if bar["ordinal"] == 12]


def test_the_last_slot_ends_before_the_close() -> None:
    (bar,) = at_the_end(sample("15:59", 10.1, 1400), sample("16:04", 10.5, 9000))
    assert (bar["close"], bar["volume"], exact(bar)) == (10.1, 400, [])


def test_the_price_of_a_sample_at_the_close_counts_and_its_volume_does_not() -> None:
    (bar,) = at_the_end(sample("15:55", 10.1, 1400), sample("16:00", 10.2, 9000), sample("16:05", 10.2, 9000))
    assert (bar["close"], bar["high"], bar["volume"]) == (10.2, 10.2, 400)
    assert bar["until"] == stamp(f"{DAY} 15:55")
    assert exact(bar) == []


def test_the_last_slot_waits_for_a_better_sample_while_one_may_arrive() -> None:
    assert at_the_end(sample("15:55", 10.1, 1400)) == []
    assert len(at_the_end(sample("15:55", 10.1, 1400), sample("16:05", 10.2, 9000))) == 1


def test_samples_after_the_close_yield_no_bar() -> None:
    assert at_the_end(sample("16:00", 10.2, 9000), sample("16:10", 10.2, 9000)) == []


def test_early_closes_and_the_short_last_slot_of_1h_are_built() -> None:
    early = grid_of("2026-11-27")
    stamps = [int(at) for at in [*early.starts[1:], early.ends[-1] - 60, early.ends[-1] + 60]]
    samples: list[Sample] = [(0, at, 10.0, 11.0, 9.0, 10.0, 100.0 * n) for n, at in enumerate(stamps, 1)]
    assert [bar["volume"] for bar in built(samples, early)] == [100] * 7
    hours = grid_of(DAY, interval="1h")
    ends = [int(at) for at in [*hours.starts[1:], hours.ends[-1] - 60]]
    assert len(built([(0, at, 10.0, 11.0, 9.0, 10.0, 100.0 * n) for n, at in enumerate(ends, 1)], hours)) == 7


def test_no_samples_yield_no_bars() -> None:
    assert built([]) == []


# --- against a slow model, one ticker and one slot at a time -------------------------------------------------------

Reading = tuple[int, float, float, float, float, float]  # stamp, open, high, low, close, volume


def edge_sample(mine: list[Reading], edge: int, grid: SlotGrid) -> Reading | None:
    tolerance = grid.interval.seconds // 6
    if edge == grid.starts[0]:
        return (edge, mine[-1][1], -np.inf, np.inf, mine[-1][1], 0.0)
    closes = edge == grid.ends[-1]
    before = [s for s in mine if s[0] < edge or (s[0] == edge and not closes)]
    after = [s for s in mine if s not in before]
    if before and edge - before[-1][0] <= tolerance / 2:
        return before[-1]
    if after and after[0][0] - edge <= tolerance and not closes:
        return after[0]
    return before[-1] if before and after and edge - before[-1][0] <= tolerance else None


def slow_bars(samples: Sequence[Sample], grid: SlotGrid) -> list[tuple[float, ...]]:
    bars = []
    for symbol_id in sorted({s[0] for s in samples}):
        mine: list[Any] = sorted(s[1:] for s in samples if s[0] == symbol_id)
        for start, end in zip(grid.starts.tolist(), grid.ends.tolist(), strict=True):
            first, last = edge_sample(mine, start, grid), edge_sample(mine, end, grid)
            if first is None or last is None or last[5] < first[5]:
                continue
            at_close = [s for s in mine if s[0] == end and end == grid.ends[-1]]
            price = at_close[0] if at_close else last
            seen = [first, *(s for s in mine if first[0] < s[0] <= price[0])]
            prices = [s[4] for s in seen]
            high = max([*prices, *([price[2]] if price[2] > first[2] else [])])
            low = min([*prices, *([price[3]] if price[3] < first[3] else [])])
            made_of = len(seen) - (start == grid.starts[0])
            bars.append(
                (symbol_id, start, first[4], high, low, price[4], last[5] - first[5], made_of, first[0], last[0])
            )
    return bars


@st.composite
def readings(draw: st.DrawFn) -> list[Sample]:
    """Stamps crowd around edges; values are as wild as the vendor's could be."""
    found = {}
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
                found[symbol_id, edge + offset] = values
    return [(symbol_id, at, *values) for (symbol_id, at), values in found.items()]


@given(readings())
@settings(max_examples=150, deadline=None)
def test_every_bar_equals_that_of_the_slow_model(samples: list[Sample]) -> None:
    plain = ("symbol_id", "timestamp", "open", "high", "low", "close", "volume", "samples", "since", "until")
    assert [tuple(bar[name] for name in plain) for bar in built(samples)] == slow_bars(samples, GRID)


@given(readings())
@settings(max_examples=50, deadline=None)
def test_every_row_is_a_valid_bar(samples: list[Sample]) -> None:
    for bar in built(samples):
        assert bar["low"] <= min(bar["open"], bar["close"]) <= max(bar["open"], bar["close"]) <= bar["high"]
        assert bar["low"] > 0
        assert bar["volume"] >= 0


# --- against the trades themselves ------------------------------------------------------------------------------


@given(
    seed=st.integers(0, 10_000),
    trades=st.sampled_from([3, 40, 400, 4000]),
    stamps=st.lists(st.integers(1, 400), min_size=1, max_size=90, unique=True),
)
@settings(max_examples=60, deadline=None)
def test_exact_fields_equal_the_trades_and_volumes_add_up(seed: int, trades: int, stamps: list[int]) -> None:
    tape = Tape.drawn(seed, OPEN, CLOSE - OPEN, trades)
    samples = [s for at in sorted(stamps) if (s := tape.sample(OPEN + 60 * at)) is not None]
    bars = built(samples)
    for bar in bars:
        slot = tape.since(bar["timestamp"]).until(bar["timestamp"] + 1800)
        truth = {"volume": slot.shares.sum()}
        if len(slot.prices):
            truth |= {
                "open": slot.prices[0],
                "high": slot.prices.max(),
                "low": slot.prices.min(),
                "close": slot.prices[-1],
            }
        for name in exact(bar):
            if name in truth:
                assert bar[name] == truth[name], name
        between = tape.since(bar["since"]).until(bar["until"])
        assert bar["volume"] == between.shares.sum()
    pairs = pairwise(bars)
    assert all(a["until"] == b["since"] for a, b in pairs if b["ordinal"] == a["ordinal"] + 1)


def test_a_whole_session_adds_up_to_the_last_sample_before_the_close() -> None:
    tape = Tape.drawn(7, OPEN, CLOSE - OPEN, 5000)
    samples = [tape.sample(at) for at in range(OPEN + 240, CLOSE + 1800, 300)]
    bars = pd.DataFrame(built([s for s in samples if s is not None]))
    assert len(bars) == 13
    assert bars["volume"].sum() == tape.until(CLOSE - 60).shares.sum()
    moved = bars.loc[bars["high_exact"], "high"]
    assert len(moved) >= 1
