"""The command line in detail: names, options, the output of a run, and the message of each outcome."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import click
import pytest

from backfill_assets.cli.main import cli
from backfill_assets.sandbox.config import Publication
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.postgres.connection import Database
from backfill_assets_tests import external_tables
from backfill_assets_tests.acceptance.conftest import TOKEN, User
from backfill_assets_tests.conftest import NOW, bars_in

UserOf = Callable[..., User]
Sandboxed = Callable[..., Sandbox]
FIVE = "AAPL MSFT AMZN TSLA VTI"
WINDOW = {"--interval", "--hours-back", "--start", "--end", "--symbols"}
COMMANDS = {
    "symbols add": {"--file"},
    "symbols list": {"--all"},
    "symbols deactivate": set(),
    "symbols sync": {"--exchange", "--type"},
    "report": {*WINDOW, "--format", "--output"},
    "plan": {*WINDOW, "--format"},
    "run": {
        *WINDOW, "--strategy", "--batch-size", "--delay", "--force", "--verify-existing", "--live", "--quiet",
        "--format",
    },
    "verify": {*WINDOW, "--format"},
    "why": {"--ask", "--interval", "--format"},
    "review": {"--interval", "--symbols", "--calls", "--quiet", "--format"},
    "status": {"--format"},
    "sandbox": {"--port", "--symbols", "--now", "--latency-ms", "--per-minute", "--daily", "--replay"},
    "demo": set(),
}  # fmt: skip


@pytest.mark.parametrize("words", COMMANDS)
def test_each_command_has_exactly_its_options(words: str) -> None:
    command: click.Command = cli
    for word in words.split():
        assert isinstance(command, click.Group)
        command = command.commands[word]
    options = {name for option in command.params for name in option.opts if name.startswith("--")}
    assert options == COMMANDS[words] | {"--as-of", "--debug"}


def choices(command: str, option: str) -> list[str]:
    (kind,) = (o.type for o in cli.commands[command].params if option in o.opts)
    assert isinstance(kind, click.Choice)
    return list(kind.choices)


def test_options_have_the_documented_choices() -> None:
    assert choices("report", "--format")[:4] == ["table", "json", "csv", "markdown"]
    assert {choices(c, "--format")[1] for c in ("plan", "run", "verify", "status")} == {"json"}
    assert choices("run", "--strategy") == ["hybrid", "incremental", "targeted"]


def test_run_prints_the_outcome_of_each_ticker(user_of: UserOf, sandboxed: Sandboxed) -> None:
    withheld = Publication(never_published=frozenset({("MSFT", date(2026, 6, 1)), ("MSFT", date(2026, 6, 2))}))
    user = user_of(sandboxed(publication=withheld))
    user.types("symbols add AAPL MSFT NOSUCH")
    first = user.types("run")
    told = {line.split()[0]: " ".join(line.split()[1:]) for line in first.err.splitlines() if line.startswith("  ")}
    assert told["AAPL.US"] == "stored 26"
    assert told["MSFT.US"] == "not published"
    assert told["NOSUCH.US"].startswith("error: ")
    assert "tickers: 1 stored, 1 not published, 1 error" in first.out
    again = user.types("run --force --symbols AAPL")
    assert "AAPL.US      nothing new" in again.err
    assert "26 unchanged" in again.out


def test_quiet_run_prints_only_the_summary(user_of: UserOf, sandboxed: Sandboxed) -> None:
    user = user_of(sandboxed())
    user.types("symbols add AAPL")
    said = user.types("run --quiet")
    assert said.err == ""
    assert said.out.splitlines()[-1] == "26 missing before, 0 after, 100.0% closed"


def test_batches_are_numbered_limit_requests_in_flight_and_pause_in_between(
    user_of: UserOf, sandboxed: Sandboxed, database: Database
) -> None:
    sandbox = sandboxed(latency_ms=(20, 20))
    user = user_of(sandbox)
    user.types(f"symbols add {FIVE}")
    said = user.types("run --batch-size 2 --delay 0.4")
    assert [line for line in said.err.splitlines() if line.startswith("batch")] == [
        "batch 1 of 3",
        "batch 2 of 3",
        "batch 3 of 3",
    ]
    assert sandbox.stats()["most_in_flight"] <= 2
    with database.transaction() as connection:
        asked = connection.execute(
            "SELECT at, at + make_interval(secs => seconds) FROM backfill.requests WHERE ticker IS NOT NULL ORDER BY at"
        ).fetchall()
    for before, after in ((1, 2), (3, 4)):  # the second, and the fourth, end a batch
        assert asked[after][0] - max(end for _, end in asked[: before + 1]) >= timedelta(seconds=0.4)


@pytest.mark.parametrize("command", ["report", "run"])
def test_deactivated_symbols_are_left_out(user_of: UserOf, sandboxed: Sandboxed, command: str) -> None:
    sandbox = sandboxed()
    user = user_of(sandbox)
    user.types("symbols add AAPL MSFT")
    user.types("symbols deactivate MSFT")
    said = user.types(f"{command} --format json").json
    names = [row["symbol"] + ".US" for row in said] if command == "report" else list(said["outcomes"])
    assert names == ["AAPL.US"]
    assert "MSFT.US" not in sandbox.stats()["per_ticker"]


def test_both_spellings_of_intervals_are_accepted_and_1m_bars_come_from_1m_rows(
    user_of: UserOf, sandboxed: Sandboxed, database: Database
) -> None:
    user = user_of(sandboxed())
    user.types("symbols add AAPL")
    assert user.types("report --interval 30min --format json").json[0]["interval"] == "30m"
    assert user.types("run --interval 1m --start 2026-06-01 --end 2026-06-01").code == 0
    assert len(bars_in(database, "AAPL", "1m")) == 390
    with database.transaction() as connection:
        assert connection.execute("SELECT DISTINCT source_interval FROM market_data").fetchall() == [("1m",)]


def test_a_bug_is_one_line_and_a_traceback_only_with_debug(user_of: UserOf, database: Database) -> None:
    """A dropped table of this project is an error that the code does not expect."""
    user = user_of()
    user.types("symbols add AAPL")
    with database.transaction() as connection:
        connection.execute("DROP TABLE backfill.listing_lives")
    said = user.types("report")
    assert (said.code, said.out) == (1, "")
    assert said.err.startswith("bug: UndefinedTable: ")
    assert "run again with --debug" in said.err
    assert "Traceback" not in said.err
    assert "Traceback" in user.types("report --debug").err


def test_an_error_is_one_line_and_a_traceback_only_with_debug(user_of: UserOf) -> None:
    user = user_of(DATABASE_URL="postgresql://nobody@127.0.0.1:9/bars")
    said = user.types("report")
    assert (said.code, len(said.err.splitlines())) == (5, 1)
    assert "Traceback" in user.types("report --debug").err


def test_database_without_rights_ends_with_exit_code_5(user_of: UserOf, database: Database, database_url: str) -> None:
    name = database_url.rpartition("dbname=")[2].split()[0]
    with database.transaction() as connection:
        connection.execute("DROP SCHEMA backfill CASCADE")
        connection.execute(f"CREATE ROLE reader_{name} LOGIN".encode())
    said = user_of(DATABASE_URL=f"{database_url} user=reader_{name}").types("report")
    assert (said.code, "permission denied" in said.err) == (5, True)


def test_a_subscription_without_intraday_data_exits_with_4(user_of: UserOf, sandboxed: Sandboxed) -> None:
    user = user_of(sandboxed(free_tokens=frozenset({TOKEN})))
    user.types("symbols add AAPL")
    said = user.types("run")
    assert (said.code, "Only EOD data allowed for free users" in said.out) == (4, True)


def test_purchased_calls_are_spent_only_if_the_setting_allows_it(
    user_of: UserOf, sandboxed: Sandboxed, database: Database
) -> None:
    sandbox = sandboxed(daily=10, extra_limit=500)
    user = user_of(sandbox, BACKFILL_COLLECTOR_RESERVE="0")
    user.types(f"symbols add {FIVE}")
    said = user.types("run")
    assert (said.code, sandbox.stats()["calls"]) == (4, 10)
    assert "3 tickers not requested" in said.out
    rest = user.types("run", BACKFILL_SPEND_EXTRA_LIMIT="true")
    assert (rest.code, sandbox.stats()["calls"]) == (0, 25)
    assert sum(len(bars_in(database, s)) for s in FIVE.split()) == 5 * 26


def test_status_shows_published_sessions_and_calls_left(user_of: UserOf, sandboxed: Sandboxed) -> None:
    user = user_of(sandboxed())
    user.types("symbols add AAPL MSFT")
    before = user.types("status --format json").json
    assert (before["newest_bar"], before["missing"], before["published"]) == (None, 52, {})
    user.types("run --quiet")
    after = user.types("status --format json").json
    assert {day: seen["tickers"] for day, seen in after["published"].items()} == {"2026-06-01": 2, "2026-06-02": 2}
    assert after["published"]["2026-06-01"]["first"] == "2026-06-03T14:00:00Z"
    assert (after["symbols"], after["missing"], after["running"]) == ({"active": 2, "inactive": 0}, 0, [])
    left = after["budget"]
    assert (left["calls_left_today"], left["resets_at"]) == (90_000 - 10, "2026-06-04T00:00:00Z")
    assert 0 < left["requests_left_this_minute"] <= left["requests_ceiling"] == 800


def test_status_needs_neither_symbols_nor_a_token(user_of: UserOf) -> None:
    said = user_of(EODHD_API_TOKEN="").types("status")
    assert said.code == 0
    assert "no token set (EODHD_API_TOKEN)" in said.out


def test_the_default_window_is_right_on_the_day_after_a_clock_change(user_of: UserOf) -> None:
    """On Monday 2026-03-09 New York is an hour nearer to UTC than on Friday."""
    user = user_of(now=datetime(2026, 3, 10, 12, 0, tzinfo=UTC))
    user.types("symbols add AAPL")
    (row,) = user.types("report --format json").json
    assert row["expected_bars"] == 26
    stories = user.types("why AAPL 2026-03-09 --format json").json["slots"]
    assert (stories[0]["slot"], stories[-1]["slot"]) == ("2026-03-09T13:30:00Z", "2026-03-09T19:30:00Z")
    stories = user.types("why AAPL 2026-03-06 --format json").json["slots"]
    assert stories[0]["slot"] == "2026-03-06T14:30:00Z"


def test_demo_with_a_token_requests_the_users_symbols_from_the_vendor(
    user_of: UserOf, sandboxed: Sandboxed, database: Database
) -> None:
    sandbox = sandboxed()
    user = user_of(sandbox)
    first = user.types("demo")
    assert first.code == 0, first.err
    assert "Using the vendor at 127.0.0.1." in first.out
    assert "130 missing before, 0 after, 100.0% closed" in first.out
    assert set(sandbox.stats()["per_ticker"]) == {f"{s}.US" for s in FIVE.split()}  # the token demo knows these
    user.types("symbols deactivate AAPL MSFT AMZN TSLA")
    assert "History loaded" not in user.types("demo").out
    assert sum(len(bars_in(database, s)) for s in FIVE.split()) == 5 * 26


def test_demo_refuses_to_store_sandbox_bars_in_the_users_database(user_of: UserOf, database: Database) -> None:
    said = user_of(EODHD_API_TOKEN="").types("demo")
    assert (said.code, "simulated bars are not written into your database" in said.err) == (2, True)
    with database.transaction() as connection:
        assert connection.execute("SELECT count(*) FROM market_symbols").fetchall() == [(0,)]


def test_read_only_commands_spend_no_calls(user_of: UserOf, sandboxed: Sandboxed) -> None:
    sandbox = sandboxed()
    user = user_of(sandbox)
    user.types("symbols add AAPL MSFT")
    for command in ("report", "plan", "verify", "status", "why AAPL 2026-06-02", "symbols list"):
        user.types(command)
    assert sandbox.stats()["requests"] == 0
    plan = user.types("plan --format json").json
    assert (plan["calls"], plan["slots"], plan["estimated_seconds"] > 0) == (10, 52, True)


def test_every_command_works_on_existing_tables(
    user_of: UserOf, sandboxed: Sandboxed, new_database: Callable[..., str]
) -> None:
    url = new_database(None)
    external_tables.build(url)
    user = user_of(sandboxed(), DATABASE_URL=url)
    assert user.types("symbols add AAPL MSFT NOSUCH").out.startswith("3 added")
    assert user.types("symbols deactivate NOSUCH").code == 0
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
        said = user.types(command)
        assert (command, said.code) == (command, code), said.err
    assert sum(row["estimated_missing_bars"] for row in user.types("report --format json").json) == 0


def test_every_report_format_has_the_same_rows(user_of: UserOf, tmp_path: Path) -> None:
    user = user_of(now=NOW)
    user.types("symbols add AAPL MSFT")
    for form, lines in (("csv", 3), ("markdown", 4)):
        user.types(f"report --format {form} --output {tmp_path / form}")
        assert len((tmp_path / form).read_text().splitlines()) == lines
