"""The commands from an empty database to a verified one, and the errors on the way."""

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
from backfill_assets_tests.conftest import bars_in, recorded_bars
from backfill_assets_tests.embedded_server import release_embedded_server
from backfill_assets_tests.integration.forwarding_proxy import run_blocking_proxy
from backfill_assets_tests.waiting import LONGEST_SECONDS, wait_until

UserOf = Callable[..., User]
Sandboxed = Callable[..., Sandbox]
FIVE = "AAPL MSFT AMZN TSLA VTI"


@pytest.mark.parametrize(
    ("day", "source"),
    [
        ("2026-06-01", "5m"),
        ("2025-01-15", "1m"),
    ],
)
def test_recorded_session_gives_exactly_its_bars(
    user_of: UserOf, database: Database, replay_folder: Path, day: str, source: str
) -> None:
    user = user_of(BACKFILL_SOURCE_INTERVAL=source)
    with user.starts(f"sandbox --port 0 --replay {replay_folder}") as sandbox:
        assert sandbox.stdout is not None
        url = sandbox.stdout.readline().split()[-1]
        user.types("symbols add AAPL")
        said = user.types(f"run --start {day} --end {day}", EODHD_BASE_URL=url)
        sandbox.send_signal(signal.SIGTERM)
        sandbox.wait(LONGEST_SECONDS)
    assert said.code == 0, said.err
    assert bars_in(database, "AAPL") == [tuple(bar.values()) for bar in recorded_bars(f"AAPL_30m_{day}")]


def test_commands_from_an_empty_database_to_a_verified_one(user_of: UserOf, sandboxed: Sandboxed) -> None:
    user = user_of(sandboxed())
    assert user.types(f"symbols add {FIVE}").out == "5 added or reactivated, 0 were active already\n"
    assert user.types("symbols list").out.split() == sorted(f"{s}.US" for s in FIVE.split())

    before = user.types("report --format json")
    assert sum(s["estimated_missing_bars"] for s in before.json) == 5 * 26
    plan = user.types("plan --format json").json
    assert (plan["requests"], plan["calls"], plan["lower_bound_calls"]) == (5, 25, 25)

    ran = user.types("run")
    assert ran.code == 0
    assert "130 missing before, 0 after, 100.0% closed" in ran.out
    assert "stored 26" in ran.err  # each ticker's outcome goes beside the progress bar

    after = user.types("report --format json")
    assert [s for s in after.json if s["estimated_missing_bars"] > 0] == []
    verified = user.types("verify --format json")
    assert verified.code == 0
    assert all(c["passed"] for c in verified.json)
    status = user.types("status --format json").json
    assert status["newest_bar"] == "2026-06-02T19:30:00Z"
    assert status["budget"]["calls_spent_by_us_today"] == 25


def test_report_fields_are_the_documented_ones(user_of: UserOf, sandboxed: Sandboxed) -> None:
    user = user_of(sandboxed())
    user.types("symbols add AAPL")
    user.types("run --quiet")
    (row,) = user.types("report --format json").json
    wanted = {
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
    assert {name: row[name] for name in wanted} == wanted
    assert user.types("report --format csv").out.splitlines()[1].startswith("AAPL,US,30m,26,2026-06-01T13:30:00Z")
    assert "| AAPL | 26 | 39 | 0 |" in user.types("report --format markdown").out


def test_report_is_written_to_a_file(user_of: UserOf, tmp_path: Path) -> None:
    user = user_of()
    user.types("symbols add AAPL")
    assert user.types(f"report --format json --output {tmp_path / 'r.json'}").out == ""
    with (tmp_path / "r.json").open() as f:
        assert sum(s["estimated_missing_bars"] for s in json.load(f)) == 26


def test_default_window_on_monday_is_thursday_and_friday(user_of: UserOf, sandboxed: Sandboxed) -> None:
    user = user_of(sandboxed(), now=datetime(2026, 6, 8, 12, 0, tzinfo=UTC))
    user.types("symbols add AAPL")
    assert "2026-06-04, 2026-06-05" in user.types("report").out
    assert user.types("report --format json").json[0]["expected_bars"] == 26


@pytest.mark.parametrize(
    ("start", "end"),
    [("2026-06-05", "2026-06-09"), ("2026-05-25", "2026-05-25"), ("2026-05-30", "2026-05-31")],
    ids=["future", "holiday", "weekend"],
)
@pytest.mark.parametrize("command", ["run", "report", "plan", "verify"])
def test_no_session_due_is_no_error(user_of: UserOf, command: str, start: str, end: str) -> None:
    user = user_of()
    user.types("symbols add AAPL")
    said = user.types(f"{command} --start {start} --end {end}")
    assert (said.code, "no session due" in said.out) == (0, True)


def test_half_day_after_thanksgiving_has_seven_slots(user_of: UserOf, sandboxed: Sandboxed, database: Database) -> None:
    now = datetime(2026, 11, 30, 15, 0, tzinfo=UTC)
    user = user_of(sandboxed(now=now), now=now)
    user.types("symbols add AAPL")
    assert user.types("run --start 2026-11-26 --end 2026-11-27").code == 0
    assert len(bars_in(database, "AAPL")) == 7


def test_small_batches_with_a_pause(user_of: UserOf, sandboxed: Sandboxed) -> None:
    user = user_of(sandboxed())
    user.types(f"symbols add {FIVE}")
    said = user.types("run --batch-size 2 --delay 0.01 --format json")
    assert (said.code, said.json["stored"]) == (0, 130)


def test_unknown_ticker_does_not_stop_the_others(user_of: UserOf, sandboxed: Sandboxed, database: Database) -> None:
    user = user_of(sandboxed())
    user.types("symbols add AAPL NOSUCH")
    said = user.types("run")
    assert said.code == 3
    assert "NOSUCH.US" in said.out
    assert len(bars_in(database, "AAPL")) == 26


def test_a_symbol_outside_the_universe_is_named(user_of: UserOf, sandboxed: Sandboxed) -> None:
    user = user_of(sandboxed())
    user.types("symbols add AAPL")
    said = user.types("run --symbols AAPL,MSFT.US")
    assert (said.code, "MSFT.US is not active in the universe" in said.err) == (3, True)


BAD_WORDS = [
    ("run", "there are no active symbols"),
    ("report", "there are no active symbols"),
    ("symbols add", "no symbols given"),
    ("symbols add AAPL.LSE", "exchange 'LSE' is not supported"),
    ("symbols add BRK.B", "BRK-B"),
    ("symbols add AA/PL", "is not a symbol"),
    ("symbols sync --exchange LSE", "exchange 'LSE' is not supported"),
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


@pytest.mark.parametrize(("command", "message"), BAD_WORDS, ids=[c for c, _ in BAD_WORDS])
def test_invalid_command_line_is_refused(user_of: UserOf, command: str, message: str) -> None:
    user = user_of()
    if command.split()[0] in {"report", "run"} and command not in {"run", "report"}:
        user.types("symbols add AAPL")
    said = user.types(command)
    assert said.code == 2
    assert message in said.err
    assert "Traceback" not in said.err


def test_invalid_setting_is_named(user_of: UserOf) -> None:
    said = user_of().types("report", EODHD_REQUESTS_PER_MINUTE="many")
    assert (said.code, "EODHD_REQUESTS_PER_MINUTE is 'many'" in said.err) == (2, True)


def test_without_a_token(user_of: UserOf) -> None:
    user = user_of()
    user.types("symbols add AAPL")
    assert user.types("report", EODHD_API_TOKEN=None).code == 0
    said = user.types("run", EODHD_API_TOKEN=None)
    assert (said.code, "EODHD_API_TOKEN" in said.err) == (4, True)


def test_refused_token_ends_the_run(user_of: UserOf, sandboxed: Sandboxed) -> None:
    user = user_of(sandboxed(tokens=frozenset({"another"})))
    user.types("symbols add AAPL")
    said = user.types("run")
    assert said.code == 4
    assert "check EODHD_API_TOKEN" in said.out


def test_tickers_left_when_the_daily_calls_are_spent_follow_the_next_day(
    user_of: UserOf, sandboxed: Sandboxed, database: Database
) -> None:
    sandbox = sandboxed(daily=20)
    user = user_of(sandbox, BACKFILL_COLLECTOR_RESERVE="0.25")
    user.types(f"symbols add {FIVE}")
    said = user.types("run")
    assert said.code == 4
    assert "2 tickers not requested" in said.out
    assert "2026-06-04 00:00 UTC" in said.out
    assert sandbox.stats()["calls"] == 15
    assert sum(len(bars_in(database, s)) for s in FIVE.split()) == 3 * 26
    sandbox.move_clock(datetime(2026, 6, 4, 14, 0, tzinfo=UTC))
    tomorrow = user.types("run --start 2026-06-01 --end 2026-06-02", BACKFILL_AS_OF="2026-06-04T14:00:00Z")
    assert (tomorrow.code, sandbox.stats()["calls"]) == (0, 25)


def test_unreachable_database_is_named_without_its_password(user_of: UserOf) -> None:
    said = user_of(DATABASE_URL="postgresql://nobody:secret@127.0.0.1:9/bars").types("report")
    assert said.code == 5
    assert "database 'bars' at 127.0.0.1:9" in said.err
    assert "secret" not in said.err


def test_text_that_is_not_a_database_url_is_refused(user_of: UserOf) -> None:
    said = user_of(DATABASE_URL="not a url").types("report")
    assert (said.code, "DATABASE_URL" in said.err) == (5, True)


def test_unreachable_vendor_ends_with_exit_code_6(user_of: UserOf) -> None:
    user = user_of(BACKFILL_ATTEMPTS="1")
    user.types("symbols add AAPL")
    said = user.types("run")
    assert (said.code, "check the network and EODHD_BASE_URL" in said.out) == (6, True)


def test_the_token_is_nowhere(user_of: UserOf, sandboxed: Sandboxed, database_url: str, home: Path) -> None:
    user = user_of(sandboxed())
    user.types("symbols add AAPL NOSUCH")
    said = [user.types(f"{command} --debug") for command in ("run", "status", "report", "verify")]
    said += [user_of().types("run --debug --force", BACKFILL_ATTEMPTS="1")]
    assert not [s for s in said if TOKEN in s.out + s.err]
    assert not [s for s in said if "Traceback" in s.err]
    with psycopg.connect(database_url) as connection:
        tables = connection.execute(
            "SELECT schemaname || '.' || tablename FROM pg_tables WHERE schemaname IN ('public', 'backfill')"
        ).fetchall()
        for (table,) in tables:
            rows = connection.execute(f"SELECT t::text FROM {table} t".encode()).fetchall()
            assert not [row for row in rows if TOKEN in row[0]], table


ONE_AT_A_TIME = {"BACKFILL_IN_FLIGHT_START": "1", "BACKFILL_IN_FLIGHT_MAX": "1"}


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_run_keeps_fetched_bars(
    user_of: UserOf, sandboxed: Sandboxed, database: Database, ending: signal.Signals
) -> None:
    sandbox = sandboxed()
    user = user_of(sandbox)
    user.types(f"symbols add {FIVE}")
    with (
        run_blocking_proxy(sandbox.base_url, 2) as (url, _),
        user.starts("run", EODHD_BASE_URL=url, **ONE_AT_A_TIME) as run,
    ):
        _until_a_bar_is_stored(run, database)
        run.send_signal(ending)
        _, err = run.communicate(timeout=LONGEST_SECONDS)
    assert run.returncode == 130
    assert "the next run continues from there" in err
    _next_run_asks_only_for_the_rest(user, sandbox, database)


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_ends_the_run_after_waiting_answers_are_stored(
    user_of: UserOf, sandboxed: Sandboxed, database: Database, ending: signal.Signals
) -> None:
    """A lock of another session on market_data keeps all answers from being stored; none is lost."""
    sandbox = sandboxed()
    user = user_of(sandbox)
    user.types(f"symbols add {FIVE}")
    with database.transaction() as other_session:
        other_session.execute("LOCK TABLE market_data IN SHARE MODE")  # reads go on, writes wait
        run = user.starts("run")
        _until(lambda: _count(database, "backfill.requests WHERE ticker IS NOT NULL") == 5, run)
        _until(lambda: _count(database, "pg_locks WHERE NOT granted") > 0, run)
        run.send_signal(ending)
    _, err = run.communicate(timeout=LONGEST_SECONDS)
    assert (run.returncode, "the next run continues from there" in err) == (130, True)
    assert [len(bars_in(database, symbol)) for symbol in FIVE.split()] == [26] * 5
    again = user.types("run --format json")
    assert (again.code, again.json["requests"]) == (0, 0)


def _count(database: Database, of: str) -> int:
    with database.transaction() as connection:
        row = connection.execute(f"SELECT count(*) FROM {of}".encode()).fetchone()
    return int(row[0]) if row else 0


def _until(condition: Callable[[], bool], run: "subprocess.Popen[str]") -> None:
    wait_until(lambda: condition() or run.poll() is not None, "a state of the run")
    assert run.poll() is None, run.communicate()


def test_killed_run_loses_only_requests_in_flight(user_of: UserOf, sandboxed: Sandboxed, database: Database) -> None:
    sandbox = sandboxed()
    user = user_of(sandbox)
    user.types(f"symbols add {FIVE}")
    with (
        run_blocking_proxy(sandbox.base_url, 2) as (url, _),
        user.starts("run", EODHD_BASE_URL=url, **ONE_AT_A_TIME) as run,
    ):
        _until_a_bar_is_stored(run, database)
        run.kill()
    _next_run_asks_only_for_the_rest(user, sandbox, database)


def _until_a_bar_is_stored(run: "subprocess.Popen[str]", database: Database) -> None:
    _until(lambda: _count(database, "market_data") > 0, run)


def _next_run_asks_only_for_the_rest(user: User, sandbox: Sandbox, database: Database) -> None:
    done = {s for s in FIVE.split() if len(bars_in(database, s)) == 26}
    assert 0 < len(done) < 5
    asked_before = {t: n for t, n in sandbox.stats()["per_ticker"].items() if t.split(".")[0] in done}
    said: CommandResult = user.types("run --format json")
    assert (said.code, said.json["calls"]) == (0, 5 * (5 - len(done)))
    asked_after = {t: n for t, n in sandbox.stats()["per_ticker"].items() if t.split(".")[0] in done}
    assert asked_after == asked_before


def test_bars_missing_at_the_vendor_are_named_with_the_reason(user_of: UserOf, sandboxed: Sandboxed) -> None:
    withheld = Publication(never_published=frozenset({("MSFT", date(2026, 6, 2))}))
    user = user_of(sandboxed(publication=withheld))
    user.types("symbols add AAPL MSFT")
    said = user.types("run")
    assert (said.code, "13 not available from the vendor (missing)" in said.out) == (3, True)
    verified = user.types("verify --format json")
    failed = {c["name"]: c["offenders"] for c in verified.json if not c["passed"]}
    assert (verified.code, failed["no_missing_bars"]) == (3, ["MSFT.US (13)"])


def test_help_and_version(user_of: UserOf) -> None:
    user = user_of()
    for command in ("report", "plan", "run", "verify", "status", "sandbox", "demo", "symbols"):
        assert f"  {command}" in user.types("--help").out
    assert user.types("--version").code == 0


def test_demo_shows_gaps_being_filled(user_of: UserOf, tmp_path: Path) -> None:
    nothing = {"DATABASE_URL": "", "EODHD_API_TOKEN": "", "EODHD_BASE_URL": ""}
    user = user_of(**nothing, EODHD_SOURCE_HOST="eodhd.com", BACKFILL_HOME=str(tmp_path / "home"))
    with user.starts("demo") as demo:
        out, err = demo.communicate(timeout=LONGEST_SECONDS)
    assert demo.returncode == 0, err
    assert "using the bundled sandbox. Its bars are simulated" in out
    for kind in ("head", "interior", "tail", "everything", "thin"):
        assert kind in out
    assert "% closed" in out
    there = user.types("status", EODHD_SOURCE_HOST="", EODHD_BASE_URL="http://127.0.0.1:9").out
    assert "30 active" in there  # the sandbox's database, whichever vendor the settings name
    release_embedded_server(tmp_path / "home")
    assert _servers_under(tmp_path) == []


def _servers_under(folder: Path) -> list[str]:
    found = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)  # noqa: S607
    return [line for line in found.stdout.splitlines() if str(folder) in line and "postgres" in line]


def test_secret_in_an_address_is_not_shown(user_of: UserOf) -> None:
    said = user_of().types("report", EODHD_BASE_URL="https://eodhd.com/api?api_token=hush-hush")
    assert (said.code, "EODHD_BASE_URL" in said.err, "hush" in said.err) == (2, True, False)
    mistyped = ("user:p@ss@hush@127.0.0.1:9/db", "user:hush/db", "user:p/hush@127.0.0.1:9/db", "u:hush@127.0.0.1:x/db")
    for address in mistyped:
        said = user_of().types("report", DATABASE_URL=f"postgresql://{address}")
        assert (said.code, "DATABASE_URL" in said.err, "hush" in said.err) == (5, True, False)


def test_sandbox_bars_do_not_overwrite_bars_of_the_vendor(
    user_of: UserOf, sandboxed: Sandboxed, database: Database
) -> None:
    user = user_of(sandboxed())
    user.types("symbols add AAPL")
    user.types("run")
    with database.transaction() as connection:
        connection.execute("UPDATE market_data SET source = 'eodhd.com', close_price = high_price, fetched_at = now()")
    before = bars_in(database, "AAPL")
    said = user.types("run --force --format json")
    assert said.json["written"]["protected"] == 26
    assert bars_in(database, "AAPL") == before


def test_file_that_cannot_be_written_is_a_usage_error(user_of: UserOf) -> None:
    user = user_of()
    user.types("symbols add AAPL")
    said = user.types("report --output /nonexistent/report.txt")
    assert (said.code, "--output /nonexistent/report.txt cannot be written" in said.err) == (2, True)


def test_time_outside_all_calendars_is_a_usage_error(user_of: UserOf) -> None:
    said = user_of().types("report --as-of 0001-01-01T00:00:00Z")
    assert (said.code, "must lie between 2004 and 2099" in said.err) == (2, True)


def test_why_shows_the_state_of_a_slot_its_evidence_and_the_next_request(user_of: UserOf, sandboxed: Sandboxed) -> None:
    withheld = Publication(never_published=frozenset({("MSFT", date(2026, 6, 2))}))
    user = user_of(sandboxed(publication=withheld))
    user.types("symbols add AAPL MSFT")
    assert "never requested" in user.types("why MSFT 2026-06-02").out
    user.types("run --quiet")
    told = user.types("why MSFT.US 2026-06-02 --format json").json
    assert {s["state"] for s in told["slots"]} == {"missing"}
    assert {s["ask_again"] for s in told["slots"]} == {"2026-06-03T15:00:00Z"}
    assert any("requested 1 times" in sentence and "no rows" in sentence for sentence in told["evidence"])
    assert "daily data: traded on that day" in told["evidence"]
    asked = user.types("why AAPL 2026-06-02 --ask")
    assert "the vendor returns now: 13 of 13 bars" in asked.out
    assert asked.out.count("present") == 13
    assert "no session due" in user.types("why AAPL 2026-05-30").out
    assert user.types("why NOSUCH 2026-06-02").code == 2


def test_symbols_come_from_the_vendor_a_file_and_the_command_line(
    user_of: UserOf, sandboxed: Sandboxed, tmp_path: Path
) -> None:
    user = user_of(sandboxed(symbols=40))
    synced = user.types("symbols sync --exchange us --type etf")
    assert synced.code == 0, synced.err
    assert "listed by the vendor" in synced.out
    assert "VTI.US" in user.types("symbols list").out
    (tmp_path / "mine").write_text("aapl  # the usual\nMSFT, BRK-B\n\nAAPL\n")
    assert (
        user.types(f"symbols add --file {tmp_path / 'mine'}").out == "3 added or reactivated, 0 were active already\n"
    )
    assert user.types("symbols deactivate MSFT").out == "1 deactivated, 0 were not active\n"
    assert "MSFT.US" not in user.types("symbols list").out
    assert "MSFT.US  inactive" in user.types("symbols list --all").out
    assert user.types("symbols add MSFT").out == "1 added or reactivated, 0 were active already\n"


BAD_FILES = {"empty": b"", "comments": b"# nothing\n", "binary": b"\xff\xfe\x00", "huge": b"A\n" * 600_000}


@pytest.mark.parametrize("content", BAD_FILES.values(), ids=BAD_FILES)
def test_invalid_symbols_file_is_refused(user_of: UserOf, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "symbols").write_bytes(content)
    said = user_of().types(f"symbols add --file {tmp_path / 'symbols'}")
    assert (said.code, f"--file {tmp_path / 'symbols'}" in said.err) == (2, True)


def test_tables_show_the_same_figures_as_json(user_of: UserOf, sandboxed: Sandboxed) -> None:
    user = user_of(sandboxed(symbols=30))
    user.types("symbols add " + " ".join(sandboxed(symbols=30).world.symbols))
    plan = user.types("plan").out
    assert "30 requests · 150 calls (lower bound 150) · 780 slots" in plan
    user.types("run --quiet --symbols AAPL,MSFT")
    report = user.types("report").out
    assert "728 bars missing in 28 of 30 symbols · 1,170 expected · 390 pending" in report
    assert "2 symbols have no missing bars" in report
    status = user.types("status").out
    assert "30 active · 0 inactive" in status
    assert "728 bars of 28 symbols" in status
    verify = user.types("verify")
    assert "FAIL  no_missing_bars: 728 bars are missing in 28 symbols" in verify.out
