"""Listings: which instrument a ticker named on a day, and lives that overlap."""

from datetime import date

import pytest

from backfill_assets.market.calendar.listings import (
    Listing,
    find_instrument,
    find_newest_listing,
    find_overlap,
    is_overlapping,
    sort_listings,
)

FB, META = 1, 2
FUND_END, FB_END, META_BEGIN = date(2022, 1, 28), date(2022, 6, 8), date(2022, 6, 9)
FB_LIFE = Listing(1, 1, FB, None, FB_END)
META_LIFE = Listing(2, 1, META, META_BEGIN, None)
FUND = Listing(3, 3, META, None, FUND_END)


@pytest.mark.parametrize(
    ("symbol_id", "day", "instrument"),
    [
        (FB, FB_END, 1),
        (FB, META_BEGIN, None),
        (META, META_BEGIN, 1),
        (META, FB_END, None),
        (META, FUND_END, 3),
        (META, date(2021, 6, 30), 3),
        (9, FB_END, None),
    ],
)
def test_instrument_is_that_of_the_listing_that_holds_the_day(
    symbol_id: int, day: date, instrument: int | None
) -> None:
    assert find_instrument([FB_LIFE, META_LIFE, FUND], symbol_id, day) == instrument


def test_newest_listing_is_the_last_life_of_the_ticker() -> None:
    assert find_newest_listing([META_LIFE, FUND, FB_LIFE], META) == META_LIFE
    assert find_newest_listing([META_LIFE], FB) is None
    assert sort_listings([META_LIFE, FUND]) == [FUND, META_LIFE]


@pytest.mark.parametrize(
    ("first", "last", "is_expected"),
    [
        (None, None, True),
        (None, FB_END, True),
        (FB_END, None, True),
        (META_BEGIN, None, False),
        (date(2022, 1, 3), date(2022, 1, 4), True),
    ],
)
def test_overlap_includes_both_days(first: date | None, last: date | None, is_expected: bool) -> None:
    other = Listing(9, 9, FB, first, last)
    assert is_overlapping(FB_LIFE, other) is is_expected
    assert is_overlapping(other, FB_LIFE) is is_expected
    assert (find_overlap([FB_LIFE, other]) is not None) is is_expected


def test_ticker_names_one_instrument_and_an_instrument_has_one_ticker_at_a_time() -> None:
    assert find_overlap([FB_LIFE, META_LIFE, FUND]) is None
    too_early = Listing(4, 1, META, FB_END, None)
    assert find_overlap([FB_LIFE, too_early]) == (FB_LIFE, too_early)
    fund_goes_on = Listing(5, 5, META, None, None)
    assert find_overlap([META_LIFE, fund_goes_on]) == (fund_goes_on, META_LIFE)
    assert find_overlap([FB_LIFE, fund_goes_on]) is None
