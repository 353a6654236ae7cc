"""Live commands, alone, with a backfill, and with another collector on the same tables."""

import json
from collections.abc import Callable
from datetime import datetime

import pytest

from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.postgres.connection import Database
from backfill_assets_tests.acceptance.conftest import User
from backfill_assets_tests.conftest import read_stored_bars
from backfill_assets_tests.moving_clock import iter_times, parse_utc

MakeUser = Callable[..., User]
StartSandbox = Callable[..., Sandbox]
LIVE_ON = {"BACKFILL_LIVE": "true"}
MORNING = parse_utc("2026-06-02 14:15")


@pytest.fixture
def live_user(make_user: MakeUser, start_sandbox: StartSandbox) -> tuple[User, Sandbox]:
    """A user with two symbols on Tuesday morning, and the user's sandbox."""
    sandbox = start_sandbox(now=MORNING)
    user = make_user(sandbox, now=MORNING)
    user.run_cli("symbols add AAPL MSFT")
    return user, sandbox


def run_at(user: User, sandbox: Sandbox, now: datetime, command: str, **environment: str) -> str:
    """The output of a command at a given time; the command must succeed."""
    sandbox.move_clock(now)
    result = user.run_cli(command, BACKFILL_AS_OF=now.isoformat(), **{**LIVE_ON, **environment})
    assert result.code in (0, 3), result.err
    return result.out


def collect_samples(user: User, sandbox: Sandbox, last: datetime) -> None:
    for now in iter_times(parse_utc("2026-06-02 13:45"), last, 15):
        run_at(user, sandbox, now, "live")


def test_live_command_is_refused_while_live_collection_is_off(live_user: tuple[User, Sandbox]) -> None:
    user, sandbox = live_user
    result = user.run_cli("live")
    assert (result.code, "set BACKFILL_LIVE=true to use it (up to 10,000 calls a day)" in result.err) == (2, True)
    assert sandbox.stats()["calls"] == 0


def test_live_round_stores_one_bar_per_symbol(live_user: tuple[User, Sandbox], database: Database) -> None:
    user, _ = live_user
    result = user.run_cli("live --format json", **LIVE_ON)
    assert (result.code, result.json["kind"], result.json["samples_fresh"], result.json["calls"]) == (
        0,
        "sampled",
        2,
        2,
    )
    assert (
        result.json["bars_inserted"]
        == len(read_stored_bars(database, "AAPL")) + len(read_stored_bars(database, "MSFT"))
        == 2
    )
    assert "no round is due, next at 14:20 UTC" in user.run_cli("live", **LIVE_ON).out


def test_until_close_is_refused_with_a_fixed_clock(live_user: tuple[User, Sandbox]) -> None:
    result = live_user[0].run_cli("live --until-close", **LIVE_ON)
    assert (result.code, "--until-close needs a running clock" in result.err) == (2, True)


def test_live_interval_that_does_not_divide_slots_is_refused(live_user: tuple[User, Sandbox]) -> None:
    result = live_user[0].run_cli("live", **LIVE_ON, BACKFILL_LIVE_SECONDS="420")
    assert (result.code, "BACKFILL_LIVE_SECONDS is '420': must divide 1800" in result.err) == (2, True)


@pytest.mark.parametrize("now", [MORNING, parse_utc("2026-06-03 03:00")], ids=["in sampling hours", "at night"])
@pytest.mark.parametrize(
    ("intervals", "seconds", "refused"),
    [('["5m"]', "300", True), ('["5m", "15m"]', "180", True), ('["15m"]', "150", False), ('["30m"]', "1800", False)],
)
def test_live_interval_too_long_for_every_bar_interval_is_refused(
    live_user: tuple[User, Sandbox], now: datetime, intervals: str, seconds: str, refused: bool
) -> None:
    environment = {"BACKFILL_INTERVALS": intervals, "BACKFILL_LIVE_SECONDS": seconds, "BACKFILL_AS_OF": now.isoformat()}
    result = live_user[0].run_cli("run --quiet", **LIVE_ON, **environment)
    names = intervals[1:-1].replace('"', "")
    message = f"none of BACKFILL_INTERVALS ({names}) can be built from samples every {seconds} s"
    assert (result.code == 2, message in result.err) == (refused, refused)
    assert live_user[0].run_cli("report", **{**environment, "BACKFILL_LIVE": "false"}).code == 0


@pytest.mark.parametrize("strategy", ["hybrid", "incremental", "targeted"])
def test_run_fills_today_from_samples_and_older_slots_from_history(
    live_user: tuple[User, Sandbox], database: Database, strategy: str
) -> None:
    user, sandbox = live_user
    run_at(user, sandbox, parse_utc("2026-06-02 13:55"), "live")
    out = run_at(user, sandbox, MORNING, f"run --strategy {strategy} --quiet")
    assert "live: 2 fresh samples of 2 tickers" in out
    bars = read_stored_bars(database, "AAPL")
    assert datetime.fromtimestamp(bars[-1][0], MORNING.tzinfo) == parse_utc("2026-06-02 13:30")
    assert len(bars) > 13  # final bars of earlier sessions too
    daily = {"eod": 2, "splits": 2, "div": 2}
    assert sandbox.stats()["calls_by_endpoint"] == {"real-time": 4, "intraday": 10, **daily, "user": 0}


@pytest.mark.parametrize(
    ("command", "environment"),
    [("run --no-live", LIVE_ON), ("run", {}), ("run --start 2026-05-29 --end 2026-06-01", LIVE_ON)],
    ids=["switched off for once", "off", "a window without today"],
)
def test_run_without_live_collection_sends_no_live_requests(
    live_user: tuple[User, Sandbox], command: str, environment: dict[str, str]
) -> None:
    user, sandbox = live_user
    result = user.run_cli(f"{command} --format json", **environment)
    assert result.json["live"] is None
    assert "real-time" not in sandbox.stats()["calls_by_endpoint"]


def test_status_shows_live_collection_and_another_collector(
    live_user: tuple[User, Sandbox], database: Database
) -> None:
    user, sandbox = live_user
    with database.transaction() as connection:
        connection.execute(
            "INSERT INTO market_data (symbol_id, interval_type, timestamp, open_price, high_price, low_price,"
            " close_price, volume) SELECT symbol_id, '30m', unnest(ARRAY['2026-06-01 19:30+00',"
            " '2026-06-02 13:30+00']::timestamptz[]), 5, 6, 4, 5.5, 77 FROM market_symbols WHERE symbol = 'MSFT'"
        )
    collect_samples(user, sandbox, parse_utc("2026-06-02 14:45"))
    out = run_at(user, sandbox, parse_utc("2026-06-02 14:45"), "status")
    assert "2 provisional bars of 1 symbol · 5 rounds of 2026-06-02, 16 min behind · 5 of 10,000 calls today" in out
    assert "2 bars of 1 symbol (unverified)" in out
    assert "off (BACKFILL_LIVE)" in run_at(
        user, sandbox, parse_utc("2026-06-02 14:45"), "status", BACKFILL_LIVE="false"
    )


def test_verify_and_report_show_live_delay_and_accuracy(live_user: tuple[User, Sandbox]) -> None:
    user, sandbox = live_user
    collect_samples(user, sandbox, parse_utc("2026-06-02 15:00"))
    day = "--start 2026-06-02 --end 2026-06-02"
    assert "pass  live_keeps_up" in run_at(user, sandbox, parse_utc("2026-06-02 15:10"), f"verify {day}")
    assert "live samples, 20" in run_at(user, sandbox, parse_utc("2026-06-02 15:10"), "why AAPL 2026-06-02")
    assert "FAIL  live_keeps_up: 2 slots" in run_at(user, sandbox, parse_utc("2026-06-02 15:31"), f"verify {day}")
    assert "live_keeps_up" not in run_at(
        user, sandbox, parse_utc("2026-06-02 15:31"), f"verify {day}", BACKFILL_LIVE="false"
    )
    assert "live bars were replaced" not in run_at(user, sandbox, parse_utc("2026-06-02 15:31"), f"report {day}")
    run_at(user, sandbox, parse_utc("2026-06-03 12:00"), f"run {day} --quiet")
    report = run_at(user, sandbox, parse_utc("2026-06-03 12:00"), f"report {day}")
    assert "4 live bars were replaced by final bars: price difference" in report
    assert "× final volume" in report
    message = "4 live bars were replaced by final bars: price difference"
    assert message in run_at(user, sandbox, parse_utc("2026-06-03 12:00"), f"report --format html {day}")
    rows = json.loads(run_at(user, sandbox, parse_utc("2026-06-03 12:00"), f"report --format json {day}"))
    assert [row["live"]["bars"] for row in rows] == [2, 2]
    assert all(0 < row["live"]["median_bp"] <= row["live"]["largest_bp"] for row in rows)
    rows = json.loads(
        run_at(user, sandbox, parse_utc("2026-06-03 12:00"), "report --format json --start 2026-06-01 --end 2026-06-01")
    )
    assert [row["live"] for row in rows] == [None, None]
    assert "live samples" in run_at(user, sandbox, parse_utc("2026-06-02 15:10"), "run --help")
