"""A slot that is short ends before the interval does: what comes after it is of the next slot (Karachi's Fridays)."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any

import pytest

from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.sessions import list_sessions
from backfill_assets.market.calendar.slots import build_slot_grid
from backfill_assets.market.calendar.tickers import parse_tickers
from backfill_assets.market.calendar.timestamps import to_datetime
from backfill_assets.market.exchanges.registry import get_profile
from backfill_assets.store.bars.gap_queries import read_stored_slots
from backfill_assets.store.bars.symbol_index import SymbolIndex
from backfill_assets.store.bars.withheld_volumes import WithheldVolume, put_back_volume
from backfill_assets.store.evidence.doubts import HASH_OF_BARS
from backfill_assets.store.evidence.withholding import withhold_volume
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.symbols import add_symbols, list_symbols

FRIDAY = date(2026, 6, 5)
GRID = build_slot_grid(list_sessions(get_profile("KAR"), FRIDAY, FRIDAY), INTERVALS["30m"])
FIRST, SECOND = (to_datetime(start) for start in GRID.starts[:2].tolist())
ROWS = (FIRST, SECOND)  # a rejected row in each
INSERT_BAR = """
INSERT INTO market_data (symbol_id, interval_type, timestamp, source, source_interval, source_rows, is_final,
                         fetched_at, open_price, high_price, low_price, close_price, volume)
VALUES (%s, '30m', %s, 'vendor', '5m', %s, true, %s, 1, 2, 1, 2, 900)
"""
INSERT_REJECT = """
INSERT INTO backfill.rejects (symbol_id, source_interval, timestamp, reason, volume) VALUES (%s, '5m', %s, %s, 100)
"""
INSERT_DOUBT = f"""
INSERT INTO backfill.doubts (symbol_id, interval_type, source_interval, session_day, rule, first_slot, last_slot,
                             figures, values_hash, from_rows, opened_at, seen_at)
SELECT t.id, '30m', '5m', %(day)s, 'volume_running_total', t.slot, t.slot, '{{}}',
       ({HASH_OF_BARS.format(symbol_id="t.id", first_slot="t.slot", last_slot="t.slot")}), true, now(), now()
FROM (VALUES (%(id)s::int, %(slot)s::timestamptz)) AS t (id, slot)
RETURNING doubt_id
"""


@pytest.fixture(name="symbol_id")
def _symbol_id(database: Database) -> int:
    """A symbol with bars in both slots; the first has two of the three rows that it can have."""
    with database.transaction() as connection:
        add_symbols(connection, parse_tickers(["OGDC.KAR"]))
        symbol_id = list_symbols(connection, "KAR")[0].symbol_id
        for slot, rows in ((FIRST, 2), (SECOND, 5)):
            connection.execute(INSERT_BAR, [symbol_id, slot, rows, datetime(2026, 6, 6, tzinfo=UTC)])
    return symbol_id


def reject(database: Database, symbol_id: int, rows: Sequence[datetime], reason: str) -> None:
    with database.transaction() as connection:
        for row in rows:
            connection.execute(INSERT_REJECT, [symbol_id, row, reason])


def read(database: Database) -> Any:
    with database.transaction() as connection:
        return read_stored_slots(connection, SymbolIndex.from_symbols(list_symbols(connection, "KAR")), GRID)


def list_superseded(database: Database) -> list[datetime]:
    with database.transaction() as connection:
        found = connection.execute("SELECT timestamp FROM backfill.rejects WHERE '30m' = ANY (superseded_intervals)")
        return [row[0].astimezone(UTC) for row in found]


def test_the_first_slot_is_short() -> None:
    assert (GRID.ends - GRID.starts).tolist()[:2] == [900, 1800]
    assert (f"{FIRST:%H:%M}", f"{SECOND:%H:%M}") == ("04:15", "04:30")


@pytest.mark.parametrize(("rows", "expected"), [((SECOND,), [1]), ((FIRST,), [0]), (ROWS, [0, 1])])
def test_a_rejected_row_is_in_the_bar_of_its_own_slot(
    database: Database, symbol_id: int, rows: Sequence[datetime], expected: list[int]
) -> None:
    reject(database, symbol_id, rows, "price_not_positive")
    assert read(database).suspect.tolist() == expected


def test_rows_that_end_in_the_second_slot_do_not_cut_the_first(database: Database, symbol_id: int) -> None:
    with database.transaction() as connection:
        connection.execute(
            "INSERT INTO backfill.session_evidence (symbol_id, interval_type, source_interval, session_day,"
            " requested_at, source_rows, data_until, is_published, not_returned, ends_before_close)"
            " VALUES (%s, '30m', '5m', %s, now(), 4, '2026-06-05 04:40Z', true, '{}', true)",
            [symbol_id, FRIDAY],
        )
    assert read(database).suspect.tolist() == [1]


def test_a_volume_that_a_person_puts_back_is_that_of_its_own_slot(database: Database, symbol_id: int) -> None:
    reject(database, symbol_id, ROWS, "volume_running_total")
    with database.transaction() as connection:
        state = put_back_volume(connection, WithheldVolume(symbol_id, FIRST, "5m", 100, 1), GRID.interval, 1)
    assert state is not None
    assert (state["rows"], list_superseded(database)) == (1, [FIRST])


def test_a_volume_that_the_day_no_longer_disproves_is_that_of_its_own_slot(database: Database, symbol_id: int) -> None:
    reject(database, symbol_id, ROWS, "volume_running_total")
    values = {"id": symbol_id, "slot": FIRST, "day": FRIDAY, "spellings": list(GRID.interval.spellings)}
    with database.transaction() as connection:
        ((doubt_id,),) = connection.execute(INSERT_DOUBT.encode(), values).fetchall()
        assert withhold_volume(connection, doubt_id, 100, 1, GRID.interval, withheld=0, day_figure=None)
        assert withhold_volume(connection, doubt_id, -100, -1, GRID.interval, withheld=100, day_figure=None)
    assert list_superseded(database) == [FIRST]
