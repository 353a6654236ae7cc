"""Commands that maintain a store: review, and run --verify-existing."""

from collections.abc import Callable
from pathlib import Path

import psycopg

from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.postgres.connection import Database
from backfill_assets_tests import external_tables
from backfill_assets_tests.acceptance.conftest import User
from backfill_assets_tests.conftest import read_stored_bars

MakeUser = Callable[..., User]
StartSandbox = Callable[..., Sandbox]


def test_external_bars_are_replaced_only_with_verify_existing(
    make_user: MakeUser, start_sandbox: StartSandbox, database: Database
) -> None:
    sandbox = start_sandbox()
    user = make_user(sandbox)
    user.run_cli("symbols add AAPL")
    user.run_cli("run --quiet")
    correct_bars = read_stored_bars(database, "AAPL")
    with database.transaction() as connection:
        connection.execute("UPDATE market_data SET volume = volume + 1 WHERE extract(minute FROM timestamp) = 0")
    assert user.run_cli("report --format json").json[0]["unverified_bars"] == 12
    assert user.run_cli("run --format json").json["requests"] == 0
    plan = user.run_cli("plan").out
    assert "0 requests" in plan
    verified = user.run_cli("run --verify-existing")
    assert verified.code == 0
    assert "external bars: 0 verified, 12 replaced" in verified.out
    assert "12 slots requested · 12 have a final bar now" in verified.out
    assert read_stored_bars(database, "AAPL") == correct_bars
    assert user.run_cli("report --format json").json[0]["unverified_bars"] == 0


def test_review_replaces_changed_bars_within_its_calls(
    make_user: MakeUser, start_sandbox: StartSandbox, database: Database
) -> None:
    sandbox = start_sandbox()
    user = make_user(sandbox, BACKFILL_REVIEW_SESSIONS="3")
    user.run_cli("symbols add AAPL MSFT")
    user.run_cli("run --quiet --start 2026-05-27 --end 2026-06-02")
    correct_bars = read_stored_bars(database, "MSFT")
    with database.transaction() as connection:
        connection.execute(
            "UPDATE market_data SET volume = volume + 1, fetched_at = fetched_at - interval '1 day'"
            " WHERE timestamp = '2026-06-01 15:00+00'"
        )
    first_review = user.run_cli("review --calls 5")
    assert first_review.code == 0, first_review.err
    assert "1 of 2 due tickers reviewed, 3 sessions each" in first_review.out
    assert "1 ticker deferred: not enough unused calls" in first_review.out
    assert "AAPL.US      stored 1" in first_review.err
    second_review = user.run_cli("review --format json --quiet").json
    assert (
        second_review["due"],
        second_review["reviewed"],
        second_review["written"]["revised"],
        second_review["calls"],
    ) == (1, 1, 1, 5)
    assert read_stored_bars(database, "MSFT") == correct_bars
    assert user.run_cli("review --format json").json["due"] == 0
    assert user.run_cli("review --symbols AAPL,NOSUCH").code == 3


def test_review_with_an_invalid_token_ends_with_exit_code_4(make_user: MakeUser, start_sandbox: StartSandbox) -> None:
    user = make_user(start_sandbox(tokens=frozenset({"another"})))
    user.run_cli("symbols add AAPL")
    result = user.run_cli("review")
    assert (result.code, "check EODHD_API_TOKEN" in result.err) == (4, True)
    assert user.run_cli("review", EODHD_API_TOKEN=None).code == 4
    assert user.run_cli("review --calls -1").code == 2


def test_nulls_of_another_program_are_replaced_and_kept_as_revisions(
    make_user: MakeUser, start_sandbox: StartSandbox, database: Database, tmp_path: Path
) -> None:
    user = make_user(start_sandbox())
    user.run_cli("symbols add AAPL")
    user.run_cli("run --quiet")
    correct_bars = read_stored_bars(database, "AAPL")
    with database.transaction() as connection:
        connection.execute("ALTER TABLE market_data ALTER volume DROP NOT NULL, ALTER close_price DROP NOT NULL")
        connection.execute("UPDATE market_data SET volume = NULL WHERE timestamp >= '2026-06-02 18:00+00'")
        connection.execute("UPDATE market_data SET close_price = NULL WHERE timestamp = '2026-06-02 19:30+00'")
    assert "close null, volume null" in user.run_cli("why AAPL 2026-06-02 --format json").out
    verified = user.run_cli("run --verify-existing")
    assert (verified.code, "external bars: 0 verified, 4 replaced" in verified.out) == (0, True)
    assert read_stored_bars(database, "AAPL") == correct_bars
    assert user.run_cli(f"report --format html --output {tmp_path / 'report.html'}").code == 0


def test_bars_that_the_table_refuses_are_said_and_all_others_stored(
    make_user: MakeUser, start_sandbox: StartSandbox, create_database: Callable[..., str]
) -> None:
    url = create_database(None)
    external_tables.create_external_tables(url)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("INSERT INTO market_symbols (symbol) VALUES ('AAPL'), ('MSFT')")
        connection.execute(
            "ALTER TABLE market_data ADD CONSTRAINT house_limit"
            " CHECK (volume < 10 OR symbol_id = 2 OR \"timestamp\" <> timestamptz '2026-06-02 15:00+00')"
        )
    user = make_user(start_sandbox(), DATABASE_URL=url)
    first = user.run_cli("status")
    assert "WARNING backfill_assets.store.postgres.migrate" not in first.err  # the constraint holds for usual bars
    result = user.run_cli("run")
    assert (result.code, "bug" in result.err) == (3, False)
    assert "51 inserted" in result.out
    assert '1 bar was refused by market_data: new row for relation "market_data" violates check' in result.out
    assert "absent: 1 refused by market_data" in result.out
    (slot,) = [s for s in user.run_cli("why AAPL 2026-06-02 --format json").json["slots"] if s["state"] == "missing"]
    assert slot["evidence"].startswith("the vendor returned a bar, and market_data refused it: new row")
    (finding,) = user.run_cli("status --format json").json["findings"]
    assert (finding["kind"], finding["subject"]) == ("bars refused", "house_limit")
    assert user.run_cli("run").code == 3
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("ALTER TABLE market_data DROP CONSTRAINT house_limit")
    assert user.run_cli("run --symbols AAPL").code == 0
    assert user.run_cli("status --format json").json["findings"] == []
