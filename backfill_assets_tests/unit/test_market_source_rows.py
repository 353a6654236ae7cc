"""Which vendor rows are used for bars; every other row is counted or rejected with a reason."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backfill_assets.market.bars.source_rows import build_row_table, validate_rows
from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.columns import Columns
from backfill_assets.market.vendor import IntradayRows
from backfill_assets_tests.frames import build_bars
from backfill_assets_tests.unit.market_builders import (
    Row,
    build_grid,
    make_flat_row,
    make_row,
    make_row_table,
    parse_epoch,
)

FIVE, ONE = INTERVALS["5m"], INTERVALS["1m"]
DAY, EARLY = "2026-06-01", "2026-11-27"
NOTHING_IGNORED = {"extended_hours": 0, "closing": 0, "null": 0, "no_volume": 0, "repeated": 0}


@pytest.mark.parametrize(
    ("reason", "broken"),
    [
        ("off_grid", make_row(f"{DAY} 10:06")),
        ("off_grid", make_flat_row(f"{DAY} 13:21", 10.0)),
        ("price_absent", make_row(f"{DAY} 10:05", high=None)),
        ("price_absent", make_row(f"{DAY} 10:05", volume=None, open=None, close=None)),
        ("price_not_positive", make_row(f"{DAY} 10:05", low=0.0)),
        ("price_not_positive", make_row(f"{DAY} 10:05", low=-9.0)),
        ("price_not_positive", make_flat_row(f"{DAY} 10:05", 1e-30, 100)),
        ("price_too_large", make_row(f"{DAY} 10:05", high=1_000_000.0)),
        ("price_too_large", make_row(f"{DAY} 10:05", high=np.inf)),
        ("ohlc_order", make_row(f"{DAY} 10:05", high=10.4)),
        ("ohlc_order", make_row(f"{DAY} 10:05", low=10.1)),
        ("ohlc_order", make_row(f"{DAY} 10:05", high=8.0, low=12.0)),
        ("ohlc_order", make_row(f"{DAY} 10:05", volume=None, high=8.0)),
        ("volume_negative", make_row(f"{DAY} 10:05", -1)),
        ("volume_negative", make_row(f"{DAY} 10:05", -0.5)),
        ("volume_too_large", make_row(f"{DAY} 10:05", 2.0**53)),
    ],
)
def test_an_invalid_row_is_rejected_with_its_reason_and_not_used(reason: str, broken: Row) -> None:
    good = make_row(f"{DAY} 10:00")
    built = build_bars(make_row_table([good, broken]), build_grid(DAY), FIVE)
    assert built.rejects[["timestamp", "reason"]].to_numpy().tolist() == [[broken[1], reason]]
    assert built.bars[["timestamp", "volume", "source_rows"]].to_numpy().tolist() == [[good[1], 100, 1]]
    assert built.ignored_rows == NOTHING_IGNORED


def test_the_first_broken_rule_is_the_reason() -> None:
    found = validate_rows(Columns(make_row_table([make_row(f"{DAY} 10:06", -1, low=-5.0)])), build_grid(DAY), FIVE)
    assert found.reject_reason.tolist() == ["off_grid"]


@pytest.mark.parametrize(
    "accepted",
    [
        make_row(f"{DAY} 10:00", 0),
        make_flat_row(f"{DAY} 10:00", 10.0, 100),
        make_flat_row(f"{DAY} 10:00", 999_999.999999, 100),
        make_flat_row(f"{DAY} 10:00", 0.000001, 100),
        make_row(f"{DAY} 10:00", high=10.4999999),
        make_row(f"{DAY} 10:00", 2.0**53 - 1),
        make_row(f"{DAY} 10:00", 9_099.618093),
        make_row(f"{DAY} 10:00", 0.25),
    ],
    ids=[
        "volume 0",
        "flat",
        "highest price",
        "lowest price",
        "noise below six decimals",
        "largest volume",
        "fractional volume",
        "a quarter of a share",
    ],
)
def test_rows_just_within_the_rules_are_usable(accepted: Row) -> None:
    found = validate_rows(Columns(make_row_table([accepted])), build_grid(DAY), FIVE)
    assert (found.usable.tolist(), (found.reject_reason != "").tolist(), found.ignored_rows) == (
        [True],
        [False],
        NOTHING_IGNORED,
    )


NOISE = {"open": 306.309997, "high": 306.309997, "low": 306.309997, "close": 306.309997}


@pytest.mark.parametrize(
    ("changed", "high", "low"),
    [
        ({**NOISE, "close": 306.309998}, 306.309998, 306.309997),
        ({**NOISE, "high": 306.309997, "close": 306.310300}, 306.310300, 306.309997),
        ({**NOISE, "low": 306.31}, 306.309997, 306.309997),
        ({**NOISE, "open": 306.31, "low": 306.31, "high": 306.309997, "close": 306.31}, 306.31, 306.31),
        ({"open": 0.5, "high": 0.5, "low": 0.5, "close": 0.500001}, 0.500001, 0.5),
        ({"open": 700_000.0, "high": 700_000.0, "low": 699_999.0, "close": 700_000.0625}, 700_000.0625, 699_999.0),
    ],
    ids=["last decimal", "1e-6 of the price", "low above close", "all swapped", "below a dollar", "a float step"],
)
def test_high_and_low_that_miss_open_and_close_by_noise_are_widened(
    changed: dict[str, float], high: float, low: float
) -> None:
    built = build_bars(make_row_table([make_row(f"{DAY} 10:00", **changed)]), build_grid(DAY), FIVE)
    assert built.bars[["high", "low", "close"]].to_numpy().tolist() == [[high, low, changed["close"]]]
    assert built.rejects.empty


@pytest.mark.parametrize(
    "changed",
    [
        {**NOISE, "close": 306.3104},
        {**NOISE, "low": 306.3104},
        {"open": 0.5, "high": 0.5, "low": 0.5, "close": 0.500002},
    ],
)
def test_more_than_noise_is_disorder(changed: dict[str, float]) -> None:
    built = build_bars(make_row_table([make_row(f"{DAY} 10:00", **changed)]), build_grid(DAY), FIVE)
    assert built.rejects["reason"].tolist() == ["ohlc_order"]


@pytest.mark.filterwarnings("error")
def test_an_infinite_volume_is_rejected_without_a_warning() -> None:
    found = validate_rows(Columns(make_row_table([make_row(f"{DAY} 10:00", np.inf)])), build_grid(DAY), FIVE)
    assert (found.reject_reason != "").tolist() == [True]


@pytest.mark.parametrize(("other", "is_replaced"), [("10:00", True), ("10:05", False)])
def test_a_rejected_row_is_replaced_by_a_usable_one_with_its_stamp(other: str, is_replaced: bool) -> None:
    rows = [make_row(f"{DAY} 10:00", -1), make_row(f"{DAY} {other}"), make_row(f"{DAY} 10:00", symbol_id=1)]
    built = build_bars(make_row_table(rows), build_grid(DAY), FIVE)
    assert built.rejects[["reason", "is_replaced"]].to_numpy().tolist() == [["volume_negative", is_replaced]]


def test_a_rejected_row_is_returned_as_received() -> None:
    built = build_bars(make_row_table([make_flat_row(f"{DAY} 10:00", 1e-30, 100)]), build_grid(DAY), FIVE)
    assert built.rejects["open"].tolist() == [1e-30]


@pytest.mark.parametrize(
    ("kind", "extra"),
    [
        ("null", make_flat_row(f"{DAY} 10:00", None)),
        ("null", make_flat_row(f"{DAY} 10:06", None)),
        ("null", make_flat_row(f"{DAY} 10:00", None, 100)),
        ("no_volume", make_flat_row(f"{DAY} 10:00", 10.0)),
        ("no_volume", make_row(f"{DAY} 10:00", None)),
        ("closing", make_flat_row(f"{DAY} 16:00", 10.0)),
        ("closing", make_flat_row(f"{DAY} 16:00", None)),
        ("closing", make_row(f"{DAY} 16:04", 5000)),
        ("closing", make_flat_row(f"{EARLY} 13:00", 10.0)),
        ("extended_hours", make_row(f"{DAY} 16:05", 5000)),
        ("extended_hours", make_flat_row(f"{EARLY} 16:00", 10.0)),
        ("extended_hours", make_row(f"{DAY} 09:29", 5000)),
        ("extended_hours", make_row(f"{DAY} 04:00")),
        ("extended_hours", make_flat_row(f"{DAY} 19:59", None)),
        ("extended_hours", make_row("2026-05-29 15:55")),
        ("extended_hours", make_row("2026-11-28 12:00")),
    ],
)
def test_an_ignored_row_is_only_counted(kind: str, extra: Row) -> None:
    built = build_bars(make_row_table([extra]), build_grid(DAY, EARLY), FIVE)
    assert built.ignored_rows == NOTHING_IGNORED | {kind: 1}
    assert (len(built.bars), len(built.rejects)) == (0, 0)


def test_after_hours_rows_past_midnight_utc_belong_to_the_session_before() -> None:
    rows = make_row_table(
        [
            make_row("2025-01-14 19:00"),
            make_row("2025-01-14 19:59"),
            make_row("2025-01-15 04:00"),
            make_row("2025-01-15 09:30"),
        ]
    )
    assert (rows["timestamp"] // 86_400).nunique() == 1
    found = validate_rows(Columns(rows), build_grid("2025-01-14", "2025-01-15"), ONE)
    assert found.table["session"].tolist() == [0, 0, 0, 1]
    assert (found.usable.tolist(), found.ignored_rows["extended_hours"]) == ([False, False, False, True], 3)


def test_rows_before_the_first_session_have_no_session() -> None:
    found = validate_rows(Columns(make_row_table([make_row(f"{DAY} 09:00")])), build_grid(DAY), ONE)
    assert found.table["session"].tolist() == [-1]


SAME, OTHER = make_row(f"{DAY} 10:00"), make_row(f"{DAY} 10:00", 200)


@pytest.mark.parametrize(
    ("rows", "volume", "rejected", "repeated"),
    [
        ([SAME, SAME], 100, 0, 1),
        ([SAME, SAME, SAME], 100, 0, 2),
        ([SAME, OTHER], 200, 1, 0),
        ([OTHER, SAME], 100, 1, 0),
        ([SAME, OTHER, SAME], 100, 1, 1),
        ([SAME, make_row(f"{DAY} 10:00", symbol_id=1)], 100, 0, 0),
    ],
    ids=["equal", "three equal", "different", "different, reversed", "equal and different", "another ticker"],
)
def test_the_last_of_rows_with_the_same_timestamp_is_used(
    rows: list[Row], volume: int, rejected: int, repeated: int
) -> None:
    built = build_bars(make_row_table(rows), build_grid(DAY), FIVE)
    assert built.bars["volume"].tolist()[0] == volume
    assert built.rejects["reason"].tolist() == ["duplicate_stamp"] * rejected
    assert built.ignored_rows["repeated"] == repeated


@pytest.mark.parametrize(
    "unusable", [make_flat_row(f"{DAY} 10:00", 10.0), make_flat_row(f"{DAY} 10:00", None), make_row(f"{DAY} 10:00", -1)]
)
def test_a_usable_row_is_preferred_to_an_unusable_one_with_its_timestamp(unusable: Row) -> None:
    built = build_bars(make_row_table([SAME, unusable]), build_grid(DAY), FIVE)
    assert built.bars["volume"].tolist() == [100]
    assert "duplicate_stamp" not in set(built.rejects["reason"])


@pytest.mark.parametrize("unusable", [make_flat_row(f"{DAY} 10:00", 10.0), make_row(f"{DAY} 10:00", -1)])
def test_equal_rows_do_not_conflict_when_an_unusable_one_follows(unusable: Row) -> None:
    built = build_bars(make_row_table([SAME, SAME, unusable]), build_grid(DAY), FIVE)
    assert built.ignored_rows["repeated"] == 1
    assert "duplicate_stamp" not in set(built.rejects["reason"])


ROW_STRATEGY = st.builds(
    lambda at, step, price, volume, symbol_id: (
        symbol_id,
        parse_epoch(at) + 60 * step,
        price,
        price,
        price,
        10.0,
        volume,
    ),
    st.sampled_from([f"{DAY} 09:20", f"{DAY} 12:00", f"{DAY} 15:50", f"{EARLY} 12:50", f"{EARLY} 16:00"]),
    st.integers(0, 20),
    st.sampled_from([10.0, 9.0, -1.0, None]),
    st.sampled_from([100.0, 0.0, 0.5, None]),
    st.integers(0, 1),
)


@given(st.lists(ROW_STRATEGY, min_size=1, max_size=40), st.sampled_from([FIVE, ONE]))
@settings(max_examples=60, derandomize=True, deadline=None)
def test_every_row_has_exactly_one_outcome(rows: list[Row], source: object) -> None:
    found = validate_rows(Columns(make_row_table(rows)), build_grid(DAY, EARLY), source)  # type: ignore[arg-type]
    rejected = found.reject_reason != ""
    assert not (found.usable & rejected).any()
    assert int(found.usable.sum() + rejected.sum()) + sum(found.ignored_rows.values()) == len(rows)


def test_a_row_table_has_the_rows_of_all_answers_with_their_symbol() -> None:
    stamps, prices, none = np.array([60, 120]), np.array([10.0, 11.0]), np.zeros(0)
    nothing = IntradayRows(np.zeros(0, np.int64), none, none, none, none, none)
    one, two = (IntradayRows(stamps, prices, prices + 2, prices - 1, prices + 1, 100 * prices + at) for at in (0, 1))
    table = build_row_table([(7, one), (8, nothing), (3, two)])
    assert {name: column.tolist() for name, column in dict(table).items()} == {
        "symbol_id": [7, 7, 3, 3],
        "timestamp": [60, 120] * 2,
        "open": [10.0, 11.0] * 2,
        "high": [12.0, 13.0] * 2,
        "low": [9.0, 10.0] * 2,
        "close": [11.0, 12.0] * 2,
        "volume": [1000.0, 1100.0, 1001.0, 1101.0],
    }
