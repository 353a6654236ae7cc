"""What ``status``, ``run`` and ``verify`` say: used-up calls, reasons, findings and their end, short histories."""

import json
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from typing import Any

import pytest

from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.evidence.findings import ENDED_OR_RENAMED, Finding, record_finding
from backfill_assets.store.postgres.connection import Database
from backfill_assets_tests.acceptance.conftest import User
from backfill_assets_tests.acceptance.stub_vendor import FAST_RETRIES, StubVendor, serve_stub
from backfill_assets_tests.conftest import NOW

MakeUser = Callable[..., User]
StartSandbox = Callable[..., Sandbox]
QUOTA_TEXT = b"You exceeded your daily API requests limit.  Please contact support@eodhistoricaldata.com"
LATER_TODAY, TOMORROW = "2026-06-03T18:00:00Z", "2026-06-04T14:00:00Z"


def build_account(used: int = 20, limit: int = 100_000, extra: int = 0) -> tuple[int, bytes]:
    body = {"apiRequests": used, "apiRequestsDate": "2026-06-03", "dailyRateLimit": limit, "extraLimit": extra}
    return 200, json.dumps(body).encode()


@pytest.fixture
def vendor() -> StubVendor:
    """A vendor that refuses every ticker for the day's calls, while its account endpoint shows nearly all of them."""
    return StubVendor(402, QUOTA_TEXT, {"content-type": "text/html"}, by_path={"user": build_account()})


@pytest.fixture
def refused_user(make_user: MakeUser, vendor: StubVendor) -> Iterator[User]:
    """A user after a run that the vendor refused."""
    with serve_stub(vendor) as url:
        user = make_user(EODHD_BASE_URL=url, **FAST_RETRIES)
        user.run_cli("symbols add AAPL MSFT")
        assert user.run_cli("run").code == 4
        yield user


def read_budget(user: User, **environment: str) -> dict[str, Any]:
    budget: dict[str, Any] = user.run_cli("status --format json", **environment).json["budget"]
    return budget


def test_after_a_402_no_calls_are_left_and_no_ticker_is_requested_until_midnight(
    refused_user: User, vendor: StubVendor
) -> None:
    budget = read_budget(refused_user)
    assert budget["calls_left_today"] == 0
    assert budget["used_up"]["said_at"] == "2026-06-03T14:00:00Z"
    shown = refused_user.run_cli("status").out
    assert "budget left     0 calls until 2026-06-04T00:00:00Z" in shown
    assert "the vendor said at 2026-06-03T14:00:00Z that the day's calls are used up" in shown

    asked = vendor.count_requests("intraday")
    again = refused_user.run_cli("run", BACKFILL_AS_OF=LATER_TODAY)
    assert (again.code, vendor.count_requests("intraday")) == (4, asked)
    assert "the vendor said on 2026-06-03 at 14:00 UTC that the day's calls are used up" in again.out
    assert "You exceeded your daily API requests limit." in again.out

    assert read_budget(refused_user, BACKFILL_AS_OF=TOMORROW)["calls_left_today"] == 90_000
    refused_user.run_cli("run", BACKFILL_AS_OF=TOMORROW)
    assert vendor.count_requests("intraday") > asked


@pytest.mark.parametrize(
    ("account", "spend_extra", "goes_on"),
    [
        (build_account(), "true", False),
        (build_account(limit=200_000), "false", True),
        (build_account(extra=485), "false", False),  # purchased calls, which this user does not want to spend
        (build_account(extra=485), "true", True),
    ],
    ids=["nothing new", "larger plan", "purchased, not to be spent", "purchased"],
)
def test_after_a_402_only_a_larger_account_makes_calls_available_again(
    refused_user: User, vendor: StubVendor, account: tuple[int, bytes], spend_extra: str, goes_on: bool
) -> None:
    vendor.by_path["user"] = account
    asked = vendor.count_requests("intraday")
    refused_user.run_cli("run", BACKFILL_SPEND_EXTRA_LIMIT=spend_extra)
    assert (vendor.count_requests("intraday") > asked) is goes_on


def test_a_402_just_after_midnight_does_not_use_up_the_new_day(make_user: MakeUser, vendor: StubVendor) -> None:
    """The vendor's counter may reset a little later than this machine's clock says."""
    with serve_stub(vendor) as url:
        user = make_user(EODHD_BASE_URL=url, BACKFILL_AS_OF="2026-06-04T00:05:00Z", **FAST_RETRIES)
        user.run_cli("symbols add AAPL")
        assert user.run_cli("run").code == 4
    assert read_budget(user)["used_up"] is None


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (402, QUOTA_TEXT, "not requested: the day's calls are used up"),
        (401, b"Unauthenticated", "not requested: the token was refused"),
        (403, b"Only EOD data allowed for free users.", "not requested: the token's plan does not include this"),
    ],
)
def test_requests_that_were_not_sent_name_what_stopped_the_run(
    make_user: MakeUser, status: int, body: bytes, reason: str
) -> None:
    stub = StubVendor(status, body, {"content-type": "text/html"}, by_path={"user": build_account()})
    with serve_stub(stub) as url:
        user = make_user(EODHD_BASE_URL=url, **FAST_RETRIES)
        user.run_cli("symbols add AAPL MSFT")
        result = user.run_cli("run --format json")
    assert result.json["absent"] == {reason: 52}
    assert result.json["skipped"] == dict.fromkeys(["AAPL.US", "MSFT.US"], reason.removeprefix("not requested: "))


def test_deferred_tickers_name_the_time_of_their_next_request(make_user: MakeUser) -> None:
    with serve_stub(StubVendor(by_path={"user": build_account()})) as url:
        user = make_user(EODHD_BASE_URL=url, **FAST_RETRIES)
        user.run_cli("symbols add AAPL MSFT")
        assert user.run_cli("run --format json").json["absent"] == {"not published": 52}
        reason = "deferred by the retry schedule until 2026-06-03 15:00 UTC"
        assert user.run_cli("run --format json").json["skipped"] == {"AAPL.US": reason, "MSFT.US": reason}
        assert f"2 tickers skipped: {reason} (--force requests them)" in user.run_cli("run").out


def build_daily_rows(last_day: date) -> bytes:
    prices = dict.fromkeys(("open", "high", "low", "close", "adjusted_close"), 100.0)
    days = (last_day - timedelta(days=n) for n in range(30))
    rows = [{"date": str(day), **prices, "volume": 1000} for day in days if day.weekday() < 5]
    return json.dumps(rows[::-1]).encode()


def build_change(effective: str) -> bytes:
    change = {"exchange": "US", "old_symbol": "FB", "new_symbol": "META", "company_name": "", "effective": effective}
    return json.dumps([change]).encode()


@pytest.mark.parametrize(
    ("changes", "expected", "code"),
    [
        (build_change("2026-06-02"), 13, 3),  # Monday's bars of the old name are missing, Tuesday's are not expected
        (build_change("2026-05-29"), 26, 3),  # renamed before its last daily row: the ticker is in use again
        (b"[]", 26, 3),  # no rename: a late publication must not end a listing
    ],
    ids=["renamed", "renamed earlier", "not renamed"],
)
def test_rename_is_told_on_its_first_day(make_user: MakeUser, changes: bytes, expected: int, code: int) -> None:
    by_path = {
        "user": build_account(),
        "eod/": (200, build_daily_rows(date(2026, 6, 1))),
        "symbol-change-history": (200, changes),
    }
    vendor = StubVendor(by_path=by_path)
    with serve_stub(vendor) as url:
        user = make_user(EODHD_BASE_URL=url, **FAST_RETRIES)
        user.run_cli("symbols add FB")
        assert user.run_cli("run").code == code
        user.run_cli("run --force")
    (row,) = user.run_cli("report --format json --start 2026-06-01 --end 2026-06-02").json
    findings = user.run_cli("status --format json").json["findings"]
    assert row["expected_bars"] == expected
    detail = "no daily data after 2026-06-01; renamed to META on 2026-06-02"
    assert [(f["subject"], f["detail"]) for f in findings] == [("FB.US", detail)] * (expected == 13)
    assert vendor.count_requests("symbol-change-history") == 1


def record_ends(database: Database, tickers: list[str]) -> None:
    with database.transaction() as connection:
        for ticker in tickers:
            record_finding(connection, Finding(ENDED_OR_RENAMED, f"{ticker}.US", "unknown [to] the vendor", NOW))


def test_status_shows_every_finding_and_deactivation_resolves_it(make_user: MakeUser, database: Database) -> None:
    user, tickers = make_user(), [f"DEAD{letter}" for letter in "ABCDEFGH"]
    user.run_cli(["symbols", "add", *tickers])
    record_ends(database, tickers)
    shown = user.run_cli("status").out
    assert "ended or renamed DEADA.US: unknown [to] the vendor (since 2026-06-03T14:00:00Z)" in shown
    assert "… and 5 more of 8 (status --all shows every finding)" in shown
    assert user.run_cli("status --all").out.count("unknown [to] the vendor") == 8
    assert len(user.run_cli("status --format json").json["findings"]) == 8

    user.run_cli("symbols deactivate DEADA")
    status = user.run_cli("status --format json").json
    assert "DEADA.US" not in [f["subject"] for f in status["findings"]]
    assert [(f["subject"], f["resolved_at"]) for f in status["resolved"]] == [("DEADA.US", "2026-06-03T14:00:00Z")]
    assert "resolved         ended or renamed: DEADA.US" in user.run_cli("status --all").out
    with database.transaction() as connection:  # a user's own statement
        connection.execute("UPDATE market_symbols SET is_active = false WHERE symbol = 'DEADB'")
    assert len(user.run_cli("status --format json").json["findings"]) == 6
    page = user.run_cli("report --format html").out
    assert ("DEADB.US: unknown" in page, "DEADC.US: unknown" in page) == (False, True)


def test_symbol_added_later_is_told_with_the_command_that_fetches_its_history(
    make_user: MakeUser, start_sandbox: StartSandbox
) -> None:
    user = make_user(start_sandbox())
    assert "history" not in user.run_cli("symbols add AAPL MSFT").out
    user.run_cli("run --start 2026-05-18 --end 2026-06-02 --quiet")
    command = "backfill-assets run --symbols TSLA --start 2026-05-18 --end 2026-05-29"
    assert "TSLA.US has no bars yet: 117 bars of retained sessions" in user.run_cli("symbols add TSLA").out
    ran = user.run_cli("run")
    sentence = f"TSLA.US begins on 2026-06-01: 117 bars of retained sessions were never fetched; to fetch: {command}"
    assert (ran.code, f"history: {sentence}" in ran.out) == (0, True)
    assert f"history: {sentence}" in user.run_cli("verify").out
    assert f"history         {sentence}" in user.run_cli("status").out
    (history,) = user.run_cli("status --format json").json["short_histories"]
    assert (history["symbol"], history["never_fetched_bars"], history["command"]) == ("TSLA.US", 117, command)
    user.run_cli(command.removeprefix("backfill-assets ") + " --quiet")
    assert user.run_cli("status --format json").json["short_histories"] == []


def test_verify_judges_what_dagster_judges_and_warnings_do_not_fail_it(
    make_user: MakeUser, start_sandbox: StartSandbox, database: Database
) -> None:
    sandbox = start_sandbox()
    user = make_user(sandbox, BACKFILL_DAILY_DATA="false")
    user.run_cli("symbols add AAPL")
    user.run_cli("run --quiet")
    requests = sandbox.stats()["requests"]
    reason = "not judged: no daily data of its sessions are stored (official closes: 2)"
    nothing_to_compare = user.run_cli("verify")
    assert (nothing_to_compare.code, f"n/a   sessions_agree_with_eod: {reason}\n" in nothing_to_compare.out) == (
        0,
        True,
    )
    results = {c["name"]: c for c in user.run_cli("verify --format json").json}
    closes = results["sessions_agree_with_eod"]
    assert (closes["judged"], closes["passed"], closes["not_judged"], closes["meaning"]) == (False, True, 0, reason)
    not_judged = ["sessions_agree_with_eod", "splits_are_consistent", "history_is_complete"]
    assert [name for name, result in results.items() if not result["judged"]] == not_judged
    page = user.run_cli("report --format html").out
    assert f'– n/a</td><th scope="row">sessions_agree_with_eod</th><td>{reason}</td>' in page
    with database.transaction() as connection:
        connection.execute(
            "INSERT INTO backfill.daily_prices (symbol_id, day, close_price, volume)"
            " SELECT symbol_id, '2026-06-02', 1.0, 1000 FROM market_symbols"
        )
    warned = user.run_cli("verify")
    assert (warned.code, "warn  sessions_agree_with_eod: 1 of 1" in warned.out) == (0, True)
    severities = {c["name"]: (c["severity"], c["passed"]) for c in user.run_cli("verify --format json").json}
    assert severities["sessions_agree_with_eod"] == ("warning", False)
    assert severities["bars_are_valid"] == ("error", True)

    with database.transaction() as connection:
        connection.execute(
            "UPDATE market_data SET timestamp = '2026-06-02 15:07Z' WHERE timestamp = '2026-06-02 15:00Z'"
        )
    failed = user.run_cli("verify")
    assert (failed.code, "FAIL  bars_are_valid: 1 rule violations" in failed.out) == (3, True)
    assert sandbox.stats()["requests"] == requests  # no vendor calls
