"""A store as commands of version 0.5.0 (migration 30) left it: it is read, certified, continued, and keeps its history.

``database_0030`` has the store and the script that recorded it.
"""

import gzip
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr

from backfill_assets.config.settings import Settings
from backfill_assets.reading import read_bars
from backfill_assets.reading.errors import IncompleteBars
from backfill_assets.reading.results import BarsResult
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.postgres.migrate import load_migrations
from backfill_assets_tests.acceptance.conftest import User
from backfill_assets_tests.acceptance.database_0030.record import RECORDED_AT, build_sandbox_config
from backfill_assets_tests.integration.test_store_migrate import NEWEST_RECORDED, fetch

STORE = Path(__file__).with_name("database_0030") / "bars.sql.gz"
# Without the column that a later version adds.
BARS = "SELECT to_jsonb(d) - 'volume_known' FROM market_data d ORDER BY symbol_id, interval_type, timestamp"
VALUES = "symbol_id, timestamp, open_price, high_price, low_price, close_price, volume"
OWN_BARS = f"SELECT {VALUES} FROM {{}} WHERE source IS NOT NULL ORDER BY 1, 2"
WINDOW = "--hours-back 240"
READING = (
    *("status", "symbols list --all", "report", "plan", "audit", "decisions list", "why AAPL 2026-05-28"),
    *("universes list", "universes show all", "bars AAPL --start 2026-05-26 --end 2026-05-27 --require any"),
)


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


@pytest.fixture
def upgraded(user: User, settings: Settings, url: str) -> Settings:
    """Settings with which the upgraded store is read."""
    assert user.run_cli("status").code == 0
    return settings.model_copy(update={"database_url": SecretStr(url), "as_of": RECORDED_AT})


def test_commands_that_only_read_change_no_bar_and_send_no_request(user: User, sandbox: Sandbox, url: str) -> None:
    before = fetch(url, BARS)
    for command in READING:
        result = user.run_cli(command)
        assert result.code == 0, (command, result)
    assert fetch(url, BARS) == before
    assert fetch(url, NEWEST_RECORDED) == [(max(load_migrations()),)]
    assert fetch(url, "SELECT count(*) FROM backfill.certificates") == [(0,)]
    assert sandbox.stats()["by_endpoint"] == {}


def test_bars_known_at_any_moment_are_the_stored_ones_and_the_revised_ones(upgraded: Settings, url: str) -> None:
    assert fetch(url, OWN_BARS.format("backfill.bars_known_at(clock_timestamp())")) == fetch(
        url, OWN_BARS.format("market_data")
    )
    revisions = fetch(url, f"SELECT {VALUES}, fetched_at, replaced_at FROM backfill.revisions ORDER BY 1, 2")
    assert len(revisions) > 20
    for *values, fetched_at, replaced_at in revisions:
        before = replaced_at - (replaced_at - fetched_at) / 2
        known = f"SELECT {VALUES} FROM backfill.bars_known_at('{before}') WHERE (symbol_id, timestamp) = "
        assert fetch(url, f"{known} ({values[0]}, '{values[1]}')") == [tuple(values)]


def test_read_bars_tells_what_the_old_store_proves(upgraded: Settings) -> None:
    def read(ticker: str, first: str, end: str, **options: Any) -> BarsResult:
        return read_bars(ticker, first, end, settings=upgraded, **options)

    proven = read("AAPL", "2026-05-26", "2026-05-28")
    assert (len(proven.frame), set(proven.frame["state"])) == (26, {"present"})
    with pytest.raises(IncompleteBars, match=r"AAPL.US 2026-05-28: 1 slot missing \(14:00 UTC\)"):  # was deleted
        read("AAPL", "2026-05-26", "2026-05-29")
    with pytest.raises(IncompleteBars, match=r"13 slots missing .*backfill-assets why MSFT 2026-05-28"):
        read("MSFT", "2026-05-28", "2026-05-29", require="explained")
    states = read("AAPL", "2026-04-20", "2026-06-03", require="any", provisional=True).frame["state"]
    assert Counter(states) == {"present": 242, "suspect": 55, "unverified": 14, "provisional": 4}


def test_sessions_of_the_old_store_are_certified_and_a_change_behind_our_back_is_found(
    user: User, upgraded: Settings, url: str
) -> None:
    lacking = user.run_cli("certify 2026-05-28")
    assert lacking.code == 3
    for line in ("AAPL.US: 1 missing", "FB.US: 13 missing", "MSFT.US: 13 missing"):
        assert line in lacking.out
    for session in ("2026-05-26", "2026-05-27"):
        assert user.run_cli(f"certify {session}").code == 0
    assert user.run_cli("verify-certificate").code == 0
    assert len(read_bars("AAPL", "2026-05-26", "2026-05-28", settings=upgraded).certificates) == 2
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "UPDATE market_data SET high_price = high_price + 1 WHERE symbol_id = 1 AND timestamp = '2026-05-27 15:30Z'"
        )
    broken = user.run_cli("verify-certificate")
    assert (broken.code, "AAPL.US" in broken.out, "15:30" in broken.out) == (3, True, True)


def test_the_next_run_goes_on_where_0_5_0_ended(user: User, sandbox: Sandbox, url: str) -> None:
    later = {"BACKFILL_AS_OF": (RECORDED_AT + timedelta(days=1)).isoformat()}
    sandbox.move_clock(RECORDED_AT + timedelta(days=1))
    assert user.run_cli(f"run {WINDOW}", **later).code == 3  # the vendor never published a session of MSFT
    report = user.run_cli(f"report {WINDOW} --format json", **later).json
    missing = {row["symbol"]: row["estimated_missing_bars"] for row in report}
    assert missing == {"AAPL": 0, "FB": 0, "META": 0, "MSFT": 13}
    versions = "FROM backfill.bar_versions, backfill.history_begins WHERE known_to > began_at"
    ended = dict(fetch(url, f"SELECT ended_by, count(*) {versions} GROUP BY 1"))
    assert ended["updated"] == 12  # the provisional bars of three tickers
    assert fetch(url, "SELECT count(*) FROM market_data WHERE source IS NOT NULL AND NOT is_final") == [(0,)]
    assert user.run_cli("certify 2026-06-02", **later).code == 0
