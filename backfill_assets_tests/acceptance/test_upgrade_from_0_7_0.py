"""A store as commands of version 0.7.0 (migration 34) left it: its proofs stay, and crypto pairs join two exchanges.

``database_0034`` has the store and the script that recorded it.
"""

import gzip
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import psycopg
import pytest
from pydantic import SecretStr

from backfill_assets.config.settings import Settings
from backfill_assets.reading import read_bars
from backfill_assets.sandbox.config import ExchangeConfig
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.postgres.migrate import load_migrations
from backfill_assets_tests.acceptance.conftest import User
from backfill_assets_tests.acceptance.database_0034.record import RECORDED_AT, build_sandbox_config
from backfill_assets_tests.integration.test_store_migrate import NEWEST_RECORDED, fetch

STORE = Path(__file__).with_name("database_0034") / "bars.sql.gz"
# What the upgrade must leave as it is, with everything that 0.7.0 knew of it.
TABLES = (
    *("market_data", "market_symbols", "backfill.session_evidence", "backfill.bar_versions", "backfill.revisions"),
    *("backfill.certificates", "backfill.certificate_bars", "backfill.hashed_sessions", "backfill.universes"),
    *("backfill.universe_members", "backfill.decisions", "backfill.doubts", "backfill.findings", "backfill.splits"),
    *("backfill.dividends", "backfill.listings", "backfill.live_samples", "backfill.daily_prices"),
    *("backfill.exchange_files", "backfill.session_fingerprints", "backfill.learned_sessions"),
    *("backfill.learned_closing_rows", "backfill.compared_days"),
)
EMPTY = {"backfill.findings", "backfill.learned_closing_rows", "backfill.listings"}
COLUMNS = {  # without those that the upgrade adds
    "market_data": "to_jsonb(t) - 'volume_known'",
    "backfill.session_evidence": "to_jsonb(t) - 'unpublished_at'",
}
CERTIFICATES = 31  # 10 of Sydney
READING = (
    *("status", "symbols list --all", "report", "plan", "audit", "decisions list", "why AAPL 2026-05-28"),
    *("universes list", "universes show model", "bars AAPL --start 2026-05-20 --end 2026-05-27 --require any"),
)
WINDOW = "--start 2026-05-20 --end 2026-06-02"
KEPT = {"BACKFILL_PARTITION_DAYS": "8", "BACKFILL_EXCHANGES": '["US", "AU"]'}
PAIR = "BTC-USD.CC"
ALL = {**KEPT, "BACKFILL_EXCHANGES": '["US", "AU", "CC"]'}


@pytest.fixture
def url(create_database: Callable[..., str]) -> str:
    created = create_database(None)
    with psycopg.connect(created, autocommit=True) as connection:
        connection.execute(gzip.decompress(STORE.read_bytes()))
    return created


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    config = build_sandbox_config(RECORDED_AT)
    pairs = ExchangeConfig(symbols=1, history_from=date(2026, 5, 28))
    config = replace(config, exchanges={**config.exchanges, "CC": pairs})
    with Sandbox(config) as running:
        yield running


@pytest.fixture
def user(make_user: Callable[..., User], sandbox: Sandbox, url: str) -> User:
    return make_user(sandbox, RECORDED_AT, DATABASE_URL=url, **KEPT)


def read_rows(url: str) -> dict[str, list[str]]:
    """Every row of the tables as text, sorted."""
    return {
        name: sorted(row for (row,) in fetch(url, f"SELECT ({COLUMNS.get(name, 't')})::text FROM {name} t"))
        for name in TABLES
    }


def test_nothing_is_changed_and_every_certificate_still_holds(user: User, sandbox: Sandbox, url: str) -> None:
    before = read_rows(url)
    assert {name for name, rows in before.items() if not rows} == EMPTY
    for command in READING:
        result = user.run_cli(command)
        assert result.code == 0, (command, result)
    assert read_rows(url) == before
    assert fetch(url, NEWEST_RECORDED) == [(max(load_migrations()),)]
    verified = user.run_cli("verify-certificate")
    assert (verified.code, verified.out.splitlines()[-1]) == (0, f"{CERTIFICATES} certificates hold, 0 do not")
    assert sandbox.stats()["by_endpoint"] == {}


def test_crypto_pairs_join_and_the_others_go_on(user: User, sandbox: Sandbox, url: str, settings: Settings) -> None:
    """Their days in UTC are certified beside the sessions of New York and Sydney, in the same run."""
    later = (RECORDED_AT + timedelta(days=1)).replace(hour=12)
    sandbox.move_clock(later)
    every = {**ALL, "BACKFILL_AS_OF": later.isoformat()}
    before = read_rows(url)["backfill.certificates"]
    assert user.run_cli(f"symbols add {PAIR}", **every).code == 0
    ran = user.run_cli("run --start 2026-05-28 --end 2026-06-03", **every)
    assert ran.code == 3, ran  # the vendor never published a session of MSFT
    certificates = user.run_cli("certificates list --exchange CC --format json", **every).json
    days = sorted(row["session_day"] for row in certificates)
    assert days == ["2026-05-28", "2026-05-29", "2026-05-30", "2026-05-31", "2026-06-01", "2026-06-02"]
    assert set(before) < set(read_rows(url)["backfill.certificates"])
    assert user.run_cli("verify-certificate", **every).code == 0
    used = settings.model_copy(update={"database_url": SecretStr(url), "as_of": later, "exchanges": ("US", "AU", "CC")})
    for ticker, count in (("AAPL.US", 26), ("AAPL.AU", 24), (PAIR, 96)):
        read = read_bars(ticker, "2026-06-01", "2026-06-03", settings=used)
        assert (len(read.frame), set(read.frame["symbol"]), len(read.certificates)) == (count, {ticker}, 2)
