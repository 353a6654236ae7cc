"""The commands ``bars`` and ``export``: formats, exit codes, what goes to which output."""

import io
import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from backfill_assets.cli import bar_rendering, main
from backfill_assets.cli.main import cli
from backfill_assets.config.settings import load_settings
from backfill_assets.errors import UsageError
from backfill_assets.reading import IncompleteBars
from backfill_assets.store.postgres.connection import Database
from backfill_assets_tests.conftest import NOW
from backfill_assets_tests.integration.reading_store import ReadingStore

MONDAY, TUESDAY = "2026-06-01", "2026-06-02"
BOTH = ("--start", MONDAY, "--end", TUESDAY)
ONE_DAY = ("--start", MONDAY, "--end", MONDAY)
Run = Callable[..., Result]


@pytest.fixture(scope="module")
def store(create_database: Callable[..., str], home: Path) -> str:
    """The address of a database with two sessions of AAPL and MSFT; NVDA lacks a bar."""
    url = create_database()
    database = Database(url)
    filled = ReadingStore(database, load_settings(home=home, as_of=NOW))
    for symbol, without in (("AAPL", ()), ("MSFT", ()), ("NVDA", (3,))):
        filled.add_complete_symbol(symbol, date(2026, 6, 1), date(2026, 6, 2), without=without, close_price=100 + 1 / 3)
    database.close()
    return url


@pytest.fixture
def run(store: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command in this process; its errors are raised."""
    monkeypatch.setenv("DATABASE_URL", store)
    monkeypatch.setenv("BACKFILL_AS_OF", "2026-06-03T14:00:00Z")

    def run_command(*words: Any) -> Result:
        return CliRunner().invoke(cli, [str(word) for word in words], catch_exceptions=True, standalone_mode=False)

    return run_command


def test_table_and_health(run: Run) -> None:
    """Dates are both included; the health goes to standard error."""
    result = run("bars", "AAPL", "MSFT", *BOTH)
    assert result.exception is None
    assert "2026-06-01T13:30:00Z" in result.stdout
    assert "… and 12 more rows; --format csv has all" in result.stdout
    assert "2 symbols, 2 sessions (2026-06-01 to 2026-06-02), 52 slots expected: 52 present" in result.stderr
    assert "slots expected" not in result.stdout


def test_csv_has_full_precision_and_iso_times(run: Run) -> None:
    result = run(
        "bars", "AAPL", *ONE_DAY, "--format", "csv", "--columns", "symbol,timestamp,slot_end,session,close,revised"
    )
    lines = result.stdout.splitlines()
    assert lines[0] == "symbol,timestamp,slot_end,session,close,revised"
    assert lines[1].startswith("AAPL.US,2026-06-01T13:30:00Z,2026-06-01T14:00:00Z,2026-06-01,")
    assert len(lines) == 14
    table = pa.ipc.open_stream(run("bars", "AAPL", *ONE_DAY, "--format", "arrow").stdout_bytes).read_all()
    assert [float(line.split(",")[4]) for line in lines[1:]] == table["close"].to_pylist()


def test_csv_is_the_same_in_pieces(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("bars", "AAPL", *BOTH, "--format", "csv")
    whole = run(*words).stdout
    monkeypatch.setattr(bar_rendering, "_CSV_ROWS", 5)
    assert run(*words).stdout == whole
    assert whole.count("\n") == 27


@pytest.mark.parametrize("options", [(), ("--grid",)])
def test_no_rows_have_the_same_types(run: Run, options: tuple[str, ...]) -> None:
    weekend = ("--start", "2026-05-30", "--end", "2026-05-31")
    empty, full = (
        pa.ipc.open_stream(run("bars", "MSFT", *window, *options, "--format", "arrow").stdout_bytes).read_all()
        for window in (weekend, ONE_DAY)
    )
    assert (empty.num_rows, full.num_rows) == (0, 13)
    assert empty.schema == full.schema


def test_binary_formats_are_pure(run: Run, tmp_path: Path) -> None:
    piped = run("bars", "AAPL", *ONE_DAY, "--format", "parquet")
    table = pq.read_table(io.BytesIO(piped.stdout_bytes))
    assert table.num_rows == 13
    file = tmp_path / "bars.parquet"
    written = run("bars", "AAPL", *ONE_DAY, "--format", "parquet", "--output", file)
    assert written.stdout == ""
    assert pd.read_parquet(file).equals(table.to_pandas())
    assert [path.name for path in tmp_path.iterdir()] == ["bars.parquet"]


def test_times_and_points_in_time(run: Run) -> None:
    window = (
        "--start",
        "2026-06-01T14:00Z",
        "--end",
        "2026-06-01T16:00:00+00:00",
        "--format",
        "csv",
        "--columns",
        "slot_end",
    )
    assert run("bars", "AAPL", *window).stdout.splitlines()[1:] == [
        *("2026-06-01T14:30:00Z", "2026-06-01T15:00:00Z", "2026-06-01T15:30:00Z", "2026-06-01T16:00:00Z"),
    ]
    shorter = run("bars", "AAPL", *window, "--point-in-time", "2026-06-01T15:00Z")
    assert shorter.stdout.splitlines()[1:] == ["2026-06-01T14:30:00Z"]
    grid = run("bars", "NVDA", *ONE_DAY, "--grid", "--require", "any", "--format", "csv", "--columns", "close,state")
    assert grid.stdout.splitlines()[4] == ",missing"


def test_known_at_gives_the_bars_that_the_store_had_then(run: Run) -> None:
    words = ("bars", "AAPL", *ONE_DAY, "--require", "any", "--format", "csv", "--columns", "close", "--known-at")
    before, after = run(*words, "2026-06-01T20:30Z"), run(*words, "2026-06-03T14:00Z")
    assert (len(before.stdout.splitlines()), len(after.stdout.splitlines())) == (1, 14)


def test_incomplete_bars_are_an_error(run: Run) -> None:
    refused = run("bars", "AAPL", "NVDA", *BOTH)
    assert isinstance(refused.exception, IncompleteBars)
    assert refused.exception.exit_code == 3
    assert refused.stdout == ""
    assert refused.exception.problems[0].command == "backfill-assets why NVDA 2026-06-01"
    hourly = run("bars", "NVDA", *ONE_DAY, "--interval", "1h")
    assert isinstance(hourly.exception, IncompleteBars)
    assert hourly.exception.problems[0].command == "backfill-assets why NVDA 2026-06-01 --interval 1h"
    dropped = run("bars", "AAPL", "NVDA", *BOTH, "--on-incomplete", "drop", "--format", "csv")
    assert len(dropped.stdout.splitlines()) == 27
    assert "NVDA.US" in dropped.stderr


def test_the_message_names_each_problem_once(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["backfill-assets", "bars", "AAPL", "NVDA", *BOTH])
    assert main._run_cli(debug=False) == 3
    assert capsys.readouterr().err.splitlines() == [
        "error: the bars are not complete: 1 slot in 1 session of 1 symbol",
        "  NVDA.US 2026-06-01: 1 slot missing (15:00 UTC); backfill-assets why NVDA 2026-06-01",
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "name the symbols or give --universe"),
        (("AAPL", "--universe", "all"), "name the symbols or give --universe"),
        (("AAPL", "--columns", " , "), "--columns is empty"),
        (("AAPL", "--columns", "price"), "unknown columns: price"),
        (("AAPL", "--output", "x"), "--output needs --format"),
        (("NOPE",), "NOPE.US"),
        (("AAPL", "--end", "9999-12-31"), "is after the last day of the calendar"),
        (("AAPL", "--format", "csv", "--output", "/nowhere/x.csv"), "/nowhere/x.csv cannot be written"),
    ],
)
def test_wrong_options(run: Run, words: tuple[str, ...], message: str) -> None:
    refused = run("bars", *ONE_DAY, *words)
    assert isinstance(refused.exception, UsageError)
    assert message in str(refused.exception)


def test_times_need_a_zone(run: Run) -> None:
    refused = run("bars", "AAPL", "--start", "2026-06-01T09:30", "--end", MONDAY)
    assert "has no time zone; for UTC: 2026-06-01T09:30:00Z" in str(refused.exception)


def test_export(run: Run, tmp_path: Path) -> None:
    first = run("export", "--dir", tmp_path, *BOTH)
    assert first.return_value == 3
    assert "1 sessions written, 0 unchanged" in first.stdout
    assert "not exported: NVDA.US 2026-06-01: 1 slot missing" in first.stdout
    again = run("export", "--dir", tmp_path, *BOTH, "--format", "json")
    described = json.loads(again.stdout)
    assert (described["written"], described["unchanged"]) == ([], [TUESDAY])
    assert list(described["incomplete"]) == [MONDAY]
