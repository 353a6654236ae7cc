"""Which listings a rename changes: in a row, back and forth, swapped, recycled, and what contradicts it."""

from datetime import date

import pytest

from backfill_assets.backfill.identity.rename_plan import (
    NOT_ADDED,
    RecordedLives,
    Rename,
    RenameRefused,
    plan_listings,
)
from backfill_assets.market.calendar.listings import Listing
from backfill_assets.market.calendar.sessions import list_sessions
from backfill_assets.market.calendar.tickers import Ticker
from backfill_assets.market.exchanges.registry import US
from backfill_assets.store.bars.listing_bars import NO_BARS, BarsAround
from backfill_assets.store.listings import NewListing

FB, META = 1, 2
LAST, FIRST = date(2022, 6, 8), date(2022, 6, 9)
BEFORE, AFTER = list_sessions(US, LAST, FIRST)
FUND_END = date(2022, 1, 28)


def make_rename(other_until: date | None = None, *, is_carried: bool = False, is_insisted: bool = False) -> Rename:
    return Rename(Ticker("FB"), Ticker("META"), BEFORE, AFTER, other_until, is_carried, is_insisted)


def make_lives(
    *listings: Listing, new_id: int | None = META, old: BarsAround = NO_BARS, new: BarsAround = NO_BARS
) -> RecordedLives:
    return RecordedLives(FB, new_id, listings, old, new)


def test_a_first_rename_makes_one_instrument_of_both_tickers() -> None:
    changes = plan_listings(make_rename(), make_lives(new_id=None))
    assert (changes.withdrawn, changes.instrument_id) == ((), None)
    assert changes.old == NewListing(FB, None, LAST)
    assert changes.new == (NewListing(NOT_ADDED, FIRST, None),)
    assert (changes.others, changes.is_old_continued) == ((), False)


@pytest.mark.parametrize(
    ("rename", "new_bars", "until"),
    [
        (make_rename(FUND_END), NO_BARS, FUND_END),
        (make_rename(), BarsAround(FUND_END, FIRST), FUND_END),
        (make_rename(date(2022, 1, 3)), BarsAround(FUND_END, None), FUND_END),
        (make_rename(date(2022, 6, 10)), NO_BARS, LAST),
        (make_rename(is_carried=True), BarsAround(LAST, FIRST), None),
    ],
)
def test_what_the_new_ticker_named_before_is_an_instrument_of_its_own(
    rename: Rename, new_bars: BarsAround, until: date | None
) -> None:
    changes = plan_listings(rename, make_lives(new=new_bars))
    assert changes.others == ((NewListing(META, None, until),) if until else ())


def test_a_second_rename_continues_the_instrument() -> None:
    fb = Listing(7, 7, FB, date(2020, 1, 2), None)  # it was another ticker before
    before = Listing(6, 7, 9, None, date(2019, 12, 31))
    changes = plan_listings(make_rename(), make_lives(fb, before))
    assert (changes.withdrawn, changes.instrument_id) == ((fb,), 7)
    assert changes.old == NewListing(FB, date(2020, 1, 2), LAST)


def test_a_ticker_gets_its_former_name_back() -> None:
    """META was FB until 2021, then FB again; now FB becomes META once more."""
    past = Listing(1, 1, META, None, date(2021, 1, 4))
    fb = Listing(2, 1, FB, date(2021, 1, 5), None)
    changes = plan_listings(make_rename(), make_lives(past, fb, new=BarsAround(date(2021, 1, 4), None)))
    assert (changes.withdrawn, changes.instrument_id) == ((fb,), 1)
    assert (changes.new, changes.others) == ((NewListing(META, FIRST, None),), ())


def test_an_earlier_rename_that_is_recorded_later_joins_the_instruments() -> None:
    meta = Listing(4, 4, META, None, date(2023, 1, 3))
    later = Listing(5, 4, 9, date(2023, 1, 4), None)
    changes = plan_listings(make_rename(), make_lives(meta, later))
    assert (changes.withdrawn, changes.instrument_id) == ((meta,), 4)
    assert changes.old == NewListing(FB, None, LAST)
    assert changes.new == (NewListing(META, FIRST, date(2023, 1, 3)),)
    own = Listing(3, 3, FB, None, None)
    changes = plan_listings(make_rename(), make_lives(own, meta, later))
    assert (changes.withdrawn, changes.instrument_id) == ((own, meta, later), 3)
    assert changes.new == (NewListing(META, FIRST, date(2023, 1, 3)), NewListing(9, date(2023, 1, 4), None))


def test_a_recycled_ticker_whose_lives_are_recorded_joins_with_the_newer_one() -> None:
    fund, meta = Listing(1, 1, META, None, FUND_END), Listing(2, 2, META, FIRST, None)
    changes = plan_listings(make_rename(FUND_END), make_lives(fund, meta))
    assert (changes.withdrawn, changes.instrument_id, changes.new) == ((), 2, ())
    assert (changes.old, changes.others) == (NewListing(FB, None, LAST), ())


def test_bars_after_the_day_refuse_the_rename_unless_they_are_another_instruments() -> None:
    lives = make_lives(old=BarsAround(LAST, date(2025, 6, 2)))
    with pytest.raises(RenameRefused, match=r"FB\.US has bars of 2025-06-02, after its last day 2022-06-08"):
        plan_listings(make_rename(), lives)
    changes = plan_listings(make_rename(is_insisted=True), lives)
    assert (changes.others, changes.is_old_continued) == ((NewListing(FB, date(2025, 6, 2), None),), True)


def test_swapped_tickers_each_continue_under_the_others_name() -> None:
    """FB and META change places: of the first rename FB's life is the other's, which the second one joins."""
    bars = BarsAround(LAST, FIRST)
    first = plan_listings(make_rename(is_insisted=True), make_lives(old=bars, new=bars))
    assert first.others == (NewListing(META, None, LAST), NewListing(FB, FIRST, None))
    recorded = (
        Listing(1, 1, FB, None, LAST),
        Listing(2, 1, META, FIRST, None),
        Listing(3, 3, META, None, LAST),
        Listing(4, 4, FB, FIRST, None),
    )
    back = Rename(Ticker("META"), Ticker("FB"), BEFORE, AFTER, is_insisted=True)
    second = plan_listings(back, RecordedLives(META, FB, recorded, bars, bars))
    assert (second.withdrawn, second.instrument_id) == ((recorded[3],), 3)
    assert (second.old, second.new, second.others) == (None, (NewListing(FB, FIRST, None),), ())
    assert second.is_old_continued


@pytest.mark.parametrize(
    ("listings", "message"),
    [
        ([Listing(1, 1, FB, None, LAST), Listing(2, 1, META, FIRST, None)], "it is recorded already"),
        ([Listing(1, 1, FB, None, LAST), Listing(2, 1, 9, FIRST, None)], "recorded as renamed already"),
        ([Listing(1, 1, FB, None, FUND_END)], "was not listed on 2022-06-08; its recorded listings: until 2022-01-28"),
        ([Listing(1, 1, META, date(2022, 6, 1), None)], "contradicts a begin on 2022-06-09: from 2022-06-01 on"),
        ([Listing(1, 1, META, date(2022, 6, 10), None)], "contradicts a begin on 2022-06-09: from 2022-06-10 on"),
        (
            [Listing(1, 1, FB, None, None), Listing(2, 2, META, FIRST, None), Listing(3, 2, 9, None, LAST)],
            "another ticker before 2022-06-09",
        ),
    ],
)
def test_recorded_listings_that_contradict_refuse_the_rename(listings: list[Listing], message: str) -> None:
    with pytest.raises(RenameRefused, match=message.replace(".", r"\.")):
        plan_listings(make_rename(is_insisted=True), make_lives(*listings))
