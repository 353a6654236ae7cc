"""``history``: what it costs, how far it is, and until when it takes, as a user sees it."""

from collections.abc import Callable

import pytest

from backfill_assets_tests.acceptance.conftest import User
from backfill_assets_tests.conftest import StartSandbox

MakeUser = Callable[..., User]


@pytest.fixture
def user(make_user: MakeUser, start_sandbox: StartSandbox, monkeypatch: pytest.MonkeyPatch) -> User:
    """A user with two symbols and three months of history."""
    monkeypatch.setenv("BACKFILL_HISTORY_FROM", "2026-03-02")
    monkeypatch.setenv("BACKFILL_PARTITION_DAYS", "3")
    monkeypatch.setenv("BACKFILL_MAX_SPAN_DAYS", "60")
    made = make_user(start_sandbox())
    made.run_cli("symbols add AAPL MSFT")
    return made


def test_a_user_sees_the_price_first_and_the_end_afterwards(user: User) -> None:
    before = user.run_cli("history estimate --format json").json
    assert (before["requests"], before["calls"], before["done_on"]) == (4, 22, "2026-06-03")
    assert before["summary"].startswith("0.0 % complete, done 2026-06-03 at ")
    assert "requests left    4, 22 calls with daily histories\n" in user.run_cli("history estimate").out
    assert "history requests 0.0 % complete, done 2026-06-03" in user.run_cli("status").out
    assert f"run --start {before['ends_before']} --end" in " ".join(user.run_cli("history status").out.split())
    newer = user.run_cli("history start --quiet").out.splitlines()[0]
    assert newer.startswith("0 requests · 0 calls · 0 bars · gaps of newer sessions come first: ")
    assert user.run_cli(newer.partition("or backfill-assets ")[2]).code == 0  # what it says brings them
    first = user.run_cli("history start --requests 2 --quiet")
    assert first.err == ""
    assert first.out.splitlines()[0].startswith("2 requests · 10 calls · ")
    assert "the next one goes on" in first.out
    done = user.run_cli("history start --format json").json
    assert (done["walk"]["requests"], done["complete"], done["summary"]) == (2, True, "complete")
    assert user.run_cli("status --format json").json["history"]["percent"] == 100.0
    assert user.run_cli("history status").out.splitlines()[0] == "history        complete"


def test_a_pause_holds_the_history_alone(user: User) -> None:
    paused = user.run_cli("history pause --reason audit")
    assert (paused.code, "(audit); to go on: backfill-assets history resume" in paused.out) == (0, True)
    assert user.run_cli("history status").out.count("the history is paused by") == 1
    assert "end unknown: the history is paused by" in user.run_cli("history status").out
    assert user.run_cli("run --quiet").code == 0
    assert user.run_cli("history resume").out == "the history goes on\n"
    assert user.run_cli("history resume").out == "the history was not paused; nothing to do\n"
    user.run_cli("history pause")
    assert "all sessions of the history were requested" in user.run_cli("history start --quiet").out


def test_without_a_day_the_commands_say_what_to_set(
    make_user: MakeUser, start_sandbox: StartSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = make_user(start_sandbox())
    user.run_cli("symbols add AAPL")
    for command in ("start", "status", "estimate"):
        result = user.run_cli(f"history {command}")
        assert result.code == 2
        assert "BACKFILL_HISTORY_FROM is not set" in result.err
    assert "history" not in user.run_cli("status --format json").json
    refused = user.run_cli("symbols add MSFT --history-from 2020-10-09")
    assert refused.code == 2
    assert "--history-from 2020-10-09 is before the vendor's first 5m rows of US" in refused.err
    refused = user.run_cli("symbols add MSFT --history-from 2027-01-04")
    assert (refused.code, "--history-from 2027-01-04 is in the future" in refused.err) == (2, True)
    assert "MSFT" not in user.run_cli("symbols list").out
    added = user.run_cli("symbols add MSFT --history-from 2025-01-02")
    assert "1 symbol to be complete from 2025-01-02; see: backfill-assets history estimate" in added.out
    assert "  to be complete from 2025-01-02 on (symbols add --history-from)\n" in user.run_cli("symbols show MSFT").out
    assert user.run_cli("history estimate --format json").json["symbols"] == 1
    monkeypatch.setenv("BACKFILL_INTERVALS", '["30m", "1h"]')
    assert user.run_cli("history estimate --format json").json["symbols"] == 1  # in both intervals
    monkeypatch.delenv("BACKFILL_INTERVALS")
    monkeypatch.setenv("BACKFILL_HISTORY_FROM", "2010-01-04")
    assert "BACKFILL_HISTORY_FROM 2010-01-04 is before" in user.run_cli("history estimate").err
    assert "BACKFILL_HISTORY_FROM 2010-01-04 is before" in user.run_cli("status").out
    monkeypatch.setenv("BACKFILL_HISTORY_FROM", "2027-01-04")
    refused = user.run_cli("history estimate")
    assert (refused.code, "BACKFILL_HISTORY_FROM 2027-01-04 is in the future" in refused.err) == (2, True)


def test_the_page_says_how_far_the_history_is(user: User) -> None:
    page = user.run_cli("report --format html").out
    assert page.count('<h2 id="history">History</h2>') == 1
    assert "0.0 % complete, done 2026-06-03 at " in page
    assert "0 of 2 symbols are requested from their first day on; 4 requests are left, 22 calls." in page
    assert "<b>at least 0.0 % complete since 2026-03-02, " in page
    assert page.count('class="m-wait" title="2026-03: ') == 1
