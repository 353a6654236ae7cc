"""Commands, options, output of runs, error messages and exit codes of the command line."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import click
import pytest

from backfill_assets.cli.main import cli
from backfill_assets.sandbox.config import DataQuirks, Publication
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.postgres.connection import Database
from backfill_assets_tests import external_tables
from backfill_assets_tests.acceptance.conftest import TOKEN, User
from backfill_assets_tests.conftest import NOW, read_stored_bars

MakeUser = Callable[..., User]
StartSandbox = Callable[..., Sandbox]
FIVE_SYMBOLS = "AAPL MSFT AMZN TSLA VTI"
WINDOW_OPTIONS = {"--exchange", "--interval", "--hours-back", "--start", "--end", "--symbols"}
OPTIONS_BY_COMMAND = {
    "symbols add": {"--file", "--skip-bad", "--delisted", "--listed-from", "--history-from"},
    "symbols list": {"--all", "--exchange"},
    "markets list": {"--enabled", "--format"},
    "markets show": {"--format"},
    "symbols deactivate": set(),
    "symbols rename": {"--on", "--yes", "--insist", "--undo", "--note"},
    "symbols show": set(),
    "symbols sync": {"--exchange", "--type", "--listing", "--all-lines", "--yes"},
    "report": {*WINDOW_OPTIONS, "--format", "--output", "--ended", "--all"},
    "census": {"--update", "--recount", "--exchange", "--interval", "--format"},
    "plan": {*WINDOW_OPTIONS, "--format"},
    "run": {
        *WINDOW_OPTIONS, "--strategy", "--batch-size", "--delay", "--force", "--verify-existing", "--live", "--quiet",
        "--format",
    },
    "verify": {*WINDOW_OPTIONS, "--format"},
    "audit": {*WINDOW_OPTIONS, "--write", "--format"},
    "why": {"--ask", "--interval", "--format"},
    "decisions list": {"--kind", "--rule", "--ticker", "--all", "--format"},
    "decisions show": {"--format"},
    "decisions accept": {"--kind", "--rule", "--ticker", "--note"},
    "decisions reject": {"--kind", "--rule", "--ticker", "--note"},
    "decisions undo": {"--note"},
    "review": {"--interval", "--exchange", "--symbols", "--calls", "--quiet", "--format"},
    "history start": {"--requests", "--quiet", "--format"},
    "history status": {"--format"},
    "history estimate": {"--format"},
    "history pause": {"--reason"},
    "history resume": set(),
    "status": {"--format", "--all"},
    "pause": {"--until", "--for", "--reason"},
    "resume": set(),
    "migrate": {"--dry-run", "--allow-breaking", "--format"},
    "partition-table": {"--dry-run", "--abandon", "--format"},
    "sandbox": {"--host", "--port", "--symbols", "--exchanges", "--now", "--latency-ms", "--per-minute", "--daily",
                "--replay"},
    "demo": set(),
}  # fmt: skip
BY_SERVER_CLOCK = {"pause", "history pause"}  # by the database server's clock, so they offer no other


@pytest.mark.parametrize("words", OPTIONS_BY_COMMAND)
def test_each_command_has_exactly_its_options(words: str) -> None:
    command: click.Command = cli
    for word in words.split():
        assert isinstance(command, click.Group)
        command = command.commands[word]
    options = {name for option in command.params for name in option.opts if name.startswith("--")}
    clock = set() if words in BY_SERVER_CLOCK else {"--as-of"}
    assert options == OPTIONS_BY_COMMAND[words] | {"--debug"} | clock


def list_choices(command: str, option: str) -> list[str]:
    (choice_type,) = (o.type for o in cli.commands[command].params if option in o.opts)
    assert isinstance(choice_type, click.Choice)
    return list(choice_type.choices)


def test_options_have_the_documented_choices() -> None:
    assert list_choices("report", "--format")[:4] == ["table", "json", "csv", "markdown"]
    assert {list_choices(c, "--format")[1] for c in ("plan", "run", "verify", "status")} == {"json"}
    assert list_choices("run", "--strategy") == ["hybrid", "incremental", "targeted"]


def test_run_prints_the_outcome_of_each_ticker(make_user: MakeUser, start_sandbox: StartSandbox) -> None:
    publication = Publication(never_published=frozenset({("MSFT", date(2026, 6, 1)), ("MSFT", date(2026, 6, 2))}))
    user = make_user(start_sandbox(publication=publication))
    user.run_cli("symbols add AAPL MSFT NOSUCH")
    first_run = user.run_cli("run")
    outcomes = {
        line.split()[0]: " ".join(line.split()[1:]) for line in first_run.err.splitlines() if line.startswith("  ")
    }
    assert outcomes["AAPL.US"] == "stored 26"
    assert outcomes["MSFT.US"] == "not published"
    assert outcomes["NOSUCH.US"].startswith("error: ")
    assert "tickers: 1 stored, 1 not published, 1 error" in first_run.out
    forced = user.run_cli("run --force --symbols AAPL")
    assert "AAPL.US      nothing new" in forced.err
    assert "26 unchanged" in forced.out


def test_run_says_what_the_other_feed_brought(make_user: MakeUser, start_sandbox: StartSandbox) -> None:
    lost = {("AAPL", date(2026, 6, 2)): (90, 120)}
    user = make_user(start_sandbox(quirks=DataQuirks(null_windows=lost)))
    user.run_cli("symbols add AAPL")
    assert "other feed" not in user.run_cli("run").out
    again = user.run_cli("run --symbols AAPL").out.splitlines()
    assert "other feed: 1 symbol asked · 1 bar from the other feed · 0 doubts confirmed · 0 slots halted" in again
    assert again[-1] == "1 missing before, 0 after, 100.0% closed"


def test_quiet_run_prints_only_the_summary(make_user: MakeUser, start_sandbox: StartSandbox) -> None:
    user = make_user(start_sandbox())
    user.run_cli("symbols add AAPL")
    result = user.run_cli("run --quiet")
    assert result.err == ""
    assert result.out.splitlines()[-1] == "26 missing before, 0 after, 100.0% closed"


def test_batches_are_numbered_limited_in_size_and_separated_by_a_delay(
    make_user: MakeUser, start_sandbox: StartSandbox, database: Database
) -> None:
    sandbox = start_sandbox(latency_ms=(20, 20))
    user = make_user(sandbox)
    user.run_cli(f"symbols add {FIVE_SYMBOLS}")
    result = user.run_cli("run --batch-size 2 --delay 0.4")
    assert [line for line in result.err.splitlines() if line.startswith("batch")] == [
        "batch 1 of 3",
        "batch 2 of 3",
        "batch 3 of 3",
    ]
    assert sandbox.stats()["most_in_flight"] <= 2
    with database.transaction() as connection:
        request_times = connection.execute(
            "SELECT at, at + make_interval(secs => seconds) FROM backfill.requests WHERE ticker IS NOT NULL ORDER BY at"
        ).fetchall()
    for before, after in ((1, 2), (3, 4)):  # requests 2 and 4 are the last of their batches
        assert request_times[after][0] - max(end for _, end in request_times[: before + 1]) >= timedelta(seconds=0.4)


@pytest.mark.parametrize("command", ["report", "run"])
def test_deactivated_symbols_are_not_reported_or_requested(
    make_user: MakeUser, start_sandbox: StartSandbox, command: str
) -> None:
    sandbox = start_sandbox()
    user = make_user(sandbox)
    user.run_cli("symbols add AAPL MSFT")
    user.run_cli("symbols deactivate MSFT")
    result = user.run_cli(f"{command} --format json").json
    names = [row["symbol"] + ".US" for row in result] if command == "report" else list(result["outcomes"])
    assert names == ["AAPL.US"]
    assert "MSFT.US" not in sandbox.stats()["per_ticker"]


def test_interval_30min_is_accepted_and_1m_bars_come_from_1m_rows(
    make_user: MakeUser, start_sandbox: StartSandbox, database: Database
) -> None:
    user = make_user(start_sandbox())
    user.run_cli("symbols add AAPL")
    assert user.run_cli("report --interval 30min --format json").json[0]["interval"] == "30m"
    assert user.run_cli("run --interval 1m --start 2026-06-01 --end 2026-06-01").code == 0
    assert len(read_stored_bars(database, "AAPL", "1m")) == 390
    with database.transaction() as connection:
        assert connection.execute("SELECT DISTINCT source_interval FROM market_data").fetchall() == [("1m",)]


def test_bug_prints_one_line_and_a_traceback_only_with_debug(make_user: MakeUser, database: Database) -> None:
    """A row of the backfill schema that only a bug can write is an unexpected error."""
    user = make_user()
    user.run_cli("symbols add AAPL")
    with database.transaction() as connection:
        connection.execute("ALTER TABLE backfill.runs ALTER outcome SET NOT NULL")
    result = user.run_cli("run --quiet")
    assert (result.code, result.out) == (1, "")
    assert result.err.startswith("bug: NotNullViolation: ")
    assert "run again with --debug" in result.err
    assert "Traceback" not in result.err
    assert "Traceback" in user.run_cli("run --debug").err


def test_error_prints_one_line_and_a_traceback_only_with_debug(make_user: MakeUser) -> None:
    user = make_user(DATABASE_URL="postgresql://reader@127.0.0.1:9/bars")
    result = user.run_cli("report")
    assert (result.code, len(result.err.splitlines())) == (5, 1)
    assert "Traceback" in user.run_cli("report --debug").err


def test_database_without_rights_ends_with_exit_code_5(
    make_user: MakeUser, database: Database, database_url: str
) -> None:
    name = database_url.rpartition("dbname=")[2].split()[0]
    with database.transaction() as connection:
        connection.execute("DROP SCHEMA backfill CASCADE")
        connection.execute(f"CREATE ROLE reader_{name} LOGIN".encode())
    result = make_user(DATABASE_URL=f"{database_url} user=reader_{name}").run_cli("report")
    assert (result.code, "permission denied" in result.err) == (5, True)


def test_subscription_without_intraday_data_ends_with_exit_code_4(
    make_user: MakeUser, start_sandbox: StartSandbox
) -> None:
    user = make_user(start_sandbox(free_tokens=frozenset({TOKEN})))
    user.run_cli("symbols add AAPL")
    result = user.run_cli("run")
    assert (result.code, "Only EOD data allowed for free users" in result.out) == (4, True)


def test_purchased_calls_are_spent_only_if_the_setting_allows_it(
    make_user: MakeUser, start_sandbox: StartSandbox, database: Database
) -> None:
    sandbox = start_sandbox(daily=10, extra_limit=500)
    user = make_user(sandbox, BACKFILL_COLLECTOR_RESERVE="0")
    user.run_cli(f"symbols add {FIVE_SYMBOLS}")
    result = user.run_cli("run")
    assert (result.code, sandbox.stats()["calls"]) == (4, 10)
    assert "3 tickers not requested" in result.out
    second_run = user.run_cli("run", BACKFILL_SPEND_EXTRA_LIMIT="true")
    calls = 25 + 5 + 5 + 5  # bars, daily rows, splits, dividends
    assert (second_run.code, sandbox.stats()["calls"]) == (0, calls)
    assert sum(len(read_stored_bars(database, s)) for s in FIVE_SYMBOLS.split()) == 5 * 26


def test_status_shows_published_sessions_and_calls_left(make_user: MakeUser, start_sandbox: StartSandbox) -> None:
    user = make_user(start_sandbox())
    user.run_cli("symbols add AAPL MSFT")
    before = user.run_cli("status --format json").json
    assert (before["newest_bar"], before["missing"], before["published"]) == (None, 52, {})
    user.run_cli("run --quiet")
    after = user.run_cli("status --format json").json
    assert {day: publication["tickers"] for day, publication in after["published"].items()} == {
        "2026-06-01": 2,
        "2026-06-02": 2,
    }
    assert after["published"]["2026-06-01"]["first"] == "2026-06-03T14:00:00Z"
    assert (after["symbols"], after["missing"], after["running"]) == ({"active": 2, "inactive": 0}, 0, [])
    budget = after["budget"]
    assert (budget["calls_left_today"], budget["resets_at"]) == (90_000 - 10 - 2 - 2 - 2, "2026-06-04T00:00:00Z")
    assert 0 < budget["requests_left_this_minute"] <= budget["requests_ceiling"] == 800


def test_status_works_without_symbols_and_token(make_user: MakeUser) -> None:
    result = make_user(EODHD_API_TOKEN="").run_cli("status")
    assert result.code == 0
    assert "no token set (EODHD_API_TOKEN)" in result.out


def test_default_window_after_a_clock_change_has_the_correct_slots(make_user: MakeUser) -> None:
    """New York is five hours behind UTC on Friday 2026-03-06 and four hours on Monday 2026-03-09."""
    user = make_user(now=datetime(2026, 3, 10, 12, 0, tzinfo=UTC))
    user.run_cli("symbols add AAPL")
    (row,) = user.run_cli("report --format json").json
    assert row["expected_bars"] == 26
    slots = user.run_cli("why AAPL 2026-03-09 --format json").json["slots"]
    assert (slots[0]["slot"], slots[-1]["slot"]) == ("2026-03-09T13:30:00Z", "2026-03-09T19:30:00Z")
    slots = user.run_cli("why AAPL 2026-03-06 --format json").json["slots"]
    assert slots[0]["slot"] == "2026-03-06T14:30:00Z"


def test_why_says_where_the_vendors_feed_begins(make_user: MakeUser, start_sandbox: StartSandbox) -> None:
    user = make_user(start_sandbox())
    user.run_cli("symbols add AAPL")
    for day, is_before in (("2020-10-09", True), ("2020-10-12", False)):
        slots = user.run_cli(f"why AAPL {day} --format json").json["slots"]
        assert {slot["state"] for slot in slots} == {"missing"}
        assert all(("no rows of 5m before 2020-10-12" in slot["evidence"]) == is_before for slot in slots)
        assert all((slot["ask_again"] is None) == is_before for slot in slots)


def test_demo_with_a_token_requests_the_users_symbols_from_the_vendor(
    make_user: MakeUser, start_sandbox: StartSandbox, database: Database
) -> None:
    sandbox = start_sandbox()
    user = make_user(sandbox)
    first_demo = user.run_cli("demo")
    assert first_demo.code == 0, first_demo.err
    assert "Using the vendor at 127.0.0.1." in first_demo.out
    assert "130 missing before, 0 after, 100.0% closed" in first_demo.out
    # the symbols of the vendor's demo token
    assert set(sandbox.stats()["per_ticker"]) == {f"{s}.US" for s in FIVE_SYMBOLS.split()}
    user.run_cli("symbols deactivate AAPL MSFT AMZN TSLA")
    assert "History loaded" not in user.run_cli("demo").out
    assert sum(len(read_stored_bars(database, s)) for s in FIVE_SYMBOLS.split()) == 5 * 26


def test_demo_does_not_store_sandbox_bars_in_the_users_database(make_user: MakeUser, database: Database) -> None:
    result = make_user(EODHD_API_TOKEN="").run_cli("demo")
    assert (result.code, "simulated bars are not written into your database" in result.err) == (2, True)
    with database.transaction() as connection:
        assert connection.execute("SELECT count(*) FROM market_symbols").fetchall() == [(0,)]


def test_read_only_commands_send_no_requests(make_user: MakeUser, start_sandbox: StartSandbox) -> None:
    sandbox = start_sandbox()
    user = make_user(sandbox)
    user.run_cli("symbols add AAPL MSFT")
    for command in ("report", "plan", "verify", "status", "why AAPL 2026-06-02", "symbols list"):
        user.run_cli(command)
    assert sandbox.stats()["requests"] == 0
    plan = user.run_cli("plan --format json").json
    assert (plan["calls"], plan["slots"], plan["estimated_seconds"] > 0) == (10, 52, True)


def test_every_command_works_on_existing_tables(
    make_user: MakeUser, start_sandbox: StartSandbox, create_database: Callable[..., str]
) -> None:
    url = create_database(None)
    external_tables.create_external_tables(url)
    user = make_user(start_sandbox(), DATABASE_URL=url)
    assert user.run_cli("symbols add AAPL MSFT NOSUCH").out.startswith("3 added")
    assert user.run_cli("symbols deactivate NOSUCH").code == 0
    for command, code in (
        ("report", 0),
        ("plan", 0),
        ("verify", 3),
        ("run", 0),
        ("verify", 0),
        ("why AAPL 2026-06-02 --ask", 0),
        ("review", 0),
        ("run --verify-existing --force", 0),
        ("status", 0),
    ):
        result = user.run_cli(command)
        assert (command, result.code) == (command, code), result.err
    assert sum(row["estimated_missing_bars"] for row in user.run_cli("report --format json").json) == 0


def test_every_report_format_has_the_same_rows(make_user: MakeUser, tmp_path: Path) -> None:
    user = make_user(now=NOW)
    user.run_cli("symbols add AAPL MSFT")
    for report_format, line_count in (("csv", 3), ("markdown", 4)):
        user.run_cli(f"report --format {report_format} --output {tmp_path / report_format}")
        assert len((tmp_path / report_format).read_text().splitlines()) == line_count
