"""Building bars from rows: recorded sessions, final bars, closes, cumulative volumes, several tickers."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backfill_assets.market.bars.source_rows import ROW_COLUMNS
from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets_tests.conftest import read_recorded_bars, read_recorded_rows
from backfill_assets_tests.frames import FramesBuilt, build_bars
from backfill_assets_tests.unit.market_builders import (
    Row,
    build_grid,
    find_sessions,
    make_flat_row,
    make_row,
    make_row_table,
    make_session_rows,
    parse_epoch,
)

FIVE, ONE = INTERVALS["5m"], INTERVALS["1m"]
DAY, NEXT, EARLY = "2026-06-01", "2026-06-02", "2026-11-27"
OHLC = ["open", "high", "low", "close"]


def read_vendor_rows(name: str, symbol_id: int = 0) -> pd.DataFrame:
    return (
        pd.DataFrame(read_recorded_rows(name)).assign(symbol_id=symbol_id)[list(ROW_COLUMNS)].astype({"volume": float})
    )


def list_bars(built: FramesBuilt, symbol_id: int = 0) -> list[dict[str, float]]:
    bars = built.bars[built.bars["symbol_id"] == symbol_id]
    return bars[["timestamp", *OHLC, "volume"]].to_dict("records")


def list_final_starts(built: FramesBuilt) -> list[int]:
    return built.bars.loc[built.bars["is_final"], "timestamp"].tolist()


AAPL_5M = ("AAPL_5m_2026-06-01", "AAPL_30m_2026-06-01", "5m", DAY)
AAPL_1M = ("AAPL_1m_2025-01-15", "AAPL_30m_2025-01-15", "1m", "2025-01-15")


@pytest.mark.parametrize(("rows", "bars", "source", "day"), [AAPL_5M, AAPL_1M], ids=["5m", "1m"])
def test_a_recorded_session_yields_the_expected_bars(rows: str, bars: str, source: str, day: str) -> None:
    built = build_bars(read_vendor_rows(rows), build_grid(day), INTERVALS[source])
    assert list_bars(built) == read_recorded_bars(bars)
    assert len(built.bars) == 13
    assert built.bars["is_final"].all()
    assert built.bars["source_rows"].tolist() == [1800 // INTERVALS[source].seconds] * 13
    assert built.rejects.empty


def test_the_recorded_5m_session_has_an_official_close_and_is_published() -> None:
    built = build_bars(read_vendor_rows(AAPL_5M[0]), build_grid(DAY), FIVE)
    (session,) = built.sessions.to_dict("records")
    assert built.ignored_rows["closing"] == 1
    assert (session["source_rows"], session["data_until"], session["published"]) == (
        79,
        parse_epoch(f"{DAY} 16:00"),
        True,
    )
    assert session["official_close"] == 306.309997
    assert np.isnan(session["auction_volume"])


def test_the_recorded_1m_day_has_an_auction_and_ignores_the_evening_before() -> None:
    built = build_bars(read_vendor_rows(AAPL_1M[0]), build_grid("2025-01-14", "2025-01-15"), ONE)
    (session,) = built.sessions.to_dict("records")
    assert built.ignored_rows["extended_hours"] == 953 - 390 - 5
    assert (session["session"], session["source_rows"], session["official_close"]) == (1, 395, 237.87)
    assert session["auction_volume"] >= 19_211_944


def test_a_bar_has_the_first_open_the_extremes_the_last_close_and_the_total_volume() -> None:
    rows = [
        make_row(f"{DAY} 10:05", 20, open=12.0, high=15.0, low=11.0, close=13.0),
        make_row(f"{DAY} 10:25", 30, open=13.0, high=13.5, low=7.0, close=8.0),
        make_row(f"{DAY} 10:10", 0, open=9.5, high=9.5, low=9.5, close=9.5),
        make_flat_row(f"{DAY} 10:00", 99.0),
        make_flat_row(f"{DAY} 10:15", None),
    ]
    (bar,) = build_bars(make_row_table(rows), build_grid(DAY), FIVE).bars.to_dict("records")
    assert [bar[name] for name in (*OHLC, "volume", "source_rows")] == [12.0, 15.0, 7.0, 8.0, 50, 3]
    assert (bar["timestamp"], bar["ordinal"]) == (parse_epoch(f"{DAY} 10:00"), 1)


@pytest.mark.parametrize(
    ("interval", "bars", "source", "count"),
    [("1h", 7, "5m", 78), ("30m", 13, "5m", 78), ("15m", 26, "5m", 78), ("5m", 78, "5m", 78), ("1m", 390, "1m", 390)],
)
def test_every_interval_is_built_and_no_volume_is_lost(interval: str, bars: int, source: str, count: int) -> None:
    rows = make_session_rows(DAY, range(100, 100 + count), source)
    built = build_bars(rows, build_grid(DAY, interval=interval), INTERVALS[source])
    assert len(built.bars) == bars
    assert built.bars["volume"].sum() == rows["volume"].sum()
    assert built.bars["is_final"].all()


def test_a_slot_whose_rows_are_all_null_or_quotes_has_no_bar() -> None:
    no_trade_rows = [make_flat_row(f"{DAY} 10:{minute:02}", None if minute % 2 else 10.0) for minute in range(0, 30, 5)]
    rows = make_row_table([make_row(f"{DAY} 09:30"), *no_trade_rows, make_row(f"{DAY} 10:30")])
    assert build_bars(rows, build_grid(DAY), FIVE).bars["ordinal"].tolist() == [0, 2]


def test_no_rows_give_no_bars_with_the_same_columns() -> None:
    some = build_bars(make_row_table([make_row(f"{DAY} 09:30")]), build_grid(DAY), FIVE)
    none = build_bars(make_row_table([]), build_grid(DAY), FIVE)
    assert none.bars.dtypes.to_dict() == some.bars.dtypes.to_dict()
    assert list(none.sessions.columns) == list(some.sessions.columns)
    assert (len(none.bars), len(none.sessions), len(none.rejects)) == (0, 0, 0)


BEGIN, TEN = parse_epoch(f"{DAY} 09:30"), parse_epoch(f"{DAY} 10:00")
FIRST_SLOT = [make_row(f"{DAY} 09:{minute}") for minute in range(30, 60, 5)]


@pytest.mark.parametrize(
    ("rows", "final"),
    [
        (FIRST_SLOT[:-1], []),
        (FIRST_SLOT, [BEGIN]),
        ([*FIRST_SLOT[:-1], make_flat_row(f"{DAY} 09:55", None)], [BEGIN]),
        ([*FIRST_SLOT[:2], make_row(f"{DAY} 10:00")], [BEGIN]),
        ([*FIRST_SLOT, *[make_row(f"{DAY} 10:{m:02}") for m in range(0, 30, 5)]], [BEGIN, TEN]),
        ([*FIRST_SLOT[:2], make_row(f"{NEXT} 04:00")], [BEGIN]),
        ([*FIRST_SLOT[:2], make_flat_row(f"{DAY} 16:00", 10.0)], [BEGIN]),
        ([*FIRST_SLOT[:2], make_row(f"{NEXT} 16:00", symbol_id=1)], []),
    ],
    ids=[
        "one row too few",
        "up to the end of the slot",
        "a null row at the end",
        "beyond the slot",
        "two",
        "next day",
        "close print",
        "a row of another ticker",
    ],
)
def test_a_bar_is_final_once_its_symbols_rows_reach_the_end_of_its_slot(rows: list[Row], final: list[int]) -> None:
    assert list_final_starts(build_bars(make_row_table(rows), build_grid(DAY), FIVE)) == final


def test_the_last_bar_is_not_final_if_the_rows_end_within_it() -> None:
    built = build_bars(make_session_rows(DAY, [100] * 73), build_grid(DAY), FIVE)
    assert built.bars["is_final"].tolist() == [True] * 12 + [False]


@pytest.mark.parametrize(
    ("volumes", "total"),
    [
        ([9_099.618093] * 6, 54_598),
        ([0.25] * 6, 2),
        ([0.5] * 5, 2),
        ([0.5] * 3, 2),
        ([0.1] * 5, 0),
        ([0.7] * 5, 4),
        ([0.1], 0),
        ([100.0, 0.5], 100),
        ([2.0**53 - 1] * 2, 2**54 - 2),
    ],
)
def test_fractional_volumes_are_added_and_then_rounded_half_to_even(volumes: list[float], total: int) -> None:
    built = build_bars(make_session_rows(DAY, volumes), build_grid(DAY), FIVE)
    assert built.bars["volume"].tolist() == [total]
    assert built.rejects.empty


def test_a_session_of_fractional_volumes_is_complete() -> None:
    built = build_bars(make_session_rows(DAY, [9_099.618093] * 78), build_grid(DAY), FIVE)
    assert built.bars["volume"].tolist() == [54_598] * 13
    assert built.bars["is_final"].all()


MINUTES = [minute for minute in range(390) if minute % 7]  # a symbol that skips every seventh minute


@pytest.mark.parametrize(
    ("source", "present", "ends_before_close"),
    [
        ("5m", range(78), False),
        ("5m", range(77), True),
        ("5m", range(79), False),
        ("5m", [*range(77), 78], False),
        ("5m", [*range(20), *range(21, 77)], False),
        ("5m", [*range(20), *range(21, 76)], True),
        ("5m", [*range(40, 77)], True),
        ("1m", range(389), True),
        ("1m", range(391), False),
        ("1m", MINUTES[:-3], True),
        ("1m", MINUTES[:-1], False),
    ],
    ids=[
        "complete",
        "the last row absent",
        "with the close print",
        "only the close print after an absent row",
        "as silent before",
        "longer than before",
        "late open",
        "1m without the last minute",
        "1m with the auction",
        "1m, longer than usual",
        "1m, as usual",
    ],
)
def test_rows_that_end_before_the_close_are_told_from_usual_silence(
    source: str, present: list[int], ends_before_close: bool
) -> None:
    rows = make_session_rows(DAY, [100] * 400, source).iloc[list(present)]
    built = build_bars(rows, build_grid(DAY), INTERVALS[source])
    assert built.sessions["ends_before_close"].tolist() == [ends_before_close]
    is_final = bool(built.bars["is_final"].iloc[-1])
    assert is_final is not (ends_before_close or (source == "5m" and max(present) < 77))


def test_null_rows_show_that_the_session_goes_on_to_its_close() -> None:
    rows = [make_row(f"{DAY} 15:30"), *[make_flat_row(f"{DAY} 15:{m}", None) for m in range(35, 60, 5)]]
    assert build_bars(make_row_table(rows), build_grid(DAY), FIVE).sessions["ends_before_close"].tolist() == [False]


@pytest.mark.parametrize(
    ("last", "published", "reached"),
    [
        (make_row(f"{DAY} 15:25"), False, "15:30"),
        (make_row(f"{DAY} 15:30"), True, "15:35"),
        (make_flat_row(f"{DAY} 15:30", None), True, "15:35"),
        (make_flat_row(f"{DAY} 16:00", 10.0), True, "16:00"),
        (make_flat_row(f"{DAY} 16:00", None), True, "16:00"),
    ],
)
def test_a_session_is_published_once_it_has_a_row_in_its_last_half_hour(
    last: Row, published: bool, reached: str
) -> None:
    built = build_bars(make_row_table([make_row(f"{DAY} 10:00"), last]), build_grid(DAY), FIVE)
    (session,) = built.sessions.to_dict("records")
    assert (session["published"], session["data_until"]) == (published, parse_epoch(f"{DAY} {reached}"))


@pytest.mark.parametrize("extended", ["2025-01-14 19:30", "2025-01-15 04:00", "2025-01-14 16:05", "2025-01-14 09:29"])
def test_rows_of_extended_hours_do_not_count_for_a_session(extended: str) -> None:
    built = build_bars(make_row_table([make_row(extended)]), build_grid("2025-01-14", "2025-01-15"), ONE)
    assert built.sessions.empty


@pytest.mark.parametrize(("day", "close"), [(DAY, "16:00"), (EARLY, "13:00")])
def test_the_close_print_is_the_official_close_and_not_a_bar(day: str, close: str) -> None:
    slots = 13 if close == "16:00" else 7
    print_row = make_row_table([make_flat_row(f"{day} {close}", 12.34)])
    built = build_bars(pd.concat([make_session_rows(day, [100] * 6 * slots), print_row]), build_grid(day), FIVE)
    (session,) = built.sessions.to_dict("records")
    assert len(built.bars) == slots
    assert built.bars["volume"].tolist() == [600] * slots
    assert (session["official_close"], built.ignored_rows["closing"]) == (12.34, 1)


@pytest.mark.parametrize("auction", ["16:00", "16:03", "16:04"])
def test_the_auction_is_reported_and_not_part_of_the_bars(auction: str) -> None:
    others = [make_row(f"{DAY} 16:0{minute}", 10) for minute in range(5) if f"16:0{minute}" != auction]
    rows = make_row_table([make_row(f"{DAY} 15:59", 7), make_row(f"{DAY} {auction}", 19_211_944, close=10.9), *others])
    built = build_bars(rows, build_grid(DAY), ONE)
    (session,) = built.sessions.to_dict("records")
    assert (session["official_close"], session["auction_volume"]) == (10.9, 19_211_944 + 40)
    assert built.bars["volume"].tolist() == [7]


@pytest.mark.parametrize("values", [{"volume": 1e300}, {"volume": 2.0**63}, {"volume": -5.0}, {"close": 1e308}])
def test_a_closing_row_with_an_impossible_value_shows_no_official_close(values: dict[str, float]) -> None:
    closing = make_row_table([make_row(f"{DAY} 16:00", 5000)]).assign(**values)
    built = build_bars(pd.concat([make_row_table([make_row(f"{DAY} 15:59", 7)]), closing]), build_grid(DAY), ONE)
    (session,) = built.sessions.to_dict("records")
    assert (np.isnan(session["official_close"]), np.isnan(session["auction_volume"])) == (True, True)
    assert built.bars["volume"].tolist() == [7]


def test_a_repeated_auction_row_counts_once() -> None:
    built = build_bars(make_row_table([make_row(f"{DAY} 16:00", 5000)] * 2), build_grid(DAY), ONE)
    assert built.sessions["auction_volume"].tolist() == [5000]


@pytest.mark.parametrize("price", [0.0, -1.0])
def test_a_close_print_with_an_invalid_price_is_not_an_official_close(price: float) -> None:
    built = build_bars(make_row_table([make_flat_row(f"{DAY} 16:00", price)]), build_grid(DAY), FIVE)
    assert built.sessions["official_close"].isna().all()


# Volumes that are the session's running total (docs/vendor.md §2.14).


def make_usual_volumes() -> list[int]:
    """A U-shaped session of a liquid ticker, 5m: heavy opening, heavier close."""
    return [3_900_000, 720_000, *([450_000] * 28), *([280_000] * 40), *([380_000] * 6), 890_000, 2_700_000]


@pytest.mark.parametrize(
    "corrupt",
    [[6, 7, 8, 9, 10, 11], [10, 20, 30, 40, 50, 60], list(range(40, 52)), list(range(66, 78)), [12, 77]],
    ids=["early", "scattered", "twelve in a row", "to the end", "two"],
)
def test_rows_with_running_totals_are_rejected_but_their_prices_used(corrupt: list[int]) -> None:
    usual = make_usual_volumes()
    volumes = [sum(usual[: at + 1]) if at in corrupt else v for at, v in enumerate(usual)]
    built = build_bars(make_session_rows(DAY, volumes), build_grid(DAY), FIVE)
    expected = build_bars(make_session_rows(DAY, usual), build_grid(DAY), FIVE)
    assert ((built.rejects["timestamp"] - BEGIN) // 300).tolist() == corrupt
    assert set(built.rejects["reason"]) == {"volume_running_total"}
    assert built.rejects["volume"].tolist() == [volumes[at] for at in corrupt]
    pd.testing.assert_frame_equal(built.bars[OHLC], expected.bars[OHLC])
    assert built.bars["volume"].sum() == sum(v for at, v in enumerate(usual) if at not in corrupt)
    assert built.bars["source_rows"].sum() == 78 - len(corrupt)


def test_running_totals_in_the_recorded_session_are_found_among_real_volumes() -> None:
    rows = read_vendor_rows(AAPL_5M[0])
    corrupt = [8, 21, 33, 34, 47, 60, 77]
    rows.loc[corrupt, "volume"] = rows["volume"].cumsum()[corrupt]
    built = build_bars(rows, build_grid(DAY), FIVE)
    assert ((built.rejects["timestamp"] - BEGIN) // 300).tolist() == corrupt


@pytest.mark.parametrize(
    ("source", "volumes"),
    [
        ("5m", make_usual_volumes()),
        ("5m", [6_000, *[300] * 77]),
        ("5m", [*[300] * 77, 9_000]),
        ("5m", [*[100] * 10, 5_000, *[100] * 67]),
        ("5m", [100] * 78),
        ("5m", [0] * 78),
        ("1m", [60_000, *[300] * 388, 30_000]),
        ("1m", [*[100] * 200, 2_000, *[100] * 189]),
    ],
    ids=["usual", "opening", "closing", "block trade", "even", "none", "1m spikes", "1m block trade"],
)
def test_spikes_and_block_trades_are_volume(source: str, volumes: list[int]) -> None:
    built = build_bars(make_session_rows(DAY, volumes, source), build_grid(DAY), INTERVALS[source])
    assert built.rejects.empty
    assert built.bars["volume"].sum() == sum(volumes)


@pytest.mark.parametrize(("source", "at", "size"), [("5m", 7, 800), ("5m", 20, 2_100), ("1m", 8, 900)])
def test_a_single_block_trade_as_large_as_the_day_so_far_is_volume(source: str, at: int, size: int) -> None:
    volumes = [100] * (1800 // INTERVALS[source].seconds * 13)
    volumes[at] = size
    assert build_bars(make_session_rows(DAY, volumes, source), build_grid(DAY), INTERVALS[source]).rejects.empty


@pytest.mark.parametrize(("source", "traded"), [("5m", 1.0), ("5m", 0.4), ("1m", 1.0), ("1m", 0.4)])
def test_uneven_volumes_of_thin_symbols_are_not_rejected(source: str, traded: float) -> None:
    chance = np.random.default_rng(20260601)
    size = 1800 // INTERVALS[source].seconds * 13
    names = [chance.lognormal(4.6, 2.0, size).round() * (chance.random(size) < traded) for _ in range(60)]
    rows = pd.concat([make_session_rows(DAY, volumes, source, symbol_id) for symbol_id, volumes in enumerate(names)])
    built = build_bars(rows, build_grid(DAY), INTERVALS[source])
    assert built.rejects["symbol_id"].nunique() <= 2


# Several tickers, rows in any order.


def test_symbols_of_one_batch_do_not_affect_each_other() -> None:
    batch = {
        3: read_vendor_rows(AAPL_5M[0], 3),
        7: make_session_rows(DAY, [100] * 40, symbol_id=7),
        11: make_row_table([make_flat_row(f"{DAY} 16:00", 50.0, symbol_id=11), make_row(f"{DAY} 10:06", symbol_id=11)]),
        12: make_session_rows(DAY, [100] * 78, symbol_id=12),
    }
    alone = {symbol_id: build_bars(rows, build_grid(DAY), FIVE) for symbol_id, rows in batch.items()}
    together = build_bars(pd.concat(batch.values()), build_grid(DAY), FIVE)
    for name in ("bars", "sessions", "rejects"):
        separate = [frame for one in alone.values() if len(frame := getattr(one, name))]
        pd.testing.assert_frame_equal(getattr(together, name), pd.concat(separate, ignore_index=True))
    kinds = together.ignored_rows
    assert kinds == {kind: sum(one.ignored_rows[kind] for one in alone.values()) for kind in kinds}


@given(st.permutations(range(120)))
@settings(max_examples=25, derandomize=True, deadline=None)
def test_the_order_of_rows_does_not_matter(order: list[int]) -> None:
    rows = pd.concat(
        [
            make_session_rows(DAY, make_usual_volumes()[:60], symbol_id=0),
            make_session_rows(NEXT, range(1, 57), symbol_id=1),
            make_row_table([make_flat_row(f"{DAY} 16:00", 9.0), make_flat_row(f"{NEXT} 16:00", 9.0, symbol_id=1)]),
            make_row_table([make_row(f"{DAY} 15:01", symbol_id=1), make_row(f"{DAY} 15:05", -1, symbol_id=1)]),
        ],
        ignore_index=True,
    )
    grid = build_grid(DAY, NEXT)
    sorted_first = build_bars(rows, grid, FIVE)
    shuffled = build_bars(rows.iloc[order], grid, FIVE)
    for name in ("bars", "sessions", "rejects"):
        pd.testing.assert_frame_equal(getattr(shuffled, name), getattr(sorted_first, name))
    assert shuffled.ignored_rows == sorted_first.ignored_rows


def test_the_callers_rows_are_not_changed() -> None:
    rows = make_row_table([make_row(f"{DAY} 10:00", close=10.123456789), make_row(f"{DAY} 09:30")])
    before = rows.copy()
    build_bars(rows, build_grid(DAY), FIVE)
    pd.testing.assert_frame_equal(rows, before)


@pytest.mark.parametrize(("friday", "monday"), [("2026-03-06", "2026-03-09"), ("2026-10-30", "2026-11-02")])
def test_a_clock_change_moves_the_rows_with_their_session(friday: str, monday: str) -> None:
    rows = pd.concat([make_session_rows(day, [100] * 78) for day in (friday, monday)])
    built = build_bars(rows, build_grid(friday, monday), FIVE)
    assert len(built.bars) == 26
    assert built.bars["volume"].tolist() == [600] * 26
    assert [s.open.timestamp() for s in find_sessions(friday, monday)] == built.bars["timestamp"].tolist()[::13]
