"""Splits in the store: each takes effect once, and it is known of which days all of them are there."""

from datetime import date, timedelta
from decimal import Decimal

import pytest

from backfill_assets.market.actions.corporate_actions import Listed, Split
from backfill_assets.market.actions.listed_actions import ListedSplit
from backfill_assets.store.actions.action_reads import (
    FIRST_POSSIBLE_DAY,
    MarketFile,
    claim_requests,
    defer_requests,
    find_unread_symbols,
)
from backfill_assets.store.actions.splits import (
    list_splits,
    read_splits,
    record_market_splits,
    record_symbol_splits,
)
from backfill_assets.store.postgres.connection import Database
from backfill_assets_tests.conftest import NOW

MONDAY, TUESDAY, THURSDAY = date(2026, 6, 1), date(2026, 6, 2), date(2026, 6, 4)
FRIDAY = date(2026, 5, 29)


def record(database: Database, splits: dict[date, float | str], *, days: int = 0) -> None:
    """Store a symbol's list: ex-date → new shares for an old one, or ``new:old``."""
    now = NOW + timedelta(days=days)
    listed = [ListedSplit(day, *map(Decimal, f"{ratio}:1".split(":")[:2])) for day, ratio in splits.items()]
    with database.transaction() as connection:
        record_symbol_splits(
            connection, 7, listed, "/splits", now,
            known_after=FIRST_POSSIBLE_DAY, known_until=now.date(),
        )  # fmt: skip


def list_stored(database: Database) -> list[tuple[int, date, float]]:
    with database.transaction() as connection:
        splits = read_splits(connection, [7, 8])
    return list(zip(splits.symbol_id.tolist(), splits.ex_date.tolist(), splits.ratio.tolist(), strict=True))


def list_known(database: Database) -> list[tuple[int, date, date]]:
    with database.transaction() as connection:
        splits = read_splits(connection, [7, 8])
    reads = (splits.read_symbol_id, splits.known_after, splits.known_until)
    return list(zip(*(column.tolist() for column in reads), strict=True))


def test_a_split_that_is_read_again_stays_one_and_one_that_is_gone_counts_no_more(database: Database) -> None:
    record(database, {MONDAY: 4.0, date(2020, 8, 31): 7.0})
    record(database, {MONDAY: 4.0, date(2020, 8, 31): 7.0}, days=1)
    assert list_stored(database) == [(7, date(2020, 8, 31), 7.0), (7, MONDAY, 4.0)]
    record(database, {MONDAY: 5.0}, days=2)
    assert list_stored(database) == [(7, MONDAY, 5.0)]
    record(database, {MONDAY: 5.0, date(2020, 8, 31): 7.0}, days=3)
    assert len(list_stored(database)) == 2
    with database.transaction() as connection:
        seen = connection.execute("SELECT DISTINCT first_seen FROM backfill.splits").fetchall()
    assert seen == [(NOW,)]


def test_a_markets_file_goes_on_from_the_session_before_it(database: Database) -> None:
    def record_file(previous: date, day: date, splits: dict[int, float]) -> None:
        with database.transaction() as connection:
            listed = {symbol_id: [ListedSplit(day, Decimal(ratio), Decimal(1))] for symbol_id, ratio in splits.items()}
            file = MarketFile([7, 8], "file", NOW, previous_day=previous, day=day, is_complete=bool(listed))
            record_market_splits(connection, listed, file)

    record_file(FRIDAY, MONDAY, {})
    record_file(MONDAY, TUESDAY, {8: 2.0})
    assert list_known(database) == [(7, FRIDAY, TUESDAY), (8, FRIDAY, TUESDAY)]
    assert list_stored(database) == [(8, TUESDAY, 2.0)]
    record(database, {})
    record_file(date(2026, 6, 3), THURSDAY, {})  # Wednesday's file is missing; the own list of 7 reaches that far
    assert list_known(database) == [(7, FIRST_POSSIBLE_DAY, THURSDAY), (8, date(2026, 6, 3), THURSDAY)]
    record_file(FRIDAY, MONDAY, {})  # an old file takes nothing away
    assert list_known(database)[1] == (8, date(2026, 6, 3), THURSDAY)


def test_a_list_is_claimed_by_one_process_and_not_again_within_hours(database: Database) -> None:
    with database.transaction() as connection:
        assert claim_requests(connection, "split_reads", [8, 7], NOW, NOW - timedelta(hours=20)) == [7, 8]
        later = NOW + timedelta(hours=19)
        assert claim_requests(connection, "split_reads", [7, 8], later, later - timedelta(hours=20)) == []
        defer_requests(connection, "split_reads", [8])
        assert claim_requests(connection, "split_reads", [7, 8], later, later - timedelta(hours=20)) == [8]
        assert find_unread_symbols(connection, "split_reads", [7, 8, 9], NOW, 9) == []  # they have no daily rows
    assert list_known(database) == []


def list_versions(database: Database) -> list[tuple[date, str, int, int | None]]:
    """Ex-date, ratio, and the days after ``NOW`` from and to which each version was known."""
    with database.transaction() as connection:
        versions = list_splits(connection, [7], with_versions=True)

    def count_days(version: Split) -> tuple[int, int | None]:
        since, until = version.listed.revised_at or version.listed.first_seen, version.listed.withdrawn_at
        return (since - NOW).days, (until - NOW).days if until else None

    return [(v.ex_date, f"{v.new_shares}:{v.old_shares}", *count_days(v)) for v in versions]


def test_what_the_vendor_changes_or_drops_stays_as_a_version(database: Database) -> None:
    for days, listed in enumerate(("4:1", "5:1", "10:2", None, "5:1", "4:1")):
        record(database, {MONDAY: listed} if listed else {}, days=days)
    assert list_versions(database) == [
        (MONDAY, "4:1", 0, 1),
        (MONDAY, "10:2", 1, 3),  # the same ratio in other shares is none
        (MONDAY, "5:1", 4, 5),
        (MONDAY, "4:1", 5, None),
    ]
    with database.transaction() as connection:
        (split,) = list_splits(connection)
    listed_at = Listed("/splits", NOW, revised_at=NOW + timedelta(days=5))
    assert split == Split(7, MONDAY, Decimal(4), Decimal(1), listed_at)


def test_a_split_of_before_gets_its_exact_shares_without_a_revision(database: Database) -> None:
    with database.transaction() as connection:
        connection.execute(
            "INSERT INTO backfill.splits (symbol_id, ex_date, ratio, source, first_seen) VALUES"
            " (7, '2026-06-01', 1::float8 / 15, '/splits', %(now)s), (7, '2026-06-02', 1.05, '/splits', %(now)s)",
            {"now": NOW},
        )
    assert [version[1] for version in list_versions(database)] == ["1:15", "21:20"]
    record(database, {MONDAY: "1:15", TUESDAY: "1.05:1"}, days=1)
    assert list_versions(database) == [(MONDAY, "1:15", 0, None), (TUESDAY, "1.05:1", 0, None)]


def test_a_split_that_moves_to_another_day_counts_under_one_date_at_any_moment(database: Database) -> None:
    record(database, {MONDAY: 4})
    record(database, {THURSDAY: "8:2"}, days=9)
    assert list_versions(database) == [(MONDAY, "4:1", 0, 9), (THURSDAY, "1:1", 0, 9), (THURSDAY, "8:2", 9, None)]


def test_an_announced_split_that_is_called_off_is_withdrawn(database: Database) -> None:
    record(database, {date(2026, 7, 1): 2})
    record(database, {}, days=1)
    assert list_versions(database) == [(date(2026, 7, 1), "2:1", 0, 1)]


def test_a_markets_file_withdraws_what_it_lacks_if_it_has_rows(database: Database) -> None:
    record(database, {MONDAY: 2, TUESDAY: 3})
    for is_complete in (False, True):
        with database.transaction() as connection:
            file = MarketFile([7, 8], "file", NOW, previous_day=FRIDAY, day=MONDAY, is_complete=is_complete)
            record_market_splits(connection, {}, file)
        assert [split[1] for split in list_stored(database)] == ([TUESDAY] if is_complete else [MONDAY, TUESDAY])


@pytest.mark.parametrize("ratio", [0.0, -1.0, float("inf")])
def test_a_ratio_is_positive(database: Database, ratio: float) -> None:
    with pytest.raises(Exception, match=r"check constraint|NaN"):
        record(database, {MONDAY: ratio})
