"""Duplicates of the vendor, told apart: each action once, and contradictions named."""

from dataclasses import replace
from datetime import date, time, timedelta
from decimal import Decimal

import pytest

from backfill_assets.market.actions.listed_actions import ListedSplit, merge_dividends, merge_splits
from backfill_assets.market.calendar.sessions import find_previous_session_day
from backfill_assets.market.exchanges.profile import CalendarOverrides
from backfill_assets.market.exchanges.registry import US
from backfill_assets.market.vendor_actions import DividendRow, SplitRow

DAY = date(2024, 5, 1)


def make_split(new: str, old: str = "1", day: date = DAY) -> SplitRow:
    return SplitRow("", day, Decimal(new), Decimal(old))


def test_a_split_that_is_listed_twice_counts_once() -> None:
    rows = [make_split("1", "20", date(2024, 6, 1)), make_split("2"), make_split("2"), make_split("4", "2")]
    assert merge_splits(rows) == [
        ListedSplit(DAY, Decimal(2), Decimal(1)),
        ListedSplit(date(2024, 6, 1), Decimal(1), Decimal(20)),
    ]


def test_two_ratios_of_a_day_contradict_each_other() -> None:
    (split,) = merge_splits([make_split("1", "20"), make_split("1", "25"), make_split("1", "20")])
    assert (split.old_shares, split.contradiction) == (20, "1:20, 1:25")


@pytest.mark.parametrize(
    ("rows", "kept"),
    [
        (["0.25 USD quarterly", "0.25 USD quarterly"], ["0.25 USD quarterly"]),
        (["0.25 - -", "0.25 USD quarterly"], ["0.25 USD quarterly"]),
        (["0.25 - quarterly", "0.25 USD -"], ["0.25 USD quarterly"]),
        (["0.25 USD quarterly", "1 USD special"], ["0.25 USD quarterly", "1 USD special"]),
        (["0.25 USD quarterly", "0.25 USD special"], ["0.25 USD quarterly", "0.25 USD special"]),
        (["0.25 USD -", "0.26 USD -"], ["0.25 USD - !"]),
        (["0.25 GBP -", "25 GBX -"], ["0.25 GBP - !"]),
        (["0.25 USD final", "0.26 USD final", "1 USD special"], ["0.25 USD final !", "1 USD special"]),
        (["0.25 USD final", "0.5 USD -"], ["0.25 USD final !", "0.5 USD - !"]),
    ],
)
def test_dividends_of_a_day(rows: list[str], kept: list[str]) -> None:
    """Each as amount, currency and period; ``-`` is none, ``!`` a contradiction."""
    listed = []
    for amount, currency, period in (row.split() for row in rows):
        listed.append(DividendRow("", DAY, period.strip("-"), Decimal(amount), currency.strip("-") or None))
    found = merge_dividends(listed, lambda day: day - timedelta(days=1))
    texts = [f"{d.amount} {d.currency or '-'} {d.period or '-'}{' !' if d.contradiction else ''}" for d in found]
    assert texts == kept
    assert {d.cum_day for d in found} == {date(2024, 4, 30)}


def test_a_contradiction_names_every_version() -> None:
    rows = [DividendRow("", DAY, "final", Decimal("0.25"), "USD"), DividendRow("", DAY, "", Decimal("0.5"), None)]
    found = merge_dividends(rows, lambda day: day)
    assert [d.contradiction for d in found] == ["0.25 USD final, 0.5"] * 2


def test_a_dividend_of_before_the_first_session_is_left_out() -> None:
    rows = [
        DividendRow("", day, "", Decimal(1), None) for day in (date(1987, 5, 11), date(2004, 1, 2), date(2004, 1, 5))
    ]
    found = merge_dividends(rows, lambda day: find_previous_session_day(US, day))
    assert [(d.ex_date, d.cum_day) for d in found] == [(date(2004, 1, 5), date(2004, 1, 2))]


@pytest.mark.parametrize(
    ("day", "previous"),
    [
        (date(2026, 6, 1), date(2026, 5, 29)),
        (date(2026, 5, 31), date(2026, 5, 29)),
        (date(2025, 1, 2), date(2024, 12, 31)),
        (date(2025, 1, 10), date(2025, 1, 8)),
    ],
)
def test_the_session_before_a_day(day: date, previous: date) -> None:
    assert find_previous_session_day(US, day) == previous
    overrides = CalendarOverrides(closures=frozenset({previous}), early_closes={day: time(13)})
    corrected = replace(US, overrides=overrides)
    assert find_previous_session_day(corrected, day) == find_previous_session_day(US, previous)


def test_a_list_with_thousands_of_versions_of_one_action_is_merged_and_described_briefly() -> None:
    (split,) = merge_splits([make_split(str(n)) for n in range(2, 5_002)])
    assert split.contradiction == "2:1, 3:1, 4:1, 5:1, 6:1, 7:1, 8:1, 9:1"
    rows = [DividendRow("", DAY, "", Decimal(n), "USD") for n in range(1, 20_001)]
    (dividend,) = merge_dividends(rows, lambda day: day - timedelta(days=1))
    assert dividend.contradiction == "1 USD, 2 USD, 3 USD, 4 USD, 5 USD, 6 USD, 7 USD, 8 USD"
