"""A store as commands of version 0.4.0 (migration 25) left it: it is read, continued, and its decisions are undone.

``database_0025`` has the store and the script that recorded it.
"""

import gzip
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.postgres.migrate import load_migrations
from backfill_assets_tests.acceptance.conftest import User
from backfill_assets_tests.acceptance.database_0025.record import RECORDED_AT, build_sandbox_config
from backfill_assets_tests.integration.test_store_migrate import NEWEST_RECORDED, fetch

STORE = Path(__file__).with_name("database_0025") / "bars.sql.gz"
RENAME, LIFE = 7, 6  # the decisions that a person accepted
# Without the column that a later version adds.
BARS = "SELECT to_jsonb(d) - 'volume_known' FROM market_data d ORDER BY symbol_id, interval_type, timestamp"
ENDED = BARS.replace("ORDER BY", "WHERE symbol_id = 3 ORDER BY")
UNIVERSE = "SELECT symbol, is_active FROM market_symbols ORDER BY symbol_id"
OPEN_FINDINGS = "SELECT kind, subject FROM backfill.findings WHERE resolved_at IS NULL ORDER BY 1, 2"
CONFIRMED = "SELECT confirmed_first_day::text FROM backfill.listing_lives WHERE symbol_id = 2"
WINDOW = "--hours-back 240"


@pytest.fixture
def url(create_database: Callable[..., str]) -> str:
    created = create_database(None)
    with psycopg.connect(created, autocommit=True) as connection:
        connection.execute(gzip.decompress(STORE.read_bytes()))
    return created


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(build_sandbox_config(RECORDED_AT)) as running:
        yield running


@pytest.fixture
def user(make_user: Callable[..., User], sandbox: Sandbox, url: str) -> User:
    return make_user(sandbox, RECORDED_AT, DATABASE_URL=url)


def test_commands_that_only_read_change_no_bar_and_send_no_request(user: User, sandbox: Sandbox, url: str) -> None:
    before = fetch(url, BARS), fetch(url, UNIVERSE)
    for command in ("status", "symbols list --all", "report", "plan", "audit", "decisions list", "why AAPL 2026-05-26"):
        assert user.run_cli(command).code == 0, command
    assert (fetch(url, BARS), fetch(url, UNIVERSE)) == before
    assert fetch(url, NEWEST_RECORDED) == [(max(load_migrations()),)]
    assert sandbox.stats()["by_endpoint"] == {}


def test_the_next_run_goes_on_where_0_4_0_ended(user: User, sandbox: Sandbox, url: str) -> None:
    ended = fetch(url, ENDED)
    later = {"BACKFILL_AS_OF": (RECORDED_AT + timedelta(days=1)).isoformat()}
    sandbox.move_clock(RECORDED_AT + timedelta(days=1))
    assert user.run_cli(f"run {WINDOW}", **later).code == 3  # the vendor never published a session of MSFT
    assert fetch(url, ENDED) == ended
    report = user.run_cli(f"report {WINDOW} --format json", **later).json
    missing = {row["symbol"]: row["estimated_missing_bars"] for row in report}
    assert missing == {"AAPL": 0, "META": 0, "MSFT": 13}
    checks = user.run_cli(f"verify {WINDOW} --format json", **later).json
    assert [check["name"] for check in checks if not check["passed"]] == ["no_missing_bars"]
    assert fetch(url, "SELECT ex_date::text, ratio, withdrawn_at FROM backfill.splits") == [("2026-05-28", 4, None)]


def test_decisions_of_0_4_0_are_undone_exactly(user: User, url: str) -> None:
    assert fetch(url, UNIVERSE) == [("AAPL", True), ("MSFT", True), ("FB", False), ("META", True)]
    assert fetch(url, CONFIRMED) == [("2026-05-26",)]
    for decision in (RENAME, LIFE):
        assert user.run_cli(f"decisions undo {decision}").code == 0
    assert fetch(url, UNIVERSE) == [("AAPL", True), ("MSFT", True), ("FB", True), ("META", False)]
    assert fetch(url, CONFIRMED) == [(None,)]
    assert ("ended or renamed", "FB.US") in fetch(url, OPEN_FINDINGS)
    open_now = {(row["kind"], row["ticker"]) for row in user.run_cli("decisions list --format json").json}
    assert {("rename", "FB.US"), ("listing_life", "MSFT.US")} <= open_now
