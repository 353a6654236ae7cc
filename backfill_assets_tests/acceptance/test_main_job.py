"""The commands from an empty database to a verified one, and their errors."""

import json
import signal
import subprocess
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import psycopg
import pytest

from backfill_assets.sandbox.config import Publication
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.postgres.connection import Database
from backfill_assets_tests.acceptance.conftest import TOKEN, CommandResult, User
from backfill_assets_tests.conftest import read_recorded_bars, read_stored_bars
from backfill_assets_tests.embedded_server import release_embedded_server
from backfill_assets_tests.integration.forwarding_proxy import run_blocking_proxy
from backfill_assets_tests.waiting import LONGEST_SECONDS, wait_until

MakeUser = Callable[..., User]
StartSandbox = Callable[..., Sandbox]
FIVE_SYMBOLS = "AAPL MSFT AMZN TSLA VTI"


@pytest.mark.parametrize(
    ("day", "source"),
    [
        ("2026-06-01", "5m"),
        ("2025-01-15", "1m"),
    ],
)
def test_recorded_session_is_stored_as_its_recorded_bars(
    make_user: MakeUser, database: Database, replay_folder: Path, day: str, source: str
) -> None:
    user = make_user(BACKFILL_SOURCE_INTERVAL=source)
    with user.start_cli(f"sandbox --port 0 --replay {replay_folder}") as sandbox:
        assert sandbox.stdout is not None
        url = sandbox.stdout.readline().split()[-1]
        user.run_cli("symbols add AAPL")
        result = user.run_cli(f"run --start {day} --end {day}", EODHD_BASE_URL=url)
        sandbox.send_signal(signal.SIGTERM)
        sandbox.wait(LONGEST_SECONDS)
    assert result.code == 0, result.err
    assert read_stored_bars(database, "AAPL") == [tuple(bar.values()) for bar in read_recorded_bars(f"AAPL_30m_{day}")]


def test_run_fills_an_empty_database_and_verify_passes(make_user: MakeUser, start_sandbox: StartSandbox) -> None:
    user = make_user(start_sandbox())
    assert user.run_cli(f"symbols add {FIVE_SYMBOLS}").out == "5 added or reactivated, 0 were active already\n"
    assert user.run_cli("symbols list").out.split() == sorted(f"{s}.US" for s in FIVE_SYMBOLS.split())

    before = user.run_cli("report --format json")
    assert sum(s["estimated_missing_bars"] for s in before.json) == 5 * 26
    plan = user.run_cli("plan --format json").json
    assert (plan["requests"], plan["calls"], plan["lower_bound_calls"]) == (5, 25, 25)

    run_result = user.run_cli("run")
    assert run_result.code == 0
    assert "130 missing before, 0 after, 100.0% closed" in run_result.out
    assert "daily data: 5 symbols, splits of 5 symbols, dividends of 5 symbols\n" in run_result.out
    assert "stored 26" in run_result.err  # outcomes of tickers are printed with the progress

    after = user.run_cli("report --format json")
    assert [s for s in after.json if s["estimated_missing_bars"] > 0] == []
    verified = user.run_cli("verify --format json")
    assert verified.code == 0
    assert all(c["passed"] for c in verified.json)
    status = user.run_cli("status --format json").json
    assert status["newest_bar"] == "2026-06-02T19:30:00Z"
    assert status["budget"]["calls_spent_by_us_today"] == 25 + 5 + 5 + 5  # bars, daily rows, splits, dividends


def test_report_fields_are_the_documented_ones(make_user: MakeUser, start_sandbox: StartSandbox) -> None:
    user = make_user(start_sandbox())
    user.run_cli("symbols add AAPL")
    user.run_cli("run --quiet")
    (row,) = user.run_cli("report --format json").json
    expected = {
        "symbol": "AAPL",
        "exchange": "US",
        "interval": "30m",
        "bar_count": 26,
        "first_timestamp": "2026-06-01T13:30:00Z",
        "last_timestamp": "2026-06-02T19:30:00Z",
        "estimated_missing_bars": 0,
        "expected_bars": 39,
        "pending_bars": 13,
        "no_trade_bars": 0,
        "vendor_gap_bars": 0,
        "provisional_bars": 0,
        "completeness": 1.0,
    }
    assert {name: row[name] for name in expected} == expected
    assert user.run_cli("report --format csv").out.splitlines()[1].startswith("AAPL,US,30m,26,2026-06-01T13:30:00Z")
    assert "| AAPL | 26 | 39 | 0 |" in user.run_cli("report --format markdown").out


def test_report_is_written_to_a_file(make_user: MakeUser, tmp_path: Path) -> None:
    user = make_user()
    user.run_cli("symbols add AAPL")
    assert user.run_cli(f"report --format json --output {tmp_path / 'r.json'}").out == ""
    with (tmp_path / "r.json").open() as f:
        assert sum(s["estimated_missing_bars"] for s in json.load(f)) == 26


def test_default_window_on_monday_is_thursday_and_friday(make_user: MakeUser, start_sandbox: StartSandbox) -> None:
    user = make_user(start_sandbox(), now=datetime(2026, 6, 8, 12, 0, tzinfo=UTC))
    user.run_cli("symbols add AAPL")
    assert "2026-06-04, 2026-06-05" in user.run_cli("report").out
    assert user.run_cli("report --format json").json[0]["expected_bars"] == 26


@pytest.mark.parametrize(
    ("start", "end"),
    [("2026-06-05", "2026-06-09"), ("2026-05-25", "2026-05-25"), ("2026-05-30", "2026-05-31")],
    ids=["future", "holiday", "weekend"],
)
@pytest.mark.parametrize("command", ["run", "report", "plan", "verify"])
def test_window_without_a_due_session_exits_with_0(make_user: MakeUser, command: str, start: str, end: str) -> None:
    user = make_user()
    user.run_cli("symbols add AAPL")
    result = user.run_cli(f"{command} --start {start} --end {end}")
    assert (result.code, "no session due" in result.out) == (0, True)


def test_half_day_after_thanksgiving_has_seven_slots(
    make_user: MakeUser, start_sandbox: StartSandbox, database: Database
) -> None:
    now = datetime(2026, 11, 30, 15, 0, tzinfo=UTC)
    user = make_user(start_sandbox(now=now), now=now)
    user.run_cli("symbols add AAPL")
    assert user.run_cli("run --start 2026-11-26 --end 2026-11-27").code == 0
    assert len(read_stored_bars(database, "AAPL")) == 7


def test_small_batches_with_a_delay_store_every_bar(make_user: MakeUser, start_sandbox: StartSandbox) -> None:
    user = make_user(start_sandbox())
    user.run_cli(f"symbols add {FIVE_SYMBOLS}")
    result = user.run_cli("run --batch-size 2 --delay 0.01 --format json")
    assert (result.code, result.json["stored"]) == (0, 130)


def test_unknown_ticker_does_not_stop_the_others(
    make_user: MakeUser, start_sandbox: StartSandbox, database: Database
) -> None:
    user = make_user(start_sandbox())
    user.run_cli("symbols add AAPL NOSUCH")
    result = user.run_cli("run")
    assert result.code == 3
    assert "NOSUCH.US" in result.out
    assert len(read_stored_bars(database, "AAPL")) == 26


def test_symbol_outside_the_universe_is_named(make_user: MakeUser, start_sandbox: StartSandbox) -> None:
    user = make_user(start_sandbox())
    user.run_cli("symbols add AAPL")
    result = user.run_cli("run --symbols AAPL,MSFT.US")
    assert (result.code, "MSFT.US is not active in the universe" in result.err) == (3, True)


INVALID_COMMANDS = [
    ("run", "there are no active symbols"),
    ("report", "there are no active symbols"),
    ("symbols add", "no symbols given"),
    ("symbols add AAPL.XYZ", "exchange 'XYZ' is not supported"),
    ("symbols add BRK.B", "BRK-B"),
    ("symbols add AA/PL", "is not a symbol"),
    ("symbols sync --exchange XYZ", "exchange 'XYZ' is not supported"),
    ("symbols sync --exchange LSE", "exchange LSE is not collected, only US"),
    ("report --start 2026-06-02 --end 2026-06-01", "is after --end"),
    ("report --start 2026-06-02", "belong together"),
    ("report --hours-back 4 --start 2026-06-02 --end 2026-06-02", "not both"),
    ("report --hours-back -4", "--hours-back"),
    ("report --interval 2h", "unknown interval '2h'"),
    ("report --as-of 2026-06-02T10:00:00", "has no time zone"),
    ("report --start yesterday --end today", "is not a date"),
    ("run --delay 5", "add --batch-size"),
    ("run --batch-size 0", "batch-size"),
    ("run --strategy best", "strategy"),
    ("sandbox --latency-ms 9-1", "is not a range of milliseconds"),
    ("nonsense", "nonsense"),
]


@pytest.mark.parametrize(("command", "message"), INVALID_COMMANDS, ids=[c for c, _ in INVALID_COMMANDS])
def test_invalid_command_line_is_refused(make_user: MakeUser, command: str, message: str) -> None:
    user = make_user()
    if command.split()[0] in {"report", "run"} and command not in {"run", "report"}:
        user.run_cli("symbols add AAPL")
    result = user.run_cli(command)
    assert result.code == 2
    assert message in result.err
    assert "Traceback" not in result.err


def test_invalid_setting_is_named(make_user: MakeUser) -> None:
    result = make_user().run_cli("report", EODHD_REQUESTS_PER_MINUTE="many")
    assert (result.code, "EODHD_REQUESTS_PER_MINUTE is 'many'" in result.err) == (2, True)


def test_without_a_token_report_works_and_run_exits_with_4(make_user: MakeUser) -> None:
    user = make_user()
    user.run_cli("symbols add AAPL")
    assert user.run_cli("report", EODHD_API_TOKEN=None).code == 0
    result = user.run_cli("run", EODHD_API_TOKEN=None)
    assert (result.code, "EODHD_API_TOKEN" in result.err) == (4, True)


def test_refused_token_ends_the_run(make_user: MakeUser, start_sandbox: StartSandbox) -> None:
    user = make_user(start_sandbox(tokens=frozenset({"another"})))
    user.run_cli("symbols add AAPL")
    result = user.run_cli("run")
    assert result.code == 4
    assert "check EODHD_API_TOKEN" in result.out


def test_tickers_beyond_the_daily_calls_are_requested_the_next_day(
    make_user: MakeUser, start_sandbox: StartSandbox, database: Database
) -> None:
    sandbox = start_sandbox(daily=20)
    user = make_user(sandbox, BACKFILL_COLLECTOR_RESERVE="0.25")
    user.run_cli(f"symbols add {FIVE_SYMBOLS}")
    result = user.run_cli("run")
    assert result.code == 4
    assert "2 tickers not requested" in result.out
    assert "2026-06-04 00:00 UTC" in result.out
    assert sandbox.stats()["calls"] == 15
    assert sum(len(read_stored_bars(database, s)) for s in FIVE_SYMBOLS.split()) == 3 * 26
    sandbox.move_clock(datetime(2026, 6, 4, 14, 0, tzinfo=UTC))
    next_day = user.run_cli("run --start 2026-06-01 --end 2026-06-02", BACKFILL_AS_OF="2026-06-04T14:00:00Z")
    assert (next_day.code, sandbox.stats()["calls"]) == (0, 15 + 15)  # two tickers, and five daily rows


def test_unreachable_database_is_named_without_its_password(make_user: MakeUser) -> None:
    result = make_user(DATABASE_URL="postgresql://reader:secret@127.0.0.1:9/bars").run_cli("report")
    assert result.code == 5
    assert "database 'bars' at 127.0.0.1:9" in result.err
    assert "secret" not in result.err


def test_text_that_is_not_a_database_url_is_refused(make_user: MakeUser) -> None:
    result = make_user(DATABASE_URL="not a url").run_cli("report")
    assert (result.code, "DATABASE_URL" in result.err) == (5, True)


def test_unreachable_vendor_ends_with_exit_code_6(make_user: MakeUser) -> None:
    user = make_user(BACKFILL_ATTEMPTS="1")
    user.run_cli("symbols add AAPL")
    result = user.run_cli("run")
    assert (result.code, "check the network and EODHD_BASE_URL" in result.out) == (6, True)


def test_token_is_neither_printed_nor_stored(
    make_user: MakeUser, start_sandbox: StartSandbox, database_url: str, home: Path
) -> None:
    user = make_user(start_sandbox())
    user.run_cli("symbols add AAPL NOSUCH")
    results = [user.run_cli(f"{command} --debug") for command in ("run", "status", "report", "verify")]
    results += [make_user().run_cli("run --debug --force", BACKFILL_ATTEMPTS="1")]
    assert not [s for s in results if TOKEN in s.out + s.err]
    assert not [s for s in results if "Traceback" in s.err]
    with psycopg.connect(database_url) as connection:
        tables = connection.execute(
            "SELECT schemaname || '.' || tablename FROM pg_tables WHERE schemaname IN ('public', 'backfill')"
        ).fetchall()
        for (table,) in tables:
            rows = connection.execute(f"SELECT t::text FROM {table} t".encode()).fetchall()
            assert not [row for row in rows if TOKEN in row[0]], table


ONE_REQUEST_AT_A_TIME = {
    **{"BACKFILL_IN_FLIGHT_START": "1", "BACKFILL_IN_FLIGHT_MAX": "1"},
    "BACKFILL_STOP_SECONDS": "0.1",  # the proxy never answers
}


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_run_stores_fetched_bars(
    make_user: MakeUser, start_sandbox: StartSandbox, database: Database, signal_number: signal.Signals
) -> None:
    sandbox = start_sandbox()
    user = make_user(sandbox)
    user.run_cli(f"symbols add {FIVE_SYMBOLS}")
    with (
        run_blocking_proxy(sandbox.base_url, 2) as (url, _),
        user.start_cli("run", EODHD_BASE_URL=url, **ONE_REQUEST_AT_A_TIME) as run,
    ):
        _wait_for_first_bar(run, database)
        run.send_signal(signal_number)
        _, err = run.communicate(timeout=LONGEST_SECONDS)
    assert run.returncode == 130
    assert "the next run continues from there" in err
    _check_next_run_requests_only_unfinished_tickers(user, sandbox, database)


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_ends_the_run_after_fetched_bars_are_stored(
    make_user: MakeUser, start_sandbox: StartSandbox, database: Database, signal_number: signal.Signals
) -> None:
    """Another session locks market_data until all responses wait to be stored; none is lost."""
    sandbox = start_sandbox()
    user = make_user(sandbox)
    user.run_cli(f"symbols add {FIVE_SYMBOLS}")
    with database.transaction() as other_session:
        other_session.execute("LOCK TABLE market_data IN SHARE MODE")  # blocks writes only
        run = user.start_cli("run")
        _wait_for_state(lambda: _count_rows(database, "backfill.requests WHERE ticker IS NOT NULL") == 5, run)
        _wait_for_state(lambda: _count_rows(database, "pg_locks WHERE NOT granted") > 0, run)
        run.send_signal(signal_number)
    _, err = run.communicate(timeout=LONGEST_SECONDS)
    assert (run.returncode, "the next run continues from there" in err) == (130, True)
    assert [len(read_stored_bars(database, symbol)) for symbol in FIVE_SYMBOLS.split()] == [26] * 5
    repeated = user.run_cli("run --format json")
    assert (repeated.code, repeated.json["requests"]) == (0, 0)


def _count_rows(database: Database, source: str) -> int:
    with database.transaction() as connection:
        row = connection.execute(f"SELECT count(*) FROM {source}".encode()).fetchone()
    return int(row[0]) if row else 0


def _wait_for_state(condition: Callable[[], bool], run: "subprocess.Popen[str]") -> None:
    wait_until(lambda: condition() or run.poll() is not None, "a state of the run")
    assert run.poll() is None, run.communicate()


def test_killed_run_loses_only_requests_in_flight(
    make_user: MakeUser, start_sandbox: StartSandbox, database: Database
) -> None:
    sandbox = start_sandbox()
    user = make_user(sandbox)
    user.run_cli(f"symbols add {FIVE_SYMBOLS}")
    with (
        run_blocking_proxy(sandbox.base_url, 2) as (url, _),
        user.start_cli("run", EODHD_BASE_URL=url, **ONE_REQUEST_AT_A_TIME) as run,
    ):
        _wait_for_first_bar(run, database)
        run.kill()
    _check_next_run_requests_only_unfinished_tickers(user, sandbox, database)


def _wait_for_first_bar(run: "subprocess.Popen[str]", database: Database) -> None:
    _wait_for_state(lambda: _count_rows(database, "market_data") > 0, run)


def _check_next_run_requests_only_unfinished_tickers(user: User, sandbox: Sandbox, database: Database) -> None:
    done = {s for s in FIVE_SYMBOLS.split() if len(read_stored_bars(database, s)) == 26}
    assert 0 < len(done) < 5
    requests_before = {t: n for t, n in sandbox.stats()["per_ticker"].items() if t.split(".")[0] in done}
    result: CommandResult = user.run_cli("run --format json")
    assert (result.code, result.json["calls"]) == (0, 5 * (5 - len(done)))
    requests_after = {t: n for t, n in sandbox.stats()["per_ticker"].items() if t.split(".")[0] in done}
    assert requests_after == requests_before


def test_bars_missing_at_the_vendor_are_named_with_the_reason(make_user: MakeUser, start_sandbox: StartSandbox) -> None:
    publication = Publication(never_published=frozenset({("MSFT", date(2026, 6, 2))}))
    user = make_user(start_sandbox(publication=publication))
    user.run_cli("symbols add AAPL MSFT")
    result = user.run_cli("run")
    assert (result.code, "13 not available from the vendor (missing)" in result.out) == (3, True)
    verified = user.run_cli("verify --format json")
    failed = {c["name"]: c["offenders"] for c in verified.json if not c["passed"]}
    assert (verified.code, failed["no_missing_bars"]) == (3, ["MSFT.US (13)"])


def test_help_lists_the_commands_and_version_exits_with_0(make_user: MakeUser) -> None:
    user = make_user()
    for command in ("report", "plan", "run", "verify", "status", "sandbox", "demo", "symbols"):
        assert f"  {command}" in user.run_cli("--help").out
    assert user.run_cli("--version").code == 0


def test_demo_fills_gaps_of_the_sandbox(make_user: MakeUser, tmp_path: Path) -> None:
    unset = {"DATABASE_URL": "", "EODHD_API_TOKEN": "", "EODHD_BASE_URL": ""}
    user = make_user(**unset, EODHD_SOURCE_HOST="eodhd.com", BACKFILL_HOME=str(tmp_path / "home"))
    with user.start_cli("demo") as demo:
        out, err = demo.communicate(timeout=LONGEST_SECONDS)
    assert demo.returncode == 0, err
    assert "using the bundled sandbox. Its bars are simulated" in out
    for kind in ("head", "interior", "tail", "everything", "thin"):
        assert kind in out
    assert "% closed" in out
    status = user.run_cli("status", EODHD_SOURCE_HOST="", EODHD_BASE_URL="http://127.0.0.1:9").out
    assert "30 active" in status  # the sandbox's database, whatever vendor the settings name
    release_embedded_server(tmp_path / "home")
    assert _list_servers(tmp_path) == []


def _list_servers(folder: Path) -> list[str]:
    processes = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)  # noqa: S607
    return [line for line in processes.stdout.splitlines() if str(folder) in line and "postgres" in line]


def test_secret_in_an_address_is_not_printed(make_user: MakeUser) -> None:
    result = make_user().run_cli("report", EODHD_BASE_URL="https://eodhd.com/api?api_token=hush-hush")
    assert (result.code, "EODHD_BASE_URL" in result.err, "hush" in result.err) == (2, True, False)
    invalid_urls = (
        "user:p@ss@hush@127.0.0.1:9/db",
        "user:hush/db",
        "user:p/hush@127.0.0.1:9/db",
        "u:hush@127.0.0.1:x/db",
    )
    for address in invalid_urls:
        result = make_user().run_cli("report", DATABASE_URL=f"postgresql://{address}")
        assert (result.code, "DATABASE_URL" in result.err, "hush" in result.err) == (5, True, False)


def test_sandbox_bars_do_not_overwrite_vendor_bars(
    make_user: MakeUser, start_sandbox: StartSandbox, database: Database
) -> None:
    user = make_user(start_sandbox())
    user.run_cli("symbols add AAPL")
    user.run_cli("run")
    with database.transaction() as connection:
        connection.execute("UPDATE market_data SET source = 'eodhd.com', close_price = high_price, fetched_at = now()")
    before = read_stored_bars(database, "AAPL")
    result = user.run_cli("run --force --format json")
    assert result.json["written"]["protected"] == 26
    assert read_stored_bars(database, "AAPL") == before


def test_file_that_cannot_be_written_is_a_usage_error(make_user: MakeUser) -> None:
    user = make_user()
    user.run_cli("symbols add AAPL")
    result = user.run_cli("report --output /nonexistent/report.txt")
    assert (result.code, "--output /nonexistent/report.txt cannot be written" in result.err) == (2, True)


def test_time_outside_the_calendar_is_a_usage_error(make_user: MakeUser) -> None:
    result = make_user().run_cli("report --as-of 0001-01-01T00:00:00Z")
    assert (result.code, "must lie between 2004 and 2099" in result.err) == (2, True)


def test_why_shows_the_state_of_a_slot_its_evidence_and_the_next_request(
    make_user: MakeUser, start_sandbox: StartSandbox
) -> None:
    publication = Publication(never_published=frozenset({("MSFT", date(2026, 6, 2))}))
    user = make_user(start_sandbox(publication=publication))
    user.run_cli("symbols add AAPL MSFT")
    assert "never requested" in user.run_cli("why MSFT 2026-06-02").out
    user.run_cli("run --quiet")
    explanation = user.run_cli("why MSFT.US 2026-06-02 --format json").json
    assert {s["state"] for s in explanation["slots"]} == {"missing"}
    assert {s["ask_again"] for s in explanation["slots"]} == {"2026-06-03T15:00:00Z"}
    assert any("requested 1 time" in sentence and "no rows" in sentence for sentence in explanation["evidence"])
    assert "daily data: traded on that day" in explanation["evidence"]
    daily = explanation["daily"]
    assert daily["low"] <= min(daily["open"], daily["close"]) <= max(daily["open"], daily["close"]) <= daily["high"]
    assert (daily["volume"] > 0, daily["read_at"], daily["is_settled"], daily["revisions"]) == (
        True,
        "2026-06-03T14:00:00Z",
        True,
        [],
    )
    assert f"close {daily['close']:.10g}, " in explanation["evidence"][-1]
    assert explanation["evidence"][-1].endswith("; read 2026-06-03T14:00:00Z, not revised")
    assert user.run_cli("why AAPL 2026-06-02 --format json").json["daily"]["is_settled"]  # as every morning
    live_result = user.run_cli("why AAPL 2026-06-02 --ask")
    assert "the vendor returns now: 13 of 13 bars" in live_result.out
    assert live_result.out.count("present") == 13
    assert "no session due" in user.run_cli("why AAPL 2026-05-30").out
    assert user.run_cli("why NOSUCH 2026-06-02").code == 2


def test_symbols_are_added_from_vendor_file_and_command_line(
    make_user: MakeUser, start_sandbox: StartSandbox, tmp_path: Path
) -> None:
    user = make_user(start_sandbox(symbols=40))
    synced = user.run_cli("symbols sync --exchange us --type etf")
    assert synced.code == 0, synced.err
    assert "listed by the vendor" in synced.out
    assert "VTI.US" in user.run_cli("symbols list").out
    (tmp_path / "symbols").write_text("aapl  # comment\nMSFT, BRK-B\n\nAAPL\n")
    assert (
        user.run_cli(f"symbols add --file {tmp_path / 'symbols'}").out
        == "3 added or reactivated, 0 were active already\n"
    )
    assert user.run_cli("symbols deactivate MSFT").out == "1 deactivated, 0 were not active\n"
    assert "MSFT.US" not in user.run_cli("symbols list").out
    assert "MSFT.US  inactive" in user.run_cli("symbols list --all").out
    assert user.run_cli("symbols add MSFT").out == "1 added or reactivated, 0 were active already\n"


INVALID_SYMBOL_FILES = {"empty": b"", "comments": b"# nothing\n", "binary": b"\xff\xfe\x00", "huge": b"A\n" * 600_000}


@pytest.mark.parametrize("content", INVALID_SYMBOL_FILES.values(), ids=INVALID_SYMBOL_FILES)
def test_invalid_symbols_file_is_refused(make_user: MakeUser, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "symbols").write_bytes(content)
    result = make_user().run_cli(f"symbols add --file {tmp_path / 'symbols'}")
    assert (result.code, f"--file {tmp_path / 'symbols'}" in result.err) == (2, True)


def test_tables_show_the_same_figures_as_json(make_user: MakeUser, start_sandbox: StartSandbox) -> None:
    user = make_user(start_sandbox(symbols=30))
    user.run_cli("symbols add " + " ".join(start_sandbox(symbols=30).world.symbols))
    plan = user.run_cli("plan").out
    assert "30 requests · 150 calls (lower bound 150) · 780 slots" in plan
    user.run_cli("run --quiet --symbols AAPL,MSFT")
    report = user.run_cli("report").out
    assert "728 bars missing in 28 of 30 symbols · 1,170 expected · 390 pending" in report
    assert "2 symbols have no missing bars" in report
    status = user.run_cli("status").out
    assert "30 active · 0 inactive" in status
    assert "728 bars of 28 symbols" in status
    verify = user.run_cli("verify")
    assert "FAIL  no_missing_bars: 728 bars are missing in 28 symbols" in verify.out
