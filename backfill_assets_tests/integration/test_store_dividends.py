"""Dividends in the store: each counts once, and what each was before is kept."""

from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal

import pytest

from backfill_assets.market.actions.listed_actions import ListedDividend
from backfill_assets.store.actions.action_reads import FIRST_POSSIBLE_DAY, MarketFile
from backfill_assets.store.actions.dividends import list_dividends, record_market_dividends, record_symbol_dividends
from backfill_assets.store.postgres.connection import Database
from backfill_assets_tests.conftest import NOW

FRIDAY, MONDAY, TUESDAY = date(2026, 5, 29), date(2026, 6, 1), date(2026, 6, 2)


def make(amount: str, period: str = "", **values: object) -> ListedDividend:
    return ListedDividend(MONDAY, period, FRIDAY, Decimal(amount), "USD", **values)  # type: ignore[arg-type]


def record(database: Database, dividends: Sequence[ListedDividend], *, days: int = 0) -> None:
    now = NOW + timedelta(days=days)
    with database.transaction() as connection:
        record_symbol_dividends(
            connection, 7, dividends, "/div", now, known_after=FIRST_POSSIBLE_DAY, known_until=now.date()
        )


def list_versions(database: Database, *, with_versions: bool = True) -> list[tuple[str, str, int, int | None]]:
    """Period, amount, and the days after ``NOW`` from and to which each version was known."""
    with database.transaction() as connection:
        found = list_dividends(connection, [7], with_versions=with_versions)
    return [
        (
            d.period,
            str(d.amount),
            ((d.listed.revised_at or d.listed.first_seen) - NOW).days,
            (d.listed.withdrawn_at - NOW).days if d.listed.withdrawn_at else None,
        )
        for d in found
    ]


def test_what_the_vendor_changes_or_drops_stays_as_a_version(database: Database) -> None:
    for days, amount in enumerate(("0.25", "0.25", "0.26", None, "0.26")):
        record(database, [make(amount, "quarterly")] if amount else [], days=days)
    assert list_versions(database) == [
        ("quarterly", "0.25", 0, 2),
        ("quarterly", "0.26", 2, 3),
        ("quarterly", "0.26", 4, None),
    ]
    assert list_versions(database, with_versions=False) == [("quarterly", "0.26", 4, None)]


def test_days_that_come_later_are_no_revision_and_one_that_is_lacking_again_stays(database: Database) -> None:
    record(database, [make("0.25", paid_on=TUESDAY)])
    record(database, [make("0.25", record_on=MONDAY)], days=1)
    with database.transaction() as connection:
        (dividend,) = list_dividends(connection)
    assert (dividend.record_on, dividend.paid_on, dividend.listed.revised_at) == (MONDAY, TUESDAY, None)
    assert len(list_versions(database)) == 1


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ([make("0.25")], [make("0.25", "quarterly")], [("quarterly", "0.25", 0, None)]),
        ([make("0.25", "quarterly")], [make("0.25")], [("quarterly", "0.25", 0, None)]),
        ([make("0.25")], [make("0.30", "other")], [("other", "0.25", 0, 1), ("other", "0.30", 1, None)]),
        (
            [make("0.25"), make("1", "special")],
            [make("0.25", "quarterly"), make("1", "final")],
            [("final", "1", 0, None), ("quarterly", "0.25", 0, None)],
        ),
        (
            [make("0.25", "quarterly")],
            [make("0.25", "quarterly"), make("1", "special")],
            [("quarterly", "0.25", 0, None), ("special", "1", 1, None)],
        ),
    ],
)
def test_a_dividend_whose_period_changes_is_no_second_one(
    database: Database,
    before: list[ListedDividend],
    after: list[ListedDividend],
    expected: list[tuple[str, str, int, int | None]],
) -> None:
    record(database, before)
    record(database, after, days=1)
    assert list_versions(database) == expected


def test_a_dividend_that_moves_to_another_day_counts_under_one_date_at_any_moment(database: Database) -> None:
    moved = ListedDividend(date(2026, 6, 10), "quarterly", date(2026, 6, 9), Decimal("0.25"), "USD")
    record(database, [make("0.25", "quarterly")])
    record(database, [moved], days=20)
    record(database, [moved], days=27)
    assert list_versions(database) == [
        ("quarterly", "0.25", 0, 20),  # on its old date
        ("quarterly", "0", 0, 20),  # on the new one it was not known yet
        ("quarterly", "0.25", 20, None),
    ]
    with database.transaction() as connection:
        counted = [
            connection.execute(
                "SELECT ex_date FROM backfill.counted_actions(7, 'splits_and_dividends', %s) WHERE amount > 0",
                [NOW + timedelta(days=days)],
            ).fetchall()
            for days in (5, 15, 25)
        ]
    assert counted == [[(MONDAY,)], [(MONDAY,)], [(moved.ex_date,)]]


@pytest.mark.parametrize(
    ("dividends", "day"),
    [
        ([make("0.25", "quarterly")], date(2026, 6, 10)),  # it is still listed, too
        ([], date(2026, 7, 1)),  # too far away
    ],
)
def test_another_dividend_of_the_same_amount_has_not_moved(
    database: Database, dividends: list[ListedDividend], day: date
) -> None:
    record(database, [make("0.25", "quarterly")])
    record(database, [*dividends, ListedDividend(day, "quarterly", MONDAY, Decimal("0.25"), "USD")], days=20)
    assert "0" not in [version[1] for version in list_versions(database)]


def test_a_contradiction_is_a_revision_and_so_is_its_end(database: Database) -> None:
    for days, contradiction in enumerate((None, "0.25 USD, 0.26 USD", None)):
        record(database, [make("0.25", contradiction=contradiction)], days=days)
    with database.transaction() as connection:
        versions = list_dividends(connection, with_versions=True)
    assert [version.contradiction for version in versions] == [None, "0.25 USD, 0.26 USD", None]


def test_a_markets_file_adds_and_withdraws_for_its_session_only(database: Database) -> None:
    other = ListedDividend(TUESDAY, "", MONDAY, Decimal(1), "USD")
    record(database, [make("0.25"), other])
    with database.transaction() as connection:
        file = MarketFile([7, 8], "file", NOW, previous_day=FRIDAY, day=MONDAY, is_complete=True)
        record_market_dividends(connection, {8: [make("2")]}, file)
        present = [(d.symbol_id, d.ex_date, d.listed.source) for d in list_dividends(connection)]
        known = connection.execute("SELECT symbol_id, known_after, known_until FROM backfill.dividend_reads").fetchall()
    assert present == [(7, TUESDAY, "/div"), (8, MONDAY, "file")]
    assert sorted(known) == [(7, FIRST_POSSIBLE_DAY, NOW.date()), (8, FRIDAY, MONDAY)]
