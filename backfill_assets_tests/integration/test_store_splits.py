"""Splits in the store: each takes effect once, and it is known of which days all of them are there."""

from datetime import date, timedelta

import pytest

from backfill_assets.store.actions.splits import (
    FIRST_POSSIBLE_DAY,
    claim_split_requests,
    find_unread_symbols,
    read_splits,
    record_market_splits,
    record_symbol_splits,
    release_split_requests,
)
from backfill_assets.store.postgres.connection import Database
from backfill_assets_tests.conftest import NOW

MONDAY, TUESDAY, THURSDAY = date(2026, 6, 1), date(2026, 6, 2), date(2026, 6, 4)
FRIDAY = date(2026, 5, 29)


def record(database: Database, splits: dict[date, float], *, days: int = 0) -> None:
    now = NOW + timedelta(days=days)
    with database.transaction() as connection:
        record_symbol_splits(
            connection, 7, splits, "/splits", now,
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
            record_market_splits(connection, [7, 8], splits, "file", NOW, previous_day=previous, day=day)

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
        assert claim_split_requests(connection, [8, 7], NOW, NOW - timedelta(hours=20)) == [7, 8]
        later = NOW + timedelta(hours=19)
        assert claim_split_requests(connection, [7, 8], later, later - timedelta(hours=20)) == []
        release_split_requests(connection, [8])
        assert claim_split_requests(connection, [7, 8], later, later - timedelta(hours=20)) == [8]
        assert find_unread_symbols(connection, [7, 8, 9], NOW, 9) == []  # they have no daily rows
    assert list_known(database) == []


@pytest.mark.parametrize("ratio", [0.0, -1.0, float("inf")])
def test_a_ratio_is_positive(database: Database, ratio: float) -> None:
    with pytest.raises(Exception, match="check constraint"):
        record(database, {MONDAY: ratio})
