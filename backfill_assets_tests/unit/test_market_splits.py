"""What splits do to daily volumes, and where they are not known."""

from datetime import UTC, datetime

import numpy as np

from backfill_assets.market.actions.splits import SplitHistory, find_split_ratios, undo_splits
from backfill_assets.market.exchanges.registry import US

EX_DATE = np.datetime64("2026-06-03")
HISTORY = SplitHistory(  # symbol 7: 10 for 1 on a Wednesday; symbol 9: none; 8 was never read
    symbol_id=np.array([7, 7]),
    ex_date=np.array(["2020-08-31", EX_DATE], "datetime64[D]"),
    ratio=np.array([4.0, 10.0]),
    read_symbol_id=np.array([7, 9]),
    known_after=np.array(["1900-01-01", "2026-06-01"], "datetime64[D]"),
    known_until=np.array(["2026-06-03", "2026-06-03"], "datetime64[D]"),
    read_at=np.full(2, int(datetime(2026, 6, 4, 12, tzinfo=UTC).timestamp())),
)


def undo(symbol_id: int, day: str, read_at: datetime, adjustment: float) -> float:
    volume = undo_splits(
        np.array([1000.0]),
        HISTORY,
        np.array([symbol_id]),
        np.array([day], "datetime64[D]"),
        np.array([int(read_at.timestamp())]),
        np.array([adjustment]),
        US.zone,
    )
    return float(volume[0])


def test_a_volume_is_divided_by_the_splits_between_its_day_and_its_reading() -> None:
    before, after = datetime(2026, 6, 2, 22, tzinfo=UTC), datetime(2026, 6, 4, 12, tzinfo=UTC)
    assert undo(7, "2026-06-02", after, 0.1) == 100
    assert undo(7, "2026-06-02", before, 0.99) == 1000  # a dividend: the split was still to come
    assert undo(7, "2026-06-03", after, 0.99) == 1000
    assert undo(7, "2020-08-28", after, 0.02) == 25
    assert undo(9, "2026-06-02", after, 0.99) == 1000


def test_the_day_of_a_reading_is_that_of_the_exchange() -> None:
    assert undo(7, "2026-06-02", datetime(2026, 6, 3, 3, tzinfo=UTC), 0.99) == 1000  # Tuesday 23:00 in New York
    assert undo(7, "2026-06-02", datetime(2026, 6, 3, 4, tzinfo=UTC), 0.1) == 100


def test_a_volume_is_unknown_where_the_splits_since_are() -> None:
    after, later = datetime(2026, 6, 4, 12, tzinfo=UTC), datetime(2026, 6, 5, 12, tzinfo=UTC)
    assert np.isnan(undo(8, "2026-06-02", after, 0.9))  # never read
    assert np.isnan(undo(9, "2026-05-29", after, 0.9))  # known from a later day on
    assert np.isnan(undo(7, "2026-06-02", later, 0.1))  # the row was read after the splits
    assert np.isnan(undo(8, "2026-06-02", after, np.nan))


def test_a_row_that_is_not_adjusted_needs_no_splits() -> None:
    assert undo(8, "2026-06-02", datetime(2026, 6, 3, 12, tzinfo=UTC), 1.0) == 1000
    assert undo(7, "2026-06-02", datetime(2026, 6, 3, 12, tzinfo=UTC), 1.001) == 1000  # not adjusted for it yet


def test_the_ratio_of_a_day_is_known_where_the_splits_were_read() -> None:
    days = np.array(
        ["2026-06-02", "2026-06-03", "2026-06-04", "2026-06-03", "2026-06-01", "2026-06-02"], "datetime64[D]"
    )
    symbols = np.array([7, 7, 7, 8, 9, 9])
    ratios = find_split_ratios(HISTORY, symbols, days)
    np.testing.assert_array_equal(ratios, [1, 10, np.nan, np.nan, np.nan, 1])
