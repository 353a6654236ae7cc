"""The migration makes versions of the revisions that an older database has."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from backfill_assets.store.bars.bar_versions import read_history_beginning
from backfill_assets.store.postgres.connection import Database
from backfill_assets_tests.integration.test_store_migrate import run_migrations
from backfill_assets_tests.integration.upgrades import NUMBER_0_5_0, build_database

SLOT = datetime(2026, 6, 1, 13, 30, tzinfo=UTC)
DAYS = [SLOT + timedelta(days=days) for days in range(1, 8)]
A_MOMENT = timedelta(milliseconds=20)  # within one write
BARS = """
INSERT INTO market_data (symbol_id, interval_type, timestamp, open_price, high_price, low_price, close_price, volume,
                         source, source_interval, source_rows, is_final, fetched_at)
VALUES (%s, '30m', %s, %s, 99, 1, 20, 500, %s, %s, %s, %s, %s)
"""
REVISIONS = """
INSERT INTO backfill.revisions (symbol_id, interval_type, timestamp, open_price, high_price, low_price, close_price,
                                volume, source_interval, source_rows, fetched_at, replaced_at)
VALUES (%s, '30m', %s, %s, 99, 1, 20, 500, %s, %s, %s, %s)
"""
OPENS_AT = """
SELECT open_price FROM backfill.bars_known_at(%s, %s) WHERE symbol_id = %s AND "timestamp" = %s
"""


@pytest.fixture
def upgraded(create_database: Callable[..., str]) -> Database:
    """Symbol 71 was revised twice and then counted again, 72 was another program's, 73 and 74 are gone or foreign."""
    url = create_database(None)
    build_database(url, NUMBER_0_5_0, [])
    ours, theirs = ("eodhd.com", "5m", 6, True), (None, None, None, None, None)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DELETE FROM market_data")
        connection.execute("DELETE FROM backfill.revisions")
        connection.execute(BARS, [71, SLOT, 3, *ours, DAYS[4]])
        connection.execute(REVISIONS, [71, SLOT, 1, "5m", 6, DAYS[0], DAYS[1]])
        connection.execute(REVISIONS, [71, SLOT, 2, "5m", 6, DAYS[1] - A_MOMENT, DAYS[2]])
        connection.execute(BARS, [72, SLOT, 2, *ours, DAYS[2] + A_MOMENT])
        connection.execute(REVISIONS, [72, SLOT, 1, None, None, None, DAYS[2]])
        connection.execute(REVISIONS, [73, SLOT, 1, "5m", 6, DAYS[0], DAYS[2]])
        connection.execute(BARS, [74, SLOT, 9, *theirs])
        connection.execute(REVISIONS, [74, SLOT, 1, "5m", 6, DAYS[0], DAYS[2]])
    run_migrations(url)
    return Database(url)


def test_revisions_become_versions_without_gaps(upgraded: Database) -> None:
    def find_opens(symbol_id: int, *, with_others: bool = False) -> list[float | None]:
        """The open on noon of each day; None without a bar."""
        noons = [day + timedelta(hours=12) for day in DAYS]
        rows = [connection.execute(OPENS_AT, [noon, with_others, symbol_id, SLOT]).fetchall() for noon in noons]
        return [found[0][0] if found else None for found in rows]

    with upgraded.transaction() as connection:
        assert find_opens(71) == [1, 2, 3, 3, 3, 3, 3]  # the third is as it was before it was counted again
        assert find_opens(72) == [None, None, 2, 2, 2, 2, 2]
        assert find_opens(72, with_others=True) == [1, 1, 2, 2, 2, 2, 2]
        assert find_opens(73) == [1, 1, None, None, None, None, None]
        assert find_opens(74, with_others=True) == [1, 1, 9, 9, 9, 9, 9]
        query = "SELECT known_to FROM backfill.bar_versions WHERE symbol_id = 71 ORDER BY known_from"
        assert [row[0] for row in connection.execute(query.encode())] == [DAYS[1] - A_MOMENT, DAYS[2], DAYS[4]]
        beginning = read_history_beginning(connection)
        assert beginning is not None
        assert beginning > DAYS[-1]
    upgraded.close()
