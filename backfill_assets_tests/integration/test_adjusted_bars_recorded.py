"""What splits, spin-offs, renames and recycled tickers did to prices that were recorded."""

import math
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from backfill_assets.market.actions.adjustment import Adjustment
from backfill_assets.market.actions.listed_actions import merge_splits
from backfill_assets.market.vendor_actions import SplitRow
from backfill_assets.store.actions.action_reads import FIRST_POSSIBLE_DAY
from backfill_assets.store.actions.splits import record_symbol_splits
from backfill_assets.store.bars.adjusted_bars import MissingFactor
from backfill_assets.store.postgres.connection import Database
from backfill_assets_tests.integration.stored_actions import READ, Store

BOTH = Adjustment.SPLITS_AND_DIVIDENDS


@pytest.fixture
def store(database: Database) -> Iterator[Store]:
    with database.transaction() as connection:
        yield Store(connection)


@pytest.mark.parametrize(
    ("symbol", "before", "ex_date", "closes", "ratio"),
    [
        ("NVDA", date(2024, 6, 7), date(2024, 6, 10), (1208.88, 121.79), 10),
        ("AAPL", date(2020, 8, 28), date(2020, 8, 31), (501.98, 128.0), 4),
        ("NFLX", date(2025, 11, 14), date(2025, 11, 17), (1100.0, 110.0), 10),
    ],
)
def test_prices_before_a_split_are_divided_once_by_its_ratio(
    store: Store, symbol: str, before: date, ex_date: date, closes: tuple[float, float], ratio: int
) -> None:
    symbol_id = store.add_symbol(symbol)
    store.add_closing_bars(symbol_id, dict(zip((before, ex_date), closes, strict=True)), volume=1000)
    store.add_split(symbol_id, ex_date, ratio)
    assert store.read_closes(symbol_id, Adjustment.NONE) == list(closes)
    bars = store.read([symbol_id], Adjustment.SPLITS)
    assert bars.close.tolist() == [closes[0] / ratio, closes[1]]
    assert bars.volume.tolist() == [1000 * ratio, 1000]
    raw_step, adjusted_step = closes[1] / closes[0], bars.close[1] / bars.close[0]
    assert abs(math.log(adjusted_step)) < 0.03 < abs(math.log(raw_step))


def test_volume_before_a_split_is_in_the_shares_of_the_daily_data(store: Store) -> None:
    """AAPL on 2020-08-25: 211,495,600 in the daily data, 51.4 million in the bars of one minute."""
    symbol_id = store.add_symbol("AAPL")
    store.add_closing_bars(symbol_id, {date(2020, 8, 25): 499.3}, volume=51_400_000)
    store.add_split(symbol_id, date(2020, 8, 31), 4)
    for adjustment in (Adjustment.SPLITS, BOTH):
        volume = store.read([symbol_id], adjustment).volume[0]
        assert volume == 205_600_000
        assert 0.97 < volume / 211_495_600 < 1


def test_a_split_that_the_vendor_lists_twice_applies_once(store: Store) -> None:
    """SOPA had two records of 2024-05-01."""
    symbol_id = store.add_symbol("SOPA", known_after=None)
    ex_date = date(2024, 5, 1)
    store.add_closing_bars(symbol_id, {date(2024, 4, 30): 0.1, ex_date: 1.5})
    rows = [SplitRow(code="SOPA", ex_date=ex_date, new_shares=Decimal(1), old_shares=Decimal(15)) for _ in range(2)]
    record_symbol_splits(
        store.connection, symbol_id, merge_splits(rows), "/splits", READ,
        known_after=FIRST_POSSIBLE_DAY, known_until=date(2026, 1, 1),
    )  # fmt: skip
    assert store.read_closes(symbol_id) == [1.5, 1.5]


def test_a_split_listed_with_two_ratios_adjusts_nothing_and_says_so(store: Store) -> None:
    symbol_id = store.add_symbol("SOPA")
    store.add_closing_bars(symbol_id, {date(2024, 4, 30): 0.1, date(2024, 5, 1): 1.5})
    store.add_split(symbol_id, date(2024, 5, 1), 1, 15, contradiction="1:15, 1:10")
    assert store.read_closes(symbol_id, first=date(2024, 5, 1)) == [1.5]
    assert store.read_closes(symbol_id, Adjustment.NONE) == [0.1, 1.5]
    with pytest.raises(MissingFactor, match=r"SOPA before 2024-05-01 .* split: the vendor lists it as 1:15, 1:10") as e:
        store.read_closes(symbol_id)
    assert (e.value.ticker, e.value.ex_date, e.value.kind) == ("SOPA", date(2024, 5, 1), "split")


@pytest.mark.parametrize(("read_at", "daily_close"), [(datetime(2025, 10, 1, tzinfo=UTC), 76.48), (READ, 76.48 / 2.39)])
def test_a_dividend_before_a_spinoff_is_a_share_of_the_close_as_it_was(
    store: Store, read_at: datetime, daily_close: float
) -> None:
    """DD: the daily closes before 2025-11-03 are divided by 2.39 in what is read since."""
    symbol_id, spun, ex_date = store.add_symbol("DD"), date(2025, 11, 3), date(2025, 8, 29)
    store.add_closing_bars(symbol_id, {date(2025, 8, 28): 76.48, date(2025, 10, 31): 81.65, spun: 34.2})
    store.add_daily_row(symbol_id, date(2025, 8, 28), daily_close, read_at)
    store.add_dividend(symbol_id, ex_date, 0.41)
    store.add_spinoff(symbol_id, spun, 1 / 2.39)
    assert store.read_closes(symbol_id, Adjustment.SPLITS) == [76.48, 81.65, 34.2]
    expected = [76.48 / 2.39 * (1 - 0.41 / 76.48), 81.65 / 2.39, 34.2]
    assert store.read_closes(symbol_id, BOTH) == pytest.approx(expected, rel=1e-14)
    assert store.read([symbol_id], BOTH).volume.tolist() == [1000, 1000, 1000]


@pytest.mark.parametrize("read_at", [None, datetime(2025, 11, 3, 22, tzinfo=UTC)])
def test_a_daily_row_that_may_or_may_not_know_a_spinoff_gives_no_factor(store: Store, read_at: datetime | None) -> None:
    symbol_id = store.add_symbol("DD")
    store.add_closing_bars(symbol_id, {date(2025, 8, 28): 76.48})
    store.add_daily_row(symbol_id, date(2025, 8, 28), 76.48, read_at)
    store.add_dividend(symbol_id, date(2025, 8, 29), 0.41)
    assert store.read_closes(symbol_id, BOTH) == pytest.approx([76.48 - 0.41])
    store.add_spinoff(symbol_id, date(2025, 11, 3), 1 / 2.39)
    with pytest.raises(MissingFactor, match="2025-08-28 may have been read before or after a spin-off"):
        store.read_closes(symbol_id, BOTH)


def test_meta_takes_over_from_fb_and_the_fund_that_had_its_name_stays_apart(store: Store) -> None:
    """META was a fund at 11.95 and 12.31 to 2022-01-28, and Facebook at 184.00 from 2022-06-09; FB before."""
    fb, meta = store.add_symbol("FB"), store.add_symbol("META")
    store.add_closing_bars(fb, {date(2022, 6, 7): 195.0, date(2022, 6, 8): 196.0})
    store.add_closing_bars(meta, {date(2022, 1, 27): 11.95, date(2022, 1, 28): 12.31, date(2022, 6, 9): 184.0})
    store.add_listings((fb, None, date(2022, 6, 8)), (meta, date(2022, 6, 9), None))
    store.add_split(meta, date(2025, 3, 3), 2)
    for has_listing in (False, True):
        if has_listing:
            store.add_listings((meta, None, date(2022, 1, 28)))
        assert store.read_closes(fb) == [97.5, 98.0]
        assert store.read_closes(meta) == [11.95, 12.31, 92.0]
    store.add_dividend(meta, date(2022, 1, 28), 1.0)  # of the fund
    store.add_daily_row(meta, date(2022, 1, 27), 11.95)
    assert store.read_closes(meta, BOTH) == pytest.approx([10.95, 12.31, 92.0])
    assert store.read_closes(fb, BOTH) == [97.5, 98.0]


def test_what_two_tickers_of_an_instrument_list_counts_once(store: Store) -> None:
    fb, meta = store.add_symbol("FB"), store.add_symbol("META")
    store.add_listings((fb, None, date(2022, 6, 8)), (meta, date(2022, 6, 9), None))
    store.add_closing_bars(fb, {date(2022, 1, 3): 300.0})
    store.add_daily_row(fb, date(2022, 2, 1), 150.0)
    store.add_daily_row(meta, date(2022, 2, 1), 12.0)  # the fund's
    store.add_listings((meta, None, date(2022, 3, 1)))
    for symbol_id, ratio in ((fb, 2), (meta, 7)):  # of META's days it is the fund's
        store.add_split(symbol_id, date(2022, 2, 2), ratio)
        store.add_dividend(symbol_id, date(2022, 2, 2), 1.5)
        store.add_split(symbol_id, date(2022, 5, 2), 3)  # of META's next listing
        store.add_dividend(symbol_id, date(2022, 5, 2), 15, period="" if symbol_id == meta else "special")
    store.add_daily_row(fb, date(2022, 5, 1), 150.0)
    assert store.read_closes(fb) == [300 / 6]
    assert store.read_closes(fb, BOTH) == pytest.approx([300 / 6 * 0.99 * 0.9])


def test_a_recycled_ticker_is_not_adjusted_by_its_successors_actions(store: Store) -> None:
    """POL was PolyOne at 42 to 2019, and another one at 0.0003 from 2024."""
    pol = store.add_symbol("POL")
    store.add_closing_bars(pol, {date(2018, 7, 2): 42.0, date(2019, 6, 3): 42.0, date(2024, 6, 3): 0.0003})
    store.add_listings((pol, None, date(2019, 12, 31)))
    store.add_listings((pol, date(2024, 1, 2), None))
    store.add_split(pol, date(2024, 9, 3), 1, 1000)
    assert store.read_closes(pol) == pytest.approx([42.0, 42.0, 0.3])
    store.add_split(pol, date(2019, 3, 1), 2)
    assert store.read_closes(pol) == pytest.approx([21.0, 42.0, 0.3])


def test_bars_outside_the_listings_of_a_ticker_are_of_no_instrument(store: Store) -> None:
    """NSR has prices of 2021 that are stamped 2015."""
    nsr = store.add_symbol("NSR")
    store.add_closing_bars(nsr, {date(2015, 3, 2): 14.0, date(2021, 3, 1): 14.0})
    store.add_listings((nsr, date(2020, 1, 2), None))
    store.add_split(nsr, date(2022, 3, 1), 2)
    assert store.read_closes(nsr) == [14.0, 7.0]
