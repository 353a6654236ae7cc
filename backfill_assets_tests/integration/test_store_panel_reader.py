"""Stored bars as panels: whoever wrote them, under any spelling, in both forms of the table."""

from datetime import date
from typing import Any

import numpy as np
import pytest

from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.sessions import list_sessions
from backfill_assets.market.calendar.slots import build_slot_grid
from backfill_assets.market.calendar.timestamps import to_datetime
from backfill_assets.market.exchanges.registry import US, get_profile
from backfill_assets.store.bars.panel_reader import MAX_BARS, StoredPanel, read_panel, split_symbols
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.postgres.migrate import migrate
from backfill_assets_tests.conftest import Databases
from backfill_assets_tests.external_tables import create_external_tables

# 2026-11-27 closes early
GRID = build_slot_grid(list_sessions(US, date(2026, 11, 25), date(2026, 11, 27)), INTERVALS["30m"])
OWN: dict[str, Any] = {"spelling": "30m", "source": "vendor", "source_interval": "5m", "is_final": True}
EXTERNAL: dict[str, Any] = {"spelling": "30m", "source": None, "source_interval": None, "is_final": None}
INSERT_BAR = """
INSERT INTO market_data (symbol_id, interval_type, timestamp, open_price, high_price, low_price, close_price, volume,
                         source, source_interval, source_rows, is_final, fetched_at)
VALUES (%(symbol_id)s, %(spelling)s, %(timestamp)s, 10.5, 12, 9.25, %(close)s, %(volume)s, %(source)s,
        %(source_interval)s, 6, %(is_final)s, now())
"""
INSERT_SYMBOLS = "INSERT INTO market_symbols (symbol_id, symbol) VALUES (3, 'AAPL'), (7, 'MSFT')"


def insert(database: Database, bar: dict[str, Any], ordinal: int, symbol_id: int = 3, **changed: Any) -> None:
    at = to_datetime(int(GRID.starts[ordinal]))
    values = {"symbol_id": symbol_id, "timestamp": at, "close": 11.0, "volume": 500, **bar, **changed}
    with database.transaction() as connection:
        connection.execute(INSERT_BAR, values)


def read(database: Database, *symbol_ids: int) -> StoredPanel:
    with database.transaction() as connection:
        return read_panel(connection, symbol_ids or (3, 7), GRID)


def test_bars_lie_in_the_line_of_their_session(database: Database) -> None:
    insert(database, OWN, 14, symbol_id=7, close=11.75)
    insert(database, OWN, 12)
    insert(database, EXTERNAL, 0, symbol_id=7, volume=700)
    insert(database, EXTERNAL, 19, symbol_id=7, timestamp=to_datetime(int(GRID.ends[-1]) + 1800))  # after the close

    stored = read(database)

    panel = stored.panel
    assert (panel.symbol_id.tolist(), panel.session.tolist()) == ([3, 7, 7], [0, 0, 1])
    assert (panel.sizes.tolist(), panel.seconds) == ([13, 13, 7], 1800)
    assert np.argwhere(panel.is_present).tolist() == [[0, 12], [1, 0], [2, 1]]
    cells = [getattr(panel, name)[2, 1] for name in ("open", "high", "low", "close", "volume")]
    assert cells == [10.5, 12.0, 9.25, 11.75, 500.0]
    assert panel.get_stamp(2, 1) == GRID.starts[14]
    assert np.argwhere(stored.is_external).tolist() == [[1, 0]]
    assert read(database, 3).panel.symbol_id.tolist() == [3]


@pytest.mark.parametrize("own_first", [True, False])
def test_of_two_bars_in_one_slot_ours_counts(database: Database, own_first: bool) -> None:
    bars = [OWN | {"spelling": "30min", "close": 11.25}, EXTERNAL | {"close": 11.5}]
    for bar in bars if own_first else reversed(bars):
        insert(database, bar, 2)
    insert(database, EXTERNAL | {"spelling": "30min", "close": 9.5}, 3)
    insert(database, EXTERNAL | {"close": 9.75}, 3)

    stored = read(database)

    assert stored.panel.close[0, 2:4].tolist() == [11.25, 9.75]
    assert stored.is_external[0, 2:4].tolist() == [False, True]


def test_provisional_bars_are_left_out(database: Database) -> None:
    insert(database, OWN | {"is_final": False}, 2)
    assert len(read(database).panel) == 0


def test_volumes_of_another_feed_are_unknown(database: Database) -> None:
    for ordinal in range(3):
        insert(database, OWN, ordinal)
    insert(database, OWN | {"source_interval": "1m"}, 3)
    insert(database, EXTERNAL, 4)
    insert(database, OWN | {"source_interval": "1m"}, 13)
    insert(database, EXTERNAL, 14)
    for ordinal in (20, 21):
        insert(database, EXTERNAL, ordinal - 20, symbol_id=7)

    panel = read(database).panel

    assert np.isnan(panel.volume[0, :5]).tolist() == [False, False, False, True, True]
    assert np.isnan(panel.volume[1, :2]).tolist() == [False, True]  # of two bars, ours
    assert np.isnan(panel.volume[2, :2]).tolist() == [False, False]
    assert panel.is_present.sum() == 9


def test_volumes_of_bars_taken_from_the_other_feed_are_unknown_however_many_there_are(database: Database) -> None:
    of_1m = OWN | {"source_interval": "1m"}
    for ordinal, bar in enumerate([OWN, OWN, of_1m, of_1m, of_1m, OWN]):
        insert(database, bar, ordinal)  # the last one was taken, and replaced by a person since
    for ordinal in (13, 14):
        insert(database, of_1m, ordinal)
    with database.transaction() as connection:
        connection.execute(
            "INSERT INTO backfill.other_feed_bars (symbol_id, interval_type, timestamp, source_interval, taken_at, why)"
            " SELECT 3, '30m', to_timestamp(epoch), '1m', now(), 'absent' FROM unnest(%s::bigint[]) AS epoch",
            [[int(GRID.starts[ordinal]) for ordinal in (2, 3, 4, 5, 13, 14)]],
        )

    stored = read(database)

    assert np.isnan(stored.panel.volume[0, :6]).tolist() == [False, False, True, True, True, False]
    assert np.isnan(stored.panel.volume[1]).all()
    assert (stored.panel.is_present.sum(), stored.is_external.any()) == (8, False)


def test_tables_of_another_form_are_read_alike(databases: Databases) -> None:
    url = databases.create(template=None)
    create_external_tables(url)
    database = Database(url)
    try:
        migrate(database)
        with database.transaction() as connection:
            connection.execute(INSERT_SYMBOLS)
        insert(database, OWN | {"spelling": "30min", "close": 11.123456}, 5)
        insert(database, EXTERNAL | {"spelling": "30min"}, 6)
        stored = read(database)
    finally:
        database.close()
    assert stored.panel.close[0, 5:7].tolist() == [11.123456, 11.0]
    assert stored.is_external[0, 5:7].tolist() == [False, True]


def test_an_empty_store_is_an_empty_panel(database: Database) -> None:
    assert len(read(database).panel) == 0
    with database.transaction() as connection:
        assert len(read_panel(connection, [], GRID).panel) == 0
        assert len(read_panel(connection, [3], build_slot_grid([], INTERVALS["30m"])).panel) == 0


def test_symbols_are_read_in_chunks_that_fit_into_memory() -> None:
    chunks = list(split_symbols(range(30_000, 0, -1), GRID))
    assert np.concatenate(chunks).tolist() == list(range(1, 30_001))
    assert all(len(chunk) * GRID.size <= MAX_BARS for chunk in chunks)
    assert [len(chunk) for chunk in chunks[:-1]] == [MAX_BARS // GRID.size] * (len(chunks) - 1)


def test_a_break_has_no_column_and_stamps_after_it_are_right(database: Database) -> None:
    grid = build_slot_grid(list_sessions(get_profile("TSE"), date(2026, 6, 4), date(2026, 6, 5)), INTERVALS["30m"])
    for ordinal in range(11, 22):
        insert(database, OWN, 0, timestamp=to_datetime(int(grid.starts[ordinal])))
    insert(database, EXTERNAL, 0, timestamp=to_datetime(int(grid.ends[4])))  # at noon
    with database.transaction() as connection:
        panel = read_panel(connection, (3,), grid).panel
    assert (panel.sizes.tolist(), panel.is_present.all()) == ([11], True)
    assert [panel.get_stamp(0, column) for column in range(11)] == grid.starts[11:].tolist()
