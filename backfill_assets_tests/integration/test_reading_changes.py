"""``read_changes``: the net change of each bar between two moments, without losing one that is committed late."""

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from backfill_assets.backfill.engine import Engine
from backfill_assets.config.settings import Settings
from backfill_assets.errors import UsageError
from backfill_assets.market.calendar.tickers import parse_tickers
from backfill_assets.reading import ChangesResult, read_changes
from backfill_assets.reading import changes as changes_module
from backfill_assets.store.bars.bar_writer import delete_bars, read_server_time, write_bars
from backfill_assets.store.postgres.connection import Connection, Database
from backfill_assets.store.symbols import add_symbols, list_symbols
from backfill_assets_tests.integration.test_bars_known_at import HALF_HOUR, SLOTS, SOURCE, build_bar

BEFORE = datetime(2000, 1, 1, tzinfo=UTC)


@pytest.fixture
def engine(database: Database, settings: Settings) -> Engine:
    with database.transaction() as connection:
        add_symbols(connection, parse_tickers(["AAPL", "MSFT"]))
    return Engine(database, settings)


def write(connection: Connection, slot: int, value: int, *, is_final: bool = True, ticker: int = 0) -> None:
    write_bars(
        connection,
        build_bar(list_symbols(connection, "US")[ticker].symbol_id, SLOTS[slot], value, is_final=is_final),
        interval=HALF_HOUR,
        spelling="30m",
        source=SOURCE,
        source_interval="5m" if is_final else "live",
        requested_at=read_server_time(connection),
    )


def list_rows(result: ChangesResult) -> list[tuple[Any, ...]]:
    rows = result.frame.astype(object).where(result.frame.notna(), None)
    names = ["symbol", "timestamp", "change", "cause", "old_close", "new_close", "old_provisional", "new_provisional"]
    return [tuple(row) for row in rows[names].itertuples(index=False)]


def test_each_bar_has_one_row_with_old_and_new_values(engine: Engine, database: Database) -> None:
    with database.transaction() as connection:
        for slot, is_final in enumerate((True, False, True)):
            write(connection, slot, 0, is_final=is_final)
        write(connection, 0, 0, ticker=1)
    first = read_changes(BEFORE, settings=engine)
    assert [row[:4] for row in list_rows(first)] == [
        *(("AAPL.US", slot, "added", None) for slot in SLOTS),
        ("MSFT.US", SLOTS[0], "added", None),
    ]
    assert str(first).startswith("4 bars changed between 2000-01-01 00:00:00 and ")
    assert first.unknown_before is not None
    assert first.unknown_before < first.until

    with database.transaction() as connection:
        write(connection, 0, 1)
    with database.transaction() as connection:
        write(connection, 0, 2)
        write(connection, 1, 0)
        delete_bars(connection, list_symbols(connection, "US")[0].symbol_id, HALF_HOUR, [SLOTS[2]])
        write(connection, 2, 3, ticker=1)
    with database.transaction() as connection:
        write(connection, 0, 0, ticker=1)  # equal, with as many rows
        delete_bars(connection, list_symbols(connection, "US")[1].symbol_id, HALF_HOUR, [SLOTS[2]])  # came and went
    second = read_changes(first.until, settings=engine)
    assert list_rows(second) == [
        ("AAPL.US", SLOTS[0], "revised", "revised", 20.0, 22.0, False, False),
        ("AAPL.US", SLOTS[1], "revised", "updated", 20.0, 20.0, True, False),
        ("AAPL.US", SLOTS[2], "deleted", "deleted", 20.0, None, False, None),
    ]
    assert second.unknown_before is None
    assert len(read_changes(second.until, settings=engine).frame) == 0

    again = read_changes(BEFORE, first.until, ["AAPL"], settings=engine)  # of then, although all was changed since
    assert list_rows(again) == list_rows(first)[:3]
    whole = read_changes(BEFORE, settings=engine)
    assert [row[1:6] for row in list_rows(whole)] == [
        (SLOTS[0], "added", "revised", None, 22.0),
        (SLOTS[1], "added", "updated", None, 20.0),
        (SLOTS[0], "added", None, None, 20.0),
    ]


def test_slots_and_formats(engine: Engine, database: Database) -> None:
    with database.transaction() as connection:
        write(connection, 0, 1)
    frame = read_changes(BEFORE, symbols="AAPL", settings=engine).frame
    assert frame.loc[0, "slot_end"] == SLOTS[0] + timedelta(minutes=30)
    assert frame.loc[0, "session"] == datetime(2026, 6, 1)  # noqa: DTZ001 - a date
    assert (frame.loc[0, "new_volume"], str(frame["old_volume"].dtype)) == (500, "Int64")
    table = read_changes(BEFORE, symbols="AAPL", format="arrow", settings=engine).frame
    assert table.column_names == list(frame.columns)
    assert read_changes(BEFORE, symbols="AAPL", format="polars", settings=engine).frame.shape == table.shape


def test_a_bar_that_is_committed_late_is_in_the_next_answer(
    engine: Engine, database: Database, database_url: str
) -> None:
    with database.transaction() as connection:
        write(connection, 0, 0)
    with psycopg.connect(database_url) as late:
        write(late, 1, 0)
        with database.transaction() as connection:  # later, but committed before
            write(connection, 2, 0)
        first = read_changes(BEFORE, settings=engine)
        assert first.held_back_by == late.info.user
        assert "held back by a write of" in str(first)
        assert read_changes(BEFORE, BEFORE + timedelta(days=1), settings=engine).held_back_by is None
    second = read_changes(first.until, settings=engine)
    assert second.held_back_by is None
    assert [row[1] for row in list_rows(first)] == SLOTS[:1]
    assert [row[1] for row in list_rows(second)] == SLOTS[1:]


def test_a_writer_whose_start_is_hidden_holds_the_moment_back(
    engine: Engine, database: Database, database_url: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes_module, "LONGEST_WAIT_SECONDS", 0.1)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("DO $$ BEGIN CREATE ROLE a_reader; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
        connection.execute("GRANT USAGE ON SCHEMA backfill TO a_reader")
        connection.execute("GRANT SELECT ON ALL TABLES IN SCHEMA backfill, public TO a_reader")
    with database.transaction() as connection:
        write(connection, 0, 0)
    reader = Database(psycopg.conninfo.make_conninfo(database_url, options="-c role=a_reader"))
    try:
        as_reader = Engine(reader, settings)
        with psycopg.connect(database_url) as late:
            write(late, 1, 0)
            held = read_changes(BEFORE, settings=as_reader)
            assert (len(held.frame), held.until, held.held_back_by) == (0, BEFORE, late.info.user)
            assert "held back by a write of" in str(held)
        assert [row[1] for row in list_rows(read_changes(held.until, settings=as_reader))] == SLOTS[:2]
    finally:
        reader.close()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"since": datetime(2026, 6, 1)}, "has no time zone"),  # noqa: DTZ001
        ({"since": "2026-06-02", "until": "2026-06-01"}, "is before since"),
        ({"since": "2026-06-01", "symbols": "NONE"}, r"the universe does not have NONE\.US"),
        ({"since": "2026-06-01", "format": "csv"}, "format 'csv' is unknown"),
    ],
)
def test_wrong_arguments(engine: Engine, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_changes(**options, settings=engine)
