"""Bars whose volume is not known, and small prices, in both forms of the table and in partitions: written and read."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psycopg
import pyarrow.parquet as pq
import pytest

from backfill_assets.backfill.engine import Engine
from backfill_assets.config.settings import load_settings
from backfill_assets.market.bars.canonical_rows import digest_rows, format_rows
from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.sessions import list_sessions
from backfill_assets.market.calendar.slots import build_slot_grid
from backfill_assets.market.columns import Columns
from backfill_assets.market.exchanges.registry import get_profile
from backfill_assets.reading import read_bars, read_changes
from backfill_assets.reading.export import export_bars
from backfill_assets.store.bars.bar_checks import find_bar_faults
from backfill_assets.store.bars.bar_writer import WriteCounts, WrittenBars, read_server_time, write_bars
from backfill_assets.store.bars.certified_bars import read_certified_sessions
from backfill_assets.store.bars.external_bars import read_external_bars, verify_external_bars
from backfill_assets.store.bars.former_values import find_former_values
from backfill_assets.store.bars.rejects import read_current_rejects, record_rejects
from backfill_assets.store.bars.revisions import read_revisions
from backfill_assets.store.bars.stored_bars import read_bars as read_stored_bars
from backfill_assets.store.bars.stored_values import choose_volume_marks
from backfill_assets.store.bars.suspect_slots import read_suspect_slots
from backfill_assets.store.bars.symbol_index import SymbolIndex
from backfill_assets.store.postgres.connection import Connection, Database
from backfill_assets.store.postgres.migrate import migrate
from backfill_assets.store.symbols import list_symbols
from backfill_assets_tests import external_tables
from backfill_assets_tests.conftest import NOW, Databases
from backfill_assets_tests.integration.test_bars_known_at import PARTITIONED

DAY, NEXT_DAY = date(2026, 6, 1), date(2026, 6, 2)
FORMATS: tuple[Any, ...] = ("pandas", "polars", "arrow")
HALF_HOURS = INTERVALS["30m"]
GRID = build_slot_grid(list_sessions(get_profile("CC"), DAY, DAY), HALF_HOURS)
START = int(GRID.starts[0])
NAN = float("nan")
HOST = "eodhd.com"
PARTITIONED_PRICES = (  # a partition alone may forbid null
    PARTITIONED.replace("numeric(12,6)", "double precision").replace("volume bigint NOT NULL", "volume bigint")
    + "ALTER TABLE first_day ALTER COLUMN volume SET NOT NULL"
)


def make_bars(volumes: list[float], price: float = 10.0, rows: int = 6) -> Columns:
    frame = pd.DataFrame(
        {
            "symbol_id": 1,
            "timestamp": START + HALF_HOURS.seconds * np.arange(len(volumes)),
            **{"open": price, "high": price, "low": price, "close": price},
            "volume": volumes,
            **{"source_rows": rows, "is_final": True, "may_insert": True},
        }
    )
    return Columns(frame)


@dataclass(frozen=True)
class Table:
    """A store with the pair BTC-USD in one form of the tables."""

    form: str
    database: Database

    @property
    def engine(self) -> Engine:
        return Engine(self.database, load_settings(database_url=self.database.url, as_of=NOW))

    def write(self, bars: Columns) -> WrittenBars:
        with self.database.transaction() as connection:
            options: dict[str, Any] = {"interval": HALF_HOURS, "spelling": HALF_HOURS.name, "source": HOST}
            return write_bars(
                connection, bars, **options, source_interval="5m", requested_at=read_server_time(connection)
            )

    def query(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with self.database.transaction() as connection:
            return connection.execute(statement.encode(), values).fetchall()

    def execute(self, statement: str, *values: Any) -> None:
        with self.database.transaction() as connection:
            connection.execute(statement.encode(), values)

    @property
    def unknown(self) -> int | None:
        """What the column holds of a volume that is not known."""
        return None if self.form == "own" else 0


@pytest.fixture(scope="module", params=["own", "external", "partitioned"])
def store(request: pytest.FixtureRequest, databases: Databases) -> Iterator[Table]:
    form = request.param
    url = databases.create(*([] if form == "own" else [None]))
    if form == "external":
        external_tables.create_external_tables(url)
    elif form == "partitioned":
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(PARTITIONED_PRICES.encode())
    database = Database(url)
    migrate(database)
    table = Table(form, database)
    table.execute("INSERT INTO market_symbols (symbol_id, symbol, exchange) VALUES (1, 'BTC-USD', 'CC')")
    yield table
    database.close()


@pytest.fixture
def table(store: Table) -> Table:
    """The store without bars; a new one for each test would take longer than all tests."""
    store.execute("TRUNCATE market_data CASCADE")
    store.execute("TRUNCATE backfill.bar_versions, backfill.bar_beginnings, backfill.revisions")
    return store


def test_an_unknown_volume_is_null_or_zero_in_the_table_and_null_wherever_it_is_read(
    table: Table, tmp_path: Path
) -> None:
    before = table.query("SELECT clock_timestamp()")[0][0]
    assert table.write(make_bars([NAN, 1024.0])).counts == {1: WriteCounts(inserted=2)}
    assert table.query("SELECT volume, volume_known FROM market_data ORDER BY timestamp") == [
        (table.unknown, False),
        (1024, True),
    ]
    assert table.write(make_bars([NAN, 1024.0])).counts == {1: WriteCounts(unchanged=2)}
    engine = table.engine
    frames = {
        name: read_bars("BTC-USD.CC", DAY, NEXT_DAY, require="any", format=name, settings=engine).frame
        for name in FORMATS
    }
    assert str(frames["pandas"]["volume"].dtype) == "Int64"
    assert frames["pandas"]["volume"].tolist() == [pd.NA, 1024]
    assert frames["polars"]["volume"].to_list() == [None, 1024]
    assert frames["arrow"]["volume"].to_pylist() == [None, 1024]
    changes = read_changes(before, symbols="BTC-USD.CC", settings=engine).frame
    assert changes["new_volume"].tolist() == [pd.NA, 1024]
    export_bars(tmp_path, exchange="CC", start=DAY, end=DAY, require="any", settings=engine)
    (file,) = (tmp_path / "bars").rglob("*.parquet")
    assert pq.read_table(file)["volume"].to_pylist() == [None, 1024]


def test_a_known_volume_makes_no_row_longer(table: Table) -> None:
    """Null would need a bitmap of nulls in a row that has no others, and so would true behind ``fetched_at``."""
    table.write(make_bars([1024.0]))
    if table.form == "own":
        columns = "symbol_id, interval_type, timestamp, open_price, high_price, low_price, close_price, volume"
        provenance = "source, source_interval, source_rows, is_final, fetched_at"
        sizes = f"SELECT pg_column_size(m.*), pg_column_size(row({columns}, {provenance})) FROM market_data m"
        ((size, size_without),) = table.query(sizes)
        assert size == size_without
    with table.database.transaction() as connection, connection.transaction(force_rollback=True):
        connection.execute("ALTER TABLE market_data DROP COLUMN volume_known CASCADE")
        connection.execute("ALTER TABLE market_data ADD COLUMN volume_known boolean")  # as the upgrade adds it
        assert choose_volume_marks(connection, make_bars([1024.0]))["known_mark"] is None


def test_a_volume_that_becomes_unknown_is_a_revision_and_the_other_way_round(table: Table) -> None:
    table.write(make_bars([0.0]))
    known_at = table.query("SELECT clock_timestamp()")[0][0]
    assert table.write(make_bars([NAN])).counts == {1: WriteCounts(revised=1)}
    unknown_at = table.query("SELECT clock_timestamp()")[0][0]
    assert table.write(make_bars([512.0])).counts == {1: WriteCounts(revised=1)}
    versions = "SELECT volume, ended_by FROM backfill.bar_versions ORDER BY known_to"
    assert table.query(versions) == [(0, "revised"), (None, "revised")]
    then = "SELECT volume FROM backfill.bars_known_at(%s)"
    assert [table.query(then, at) for at in (known_at, unknown_at)] == [[(0,)], [(None,)]]
    with table.database.transaction() as connection:
        symbols = list_symbols(connection, "CC")
        assert [(r.old_volume, r.new_volume) for r in read_revisions(connection, symbols, GRID, 9)[1]] == [
            (None, 512),
            (0, 512),
        ]


@pytest.mark.parametrize(("exchange", "suspect"), [("CC", [0]), ("LSE", [])])
def test_a_bar_around_a_rejected_row_without_volume_is_suspect_where_such_rows_are_trades(
    table: Table, exchange: str, suspect: list[int]
) -> None:
    grid = build_slot_grid(list_sessions(get_profile(exchange), DAY, DAY), HALF_HOURS)
    starts = grid.starts[:2]
    table.write(make_bars([NAN], rows=5).assign(timestamp=starts[:1]))
    row = {"symbol_id": 1, "open": 10.0, "high": 9.0, "low": 9.0, "close": 10.0, "volume": NAN}
    rejects = pd.DataFrame([{**row, "timestamp": at + 300, "reason": "ohlc_order"} for at in starts.tolist()])
    with table.database.transaction() as connection:
        record_rejects(connection, Columns(rejects.assign(is_replaced=False)), source=INTERVALS["5m"])
        slots = read_suspect_slots(connection, SymbolIndex(np.array([1])), grid)
        opened, until = (datetime.fromtimestamp(int(at), UTC) for at in (grid.starts[0], grid.ends[-1]))
        market, source = grid.sessions[0].market, INTERVALS["5m"]
        current = read_current_rejects(connection, 1, market, HALF_HOURS, source, opened, until)
        connection.execute("TRUNCATE backfill.rejects")
    assert slots.rejected.tolist() == suspect
    assert slots.rejected_trades.tolist() == [0, 1][: 2 * len(suspect)]
    assert len(current) == 2 * len(suspect)


def test_certificates_checks_and_adjusted_bars_know_no_such_volume(table: Table) -> None:
    table.write(make_bars([NAN]))
    with table.database.transaction() as connection:
        certified = read_certified_sessions(connection, {1: "BTC-USD.CC"}, GRID).values
        assert format_rows(certified) == [f"BTC-USD.CC,{START},{','.join(['10.000000'] * 4)},null\n".encode()]
        assert find_bar_faults(connection, GRID) == ([], 1)
        moment = datetime.fromtimestamp(START, UTC)
        assert read_stored_bars(connection, 1, HALF_HOURS, moment, moment)[0].volume is None
        adjusted = "SELECT volume FROM backfill.adjusted_bars('none')"
        assert connection.execute(adjusted).fetchall() == [(None,)]
    table.write(make_bars([7.0]))
    with table.database.transaction() as connection:
        digest = int(digest_rows(format_rows(certified))[0])
        former = find_former_values(connection, HALF_HOURS, {1: "BTC-USD.CC"}, {(1, START): digest})
        assert np.isnan(former[1, START].volume)


def test_a_bar_of_another_program_without_volume_is_that_of_the_vendor(table: Table) -> None:
    bars = make_bars([NAN, NAN])
    insert = """
    INSERT INTO market_data (symbol_id, interval_type, timestamp, open_price, high_price, low_price, close_price,
        volume)
    VALUES (1, '30m', to_timestamp(%s), 10, 10, 10, 10, %s)"""
    for stamp, volume in zip(bars["timestamp"].tolist(), (table.unknown, 77), strict=True):
        table.execute(insert, stamp, volume)
    with table.database.transaction() as connection:
        external = read_external_bars(connection, list_symbols(connection, "CC"), GRID)
        verified = verify_external_bars(
            connection,
            bars.assign(fingerprint=external.fingerprint),
            interval=HALF_HOURS,
            source=HOST,
            source_interval="5m",
        )
    assert verified.counts == {1: WriteCounts(verified=1, replaced=1)}
    assert table.query("SELECT volume, volume_known, source FROM market_data") == [(table.unknown, False, HOST)] * 2
    assert table.query("SELECT volume FROM backfill.revisions") == [(77,)]


def test_another_program_that_writes_a_volume_makes_it_known(table: Table) -> None:
    table.write(make_bars([NAN]))
    table.execute("UPDATE market_data SET volume = 5")
    assert table.query("SELECT volume, volume_known, source FROM market_data") == [(5, None, None)]
    assert table.query("SELECT volume, ended_by FROM backfill.bar_versions") == [(None, "overwritten")]


def test_a_change_of_volume_known_alone_is_kept(table: Table) -> None:
    table.write(make_bars([NAN]))
    table.execute("UPDATE market_data SET volume_known = NULL")
    assert table.query("SELECT volume, ended_by FROM backfill.bar_versions") == [(None, "edited")]
    table.execute("UPDATE market_data SET volume_known = false")
    table.execute("TRUNCATE market_data CASCADE")
    ended = table.query("SELECT volume, ended_by FROM backfill.bar_versions ORDER BY known_to")
    assert ended[1:] == [(table.unknown, "edited"), (None, "truncated")]


def test_a_change_in_the_last_digit_of_a_small_price_is_a_revision_where_the_table_keeps_it(table: Table) -> None:
    written = table.write(make_bars([NAN], price=1.2340000e-05))
    if table.form == "external":  # numeric(12,6)
        assert written.counts == {1: WriteCounts(refused=1)}
        (refused,) = written.refused
        assert (refused.refused_by, refused.timestamp) == ("rounding", START)
        assert refused.message == "a price column has so few decimals that a price below 0.01 loses digits"
        assert table.write(make_bars([5.0], price=0.000012)).counts == {1: WriteCounts(inserted=1)}
        assert table.write(make_bars([5.0], price=0.000013)).counts == {1: WriteCounts(revised=1)}
        return
    assert table.write(make_bars([NAN], price=1.2340000e-05)).counts == {1: WriteCounts(unchanged=1)}
    assert table.write(make_bars([NAN], price=1.2340001e-05)).counts == {1: WriteCounts(revised=1)}
    assert table.write(make_bars([NAN], price=0.0099999999)).counts == {1: WriteCounts(revised=1)}
    assert table.write(make_bars([NAN], price=0.01)).counts == {1: WriteCounts(revised=1)}


def test_the_statements_of_the_version_before_go_on_beside_the_new_column(table: Table) -> None:
    """Version 0.7.0 does not name the column: its bars have known volumes, and it reads the others as they are."""
    table.write(make_bars([NAN]))
    with table.database.transaction() as connection:
        _run_former_statements(connection)
    assert table.query("SELECT volume, volume_known FROM market_data ORDER BY timestamp")[1] == (9, None)


def _run_former_statements(connection: Connection) -> None:
    columns = "symbol_id, interval_type, timestamp, open_price, high_price, low_price, close_price, volume"
    values = "1, '30m', to_timestamp(%s), 10, 10, 10, 10, 9"
    provenance = "source, source_interval, source_rows, is_final, fetched_at"
    connection.execute(
        f"INSERT INTO market_data ({columns}, {provenance})"
        f" VALUES ({values}, 'eodhd.com', '5m', 6, true, clock_timestamp())",
        [START + HALF_HOURS.seconds],
    )
    connection.execute(
        f"INSERT INTO backfill.revisions ({columns}) VALUES ({values})",
        [START],
    )
    connection.execute(
        "CREATE TEMPORARY TABLE candidate_bars (position integer PRIMARY KEY, symbol_id integer, spelling text,"
        " stamp timestamptz, open_price float8, high_price float8, low_price float8, close_price float8, volume bigint,"
        " source text, source_interval text, source_rows smallint, is_final boolean) ON COMMIT DROP"
    )
    connection.execute(
        "INSERT INTO candidate_bars VALUES (1, 1, '30m', now(), 10, 10, 10, 10, 9, 'eodhd.com', '5m', 6, true)"
    )
    with connection.transaction(force_rollback=True):
        assert connection.execute("SELECT * FROM backfill.find_refused_bars(256)").fetchall() == []
    assert connection.execute("SELECT count(d.volume) FROM backfill.bars_known_at(now()) d").fetchall() == [(0,)]
