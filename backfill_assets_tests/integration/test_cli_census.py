"""The commands ``census`` and ``report --all``: what they show, formats and exit codes; the check of the history."""

import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner, Result

from backfill_assets.cli.main import cli
from backfill_assets.config.settings import load_settings
from backfill_assets.errors import UsageError
from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.sessions import list_sessions
from backfill_assets.market.calendar.slots import build_slot_grid
from backfill_assets.market.calendar.tickers import parse_tickers
from backfill_assets.market.exchanges.registry import US
from backfill_assets.quality.census.history_check import evaluate_history
from backfill_assets.store.coverage import measure_coverage
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.symbols import add_symbols, list_symbols
from backfill_assets_tests.conftest import NOW

FIRST_DAY = date(2026, 4, 1)
SESSIONS = list_sessions(US, FIRST_DAY, date(2026, 6, 2))
GRID = build_slot_grid(SESSIONS, INTERVALS["30m"])
Run = Callable[..., Result]


@pytest.fixture
def run(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command on a store of two symbols that lacks a bar of AAPL on 2026-04-10."""
    with psycopg.connect(database_url) as connection:
        add_symbols(connection, parse_tickers(("AAPL", "MSFT")))
        connection.execute(
            "INSERT INTO market_data (symbol_id, interval_type, timestamp, open_price, high_price, low_price,"
            " close_price, volume, source, source_interval, source_rows, is_final, fetched_at)"
            " SELECT symbol_id, '30m', at, 100, 101, 99, 100.5, 1000, '127.0.0.1', '5m', 6, true, at"
            " FROM market_symbols CROSS JOIN unnest(%s::timestamptz[]) AS at"
            " WHERE symbol <> 'AAPL' OR at <> '2026-04-10 15:00Z'",
            [[datetime.fromtimestamp(epoch, UTC) for epoch in GRID.starts.tolist()]],
        )
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("BACKFILL_AS_OF", "2026-06-03T14:00:00Z")
    monkeypatch.setenv("BACKFILL_HISTORY_FROM", str(FIRST_DAY))
    return lambda *words: CliRunner().invoke(cli, words, catch_exceptions=True, standalone_mode=False)


def read_exit_code(result: Result) -> Any:
    return result.exception.code if isinstance(result.exception, SystemExit) else result.exception or 0


def test_what_was_not_counted_is_not_called_complete_until_it_is_brought_up_to_date(run: Run) -> None:
    before = json.loads(run("census", "--format", "json").stdout)["exchanges"]["US"]
    assert not before["is_complete"]
    assert before["unmeasured_months"] == 1  # nothing is expected of it yet; the others are proven by their counts
    shown = run("census", "--update")
    assert read_exit_code(shown) == 0
    first, _, *months = shown.stdout.splitlines()
    assert first == (
        "US 30m: 99.9 % complete since 2026-04-01, 1 bar of 1 symbol missing, the oldest at 2026-04-10T15:00:00Z"
        " (2 symbols)"
    )
    assert [line.split() for line in months] == [
        ["2026-04", "2", "546", "545", "1", "1", "99.8", "%"],
        ["2026-05", "2", "520", "520", "0", "0", "100.0", "%"],
        ["2026-06", "2", "52", "52", "0", "0", "100.0", "%"],
    ]
    after = json.loads(run("census", "--format", "json").stdout)
    assert after["recount"] is None
    assert after["exchanges"]["US"] | {"months": None} == {
        "summary": first.removeprefix("US 30m: ").removesuffix(" (2 symbols)"),
        "is_complete": False,
        "share": round(1 - 1 / 1118, 6),
        "first_day": "2026-04-01",
        "symbols": 2,
        "expected_bars": 1118,
        "missing_bars": 1,
        "symbol_months": 6,
        "missing_months": 1,
        "unmeasured_months": 0,
        "unmeasured_bars": 0,
        "symbols_with_missing": 1,
        "oldest_missing": "2026-04-10T15:00:00Z",
        "months": None,
    }
    assert run("census", "--format", "csv").stdout.splitlines()[1].startswith("2026-04,US,30m,2,546,545,")


def test_bars_that_were_never_counted_are_not_called_missing(run: Run, database_url: str) -> None:
    """As after an upgrade of a store with a long history."""
    assert read_exit_code(run("census", "--update")) == 0
    with psycopg.connect(database_url) as connection:
        connection.execute("DELETE FROM backfill.census_months")
        connection.execute("DELETE FROM backfill.census_symbols")
    shown = run("census").stdout.splitlines()
    assert shown[0].startswith("US 30m: at least 4.6 % complete since 2026-04-01, 4 months of symbols not examined yet")
    assert shown[1].endswith("at once: backfill-assets census --update")
    assert shown[3].split() == ["2026-04", "2", "546", "0", "0", "0", "2", "0.0", "%"]
    answer = json.loads(run("census", "--format", "json").stdout)["exchanges"]["US"]
    assert (answer["is_complete"], answer["missing_bars"], answer["unmeasured_bars"]) == (False, 0, 1066)


def test_an_exchange_without_symbols_has_nothing_to_be_complete(run: Run) -> None:
    shown = run("census", "--update", "--exchange", "HK")
    assert (read_exit_code(shown), shown.stdout) == (0, "HK 30m: nothing is expected (0 symbols)\n")


def test_a_recount_says_whether_it_differed_and_mends_it(run: Run, database_url: str) -> None:
    assert read_exit_code(run("census", "--update")) == 0
    assert "recount: the census is that of the stored bars" in run("census", "--recount").stdout
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "UPDATE backfill.census_months SET final = final + 1, minute_squares = minute_squares + %s"
            " WHERE symbol_id = 1 AND month = '2026-04-01'",
            [(9 * 24 * 60 + 15 * 60) ** 2],
        )
    assert json.loads(run("census", "--format", "json").stdout)["exchanges"]["US"]["missing_bars"] == 0  # deceived
    found = run("census", "--recount", "--format", "json")
    assert read_exit_code(found) == 3
    (difference,) = json.loads(found.stdout)["recount"]
    assert (difference["symbol_id"], difference["month"]) == (1, "2026-04")
    assert difference["in_census"]["final"] - difference["in_store"]["final"] == 1
    assert json.loads(found.stdout)["exchanges"]["US"]["missing_bars"] == 1
    assert read_exit_code(run("census", "--recount")) == 0


def test_the_report_of_the_whole_history_has_a_row_a_symbol(run: Run) -> None:
    run("census", "--update")
    rows = json.loads(run("report", "--all", "--format", "json").stdout)
    assert [(row["symbol"], row["missing_bars"], row["oldest_missing_month"]) for row in rows] == [
        ("AAPL", 1, "2026-04"),
        ("MSFT", 0, None),
    ]
    shown = run("report", "--all").stdout
    assert "1 symbol complete" in shown
    assert "gaps by month, 2026-04 to 2026-06 (one character a month):" in shown
    assert "/··" in shown
    assert "| AAPL | 2026-04 | 559 | 558 |" in run("report", "--all", "--format", "markdown").stdout
    refused = run("report", "--all", "--start", "2026-04-01", "--symbols", "AAPL").exception
    assert isinstance(refused, UsageError)
    assert str(refused) == "--all is about the whole history of all symbols; leave out --start, --symbols"


def test_the_check_judges_only_where_a_first_day_is_set(run: Run, database: Database) -> None:
    run("census", "--update")
    settings = load_settings(as_of=NOW)
    source = INTERVALS["5m"]
    with database.transaction() as connection:
        coverage = measure_coverage(
            connection,
            list_symbols(connection, "US"),
            build_slot_grid(SESSIONS[-2:], INTERVALS["30m"]),
            source,
            settings.build_gap_rules(US, source),
            NOW,
        )
    failed = evaluate_history(database, settings, coverage)
    assert (failed.passed, failed.figure, failed.offenders) == (False, 1, ("AAPL.US",))
    assert failed.meaning.endswith("the oldest at 2026-04-10T15:00:00Z")
    without = evaluate_history(database, settings.model_copy(update={"history_from": None}), coverage)
    assert (without.passed, without.judged) == (True, False)
