"""Bars that a table of another program refuses: one bad bar costs one bar, and is kept with the database's words."""

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.runner import run_backfill
from backfill_assets.config.settings import Settings
from backfill_assets.errors import DatabaseUnavailable
from backfill_assets.market.gaps.slot_states import SlotState
from backfill_assets.quality.short_histories import find_short_histories
from backfill_assets.quality.slot_explanation import explain_slots
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.bars.revisions import RejectCount, count_rejects
from backfill_assets.store.evidence.findings import Finding, list_findings
from backfill_assets.store.evidence.refusals import read_refusal_messages
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.postgres.migrate import migrate
from backfill_assets_tests import external_tables
from backfill_assets_tests.conftest import make_job, make_monday_tuesday_job, read_stored_bars
from backfill_assets_tests.integration.test_backfill_engine import MONDAY, TUESDAY, build_expected_bars, ignore_progress

StartSandbox = Callable[..., Sandbox]
SLOT = datetime(2026, 6, 2, 15, 0, tzinfo=UTC)
IS_SLOT = "symbol_id = 1 AND \"timestamp\" = timestamptz '2026-06-02 15:00+00'"
CHECK = f"ALTER TABLE market_data ADD CONSTRAINT house_check CHECK (NOT ({IS_SLOT}))"
# Each refuses the bar of AAPL in one slot of Tuesday.
RULES = """
ALTER TABLE market_data
    ADD CONSTRAINT house_check CHECK (NOT (symbol_id = 1 AND "timestamp" = timestamptz '2026-06-02 13:30+00')),
    ADD ratio integer GENERATED ALWAYS AS (
        CASE WHEN "timestamp" = timestamptz '2026-06-02 14:00+00' THEN 1 / (symbol_id - 1) END) STORED,
    ADD slot_key integer GENERATED ALWAYS AS (
        CASE WHEN symbol_id = 1 AND "timestamp" = timestamptz '2026-06-02 14:30+00' THEN 999 END) STORED,
    ADD CONSTRAINT house_reference FOREIGN KEY (slot_key) REFERENCES market_symbols DEFERRABLE INITIALLY DEFERRED;
CREATE UNIQUE INDEX house_key ON market_data ((1)) WHERE symbol_id = 1 AND
    "timestamp" IN (timestamptz '2026-06-02 15:00+00', timestamptz '2026-06-02 15:30+00');
CREATE FUNCTION house_rule() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.symbol_id <> 1 THEN
        RETURN NEW;
    ELSIF NEW."timestamp" = timestamptz '2026-06-02 16:00+00' THEN
        RAISE EXCEPTION 'no bars of %', NEW.symbol_id;
    ELSIF NEW."timestamp" = timestamptz '2026-06-02 16:30+00' THEN
        RAISE 'closed' USING ERRCODE = 'HX001';
    ELSIF NEW."timestamp" = timestamptz '2026-06-02 17:00+00' THEN
        INSERT INTO nowhere VALUES (1);
    ELSIF NEW."timestamp" = timestamptz '2026-06-02 18:00+00' THEN
        RETURN NULL;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER house_rule BEFORE INSERT ON market_data FOR EACH ROW EXECUTE FUNCTION house_rule();
CREATE FUNCTION house_audit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.symbol_id = 1 AND NEW."timestamp" = timestamptz '2026-06-02 17:30+00' THEN
        PERFORM 1 / 0;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER house_audit AFTER INSERT OR UPDATE ON market_data FOR EACH ROW EXECUTE FUNCTION house_audit();
"""
REFUSALS = {  # by slot: who refuses its bar, and in what words
    "13:30": ("house_check", 'new row for relation "market_data" violates check constraint "house_check"'),
    "14:00": ("division by zero", "division by zero"),
    "14:30": (
        "house_reference",
        'insert or update on table "market_data" violates foreign key constraint "house_reference"; '
        'Key (slot_key)=(999) is not present in table "market_symbols".',
    ),
    "15:30": (
        "house_key",
        'duplicate key value violates unique constraint "house_key"; Key ((1))=(1) already exists.',
    ),
    "16:00": ("house_rule()", "no bars of 1"),
    "16:30": ("house_rule()", "closed"),
    "17:00": ("house_rule()", 'relation "nowhere" does not exist'),
    "17:30": ("house_audit()", "division by zero"),
    "18:00": ("trigger or rule", "a trigger or a rule dropped the row without an error"),
}
PARTITIONED = """
CREATE TABLE market_symbols (
    symbol_id serial PRIMARY KEY, symbol varchar(10) NOT NULL UNIQUE, exchange varchar(20) DEFAULT 'US',
    is_active boolean DEFAULT true, updated_at timestamptz
);
CREATE TABLE market_data (
    symbol_id integer NOT NULL, "timestamp" timestamptz NOT NULL, interval_type text NOT NULL,
    open_price numeric(12,4), high_price numeric(12,4), low_price numeric(12,4), close_price numeric(12,4),
    volume bigint, UNIQUE (symbol_id, interval_type, "timestamp")
) PARTITION BY RANGE ("timestamp");
CREATE TABLE market_data_may PARTITION OF market_data FOR VALUES FROM ('2026-05-01') TO ('2026-06-02');
"""


@pytest.fixture
def external_database(create_database: Callable[..., str]) -> Iterator[Database]:
    url = create_database(None)
    external_tables.create_external_tables(url)
    yield from open_migrated(url)


def open_migrated(url: str) -> Iterator[Database]:
    database = Database(url)
    migrate(database)
    with database.transaction() as connection:
        connection.execute("INSERT INTO market_symbols (symbol) VALUES ('AAPL'), ('MSFT')")
    yield database
    database.close()


def execute(database: Database, statements: str) -> None:
    with psycopg.connect(database.url, autocommit=True) as connection:
        connection.execute(statements.encode())


def fetch(database: Database, query: str) -> list[tuple[Any, ...]]:
    with database.transaction() as connection:
        return connection.execute(query.encode()).fetchall()


def fetch_findings(database: Database) -> list[Finding]:
    with database.transaction() as connection:
        return list(list_findings(connection))


def create_engine(database: Database, sandbox: Sandbox, settings: Settings) -> Engine:
    return Engine(database, settings.model_copy(update={"base_url": sandbox.base_url}))


def test_a_refused_bar_costs_one_bar_and_is_kept_with_the_words_of_the_database(
    external_database: Database, start_sandbox: StartSandbox, settings: Settings
) -> None:
    execute(external_database, RULES)
    sandbox = start_sandbox()
    engine = create_engine(external_database, sandbox, settings)
    result = run_backfill(engine, make_monday_tuesday_job(engine), ignore_progress)
    assert (result.written.inserted, result.written.refused, result.exit_code) == (43, 9, 3)
    assert result.absent == {"refused by market_data": 9}
    assert result.as_dict()["refusals"] == Counter(words.split(";")[0] for _, words in REFUSALS.values())
    assert result.describe_warnings()[0] == "2 bars were refused by market_data: division by zero"
    assert result.describe_warnings()[5].startswith("3 more bars were refused for other reasons")
    refused = fetch(
        external_database,
        "SELECT to_char(timestamp AT TIME ZONE 'UTC', 'HH24:MI'), refused_by, message FROM backfill.rejects"
        " WHERE reason = 'refused_by_table' AND symbol_id = 1 AND interval_type = '30m' AND source_interval = '5m'",
    )
    assert {slot: tuple(rest) for slot, *rest in refused} == REFUSALS
    details = {finding.subject: finding.detail for finding in fetch_findings(external_database)}
    assert "division by zero" not in details["division by zero"]  # the subject says it
    assert ": division by zero; change" in details["house_audit()"]
    values = "extract(epoch FROM timestamp)::bigint, open_price, high_price, low_price, close_price, volume"
    bars = fetch(external_database, f"SELECT {values} FROM backfill.rejects")
    stored = read_stored_bars(external_database, "AAPL", "30min") + read_stored_bars(external_database, "AAPL")
    assert sorted(stored + bars) == build_expected_bars(sandbox, "AAPL", MONDAY, TUESDAY)


def test_a_refused_bar_stays_missing_and_is_requested_on_the_retry_schedule(
    external_database: Database, start_sandbox: StartSandbox, settings: Settings
) -> None:
    execute(external_database, CHECK)
    sandbox = start_sandbox()
    engine = create_engine(external_database, sandbox, settings)
    run_backfill(engine, make_monday_tuesday_job(engine), ignore_progress)

    coverage = engine.measure(make_monday_tuesday_job(engine))
    assert (coverage.count_slots(SlotState.MISSING), int(coverage.missing.sum())) == (1, 1)
    (next_request_at,) = coverage.slot_states.next_request_at.tolist()
    assert next_request_at == (settings.now() + timedelta(hours=1)).timestamp()
    again = run_backfill(engine, make_monday_tuesday_job(engine), ignore_progress)
    assert (again.requests, again.deferred, again.exit_code) == (0, 1, 3)

    job = make_job(engine, start=TUESDAY, end=TUESDAY, symbols=["AAPL"])
    with external_database.transaction() as connection:
        assert count_rejects(connection, coverage.symbols, coverage.grid) == [RejectCount("refused_by_table", 1, 1)]
        refusals = read_refusal_messages(connection, 1, job.interval, SLOT - timedelta(hours=2), SLOT)
        (finding,) = list_findings(connection)
    explanation = explain_slots(engine.measure(job), [], refusals=refusals)[3]
    assert (explanation.slot, explanation.state) == ("2026-06-02T15:00:00Z", "missing")
    assert 'market_data refused it: new row for relation "market_data" violates check' in explanation.evidence
    assert (finding.kind, finding.subject) == ("bars refused", "house_check")
    assert "market_data refuses 1 bar of 1 ticker, first AAPL.US 2026-06-02T15:00:00Z" in finding.detail

    selected = make_monday_tuesday_job(engine, symbols=["AAPL"])
    refused_again = run_backfill(engine, selected, ignore_progress)
    assert refused_again.written.refused == 1
    execute(external_database, "ALTER TABLE market_data DROP CONSTRAINT house_check")
    mended = run_backfill(engine, selected, ignore_progress)
    assert (mended.written.inserted, mended.written.refused, mended.exit_code) == (1, 0, 0)
    with external_database.transaction() as connection:
        assert list_findings(connection) == []
        assert count_rejects(connection, coverage.symbols, coverage.grid) == []
    assert fetch(external_database, "SELECT count(*), count(resolved_at) FROM backfill.rejects") == [(1, 1)]


def test_a_refused_bar_stays_refused_when_its_session_is_read_again_for_revisions_only(
    external_database: Database, start_sandbox: StartSandbox, settings: Settings
) -> None:
    """Its session lies before the window then, so the bar is not written, and its next request is no sooner due."""
    execute(external_database, CHECK.replace("06-02 15:00", "06-01 15:00"))
    engine = create_engine(external_database, start_sandbox(), settings)
    job = make_monday_tuesday_job(engine)
    run_backfill(engine, job, ignore_progress)
    next_request_at = engine.measure(job).slot_states.next_request_at.tolist()
    later = run_backfill(engine, make_job(engine, start=TUESDAY, end=TUESDAY, force=True), ignore_progress)
    assert (later.written.unchanged, later.written.outside, later.written.refused) == (51, 27, 0)
    assert fetch(external_database, "SELECT count(*), count(resolved_at) FROM backfill.rejects") == [(1, 0)]
    assert [finding.kind for finding in fetch_findings(external_database)] == ["bars refused"]
    assert engine.measure(job).slot_states.next_request_at.tolist() == next_request_at


def test_a_dropped_bar_is_refused_even_if_a_bar_of_another_interval_has_its_timestamp(
    external_database: Database, start_sandbox: StartSandbox, settings: Settings
) -> None:
    execute(
        external_database,
        "INSERT INTO market_data (symbol_id, timestamp, interval_type, open_price, high_price, low_price, close_price,"
        " volume) VALUES (1, '2026-06-02 18:00+00', '1h', 5, 6, 4, 5.5, 77)",
    )
    execute(external_database, RULES)
    engine = create_engine(external_database, start_sandbox(), settings)
    result = run_backfill(engine, make_monday_tuesday_job(engine), ignore_progress)
    assert (result.written.inserted, result.written.refused) == (43, len(REFUSALS))


FREEZE = """
CREATE FUNCTION house_freeze() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN {result}; END';
CREATE TRIGGER house_freeze BEFORE UPDATE ON market_data FOR EACH ROW WHEN (OLD.symbol_id = 1)
    EXECUTE FUNCTION house_freeze();
"""


@pytest.mark.parametrize("result", ["NULL", "OLD"])
def test_a_stored_bar_that_a_trigger_keeps_is_refused(
    external_database: Database, start_sandbox: StartSandbox, settings: Settings, result: str
) -> None:
    """It is neither verified, nor unchanged, nor a revision."""
    engine = create_engine(external_database, start_sandbox(), settings)
    run_backfill(engine, make_monday_tuesday_job(engine), ignore_progress)
    execute(external_database, "UPDATE market_data SET volume = 77, source = NULL WHERE symbol_id = 1")
    execute(
        external_database,
        "UPDATE market_data SET volume = 77, source = '127.0.0.1', source_interval = '5m', source_rows = 6,"
        " is_final = (\"timestamp\" <> timestamptz '2026-06-02 15:30+00'), fetched_at = now() - interval '1 day'"
        " WHERE symbol_id = 1 AND \"timestamp\" >= '2026-06-02'",
    )
    execute(external_database, FREEZE.format(result=result))
    before = fetch(external_database, "SELECT * FROM market_data WHERE symbol_id = 1 ORDER BY timestamp")
    job = make_monday_tuesday_job(engine, force=True, verify_existing=True)
    written = run_backfill(engine, job, ignore_progress).written
    assert (written.refused, written.unchanged) == (26, 26)
    assert (written.updated, written.revised, written.verified, written.replaced, written.protected) == (0,) * 5
    assert fetch(external_database, "SELECT * FROM market_data WHERE symbol_id = 1 ORDER BY timestamp") == before
    assert fetch(external_database, "SELECT count(*) FROM backfill.revisions") == [(0,)]
    assert fetch(external_database, "SELECT DISTINCT refused_by, message FROM backfill.rejects") == [
        ("trigger or rule", "a trigger or a rule kept the stored row without an error")
    ]


def test_a_slot_that_another_program_fills_ends_the_finding(
    external_database: Database, start_sandbox: StartSandbox, settings: Settings
) -> None:
    execute(external_database, CHECK.replace(f"NOT ({IS_SLOT})", f"NOT ({IS_SLOT}) OR volume = 77"))
    engine = create_engine(external_database, start_sandbox(), settings)
    run_backfill(engine, make_monday_tuesday_job(engine), ignore_progress)
    assert [finding.kind for finding in fetch_findings(external_database)] == ["bars refused"]
    execute(
        external_database,
        "INSERT INTO market_data (symbol_id, timestamp, interval_type, open_price, high_price, low_price, close_price,"
        " volume) VALUES (1, '2026-06-02 15:00+00', '30min', 5, 6, 4, 5.5, 77)",
    )
    again = run_backfill(engine, make_monday_tuesday_job(engine), ignore_progress)
    assert (again.requests, again.exit_code, fetch_findings(external_database)) == (0, 0, [])


def test_a_refused_bar_is_no_vendor_gap_and_no_thin_trading(
    external_database: Database, start_sandbox: StartSandbox, settings: Settings
) -> None:
    """After weeks in vain it is still missing, whatever the daily data say, and requested weekly."""
    execute(external_database, CHECK)
    engine = create_engine(external_database, start_sandbox(), settings)
    run_backfill(engine, make_monday_tuesday_job(engine), ignore_progress)
    execute(
        external_database,
        "UPDATE backfill.session_evidence SET published_at = requested_at - interval '20 days',"
        " no_new_data_since = CASE WHEN no_new_data_since IS NOT NULL THEN requested_at - interval '20 days' END;"
        "INSERT INTO backfill.daily_prices VALUES (1, '2026-06-02', 10, 0)",
    )
    coverage = engine.measure(make_monday_tuesday_job(engine))
    assert coverage.count_slots(SlotState.MISSING) == 1
    (next_request_at,) = coverage.slot_states.next_request_at.tolist()
    assert next_request_at == (settings.now() + timedelta(days=7)).timestamp()


def test_refused_bars_before_the_first_stored_one_are_no_short_history(
    external_database: Database, start_sandbox: StartSandbox, settings: Settings
) -> None:
    """Requesting them once more would be paid in vain."""
    execute(external_database, "ALTER TABLE market_data ADD CHECK (symbol_id <> 1 OR \"timestamp\" >= '2026-06-01')")
    engine = create_engine(external_database, start_sandbox(), settings)
    job = make_job(engine, start=MONDAY - timedelta(days=4), end=TUESDAY)
    assert run_backfill(engine, job, ignore_progress).written.refused == 26
    assert find_short_histories(external_database, engine.settings) == []


def test_bars_without_a_partition_are_refused_and_all_others_stored(
    create_database: Callable[..., str], start_sandbox: StartSandbox, settings: Settings
) -> None:
    url = create_database(None)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(PARTITIONED.encode())
    for database in open_migrated(url):
        engine = create_engine(database, start_sandbox(), settings)
        result = run_backfill(engine, make_monday_tuesday_job(engine), ignore_progress)
        assert (result.written.inserted, result.written.refused, result.exit_code) == (26, 26, 3)
        (words,) = result.refusals
        assert words == 'no partition of relation "market_data" found for row'
        execute(database, "CREATE TABLE market_data_rest PARTITION OF market_data DEFAULT")
        mended = run_backfill(engine, make_monday_tuesday_job(engine, symbols=["AAPL", "MSFT"]), ignore_progress)
        assert (mended.written.inserted, mended.written.revised, mended.exit_code) == (26, 0, 0)
        assert fetch(database, "SELECT count(*) FROM backfill.findings WHERE resolved_at IS NULL") == [(0,)]


def test_prices_beyond_the_column_are_refused(
    create_database: Callable[..., str], start_sandbox: StartSandbox, settings: Settings
) -> None:
    sandbox = start_sandbox()
    highs = [bar[2].expected for symbol in ("AAPL", "MSFT") for bar in build_expected_bars(sandbox, symbol, TUESDAY)]
    limit = 10 ** (len(str(int(max(highs)))) - 1)
    assert min(highs) < limit <= max(highs), "some bars fit into the column, and some do not"
    url = create_database(None)
    external_tables.create_external_tables(url)
    with psycopg.connect(url, autocommit=True) as connection:
        declared = f"numeric({len(str(limit)) - 1 + 6}, 6)"
        connection.execute(f"ALTER TABLE market_data ALTER high_price TYPE {declared}".encode())
    for database in open_migrated(url):
        engine = create_engine(database, sandbox, settings)
        job = make_job(engine, start=TUESDAY, end=TUESDAY)
        result = run_backfill(engine, job, ignore_progress)
        assert result.written.refused == sum(high >= limit for high in highs)
        assert result.refusals == {"numeric field overflow": result.written.refused}
        assert result.written.inserted == sum(high < limit for high in highs)


def test_a_correction_that_the_table_refuses_leaves_the_stored_bar(
    external_database: Database, start_sandbox: StartSandbox, settings: Settings
) -> None:
    engine = create_engine(external_database, start_sandbox(), settings)
    run_backfill(engine, make_monday_tuesday_job(engine), ignore_progress)
    bars = read_stored_bars(external_database, "AAPL", "30min") or read_stored_bars(external_database, "AAPL")
    execute(
        external_database,
        "UPDATE market_data SET volume = volume + 1, fetched_at = fetched_at + interval '1 ms'"
        f" WHERE {IS_SLOT};"
        f"ALTER TABLE market_data ADD CONSTRAINT frozen CHECK (NOT ({IS_SLOT})) NOT VALID",
    )
    forced = run_backfill(engine, make_monday_tuesday_job(engine, force=True), ignore_progress)
    assert (forced.written.refused, forced.written.revised, forced.written.unchanged, forced.exit_code) == (1, 0, 51, 3)
    assert fetch(external_database, "SELECT count(*) FROM backfill.revisions") == [(0,)]
    stored = {bar[0]: bar[5] for bar in bars}
    assert fetch(external_database, f"SELECT volume FROM market_data WHERE {IS_SLOT}") == [
        (stored[int(SLOT.timestamp())] + 1,)
    ]


def test_an_external_bar_whose_replacement_is_refused_stays(
    external_database: Database, start_sandbox: StartSandbox, settings: Settings
) -> None:
    execute(
        external_database,
        "INSERT INTO market_data (symbol_id, timestamp, interval_type, open_price, high_price, low_price, close_price,"
        " volume) SELECT 1, at, '30m', 5, 6, 4, 5.5, 77"
        " FROM unnest(ARRAY[timestamptz '2026-06-02 15:00+00', '2026-06-02 15:30+00']) AS at;"
        f"ALTER TABLE market_data ADD CONSTRAINT house_check CHECK (NOT ({IS_SLOT}) OR volume = 77)",
    )
    engine = create_engine(external_database, start_sandbox(), settings)
    result = run_backfill(engine, make_monday_tuesday_job(engine, verify_existing=True), ignore_progress)
    assert (result.written.inserted, result.written.replaced, result.written.refused) == (50, 1, 1)
    assert (result.written.protected, result.exit_code) == (0, 3)
    assert fetch(external_database, f"SELECT volume, source FROM market_data WHERE {IS_SLOT}") == [(77, None)]


def test_a_lost_key_of_the_table_is_no_refusal_of_a_bar(
    external_database: Database, start_sandbox: StartSandbox, settings: Settings
) -> None:
    execute(
        external_database, "ALTER TABLE market_data DROP CONSTRAINT market_data_symbol_id_timestamp_interval_type_key"
    )
    engine = create_engine(external_database, start_sandbox(), settings)
    with pytest.raises((psycopg.Error, DatabaseUnavailable)):
        run_backfill(engine, make_monday_tuesday_job(engine), ignore_progress)
    assert fetch(external_database, "SELECT count(*) FROM backfill.rejects") == [(0,)]


def test_a_trigger_that_gives_bars_the_same_key_is_named(
    external_database: Database, start_sandbox: StartSandbox, settings: Settings
) -> None:
    execute(
        external_database,
        "CREATE FUNCTION house_key() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN NEW.timestamp := date_trunc(''day'', NEW.timestamp); RETURN NEW; END';"
        "CREATE TRIGGER house_key BEFORE INSERT ON market_data FOR EACH ROW EXECUTE FUNCTION house_key()",
    )
    engine = create_engine(external_database, start_sandbox(), settings)
    with pytest.raises(DatabaseUnavailable, match=r"a trigger or a rule of market_data .* the same symbol_id"):
        run_backfill(engine, make_monday_tuesday_job(engine), ignore_progress)
