"""A store as commands of version 0.8.0 (migration 38) left it: nothing is changed, its proofs hold, and work goes on.

``database_0038`` has the store and the script that recorded it: the US, Sydney and a pair of cryptocurrencies.
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
from backfill_assets_tests.acceptance.database_0038.record import RECORDED_AT, build_sandbox_config
from backfill_assets_tests.acceptance.test_upgrade_from_0_7_0 import TABLES
from backfill_assets_tests.integration.test_store_migrate import NEWEST_RECORDED, fetch

STORE = Path(__file__).with_name("database_0038") / "bars.sql.gz"
CERTIFICATES = 36  # in force; others were replaced
READING = ("migrate", "status", "report", "plan", "audit", "decisions list", "universes show model")
KEPT = {"BACKFILL_PARTITION_DAYS": "8", "BACKFILL_EXCHANGES": '["US", "AU", "CC"]'}


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
    return make_user(sandbox, RECORDED_AT, DATABASE_URL=url, **KEPT)


def read_rows(url: str) -> dict[str, list[str]]:
    """Every row of the tables as text, sorted; without the column that the upgrade adds to ``session_evidence``."""
    return {
        name: sorted(row for (row,) in fetch(url, f"SELECT (to_jsonb(t) - 'unpublished_at')::text FROM {name} t"))
        for name in TABLES
    }


def test_nothing_is_changed_and_every_certificate_still_holds(user: User, sandbox: Sandbox, url: str) -> None:
    before = read_rows(url)
    assert before["market_data"]
    for command in READING:
        result = user.run_cli(command)
        assert result.code == 0, (command, result)
    assert read_rows(url) == before
    assert fetch(url, NEWEST_RECORDED) == [(max(load_migrations()),)]
    verified = user.run_cli("verify-certificate")
    assert (verified.code, verified.out.splitlines()[-1]) == (0, f"{CERTIFICATES} certificates hold, 0 do not")
    assert sandbox.stats()["by_endpoint"] == {}


def test_the_next_run_goes_on_where_0_8_0_ended(user: User, sandbox: Sandbox, url: str) -> None:
    later = (RECORDED_AT + timedelta(days=1)).replace(hour=12)
    sandbox.move_clock(later)
    before = read_rows(url)["backfill.certificates"]
    ran = user.run_cli("run --start 2026-05-29 --end 2026-06-02", BACKFILL_AS_OF=later.isoformat())
    assert ran.code in {0, 3}, ran
    after = read_rows(url)["backfill.certificates"]
    assert set(before) < set(after)
    assert user.run_cli("verify-certificate", BACKFILL_AS_OF=later.isoformat()).code == 0
