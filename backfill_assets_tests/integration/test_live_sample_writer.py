"""Provisional bars in the store: which bars they replace, which bars replace them, and the recorded differences."""

import threading
from collections.abc import Callable, Iterator
from datetime import date, datetime
from typing import Any

import psycopg
import pytest

from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.planner import Strategy
from backfill_assets.backfill.runner import run_backfill
from backfill_assets.config.settings import Settings
from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.tickers import parse_tickers
from backfill_assets.market.columns import Columns
from backfill_assets.market.gaps.slot_states import SlotState
from backfill_assets.quality.checks import evaluate_window
from backfill_assets.quality.criteria import evaluate_live
from backfill_assets.quality.live_accuracy import read_live_accuracy
from backfill_assets.sandbox.config import Publication
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.bars.bar_writer import LIVE_SOURCE_INTERVAL, WriteCounts, write_bars
from backfill_assets.store.postgres.connection import Connection, Database
from backfill_assets.store.postgres.migrate import migrate
from backfill_assets.store.symbols import add_symbols
from backfill_assets_tests import external_tables
from backfill_assets_tests.conftest import make_job, read_stored_bars
from backfill_assets_tests.integration.test_backfill_engine import build_expected_bars, ignore_progress
from backfill_assets_tests.moving_clock import MovingClock, iter_times, parse_utc

Clock = Callable[..., MovingClock]
TUESDAY = date(2026, 6, 2)
SLOT = parse_utc("2026-06-02 14:00")
INTERVAL = INTERVALS["30m"]
HOST = "127.0.0.1"


def fetch(database: Database, query: str) -> list[tuple[Any, ...]]:
    with database.transaction() as connection:
        return connection.execute(query.encode()).fetchall()


def sample_session(clock: MovingClock, until: str = "2026-06-02 20:30") -> MovingClock:
    """Collect the rounds of the session: every 15 minutes, and ten minutes after the close."""
    quarters = iter_times(parse_utc("2026-06-02 13:45"), parse_utc("2026-06-02 20:30"), 15)
    for now in sorted([*quarters, parse_utc("2026-06-02 20:10")]):
        if now <= parse_utc(until):
            clock.collect(now)
    return clock


def write_bar(
    connection: Connection,
    *,
    close: float = 10.5,
    final: bool = False,
    source: str = HOST,
    interval: str = LIVE_SOURCE_INTERVAL,
) -> WriteCounts:
    """Write one bar of the slot like a live round, or like a run if ``final``."""
    bar = {"symbol_id": 1, "timestamp": int(SLOT.timestamp()), "open": 10, "high": 11, "low": 9, "close": close}
    bar |= {"volume": 100, "source_rows": 6, "is_final": final, "may_insert": True}
    requested_at = connection.execute("SELECT clock_timestamp()").fetchall()[0][0]
    written = write_bars(
        connection,
        Columns({name: [value] for name, value in bar.items()}),
        interval=INTERVAL,
        spelling="30m",
        source=source,
        source_interval=interval,
        requested_at=requested_at,
    )
    return written.counts[1]


def read_bars(database: Database) -> list[tuple[Any, ...]]:
    return fetch(database, "SELECT close_price::float8, source_interval, is_final FROM market_data")


def test_provisional_bar_is_marked_and_its_samples_are_stored(make_live_clock: Clock) -> None:
    database = sample_session(make_live_clock(), "2026-06-02 15:00").engine.database
    rows = fetch(
        database,
        "SELECT m.source, m.source_interval, m.is_final, m.source_rows = l.sample_count, l.exact_fields, l.volume_from,"
        " l.volume_until"
        " FROM market_data m JOIN backfill.live_slots l USING (symbol_id, timestamp) ORDER BY m.timestamp",
    )
    assert [row[:4] for row in rows] == [(HOST, "live", False, True)] * 2
    assert "open" in rows[0][4]
    assert "open" not in rows[1][4]
    assert rows[0][5] == parse_utc("2026-06-02 13:30")
    assert rows[0][6] == rows[1][5]  # both slots use one sample at the edge between them


def test_final_bar_replaces_provisional_bar_and_never_the_reverse(database: Database) -> None:
    with database.transaction() as connection:
        assert write_bar(connection).inserted == 1
    with database.transaction() as connection:
        assert write_bar(connection, close=10.6).updated == 1
    with database.transaction() as connection:
        assert write_bar(connection, close=10.7, final=True, interval="5m").updated == 1
    with database.transaction() as connection:
        assert write_bar(connection, close=10.8).protected == 1
    assert read_bars(database) == [(10.7, "5m", True)]


def test_a_provisional_bar_that_the_table_refuses_is_counted(database: Database) -> None:
    with database.transaction() as connection:
        connection.execute("ALTER TABLE market_data ADD CONSTRAINT house_check CHECK (volume > 1000)")
        assert write_bar(connection) == WriteCounts(refused=1)
    assert read_bars(database) == []


@pytest.mark.parametrize("source", [None, "another.example"])
def test_external_bar_is_not_replaced(database: Database, source: str | None) -> None:
    with database.transaction() as connection:
        connection.execute(
            "INSERT INTO market_data (symbol_id, interval_type, timestamp, open_price, high_price, low_price,"
            " close_price, volume, source, is_final) VALUES (1, '30m', %s, 5, 6, 4, 5.5, 77, %s, %s)",
            [SLOT, source, False if source else None],
        )
    with database.transaction() as connection:
        assert write_bar(connection).protected == 1
    assert [row[0] for row in read_bars(database)] == [5.5]


def test_concurrently_written_final_bar_wins(database: Database) -> None:
    """The transaction of the run is open while the round compares: the round must find the final bar when it writes."""
    counts: list[WriteCounts] = []

    def write_provisional_bar() -> None:
        with database.transaction() as connection:
            counts.append(write_bar(connection))

    with database.transaction() as connection:
        write_bar(connection, close=10.7, final=True, interval="5m")
        thread = threading.Thread(target=write_provisional_bar)
        thread.start()
        wait_until_blocked(database)
    thread.join()
    assert counts == [WriteCounts(protected=1)]
    assert read_bars(database) == [(10.7, "5m", True)]


def wait_until_blocked(database: Database) -> None:
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    with psycopg.connect(database.url, autocommit=True) as connection:
        while connection.execute(waiting.encode()).fetchone() == (0,):
            pass


def test_provisional_values_are_recorded_with_the_final_values(database: Database) -> None:
    with database.transaction() as connection:
        write_bar(connection, close=10.6)
    with database.transaction() as connection:
        write_bar(connection, close=10.7, final=True, interval="5m")
    with database.transaction() as connection:
        write_bar(connection, close=10.9, final=True, interval="5m")
    reconciliations = (
        "SELECT live_close, live_volume, final_close, final_volume, source_interval FROM backfill.live_reconciliations"
    )
    assert fetch(database, reconciliations) == [(10.6, 100, 10.7, 100, "5m")]  # the later revision is not recorded here


def test_non_final_historical_bar_is_not_a_live_bar(database: Database) -> None:
    with database.transaction() as connection:
        write_bar(connection, interval="5m")
    with database.transaction() as connection:
        assert write_bar(connection).unchanged == 1
    with database.transaction() as connection:
        assert write_bar(connection, close=10.6).protected == 1
    with database.transaction() as connection:
        assert write_bar(connection, close=10.7, final=True, interval="5m").updated == 1
    assert fetch(database, "SELECT count(*) FROM backfill.live_reconciliations") == [(0,)]


def test_rolled_back_final_bar_changes_nothing(database: Database) -> None:
    with database.transaction() as connection:
        write_bar(connection, close=10.6)
    with database.transaction() as connection:
        write_bar(connection, close=10.7, final=True, interval="5m")
        connection.rollback()
    assert read_bars(database) == [(10.6, "live", False)]
    assert fetch(database, "SELECT count(*) FROM backfill.live_reconciliations") == [(0,)]


def test_unpublished_provisional_bars_are_fresh_but_missing(make_live_clock: Clock) -> None:
    clock = sample_session(
        make_live_clock(("AAPL", "MSFT"), publication=Publication(never_published=frozenset({("AAPL", TUESDAY)})))
    )
    coverage = clock.measure(parse_utc("2026-06-03 11:00"), end=TUESDAY)
    assert (coverage.count_slots(SlotState.PROVISIONAL), int(coverage.missing.sum())) == (26, 0)
    clock.run(parse_utc("2026-06-03 13:00"))
    coverage = clock.measure(parse_utc("2026-06-03 13:00"), end=TUESDAY)
    passed = {c.name: c.passed for c in evaluate_window(clock.engine.database, coverage, live=True)}
    assert passed == {
        "every_symbol_has_recent_bars": True,
        "no_missing_bars": False,
        "newest_bar_is_fresh": True,
        "no_rate_limit_errors": True,
        "live_keeps_up": True,
    }
    assert int(coverage.missing.sum()) == 13


@pytest.mark.parametrize("kind", ["timestamptz", "timestamp"])
def test_symbol_added_during_the_day_has_no_earlier_live_gaps(make_live_clock: Clock, kind: str) -> None:
    """Added or reactivated, with any type of timestamp column; other changes of the row have no effect."""
    clock = make_live_clock(("AAPL", "MSFT"))
    clock.collect(parse_utc("2026-06-02 13:50"))
    database = clock.engine.database
    with database.transaction() as connection:
        add_symbols(connection, parse_tickers(("AMZN", "TSLA")))
        connection.execute(f"ALTER TABLE market_symbols ALTER updated_at TYPE {kind}, DROP created_at".encode())
        for symbol, updated_at in (
            ("AAPL", None),
            ("MSFT", parse_utc("2026-06-02 15:10")),
            ("AMZN", parse_utc("2026-06-02 15:10")),
            ("TSLA", parse_utc("2026-05-04 12:00")),
        ):
            connection.execute("UPDATE market_symbols SET updated_at = %s WHERE symbol = %s", [updated_at, symbol])
    criterion = evaluate_live(database, clock.measure(parse_utc("2026-06-02 16:35")))
    assert criterion.offenders == ("AAPL.US (4)", "MSFT.US (4)", "TSLA.US (4)", "AMZN.US (1)")


def test_live_collection_started_in_the_evening_has_no_gaps_yet(make_live_clock: Clock) -> None:
    clock = make_live_clock()
    assert evaluate_live(clock.engine.database, clock.measure(parse_utc("2026-06-02 23:00"))).passed
    clock.collect(parse_utc("2026-06-03 13:50"))
    criterion = evaluate_live(clock.engine.database, clock.measure(parse_utc("2026-06-03 15:05")))
    assert criterion.offenders == ("AAPL.US (1)",)


@pytest.mark.parametrize("strategy", list(Strategy))
def test_every_strategy_requests_final_bars_for_provisional_ones(make_live_clock: Clock, strategy: Strategy) -> None:
    clock = make_live_clock()
    for now in iter_times(parse_utc("2026-06-02 13:45"), parse_utc("2026-06-02 20:25"), 10):
        if not parse_utc("2026-06-02 16:20") <= now < parse_utc("2026-06-02 17:10"):  # without one hour of samples
            clock.collect(now)
    engine = clock.move_to(parse_utc("2026-06-03 02:00"))
    result = run_backfill(engine, make_job(engine, start=TUESDAY, end=TUESDAY, strategy=strategy), ignore_progress)
    assert (result.planned, result.stored, result.written.updated, result.written.inserted) == (13, 13, 11, 2)
    assert read_stored_bars(engine.database, "AAPL") == build_expected_bars(clock.sandbox, "AAPL", TUESDAY)


def test_one_round_builds_bars_of_every_supported_interval(make_live_clock: Clock) -> None:
    clock = sample_session(make_live_clock(live={"intervals": ("5m", "1h", "30m")}))
    half_hours, hours = (read_stored_bars(clock.engine.database, "AAPL", name) for name in ("30m", "1h"))
    assert (len(half_hours), len(hours), read_stored_bars(clock.engine.database, "AAPL", "5m")) == (13, 7, [])
    assert sum(row[5] for row in half_hours) == sum(row[5] for row in hours)
    for at, opened, high, low, close, volume in hours[:-1]:
        first, second = (row for row in half_hours if at <= row[0] < at + 3600)
        assert (opened, high, low) == (first[1], max(first[2], second[2]), min(first[3], second[3]))
        assert (close, volume) == (second[4], first[5] + second[5])


def test_externally_written_interval_is_not_written(make_live_clock: Clock) -> None:
    clock = make_live_clock(live={"intervals": ("1h", "30m")})
    with clock.engine.database.transaction() as connection:
        connection.execute(
            "INSERT INTO market_data (symbol_id, interval_type, timestamp, open_price, high_price, low_price,"
            " close_price, volume) VALUES (1, '30m', '2026-06-01 19:30+00', 5, 6, 4, 5.5, 77)"
        )
    sample_session(clock, "2026-06-02 14:15")
    assert len(read_stored_bars(clock.engine.database, "AAPL")) == 1  # an external 9:30 bar may still arrive
    assert fetch(clock.engine.database, "SELECT count(*) > 0 FROM backfill.live_samples") == [(True,)]


@pytest.fixture
def external_database(create_database: Callable[..., str]) -> Iterator[Database]:
    url = create_database(None)
    external_tables.create_external_tables(url)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("INSERT INTO market_symbols (symbol) VALUES ('AAPL'), ('MSFT')")
        connection.execute(
            "INSERT INTO market_data (symbol_id, timestamp, interval_type, open_price, high_price, low_price,"
            " close_price, volume) VALUES (2, '2026-06-01 19:30+00', '30min', 5, 6, 4, 5.5, 77)"
        )
    database = Database(url)
    migrate(database)
    yield database
    database.close()


def test_live_bars_are_written_to_externally_created_tables(
    external_database: Database, start_sandbox: Callable[..., Sandbox], settings: Settings
) -> None:
    sandbox = start_sandbox(per_minute=100_000)
    overrides = {"base_url": sandbox.base_url, "live": True, "requests_per_minute": 100_000}
    clock = MovingClock(Engine(external_database, settings.model_copy(update=overrides)), sandbox, TUESDAY)
    sample_session(clock)
    live = fetch(
        external_database, "SELECT symbol_id, count(*) FROM market_data WHERE is_final IS FALSE GROUP BY 1 ORDER BY 1"
    )
    assert live[0] == (1, 13)
    assert {row[0] for row in fetch(external_database, "SELECT interval_type FROM market_data")} == {"30min"}
    clock.run(parse_utc("2026-06-03 02:00"))
    assert read_stored_bars(external_database, "AAPL", "30min") == build_expected_bars(sandbox, "AAPL", TUESDAY)
    accuracy = read_live_accuracy(external_database, clock.measure(parse_utc("2026-06-03 02:00"), end=TUESDAY))
    assert accuracy is not None
    assert accuracy.bars == 13 + (live[1][1] if len(live) > 1 else 0)


def test_external_write_over_a_provisional_bar_makes_it_external(make_live_clock: Clock) -> None:
    clock = sample_session(make_live_clock(), "2026-06-02 15:00")
    database = clock.engine.database
    with database.transaction() as connection:
        connection.execute("UPDATE market_data SET close_price = low_price WHERE timestamp = '2026-06-02 13:30+00'")
    assert read_timestamps(database, "source IS NULL") == [parse_utc("2026-06-02 13:30")]
    sample_session(clock, "2026-06-02 15:30")
    clock.run(parse_utc("2026-06-03 02:00"))
    assert read_timestamps(database, "source IS NULL") == [parse_utc("2026-06-02 13:30")]


def read_timestamps(database: Database, condition: str) -> list[datetime]:
    return [at for (at,) in fetch(database, f"SELECT timestamp FROM market_data WHERE {condition} ORDER BY 1")]
