"""A store as version 0.3.0 (migration 19) left it: what runs of this version doubt and mend, and what they leave."""

from collections.abc import Callable
from datetime import timedelta

import psycopg
import pytest
from psycopg import sql

from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.postgres.migrate import load_migrations
from backfill_assets_tests.acceptance.conftest import User
from backfill_assets_tests.conftest import NOW, read_stored_bars
from backfill_assets_tests.integration.test_backfill_engine import MONDAY, TUESDAY, build_expected_bars
from backfill_assets_tests.integration.test_store_migrate import NEWEST_RECORDED, build_from_migration_9, fetch
from backfill_assets_tests.integration.upgrades import NUMBER_0_3_0

MakeUser = Callable[..., User]
TABLES = (
    "SELECT format('%I.%I', table_schema, table_name), array_agg(column_name::text ORDER BY ordinal_position)"
    " FROM information_schema.columns JOIN information_schema.tables USING (table_schema, table_name)"
    " WHERE table_schema IN ('public', 'backfill') AND table_type = 'BASE TABLE'"
    " AND table_name NOT IN ('migrations', 'contract_tables') GROUP BY 1"
)
SEQUENCES = (
    "SELECT pg_get_serial_sequence(format('%I.%I', table_schema, table_name), column_name)"
    " FROM information_schema.columns WHERE table_schema IN ('public', 'backfill')"
)
# What 0.3.0 had found in the rows that the bars were built from, and what it had not.
ODDITIES = (
    "INSERT INTO backfill.rejects (symbol_id, source_interval, timestamp, reason, volume)"
    " SELECT symbol_id, '5m', '2026-06-01 15:35Z', 'volume_cumulative', 12345678 FROM market_symbols"
    " WHERE symbol = 'AAPL'",
    "UPDATE market_data SET high_price = 9999 WHERE timestamp = '2026-06-02 15:30Z'"
    " AND symbol_id = (SELECT symbol_id FROM market_symbols WHERE symbol = 'MSFT')",
)
# Without the column that a later version adds.
BARS = "SELECT to_jsonb(d) - 'volume_known' FROM market_data d ORDER BY symbol_id, interval_type, timestamp"


def copy_rows(source: str, target: str) -> None:
    """Copy what the tables of the target can hold; triggers do not see it."""
    with psycopg.connect(source) as reader, psycopg.connect(target) as writer:
        writer.execute("SET session_replication_role = replica")
        for table, columns in writer.execute(TABLES.encode()).fetchall():
            names = sql.SQL(", ").join(map(sql.Identifier, columns))
            writer.execute(f"TRUNCATE {table}".encode())
            with (
                reader.cursor().copy(sql.SQL(f"COPY (SELECT {{}} FROM {table}) TO STDOUT").format(names)) as rows,
                writer.cursor().copy(sql.SQL(f"COPY {table} ({{}}) FROM STDIN").format(names)) as copy,
            ):
                for row in rows:
                    copy.write(row)
        for (sequence,) in writer.execute(
            f"SELECT DISTINCT * FROM ({SEQUENCES}) s (name) WHERE name IS NOT NULL"
        ).fetchall():
            writer.execute("SELECT setval(%s, 1000000)", [sequence])
        for statement in ODDITIES:
            writer.execute(statement.encode())


@pytest.fixture
def sandbox(start_sandbox: Callable[..., Sandbox]) -> Sandbox:
    return start_sandbox()


@pytest.fixture
def url(make_user: MakeUser, sandbox: Sandbox, database_url: str, create_database: Callable[..., str]) -> str:
    """A database of 0.3.0 with the vendor's bars of two sessions."""
    user = make_user(sandbox, BACKFILL_DAILY_DATA="false", BACKFILL_CROSS_FEED_CALLS="0")
    assert user.run_cli("symbols add AAPL MSFT").code == 0
    assert user.run_cli("run").code == 0
    old = create_database(None)
    build_from_migration_9(old, NUMBER_0_3_0)
    copy_rows(database_url, old)
    return old


def test_runs_after_the_upgrade_find_and_mend_what_0_3_0_had_left(
    make_user: MakeUser, sandbox: Sandbox, url: str
) -> None:
    user = make_user(sandbox, DATABASE_URL=url)
    suspect = {row["symbol"]: row["suspect_reasons"] for row in user.run_cli("report --format json").json}
    assert suspect == {"AAPL": {"source_rows": 1}, "MSFT": {}}
    assert "1 row rejected: the volume is the session's running total" in user.run_cli("why AAPL 2026-06-01").out
    assert user.run_cli("run").code == 0  # reads the day, and judges the bars that were there
    suspect = {row["symbol"]: row["suspect_reasons"] for row in user.run_cli("report --format json").json}
    assert suspect == {"AAPL": {"source_rows": 1}, "MSFT": {"price_outside_day": 1}}
    assert [decision["kind"] for decision in user.run_cli("decisions list --format json").json] == ["doubt"]

    later = {"BACKFILL_AS_OF": (NOW + timedelta(days=2)).isoformat()}
    sandbox.move_clock(NOW + timedelta(days=2))
    assert user.run_cli("run --hours-back 120", **later).code == 0
    rows = user.run_cli("report --hours-back 120 --format json", **later).json
    assert {row["symbol"]: row["suspect_reasons"] for row in rows} == {"AAPL": {}, "MSFT": {}}
    assert fetch(url, "SELECT outcome FROM backfill.doubts") == [("mended",)]
    database = Database(url)
    for symbol in ("AAPL", "MSFT"):
        assert read_stored_bars(database, symbol)[:26] == build_expected_bars(sandbox, symbol, MONDAY, TUESDAY)
    database.close()


def test_bars_and_evidence_are_complete_after_the_upgrade(make_user: MakeUser, sandbox: Sandbox, url: str) -> None:
    user = make_user(sandbox, DATABASE_URL=url)
    before = fetch(url, BARS)
    assert len(before) == 2 * 26
    requests = sandbox.stats()["by_endpoint"]["intraday"]
    for command in ("status", "report", "verify", "plan", "audit", "decisions list"):
        assert user.run_cli(command).code == 0, command
    assert fetch(url, BARS) == before
    assert fetch(url, NEWEST_RECORDED) == [(max(load_migrations()),)]
    assert sandbox.stats()["by_endpoint"]["intraday"] == requests  # nothing is bought again
