"""Which slots have a bar in the table, and of what kind; in the newest sessions and in older ones."""

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import numpy as np
import pytest

from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.sessions import list_sessions
from backfill_assets.market.calendar.slots import build_slot_grid
from backfill_assets.market.calendar.tickers import parse_tickers
from backfill_assets.market.calendar.timestamps import to_datetime
from backfill_assets.market.exchanges.profile import CalendarOverrides
from backfill_assets.market.exchanges.registry import US
from backfill_assets.store.bars.gap_queries import NEWEST_SESSIONS, read_stored_slots
from backfill_assets.store.bars.proven_newest import find_proven_ends
from backfill_assets.store.bars.stored_slots import StoredSlots
from backfill_assets.store.bars.symbol_index import SymbolIndex
from backfill_assets.store.census.upkeep import keep_census
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.symbols import add_symbols, list_symbols

GRID = build_slot_grid(list_sessions(US, date(2026, 6, 1), date(2026, 6, 5)), INTERVALS["30m"])
EMPTY_GRID = build_slot_grid([], INTERVALS["30m"])
OLD, NEW = 1, GRID.size - 1  # ordinals in the oldest and in the newest session
FETCHED_AT = datetime(2026, 6, 6, tzinfo=UTC)
FINAL_BAR = {"spelling": "30m", "source": "vendor", "source_rows": 6, "is_final": True, "fetched_at": FETCHED_AT}
OTHER_SPELLING = next(spelling for spelling in GRID.interval.spellings if spelling != GRID.interval.name)
EXTERNAL_BAR = {"spelling": "30m", "source": None, "source_rows": None, "is_final": None, "fetched_at": None}
INSERT_BAR = """
INSERT INTO market_data (symbol_id, interval_type, timestamp, source, source_interval, source_rows, is_final,
                         fetched_at, open_price, high_price, low_price, close_price, volume)
SELECT symbol_id, %(spelling)s, %(timestamp)s, %(source)s, '5m', %(source_rows)s, %(is_final)s, %(fetched_at)s,
       1, 2, 1, 2, 3
FROM market_symbols WHERE symbol = %(symbol)s
"""


@pytest.fixture
def store(database: Database) -> Database:
    """A store with two symbols: AAPL has a final bar in every slot but ``OLD`` and ``NEW``, MSFT in every slot."""
    with database.transaction() as connection:
        add_symbols(connection, parse_tickers(["AAPL", "MSFT"]))
    for ordinal in range(GRID.size):
        insert_bar(database, "MSFT", ordinal)
        if ordinal not in (OLD, NEW):
            insert_bar(database, "AAPL", ordinal)
    return database


def insert_bar(database: Database, symbol: str, ordinal: int, **changed: Any) -> None:
    values = {**FINAL_BAR, "symbol": symbol, "timestamp": to_datetime(int(GRID.starts[ordinal])), **changed}
    with database.transaction() as connection:
        connection.execute(INSERT_BAR, values)


def read(database: Database, grid: Any = GRID) -> StoredSlots:
    with database.transaction() as connection:
        symbols = list_symbols(connection, "US")
        return read_stored_slots(connection, SymbolIndex.from_symbols(symbols), grid)


def test_old_and_new_slots_are_read_by_different_queries() -> None:
    assert GRID.session_index[OLD] < len(GRID.sessions) - NEWEST_SESSIONS <= GRID.session_index[NEW]


def test_slots_without_a_bar_are_absent(store: Database) -> None:
    slots = read(store)
    assert slots.absent.tolist() == [OLD, NEW]
    assert (slots.provisional.size, slots.suspect.size, slots.external.tolist(), slots.duplicates) == (0, 0, [0, 0], 0)


def test_every_slot_is_absent_in_an_empty_table(database: Database) -> None:
    with database.transaction() as connection:
        add_symbols(connection, parse_tickers(["AAPL", "MSFT"]))
    assert read(database).absent.tolist() == list(range(2 * GRID.size))


def test_bars_outside_the_grid_are_ignored(store: Database) -> None:
    for timestamp in (
        to_datetime(int(GRID.starts[OLD])) + timedelta(minutes=7),
        to_datetime(int(GRID.starts[0])) - timedelta(days=1),
        to_datetime(int(GRID.starts[-1])) + timedelta(hours=1),
    ):
        insert_bar(store, "AAPL", OLD, timestamp=timestamp)
    assert read(store).absent.tolist() == [OLD, NEW]


@pytest.mark.parametrize("ordinal", [OLD, NEW])
def test_bar_that_is_not_final_is_provisional(store: Database, ordinal: int) -> None:
    insert_bar(store, "AAPL", ordinal, is_final=False)
    slots = read(store)
    assert slots.provisional.tolist() == [ordinal]
    assert ordinal not in slots.absent


@pytest.mark.parametrize("ordinal", [OLD, NEW])
@pytest.mark.parametrize(("source_rows", "is_suspect"), [(3, True), (4, False)])
def test_final_bar_from_half_of_its_rows_is_suspect(
    store: Database, ordinal: int, source_rows: int, is_suspect: bool
) -> None:
    insert_bar(store, "AAPL", ordinal, source_rows=source_rows)
    assert read(store).suspect.tolist() == [ordinal] * is_suspect


@pytest.mark.parametrize("ordinal", [OLD, NEW])
def test_external_bars_are_counted_for_their_symbol(store: Database, ordinal: int) -> None:
    insert_bar(store, "AAPL", ordinal, **EXTERNAL_BAR)
    slots = read(store)
    assert slots.external.tolist() == [1, 0]
    assert ordinal not in slots.absent


@pytest.mark.parametrize("ordinal", [OLD, NEW])
def test_of_two_spellings_the_bar_with_a_source_counts(store: Database, ordinal: int) -> None:
    insert_bar(store, "AAPL", ordinal, is_final=False)
    insert_bar(store, "AAPL", ordinal, **EXTERNAL_BAR | {"spelling": OTHER_SPELLING})
    slots = read(store)
    assert (slots.duplicates, slots.provisional.tolist(), slots.external.tolist()) == (1, [ordinal], [0, 0])


@pytest.mark.parametrize(("fetched_after", "is_suspect"), [(timedelta(0), True), (timedelta(hours=1), False)])
def test_final_bar_is_suspect_until_it_is_fetched_after_a_running_total_that_0_3_0_rejected(
    store: Database, fetched_after: timedelta, is_suspect: bool
) -> None:
    insert_bar(store, "AAPL", OLD, fetched_at=FETCHED_AT + fetched_after)
    with store.transaction() as connection:
        connection.execute(
            "INSERT INTO backfill.rejects (symbol_id, source_interval, timestamp, reason, last_seen)"
            " SELECT symbol_id, '5m', %s, 'volume_cumulative', %s FROM market_symbols WHERE symbol = 'AAPL'",
            [to_datetime(int(GRID.starts[OLD]) + 300), FETCHED_AT],
        )
    assert read(store).suspect.tolist() == [OLD] * is_suspect


def insert_reject(database: Database, ordinal: int, reason: str, volume: float | None, **changed: Any) -> None:
    values = {
        "timestamp": to_datetime(int(GRID.starts[ordinal]) + 300),
        "reason": reason,
        "volume": volume,
        "source_interval": "5m",
        "last_seen": FETCHED_AT,
        "superseded_at": None,
        **changed,
    }
    with database.transaction() as connection:
        connection.execute(
            "INSERT INTO backfill.rejects (symbol_id, source_interval, timestamp, reason, volume, last_seen,"
            " superseded_at) SELECT symbol_id, %(source_interval)s, %(timestamp)s, %(reason)s, %(volume)s,"
            " %(last_seen)s, %(superseded_at)s FROM market_symbols WHERE symbol = 'AAPL'",
            values,
        )


@pytest.mark.parametrize("ordinal", [OLD, NEW])
@pytest.mark.parametrize(
    ("source_rows", "reason", "volume", "changed", "is_suspect"),
    [
        (5, "price_not_positive", 0.0, {}, True),
        (5, "ohlc_order", 100.0, {}, True),
        (5, "off_grid", 100.0, {}, True),
        (5, "volume_running_total", 100.0, {}, True),
        (6, "volume_running_total", 100.0, {}, True),
        (6, "volume_cumulative", 100.0, {}, True),
        (5, "a reason of a later version", 100.0, {}, True),
        (6, "price_not_positive", 100.0, {}, False),
        (5, "price_not_positive", None, {}, False),
        (5, "duplicate_stamp", 100.0, {}, False),
        (5, "ohlc_order", 100.0, {"superseded_at": FETCHED_AT}, False),
        (5, "ohlc_order", 100.0, {"last_seen": FETCHED_AT - timedelta(seconds=1)}, False),
        (5, "ohlc_order", 100.0, {"source_interval": "1m"}, False),
    ],
    ids=[
        "no price",
        "disorder",
        "off the grid",
        "running total, row withheld",
        "running total, all rows are there",
        "running total of 0.3.0",
        "unknown reason",
        "all rows are there",
        "a quote",
        "a duplicate",
        "superseded",
        "older than the bar",
        "another source interval",
    ],
)
def test_final_bar_around_a_rejected_row_is_suspect(
    store: Database,
    ordinal: int,
    source_rows: int,
    reason: str,
    volume: float | None,
    changed: dict[str, Any],
    is_suspect: bool,
) -> None:
    insert_bar(store, "AAPL", ordinal, source_rows=source_rows)
    insert_reject(store, ordinal, reason, volume, **changed)
    slots = read(store)
    assert (slots.suspect.tolist(), slots.rejected.tolist()) == ([ordinal] * is_suspect, [ordinal] * is_suspect)


def test_rejects_without_a_final_bar_around_them_make_nothing_suspect(store: Database) -> None:
    insert_bar(store, "AAPL", NEW, is_final=False)
    for ordinal in (OLD, NEW):
        insert_reject(store, ordinal, "price_not_positive", 100.0)
    assert read(store).suspect.size == 0


@pytest.mark.parametrize("ordinal", [OLD, NEW])
@pytest.mark.parametrize(
    ("volume", "changed", "is_rejected"),
    [
        (100.0, {}, True),
        (0.0, {}, False),
        (100.0, {"superseded_at": FETCHED_AT}, False),
        (100.0, {"timestamp": to_datetime(int(GRID.starts[0]) - 60)}, False),
        (100.0, {"timestamp": to_datetime(int(GRID.ends[-1]) + 60)}, False),
    ],
    ids=["a trade", "no shares", "superseded", "before the window", "after the window"],
)
def test_absent_slot_with_a_rejected_trade_is_told_from_one_without(
    store: Database, ordinal: int, volume: float, changed: dict[str, Any], is_rejected: bool
) -> None:
    insert_reject(store, ordinal, "price_not_positive", volume, **changed)
    slots = read(store)
    assert (slots.absent.tolist(), slots.suspect.size) == ([OLD, NEW], 0)
    assert slots.rejected.tolist() == [ordinal] * is_rejected


@pytest.mark.parametrize("ordinal", [OLD, NEW])
@pytest.mark.parametrize(
    ("reached", "ends_before_close", "is_suspect"),
    [(1500, True, True), (1500, False, False), (1800, True, False), (0, True, False)],
    ids=["within the slot", "as usual for the symbol", "to the end of the slot", "up to the slot"],
)
def test_final_bar_within_which_the_rows_of_its_session_end_is_suspect(
    store: Database, ordinal: int, reached: int, ends_before_close: bool, is_suspect: bool
) -> None:
    insert_bar(store, "AAPL", ordinal, source_rows=5)
    with store.transaction() as connection:
        connection.execute(
            "INSERT INTO backfill.session_evidence (symbol_id, interval_type, source_interval, session_day,"
            " requested_at, source_rows, data_until, is_published, not_returned, ends_before_close)"
            " SELECT symbol_id, '30m', '5m', %s, now(), 77, %s, true, '{}', %s FROM market_symbols"
            " WHERE symbol = 'AAPL'",
            [
                GRID.sessions[GRID.session_index[ordinal]].day,
                to_datetime(int(GRID.starts[ordinal]) + reached),
                ends_before_close,
            ],
        )
    slots = read(store)
    assert (slots.suspect.tolist(), slots.rejected.tolist()) == ([ordinal] * is_suspect, [])


def test_no_symbols_and_no_sessions_have_no_slots(database: Database, store: Database) -> None:
    with database.transaction() as connection:
        no_symbols = read_stored_slots(connection, SymbolIndex(np.zeros(0, np.int64)), GRID)
    for slots in (no_symbols, read(store, EMPTY_GRID)):
        assert (slots.absent.size, slots.provisional.size, slots.suspect.size, slots.duplicates) == (0, 0, 0, 0)


def read_newest(store: Database) -> StoredSlots:
    with store.transaction() as connection:
        symbols = SymbolIndex.from_symbols(list_symbols(connection, "US"))
        return read_stored_slots(connection, symbols, GRID, find_newest=True)


def test_later_bars_are_found_and_change_nothing_else(store: Database) -> None:
    """They are no slots of the grid, whatever they are: external, provisional, sparse, or under another spelling."""
    insert_bar(store, "AAPL", NEW, spelling=OTHER_SPELLING)
    insert_bar(store, "MSFT", OLD, spelling=OTHER_SPELLING)
    before = read(store)
    last = to_datetime(int(GRID.starts[-1]))
    later = (dict(EXTERNAL_BAR), {"is_final": False}, {"source_rows": 1}, {"spelling": OTHER_SPELLING})
    for position, changed in enumerate(later):
        insert_bar(store, "AAPL", NEW, timestamp=last + timedelta(minutes=30 * (position + 1)), **changed)
    insert_bar(store, "MSFT", NEW, timestamp=last + timedelta(days=400, microseconds=7))
    slots = read_newest(store)
    for name in ("absent", "provisional", "suspect", "external", "duplicates"):
        assert np.array_equal(getattr(slots, name), getattr(before, name)), name
    with store.transaction() as connection:
        symbols = list_symbols(connection, "US")
    assert slots.find_newest_bar(symbols) == last + timedelta(days=400, microseconds=7)
    only_first = [symbols[0], replace(symbols[1], is_active=False)]
    assert slots.find_newest_bar(only_first) == last + timedelta(hours=2)
    assert before.find_newest_bar(symbols) is None


def test_each_of_the_newest_sessions_is_counted_by_itself(store: Database) -> None:
    """A session without any bar, one with some, and one with all."""
    begin, end = GRID.session_offsets[-2:].tolist()
    middle = int(GRID.session_offsets[-3]) + 2
    with store.transaction() as connection:
        connection.execute(
            "DELETE FROM market_data USING market_symbols s WHERE market_data.symbol_id = s.symbol_id"
            " AND symbol = 'MSFT' AND (timestamp >= %s OR timestamp = %s)",
            [to_datetime(int(GRID.starts[begin])), to_datetime(int(GRID.starts[middle]))],
        )
    of_msft = [GRID.size + ordinal for ordinal in (middle, *range(begin, end))]
    assert read(store).absent.tolist() == read_newest(store).absent.tolist() == [OLD, NEW, *of_msft]


@pytest.mark.parametrize("is_folded", [False, True])
def test_what_the_census_knows_of_the_newest_bars_changes_nothing(store: Database, is_folded: bool) -> None:
    """A counted symbol without doubtful bars is counted from the index; what came since, and new kinds, are read."""
    keep_census(store)
    assert read(store).absent.tolist() == [OLD, NEW]
    insert_bar(store, "AAPL", NEW, source_rows=3)
    with store.transaction() as connection:
        connection.execute(
            "UPDATE market_data SET is_final = false FROM market_symbols s"
            " WHERE s.symbol_id = market_data.symbol_id AND symbol = 'MSFT' AND timestamp = %s",
            [to_datetime(int(GRID.starts[NEW]))],
        )
    insert_bar(store, "MSFT", NEW, **EXTERNAL_BAR | {"spelling": OTHER_SPELLING})
    if is_folded:
        keep_census(store)
    slots = read(store)
    assert (slots.absent.tolist(), slots.suspect.tolist()) == ([OLD], [NEW])
    assert (slots.provisional.tolist(), slots.duplicates) == ([GRID.size + NEW], 1)


def test_bars_of_a_counted_symbol_are_not_read_again(store: Database) -> None:
    """Nobody but a test with triggers off can show it: what the census does not know is not looked at."""
    keep_census(store)
    with store.transaction() as connection:
        connection.execute("SET LOCAL session_replication_role = replica")
        connection.execute("UPDATE market_data SET is_final = false")
    assert read(store, build_slot_grid(GRID.sessions[-1:], GRID.interval)).provisional.size == 0


ACROSS_MONTHS = build_slot_grid(list_sessions(US, date(2026, 5, 28), date(2026, 6, 2)), INTERVALS["30m"])
SINCE_MAY = build_slot_grid(list_sessions(US, date(2026, 5, 1), date(2026, 6, 2)), INTERVALS["30m"])


@pytest.fixture
def months(database: Database) -> Database:
    """A counted store: AAPL has a final bar in every slot since May began, MSFT until May ended."""
    with database.transaction() as connection:
        add_symbols(connection, parse_tickers(["AAPL", "MSFT"]))
        for ordinal, start in enumerate(SINCE_MAY.starts.tolist()):
            for symbol in ("AAPL", "MSFT") if ordinal < SINCE_MAY.size - 26 else ("AAPL",):
                connection.execute(INSERT_BAR, FINAL_BAR | {"symbol": symbol, "timestamp": to_datetime(start)})
    keep_census(database)
    return database


def find_ends(database: Database, *, find_later: bool = True) -> list[int]:
    """The ends up to which AAPL and MSFT are proven; the range is the last three sessions: one of May, two of June."""
    bounds = ACROSS_MONTHS.session_offsets[-4:].tolist()
    with database.transaction() as connection:
        index = SymbolIndex.from_symbols(list_symbols(connection, "US"))
        return find_proven_ends(connection, index, ACROSS_MONTHS, bounds, find_later=find_later).tolist()


def read_with_and_without_census(database: Database) -> StoredSlots:
    """Both must say the same, of the last sessions and of all since May began; what is said of the last ones."""
    with database.transaction() as connection:
        index = SymbolIndex.from_symbols(list_symbols(connection, "US"))
        grids = ACROSS_MONTHS, SINCE_MAY
        by_census = [read_stored_slots(connection, index, grid, find_newest=True) for grid in grids]
        connection.execute("UPDATE backfill.census_symbols SET uncounted = '{(,)}'")
        by_bars = [read_stored_slots(connection, index, grid, find_newest=True) for grid in grids]
        connection.rollback()
    for found, expected in zip(by_census, by_bars, strict=True):
        for name, values in vars(expected).items():
            assert np.array_equal(getattr(found, name), values), name
    return by_census[0]


def change(database: Database, statement: str) -> None:
    """Change bars and add the change up."""
    with database.transaction() as connection:
        assert connection.execute(statement.encode()).rowcount > 0
    keep_census(database)


def test_symbols_with_every_bar_up_to_an_end_are_not_looked_at(months: Database) -> None:
    assert find_ends(months) == [3, 1]
    slots = read_with_and_without_census(months)
    assert slots.absent.tolist() == [ACROSS_MONTHS.size + ordinal for ordinal in range(26, 52)]
    change(months, "DELETE FROM market_data WHERE timestamp > '2026-06-02'")
    assert find_ends(months) == [2, 1]
    read_with_and_without_census(months)
    change(months, "DELETE FROM market_data WHERE timestamp > '2026-05-29'")
    assert find_ends(months) == [0, 0]
    assert len(read_with_and_without_census(months).absent) == 2 * 39


def test_bars_of_the_month_of_the_newest_sessions_are_not_looked_at_either(months: Database) -> None:
    """As above, only a test with triggers off can show it."""
    with months.transaction() as connection:
        connection.execute("SET LOCAL session_replication_role = replica")
        connection.execute("DELETE FROM market_data WHERE timestamp < '2026-05-20'")
    until = build_slot_grid(list_sessions(US, date(2026, 5, 1), date(2026, 5, 29)), INTERVALS["30m"])
    assert read(months, until).absent.size == 0
    with months.transaction() as connection:
        connection.execute("UPDATE backfill.census_symbols SET uncounted = '{(,)}'")
    assert read(months, until).absent.size == 2 * 13 * 13


@pytest.mark.parametrize(
    ("statement", "ends"),
    [
        ("DELETE FROM market_data WHERE timestamp = '2026-05-01 13:30Z'", [-1, -1]),
        # as many bars and the same minutes of a month, but of another one
        ("UPDATE market_data SET timestamp = '2026-06-04 13:30Z' WHERE timestamp = '2026-05-04 13:30Z'", [-1, -1]),
        ("UPDATE market_data SET timestamp = '2026-07-01 13:30Z' WHERE timestamp = '2026-06-01 13:30Z'", [-1, 1]),
        ("UPDATE market_data SET is_final = false WHERE timestamp = '2026-06-01 13:30Z'", [-1, 1]),
        ("UPDATE market_data SET source_rows = 3 WHERE timestamp = '2026-06-01 13:30Z'", [-1, 1]),
        ("UPDATE market_data SET source = NULL WHERE timestamp = '2026-06-01 13:30Z'", [-1, 1]),
    ],
)
def test_what_is_not_whole_or_not_plain_is_looked_at(months: Database, statement: str, ends: list[int]) -> None:
    change(months, statement)
    assert find_ends(months) == ends
    read_with_and_without_census(months)


def test_what_is_not_added_up_or_not_counted_is_looked_at(months: Database) -> None:
    insert_bar(months, "AAPL", NEW)  # of June 5, after the range
    assert find_ends(months) == [-1, 1]
    keep_census(months)
    assert find_ends(months) == [-1, 1]
    with months.transaction() as connection:
        connection.execute("UPDATE backfill.census_symbols SET uncounted = '{[2026-05-01,2026-06-01)}'")
        connection.execute("DELETE FROM market_data WHERE timestamp > '2026-06-05'")
    keep_census(months, blocks=0)
    assert find_ends(months) == [-1, -1]


def test_a_bar_of_a_later_month_matters_only_where_later_ones_are_looked_for(months: Database) -> None:
    insert_bar(months, "AAPL", NEW, timestamp=datetime(2026, 7, 1, 14, 0, tzinfo=UTC))
    assert (find_ends(months), find_ends(months, find_later=False)) == ([-1, 1], [3, 1])
    keep_census(months)
    assert (find_ends(months), find_ends(months, find_later=False)) == ([-1, 1], [3, 1])
    read_with_and_without_census(months)


def test_a_corrected_calendar_applies_at_once(months: Database) -> None:
    """Sessions are equal whatever their profile: the ones between two of them may differ all the same."""
    assert find_ends(months) == [3, 1]
    saturday = date(2026, 5, 9)
    overrides = CalendarOverrides(extra_sessions={saturday: (time(9, 30), time(16))})
    sessions = list_sessions(replace(US, overrides=overrides), date(2026, 5, 1), date(2026, 6, 2))
    grid = build_slot_grid(sessions, INTERVALS["30m"])
    absent = grid.split_slot_keys(read(months, grid).absent)
    lacking = [grid.sessions[grid.session_index[ordinal]].day for row, ordinal in zip(*absent, strict=True) if row == 0]
    assert lacking == [saturday] * 13
