"""Doubts in the store: opened once, ended, and opened again only when the values change."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from backfill_assets.market.calendar.intervals import parse_interval
from backfill_assets.market.calendar.slots import SlotGrid, build_slot_grid
from backfill_assets.market.calendar.windows import build_session_window
from backfill_assets.market.exchanges.registry import US
from backfill_assets.market.plausibility.doubts import Doubt
from backfill_assets.market.plausibility.rules import Rule
from backfill_assets.store.evidence.doubts import Outcome, StoredDoubt, end_doubts, list_doubts, record_doubts
from backfill_assets.store.postgres.connection import Database

NOW = datetime(2026, 6, 3, 12, tzinfo=UTC)
AAPL = 1


@pytest.fixture
def grid() -> SlotGrid:
    return build_slot_grid(build_session_window(US, NOW, 2).sessions, parse_interval("30m"))


def store_bar(database: Database, grid: SlotGrid, ordinal: int, close: float) -> None:
    with database.transaction() as connection:
        connection.execute(
            "INSERT INTO market_data (symbol_id, interval_type, timestamp, open_price, high_price, low_price,"
            " close_price, volume, source, source_interval, source_rows, is_final, fetched_at)"
            " VALUES (%(id)s, '30m', to_timestamp(%(at)s), 10, 20, 5, %(close)s, 100, 'x', '5m', 6, true, now())"
            " ON CONFLICT (symbol_id, interval_type, timestamp) DO UPDATE SET close_price = EXCLUDED.close_price,"
            " fetched_at = EXCLUDED.fetched_at",
            {"id": AAPL, "at": int(grid.starts[ordinal]), "close": close},
        )


def build_doubt(grid: SlotGrid, ordinal: int, row: int = 2) -> Doubt:
    stamp = int(grid.starts[ordinal]) + row * 300
    return Doubt(Rule.PRICE_SPIKE, AAPL, int(grid.session_index[ordinal]), stamp, stamp, {"high": 9999.0})


def record(database: Database, grid: SlotGrid, doubts: list[Doubt], **options: Any) -> int:
    with database.transaction() as connection:
        return record_doubts(connection, doubts, grid=grid, **{"now": NOW, "from_rows": True, **options})


def read(database: Database, grid: SlotGrid, *, with_ended: bool = False) -> list[StoredDoubt]:
    days = [session.day for session in grid.sessions]
    with database.transaction() as connection:
        return list_doubts(connection, [AAPL], grid.interval, days[0], days[-1], with_ended=with_ended)


def end(database: Database, doubt: StoredDoubt, outcome: Outcome, *, marks_bar: bool) -> None:
    with database.transaction() as connection:
        assert end_doubts(connection, [doubt.doubt_id], outcome, "because", NOW, marks_bar=marks_bar) == 1


def test_a_doubt_is_of_its_slot_and_opened_once(database: Database, grid: SlotGrid) -> None:
    store_bar(database, grid, 3, 10.0)
    assert record(database, grid, [build_doubt(grid, 3)]) == 1
    assert record(database, grid, [build_doubt(grid, 3)], now=NOW + timedelta(hours=1)) == 0

    (doubt,) = read(database, grid)
    assert doubt.first_slot == doubt.last_slot == datetime.fromtimestamp(int(grid.starts[3]), UTC)
    assert doubt.first_row == doubt.first_slot + timedelta(minutes=10)
    assert (doubt.rule, doubt.source_interval, doubt.figures) == (Rule.PRICE_SPIKE, "5m", {"high": 9999.0})
    assert (doubt.opened_at, doubt.seen_at, doubt.is_open) == (NOW, NOW + timedelta(hours=1), True)


@pytest.mark.parametrize("outcome", [Outcome.CONFIRMED, Outcome.DECIDED])
def test_a_settled_doubt_is_opened_again_only_with_other_values(
    database: Database, grid: SlotGrid, outcome: Outcome
) -> None:
    store_bar(database, grid, 3, 10.0)
    record(database, grid, [build_doubt(grid, 3)])
    end(database, read(database, grid)[0], outcome, marks_bar=False)
    assert read(database, grid) == []

    assert record(database, grid, [build_doubt(grid, 3)]) == 0
    store_bar(database, grid, 3, 11.0)
    assert record(database, grid, [build_doubt(grid, 3)]) == 1
    assert [doubt.outcome for doubt in read(database, grid, with_ended=True)] == [outcome, None]


def test_a_doubt_that_stands_marks_its_bar_until_it_is_mended(database: Database, grid: SlotGrid) -> None:
    store_bar(database, grid, 3, 10.0)
    record(database, grid, [build_doubt(grid, 3)])
    end(database, read(database, grid)[0], Outcome.STANDS, marks_bar=True)
    assert record(database, grid, [build_doubt(grid, 3)]) == 0
    assert [(d.outcome, d.marks_bar) for d in read(database, grid)] == [(Outcome.STANDS, True)]

    end(database, read(database, grid)[0], Outcome.MENDED, marks_bar=False)
    assert read(database, grid) == []
