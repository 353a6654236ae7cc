"""What the closes under two names show about a rename, and where a daily history breaks, with recorded figures."""

from datetime import date, timedelta

import numpy as np
import pytest

from backfill_assets.market.calendar.tickers import Ticker
from backfill_assets.market.identity.closes import DayClose
from backfill_assets.market.identity.recycled import find_breaks
from backfill_assets.market.identity.renames import ComparedCloses, RenameFacts, compare_closes
from backfill_assets.market.vendor import DailyRows

FB, META = Ticker("FB"), Ticker("META")
LAST, FIRST = date(2022, 6, 8), date(2022, 6, 9)
FUND = {date(2022, 1, 27): 11.95, date(2022, 1, 28): 12.31}
FB_CLOSES = {date(2022, 6, 7): 195.65, LAST: 196.64}
META_CLOSES = {FIRST: 184.00, date(2022, 6, 10): 175.57}


def build_facts(closes: ComparedCloses, listed_on: date | None = None) -> RenameFacts:
    return RenameFacts(FB, META, FIRST, closes, listed_on)


def build_rows(closes: dict[date, float], adjusted: dict[date, float] | None = None) -> DailyRows:
    prices = np.array(list(closes.values()))
    adjusted_close = np.array([(adjusted or closes).get(day, close) for day, close in closes.items()])
    days = np.array(list(closes), "datetime64[D]")
    return DailyRows(days, prices, prices, prices, prices, adjusted_close, np.full(len(prices), 1000.0))


def test_fb_and_meta_agree_and_the_fund_before_is_another_instrument() -> None:
    closes = compare_closes(FIRST, FB_CLOSES, {**FUND, **META_CLOSES})
    assert closes == ComparedCloses(DayClose(LAST, 196.64), DayClose(FIRST, 184.00), date(2022, 1, 28))
    facts = build_facts(closes)
    assert facts.is_borne_out
    assert str(facts) == "FB.US became META.US on 2022-06-09"
    assert facts.list_evidence() == (
        ("vendor's list", "the list of renamed symbols does not have it"),
        ("last close of FB.US", "196.64 on 2022-06-08"),
        ("first close of META.US", "184.00 on 2022-06-09 (-6.4%)"),
        ("META.US before", "named another instrument, until 2022-01-28"),
    )


def test_the_same_closes_under_the_new_name_are_its_own_history() -> None:
    closes = compare_closes(FIRST, FB_CLOSES, {date(2020, 1, 2): 209.78, **FB_CLOSES, **META_CLOSES})
    assert (closes.is_carried, closes.other_until) == (True, None)
    assert build_facts(closes).is_borne_out
    differing = compare_closes(FIRST, FB_CLOSES, {**FB_CLOSES, LAST: 50.0, **META_CLOSES})
    assert (differing.is_carried, differing.other_until) == (False, LAST)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (FB_CLOSES, {FIRST: 157.0}, "further apart than 25%"),
        (FB_CLOSES, {FIRST: 246.0}, "further apart than 25%"),
        (FB_CLOSES, {date(2022, 5, 10): 12.0, **META_CLOSES}, "META.US traded until 2022-05-10"),
        (FB_CLOSES, {}, "no close of META.US from 2022-06-09 on is known"),
        ({}, META_CLOSES, "no close of FB.US before 2022-06-09 is known"),
    ],
)
def test_other_levels_a_name_in_use_and_missing_closes_bear_nothing_out(
    old: dict[date, float], new: dict[date, float], reason: str
) -> None:
    facts = build_facts(compare_closes(FIRST, old, new))
    assert not facts.is_borne_out
    assert reason in " ".join([*facts.list_gaps(), *facts.list_contradictions()])


def test_without_a_close_of_the_old_name_nothing_is_said_of_the_new_ones_earlier_closes() -> None:
    facts = build_facts(compare_closes(FIRST, {}, {**FB_CLOSES, **META_CLOSES}))
    assert (facts.is_uncompared, facts.list_contradictions()) == (True, [])
    assert facts.list_gaps() == [
        "no close of FB.US before 2022-06-09 is known, nor whose the earlier ones of META.US are"
    ]
    assert ("META.US before", "closes, not compared, until 2022-06-08") in facts.list_evidence()
    assert not build_facts(
        compare_closes(FIRST, {}, {**FUND, **META_CLOSES})
    ).is_uncompared  # the fund ended long before


def test_steps_up_to_25_percent_agree() -> None:
    for first in (196.64 / 1.25, 196.64 * 1.25):
        assert build_facts(compare_closes(FIRST, FB_CLOSES, {FIRST: first})).is_borne_out


def test_another_day_in_the_vendors_list_contradicts() -> None:
    closes = compare_closes(FIRST, FB_CLOSES, META_CLOSES)
    assert build_facts(closes, FIRST).is_borne_out
    assert "has it on 2022-06-10" in build_facts(closes, date(2022, 6, 10)).list_contradictions()[0]


@pytest.mark.parametrize(
    ("closes", "expected"),
    [
        ({**FUND, **META_CLOSES}, ["12.31 on 2022-01-28, then nothing until 184.00 on 2022-06-09"]),
        (
            {date(2019, 6, 3): 42.0, date(2024, 3, 1): 0.0003},  # POL
            ["42.00 on 2019-06-03, then nothing until 0.0003 on 2024-03-01"],
        ),
        # NSR: rows stamped 2015 with the prices of 2021 show a gap and one level; nothing tells them apart
        ({date(2015, 8, 3): 8.9, date(2015, 8, 4): 9.0, date(2021, 8, 31): 8.9}, []),
        ({date(2026, 1, 5): 10.0, date(2026, 3, 5): 20.0}, []),  # 59 days are no months
        ({date(2026, 1, 5): 10.0, date(2026, 3, 6): 12.5}, []),
        ({}, []),
    ],
)
def test_months_without_a_row_and_another_level_break_a_history(closes: dict[date, float], expected: list[str]) -> None:
    assert [str(found) for found in find_breaks(build_rows(closes))] == expected


def test_a_split_during_a_halt_is_no_break() -> None:
    before, after = date(2026, 1, 5), date(2026, 6, 5)
    closes = {before: 2.0, after: 41.0}
    assert find_breaks(build_rows(closes, adjusted={before: 40.0})) == []
    assert len(find_breaks(build_rows(closes))) == 1


def test_several_breaks_are_found_in_the_order_of_their_days() -> None:
    begin = date(2010, 1, 4)
    closes = {begin + timedelta(days=400 * n): price for n, price in enumerate((5.0, 50.0, 1.0))}
    reversed_rows = build_rows(dict(reversed(closes.items())))
    assert [found.last.price for found in find_breaks(reversed_rows)] == [5.0, 50.0]
