"""``backfill.bars_known_at``: at any moment between transactions it gives the table as it was, whoever wrote what.

The program writes with its own writer, another program as a role without any right on schema ``backfill``.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backfill_assets.errors import DatabaseUnavailable
from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.columns import Columns
from backfill_assets.store.bars.bar_versions import SELECT_FIRST_KNOWN_AND_REVISED, read_history_beginning
from backfill_assets.store.bars.bar_writer import delete_bars, read_server_time, write_bars
from backfill_assets.store.bars.external_bars import verify_external_bars
from backfill_assets.store.bars.withheld_volumes import WithheldVolume, put_back_volume, take_out_volume
from backfill_assets.store.postgres.connection import Connection, Database
from backfill_assets.store.postgres.migrate import migrate
from backfill_assets.store.postgres.schema_check import require_complete_schema
from backfill_assets_tests import external_tables
from backfill_assets_tests.plain_table import MARKET_DATA

HALF_HOUR = INTERVALS["30m"]
FIRST_SLOT = datetime(2026, 6, 1, 13, 30, tzinfo=UTC)
SLOTS = [FIRST_SLOT + timedelta(hours=24 * i) for i in range(3)]  # in the partitioned form, a partition each
SOURCE = "eodhd.com"
PARTITIONED = """
CREATE TABLE market_data (
    symbol_id integer NOT NULL, interval_type varchar(20) NOT NULL, "timestamp" timestamptz NOT NULL,
    open_price numeric(12,6) NOT NULL, high_price numeric(12,6) NOT NULL, low_price numeric(12,6) NOT NULL,
    close_price numeric(12,6) NOT NULL, volume bigint NOT NULL, UNIQUE (symbol_id, interval_type, "timestamp")
) PARTITION BY RANGE ("timestamp");
CREATE TABLE first_day PARTITION OF market_data FOR VALUES FROM ('2026-06-01') TO ('2026-06-02');
CREATE TABLE other_days PARTITION OF market_data DEFAULT;
"""
ATTACHED_LATER = """
CREATE TABLE second_day (LIKE market_data INCLUDING ALL);
ALTER TABLE market_data ATTACH PARTITION second_day FOR VALUES FROM ('2026-06-02') TO ('2026-06-03')
"""
COLUMNS = """
symbol_id, interval_type::text, "timestamp", open_price, high_price, low_price, close_price, volume, source,
source_interval, source_rows, is_final, fetched_at
"""
CREATE_ROLE = """
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'another_program') THEN CREATE ROLE another_program; END IF;
END $$
"""
GRANT = "GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON {} TO another_program"
UPSERT = """
INSERT INTO market_data AS m (symbol_id, interval_type, timestamp, open_price, high_price, low_price, close_price,
    volume) VALUES (%(id)s, '30min', %(slot)s, %(price)s, %(price)s + 1, %(price)s - 1, %(price)s, %(volume)s)
ON CONFLICT (symbol_id, interval_type, timestamp) DO UPDATE SET open_price = EXCLUDED.open_price,
    high_price = EXCLUDED.high_price, low_price = EXCLUDED.low_price, close_price = EXCLUDED.close_price,
    volume = EXCLUDED.volume
"""
THE_BAR = "symbol_id = %(id)s AND timestamp = %(slot)s"
OF_OTHERS = {
    "upsert": UPSERT,
    "update": f"UPDATE {{table}} SET volume = volume + %(volume)s WHERE {THE_BAR}",
    "touch": f"UPDATE {{table}} SET volume = volume WHERE {THE_BAR}",
    "edit": f"UPDATE market_data SET source_rows = source_rows - 1 WHERE {THE_BAR}",
    "disown": f"UPDATE market_data SET source = NULL WHERE {THE_BAR}",
    "move": f"UPDATE market_data SET interval_type = 'x' || length(interval_type)::text WHERE {THE_BAR}"
    " AND NOT EXISTS (SELECT FROM market_data o WHERE o.symbol_id = %(id)s AND o.timestamp = %(slot)s"
    " AND o.interval_type LIKE 'x%%')",
    "move in time": f"UPDATE market_data SET timestamp = %(other)s WHERE {THE_BAR}"  # in one form, to another partition
    " AND NOT EXISTS (SELECT FROM market_data o WHERE o.symbol_id = %(id)s AND o.timestamp = %(other)s)",
    "copy": "INSERT INTO market_data (symbol_id, interval_type, timestamp, open_price, high_price, low_price,"
    " close_price, volume, source, is_final, fetched_at) SELECT %(id)s, '30min', %(slot)s, open_price, high_price,"
    " low_price, close_price, volume, source, is_final, fetched_at FROM market_data WHERE symbol_id = %(id)s"
    " AND source IS NOT NULL LIMIT 1 ON CONFLICT DO NOTHING",
    "delete": f"DELETE FROM {{table}} WHERE {THE_BAR}",
    "restore": f"WITH gone AS (DELETE FROM market_data WHERE {THE_BAR} RETURNING *) SELECT * INTO TEMPORARY kept"
    " FROM gone",
}
OURS = ("final", "other feed", "live", "verify", "volume", "delete ours")
FORMS = ("managed", "plain", "external", "partitioned")


@dataclass(frozen=True)
class Step:
    """One write of a transaction: of which kind, which bar (symbol and slot), and which of the values."""

    kind: str
    symbol: int
    slot: int
    value: int


@dataclass
class Recorder:
    """Writes to a database, and takes snapshots of its table between transactions."""

    database: Database
    form: str
    ids: Sequence[int]
    snapshots: list[tuple[datetime, list[tuple[Any, ...]]]] = field(default_factory=list)

    def run(self, steps: Sequence[Step]) -> None:
        """Make the writes in one transaction, then take a snapshot in another one."""
        with self.database.transaction() as connection:
            for step in steps:
                self._take(connection, step)
        self.take_snapshot()

    def take_snapshot(self) -> None:
        with self.database.transaction() as connection:
            moment = connection.execute("SELECT clock_timestamp()").fetchall()[0][0]
            self.snapshots.append((moment, self.read(connection, f"SELECT {COLUMNS} FROM market_data")))

    def read(self, connection: Connection, query: str, *values: Any) -> list[tuple[Any, ...]]:
        rows = connection.execute(f"SELECT * FROM ({query}) t WHERE symbol_id = ANY (%s)".encode(), [*values, self.ids])
        return sorted(rows.fetchall(), key=lambda row: row[:3])

    def _take(self, connection: Connection, step: Step) -> None:
        if step.kind in OURS:
            self._write(connection, step)
        elif step.kind == "truncate":
            self._truncate(connection, "first_day" if self.form == "partitioned" and step.value else "market_data")
        else:
            self._write_as_other(connection, step)

    def _write(self, connection: Connection, step: Step) -> None:
        symbol_id, slot = self.ids[step.symbol], SLOTS[step.slot]
        if step.kind == "delete ours":
            delete_bars(connection, symbol_id, HALF_HOUR, [slot])
        elif step.kind == "verify":
            self._verify(connection, symbol_id, slot, step.value)
        elif step.kind == "volume":
            withheld = WithheldVolume(symbol_id, slot, "5m", 7, 1)
            state = put_back_volume(connection, withheld, HALF_HOUR, 1)
            if state is not None and step.value:
                take_out_volume(connection, state, HALF_HOUR, 2)
        else:
            is_live = step.kind == "live"
            write_bars(
                connection,
                build_bar(symbol_id, slot, step.value, is_final=not is_live),
                interval=HALF_HOUR,
                spelling="30min",
                source=SOURCE,
                source_interval={"live": "live", "other feed": "1m"}.get(step.kind, "5m"),
                requested_at=read_server_time(connection),
                replace_other_feed=step.kind == "other feed",
            )

    def _verify(self, connection: Connection, symbol_id: int, slot: datetime, value: int) -> None:
        fingerprint = (
            "SELECT hashtextextended(row(open_price, high_price, low_price, close_price, volume)::text, 0)"
            " FROM market_data WHERE symbol_id = %s AND timestamp = %s AND source IS NULL"
        )
        for (found,) in connection.execute(fingerprint.encode(), [symbol_id, slot]).fetchall():
            bar = build_bar(symbol_id, slot, value).assign(fingerprint=[found])
            verify_external_bars(connection, bar, interval=HALF_HOUR, source=SOURCE, source_interval="5m")

    def _truncate(self, connection: Connection, table: str) -> None:
        connection.execute("SET LOCAL ROLE another_program" if self.form != "external" else "SELECT 1")
        connection.execute(f"TRUNCATE {table} CASCADE".encode())
        connection.execute("RESET ROLE")

    def _write_as_other(self, connection: Connection, step: Step) -> None:
        is_direct = self.form == "partitioned" and step.value
        table = ("first_day", "second_day", "other_days")[step.slot] if is_direct else "market_data"
        values = {"id": self.ids[step.symbol], "slot": SLOTS[step.slot], "price": 20 + step.value, "volume": 500}
        values["other"] = SLOTS[(step.slot + 1 + step.value) % len(SLOTS)]
        connection.execute("SET LOCAL ROLE another_program")
        connection.execute(OF_OTHERS[step.kind].format(table=table).encode(), values)
        if step.kind == "restore":
            connection.execute("INSERT INTO market_data SELECT * FROM kept")
            connection.execute("DROP TABLE kept")
        connection.execute("RESET ROLE")


def build_bar(symbol_id: int, slot: datetime, value: int, *, is_final: bool = True) -> Columns:
    price = 20.0 + value
    return Columns(
        {
            **{"symbol_id": [symbol_id], "timestamp": [int(slot.timestamp())], "open": [price], "high": [price + 1]},
            **{"low": [price - 1], "close": [price], "volume": [500], "source_rows": [6 + value]},
            **{"is_final": [is_final], "may_insert": [True]},
        }
    )


def create_database_of_form(url: str, form: str) -> Database:
    with psycopg.connect(url, autocommit=True) as connection:
        if form == "external":
            connection.execute(external_tables.TABLES.encode())
        if form == "plain":
            connection.execute(MARKET_DATA.encode())
        if form == "partitioned":
            connection.execute(PARTITIONED.encode())
    database = Database(url)
    migrate(database)
    with database.transaction() as connection:
        connection.execute(CREATE_ROLE)
        connection.execute("GRANT TEMPORARY ON DATABASE " + connection.info.dbname + " TO another_program")  # type: ignore[arg-type]
        tables = ["market_data"]
        if form == "partitioned":
            connection.execute(ATTACHED_LATER.encode())
            tables += ["first_day", "second_day", "other_days"]
        for table in tables:
            connection.execute(GRANT.format(table).encode())
        connection.execute("GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO another_program")
    return database


@pytest.fixture(scope="module")
def databases_by_form(create_database: Callable[..., str]) -> Iterator[dict[str, Database]]:
    opened = {form: create_database_of_form(create_database(None), form) for form in FORMS}
    yield opened
    for database in opened.values():
        database.close()


NUMBERS = count(1)


def start_recorder(database: Database, form: str) -> Recorder:
    """A recorder of two symbols of its own."""
    number = next(NUMBERS)
    with database.transaction() as connection:
        ids = [
            connection.execute("INSERT INTO market_symbols (symbol) VALUES (%s) RETURNING symbol_id", [name]).fetchall()
            for name in (f"A{number}", f"B{number}")
        ]
    return Recorder(database, form, [row[0][0] for row in ids])


def require_replay(recorder: Recorder) -> None:
    """At the moment of every snapshot, the function gives the snapshot's bars."""
    with recorder.database.transaction() as connection:
        for moment, rows in recorder.snapshots:
            found = recorder.read(connection, f"SELECT {COLUMNS} FROM backfill.bars_known_at(%s)", moment)
            assert found == [row for row in rows if row[8] is not None]
            both = recorder.read(connection, f"SELECT {COLUMNS} FROM backfill.bars_known_at(%s, true)", moment)
            assert [row for row in both if row[8] is not None] == found
            assert len({row[:3] for row in both}) == len(both)  # a bar once
        assert both == recorder.snapshots[-1][1]  # those of others are as they are now
        assert recorder.read(connection, "SELECT * FROM backfill.bar_versions WHERE known_from > known_to") == []


STEPS = st.builds(
    Step,
    st.sampled_from([*OURS, *OURS, *OF_OTHERS, "truncate"]),
    st.integers(0, 1),
    st.integers(0, 2),
    st.integers(0, 2),
)
TRANSACTIONS = st.lists(st.lists(STEPS, min_size=1, max_size=3), min_size=6, max_size=14)


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=7, derandomize=True, database=None)
@given(transactions=TRANSACTIONS)
def test_the_table_at_any_moment_is_as_it_was(
    databases_by_form: dict[str, Database], form: str, transactions: list[list[Step]]
) -> None:
    recorder = start_recorder(databases_by_form[form], form)
    for steps in transactions:
        recorder.run(steps)
    require_replay(recorder)


@pytest.fixture
def recorder(database: Database) -> Recorder:
    """A recorder on a database of its own."""
    with database.transaction() as connection:
        connection.execute(CREATE_ROLE)
        connection.execute(GRANT.format("market_data").encode())
    return start_recorder(database, "managed")


def read_window(connection: Connection, query: str, recorder: Recorder, known_at: datetime | None) -> list[Any]:
    values = {"ids": recorder.ids, "spellings": ["30min"], "first": SLOTS[0], "last": SLOTS[-1], "known_at": known_at}
    return connection.execute(query.encode(), values).fetchall()


def test_when_a_bar_was_first_known_and_revised(recorder: Recorder) -> None:
    recorder.run([Step("live", 0, 0, 0), Step("final", 1, 1, 0)])
    for step in (Step("final", 0, 0, 0), Step("final", 0, 0, 1), Step("final", 0, 0, 2), Step("upsert", 1, 2, 0)):
        recorder.run([step])
    recorder.run([Step("verify", 1, 2, 0)])
    began, final, _, revised, *_ = (moment for moment, _ in recorder.snapshots)
    with recorder.database.transaction() as connection:
        ((row, stamp, first_known, newest),) = read_window(connection, SELECT_FIRST_KNOWN_AND_REVISED, recorder, None)
        assert (row, stamp) == (0, SLOTS[0])  # the others have one version, and one was another program's
        assert first_known < began < final < newest < revised
        ((_, _, same, earlier),) = read_window(connection, SELECT_FIRST_KNOWN_AND_REVISED, recorder, final)
        assert (same, earlier) == (first_known, None)


def test_a_bar_put_back_by_a_transaction_older_than_the_bar(recorder: Recorder) -> None:
    other = psycopg.connect(recorder.database.url)
    with other, other.transaction():
        other.execute("SELECT 1")
        recorder.run([Step("final", 0, 0, 0)])
        bar = {"id": recorder.ids[0], "slot": SLOTS[0]}
        other.execute(f"SELECT * INTO TEMPORARY kept FROM market_data WHERE {THE_BAR}".encode(), bar)
        other.execute("DELETE FROM market_data")
        other.execute("INSERT INTO market_data SELECT * FROM kept")
        other.execute("UPDATE market_data SET fetched_at = fetched_at + interval '1 microsecond'")  # not as we write
    recorder.take_snapshot()
    require_replay(recorder)


def test_no_version_ends_before_it_began_when_the_clock_was_set_back(recorder: Recorder) -> None:
    for value in range(2):
        recorder.run([Step("final", 0, 0, value)])
    slot = {"id": recorder.ids[0], "slot": SLOTS[0]}
    with recorder.database.transaction() as connection:  # as if it had been written before the clock was set back
        connection.execute("SET LOCAL session_replication_role = replica")
        connection.execute("UPDATE market_data SET fetched_at = fetched_at + interval '1 hour'")
        connection.execute("UPDATE backfill.bar_versions SET known_to = known_to + interval '1 hour'")
    for kind in ("edit", "final", "upsert", "delete", "final"):
        recorder.run([Step(kind, 0, 0, 2)])
    with recorder.database.transaction() as connection:
        query = f"SELECT known_from, known_to FROM backfill.bar_versions WHERE {THE_BAR} ORDER BY known_to, known_from"
        versions = connection.execute(query.encode(), slot).fetchall()
        assert all(began <= ended for began, ended in versions)
        for moment in {moment for version in versions for moment in version}:
            assert len(recorder.read(connection, "SELECT * FROM backfill.bars_known_at(%s)", moment)) <= 1


@pytest.mark.parametrize("name", ["backfill_keep_deleted", "backfill_keep_replaced", "backfill_clear_provenance"])
def test_a_lost_trigger_is_found_and_the_history_begins_anew(recorder: Recorder, name: str) -> None:
    database = recorder.database
    require_complete_schema(database)
    recorder.run([Step("final", 0, 0, 0)])
    is_dropped = name != "backfill_keep_deleted"
    with database.transaction() as connection:
        began = read_history_beginning(connection)
        change = "DROP TRIGGER {} ON market_data" if is_dropped else "ALTER TABLE market_data DISABLE TRIGGER {}"
        connection.execute(change.format(name).encode())
    with pytest.raises(
        DatabaseUnavailable, match=rf"disabled: {name}; .* SELECT backfill\.create_history_triggers\(\)"
    ):
        require_complete_schema(database)
    recorder.run([Step("final", 0, 1, 0)])
    with database.transaction() as connection:
        connection.execute("SELECT backfill.create_history_triggers()")
        connection.execute("SELECT backfill.create_history_triggers()")  # nothing more to do
        anew = read_history_beginning(connection)
        assert connection.execute("SELECT count(*) FROM backfill.history_begins").fetchall() == [(2,)]
    require_complete_schema(database)
    assert began is not None
    assert anew is not None
    assert began < anew
    recorder.run([Step("upsert", 0, 0, 1)])
    with database.transaction() as connection:
        assert len(recorder.read(connection, "SELECT * FROM backfill.bars_known_at(%s)", anew)) == 2
        assert connection.execute("SELECT ended_by FROM backfill.bar_versions").fetchall() == [("overwritten",)]


def test_what_another_program_does_to_its_own_columns_is_no_version(recorder: Recorder) -> None:
    recorder.run([Step("final", 0, 0, 0), Step("upsert", 0, 1, 0)])
    with recorder.database.transaction() as connection:
        connection.execute("ALTER TABLE market_data ADD COLUMN vwap numeric")
    with recorder.database.transaction() as connection:
        connection.execute("UPDATE market_data SET vwap = 20, volume = volume")
        connection.execute("DELETE FROM market_data WHERE source IS NULL")
        assert connection.execute("SELECT count(*) FROM backfill.bar_versions").fetchall() == [(0,)]


def test_a_column_changes_its_type_without_the_triggers(create_database: Callable[..., str]) -> None:
    database = create_database_of_form(create_database(None), "plain")
    recorder = start_recorder(database, "plain")
    recorder.run([Step("final", 0, 0, 0), Step("final", 0, 1, 0)])
    with recorder.database.transaction() as connection:  # as the runbook says
        triggers = "SELECT tgname FROM pg_trigger WHERE tgrelid = 'market_data'::regclass AND tgname LIKE 'backfill%'"
        for (name,) in connection.execute(triggers).fetchall():
            connection.execute(f"DROP TRIGGER {name} ON market_data".encode())
        connection.execute(
            "ALTER TABLE market_data ALTER open_price TYPE numeric(18, 6), ALTER interval_type TYPE varchar(40),"
            " ALTER volume TYPE numeric(20), ALTER timestamp TYPE timestamptz(0), ALTER source_rows TYPE integer"
        )
        connection.execute("SELECT backfill.create_history_triggers()")
    require_complete_schema(recorder.database)
    for step in (Step("final", 0, 0, 1), Step("upsert", 0, 1, 1), Step("delete", 0, 0, 0)):
        recorder.run([step])
    require_replay(recorder)
    database.close()


def test_a_writer_is_not_refused_where_keys_may_be_null_or_a_partition_has_another_owner(
    create_database: Callable[..., str],
) -> None:
    url = create_database(None)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(PARTITIONED.replace(" NOT NULL", "").encode())
    database = Database(url)
    migrate(database)
    with database.transaction() as connection:
        connection.execute(CREATE_ROLE)
    recorder = start_recorder(database, "partitioned")
    recorder.run([Step("final", 0, 0, 0), Step("final", 0, 1, 0)])
    with database.transaction() as connection:
        for owner in ("owner_of_functions", "another_program"):
            connection.execute(
                f"DO $$ BEGIN CREATE ROLE {owner}; EXCEPTION WHEN duplicate_object THEN NULL; END $$".encode()
            )
        connection.execute("ALTER FUNCTION backfill.keep_truncated_bars() OWNER TO owner_of_functions")
        connection.execute("GRANT USAGE ON SCHEMA backfill TO owner_of_functions")
        connection.execute("GRANT ALL ON ALL TABLES IN SCHEMA backfill TO owner_of_functions")
        connection.execute("GRANT SELECT ON market_data TO owner_of_functions")
        connection.execute("ALTER TABLE first_day OWNER TO another_program")
        connection.execute("SET LOCAL ROLE another_program")
        connection.execute("TRUNCATE first_day")
        connection.execute("RESET ROLE")
        connection.execute("UPDATE market_data SET interval_type = NULL")
        connection.execute("UPDATE market_data SET interval_type = '30min'")
        causes = "SELECT ended_by, interval_type FROM backfill.bar_versions ORDER BY known_to"
        assert connection.execute(causes).fetchall() == [("truncated", "30min"), ("moved", "30min")]
        connection.execute("UPDATE market_data SET interval_type = NULL")
        connection.execute("TRUNCATE market_data")
    recorder.take_snapshot()
    require_replay(recorder)
    database.close()


def test_partitions_get_the_triggers_that_they_lack(
    databases_by_form: dict[str, Database],
) -> None:
    recorder = start_recorder(databases_by_form["partitioned"], "partitioned")
    recorder.run([Step("final", 0, slot, 0) for slot in range(3)])
    with recorder.database.transaction() as connection:
        connection.execute("ALTER TABLE first_day DISABLE TRIGGER ALL")
    with pytest.raises(DatabaseUnavailable, match="disabled: backfill_clear_provenance, backfill_keep_deleted"):
        require_complete_schema(recorder.database)
    with recorder.database.transaction() as connection:
        connection.execute("SELECT backfill.create_history_triggers()")
        connection.execute("TRUNCATE second_day")
    recorder.take_snapshot()
    with recorder.database.transaction() as connection:
        connection.execute("TRUNCATE market_data")
        ended = "SELECT count(*), count(DISTINCT timestamp) FROM backfill.bar_versions WHERE symbol_id = ANY (%s)"
        assert connection.execute(ended, [recorder.ids]).fetchall() == [(3, 3)]  # each once
    recorder.take_snapshot()
    require_replay(recorder)
