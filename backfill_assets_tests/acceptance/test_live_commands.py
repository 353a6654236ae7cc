"""The live commands, beside a backfill and beside another collector."""

import json
from collections.abc import Callable
from datetime import datetime

import pytest

from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.postgres.connection import Database
from backfill_assets_tests.acceptance.conftest import User
from backfill_assets_tests.conftest import bars_in
from backfill_assets_tests.moving_clock import moments, utc

UserOf = Callable[..., User]
Sandboxed = Callable[..., Sandbox]
ON = {"BACKFILL_LIVE": "true"}
MORNING = utc("2026-06-02 14:15")


@pytest.fixture
def trader(user_of: UserOf, sandboxed: Sandboxed) -> tuple[User, Sandbox]:
    """A user with two symbols on Tuesday morning."""
    sandbox = sandboxed(now=MORNING)
    user = user_of(sandbox, now=MORNING)
    user.types("symbols add AAPL MSFT")
    return user, sandbox


def at(user: User, sandbox: Sandbox, now: datetime, command: str, **environment: str) -> str:
    """The output of a command at a time; it must succeed."""
    sandbox.move_clock(now)
    said = user.types(command, BACKFILL_AS_OF=now.isoformat(), **{**ON, **environment})
    assert said.code in (0, 3), said.err
    return said.out


def sample(user: User, sandbox: Sandbox, until: datetime) -> None:
    for now in moments(utc("2026-06-02 13:45"), until, 15):
        at(user, sandbox, now, "live")


def test_live_is_off_until_it_is_switched_on(trader: tuple[User, Sandbox]) -> None:
    user, sandbox = trader
    said = user.types("live")
    assert (said.code, "set BACKFILL_LIVE=true to use it (up to 10,000 calls a day)" in said.err) == (2, True)
    assert sandbox.stats()["calls"] == 0


def test_one_live_round(trader: tuple[User, Sandbox], database: Database) -> None:
    user, _ = trader
    said = user.types("live --format json", **ON)
    assert (said.code, said.json["kind"], said.json["samples_fresh"], said.json["calls"]) == (0, "sampled", 2, 2)
    assert said.json["bars_inserted"] == len(bars_in(database, "AAPL")) + len(bars_in(database, "MSFT")) == 2
    assert "no round is due, next at 14:20 UTC" in user.types("live", **ON).out


def test_until_close_needs_a_clock_that_runs(trader: tuple[User, Sandbox]) -> None:
    said = trader[0].types("live --until-close", **ON)
    assert (said.code, "--until-close needs a running clock" in said.err) == (2, True)


def test_live_interval_must_divide_the_slots(trader: tuple[User, Sandbox]) -> None:
    said = trader[0].types("live", **ON, BACKFILL_LIVE_SECONDS="420")
    assert (said.code, "BACKFILL_LIVE_SECONDS is '420': must divide 1800" in said.err) == (2, True)


@pytest.mark.parametrize("now", [MORNING, utc("2026-06-03 03:00")], ids=["in sampling hours", "at night"])
@pytest.mark.parametrize(
    ("intervals", "seconds", "refused"),
    [('["5m"]', "300", True), ('["5m", "15m"]', "180", True), ('["15m"]', "150", False), ('["30m"]', "1800", False)],
)
def test_live_collection_that_could_never_make_a_bar_is_refused_at_any_time(
    trader: tuple[User, Sandbox], now: datetime, intervals: str, seconds: str, refused: bool
) -> None:
    chosen = {"BACKFILL_INTERVALS": intervals, "BACKFILL_LIVE_SECONDS": seconds, "BACKFILL_AS_OF": now.isoformat()}
    said = trader[0].types("run --quiet", **ON, **chosen)
    names = intervals[1:-1].replace('"', "")
    told = f"none of BACKFILL_INTERVALS ({names}) can be built from samples every {seconds} s"
    assert (said.code == 2, told in said.err) == (refused, refused)
    assert trader[0].types("report", **{**chosen, "BACKFILL_LIVE": "false"}).code == 0


@pytest.mark.parametrize("strategy", ["hybrid", "incremental", "targeted"])
def test_a_run_takes_todays_slots_from_samples_and_older_ones_from_history(
    trader: tuple[User, Sandbox], database: Database, strategy: str
) -> None:
    user, sandbox = trader
    at(user, sandbox, utc("2026-06-02 13:55"), "live")
    out = at(user, sandbox, MORNING, f"run --strategy {strategy} --quiet")
    assert "live: 2 fresh samples of 2 tickers" in out
    bars = bars_in(database, "AAPL")
    assert datetime.fromtimestamp(bars[-1][0], MORNING.tzinfo) == utc("2026-06-02 13:30")
    assert len(bars) > 13  # and the sessions before today, final
    assert sandbox.stats()["calls_by_endpoint"] == {"real-time": 4, "intraday": 10, "user": 0}


@pytest.mark.parametrize(
    ("command", "environment"),
    [("run --no-live", ON), ("run", {}), ("run --start 2026-05-29 --end 2026-06-01", ON)],
    ids=["switched off for once", "off", "a window without today"],
)
def test_a_run_without_live_samples(trader: tuple[User, Sandbox], command: str, environment: dict[str, str]) -> None:
    user, sandbox = trader
    said = user.types(f"{command} --format json", **environment)
    assert said.json["live"] is None
    assert "real-time" not in sandbox.stats()["calls_by_endpoint"]


def test_status_shows_live_collection_and_the_other_collector_side_by_side(
    trader: tuple[User, Sandbox], database: Database
) -> None:
    user, sandbox = trader
    with database.transaction() as connection:
        connection.execute(
            "INSERT INTO market_data (symbol_id, interval_type, timestamp, open_price, high_price, low_price,"
            " close_price, volume) SELECT symbol_id, '30m', unnest(ARRAY['2026-06-01 19:30+00',"
            " '2026-06-02 13:30+00']::timestamptz[]), 5, 6, 4, 5.5, 77 FROM market_symbols WHERE symbol = 'MSFT'"
        )
    sample(user, sandbox, utc("2026-06-02 14:45"))
    out = at(user, sandbox, utc("2026-06-02 14:45"), "status")
    assert "2 provisional bars of 1 symbols · 5 rounds of 2026-06-02, 16 min behind · 5 of 10,000 calls today" in out
    assert "2 bars of 1 symbols (unverified)" in out
    assert "off (BACKFILL_LIVE)" in at(user, sandbox, utc("2026-06-02 14:45"), "status", BACKFILL_LIVE="false")


def test_verify_and_report_after_the_day(trader: tuple[User, Sandbox]) -> None:
    user, sandbox = trader
    sample(user, sandbox, utc("2026-06-02 15:00"))
    day = "--start 2026-06-02 --end 2026-06-02"
    assert "pass  live_keeps_up" in at(user, sandbox, utc("2026-06-02 15:10"), f"verify {day}")
    assert "live samples, 20" in at(user, sandbox, utc("2026-06-02 15:10"), "why AAPL 2026-06-02")
    assert "FAIL  live_keeps_up: 2 slots" in at(user, sandbox, utc("2026-06-02 15:31"), f"verify {day}")
    assert "live_keeps_up" not in at(user, sandbox, utc("2026-06-02 15:31"), f"verify {day}", BACKFILL_LIVE="false")
    assert "live bars were replaced" not in at(user, sandbox, utc("2026-06-02 15:31"), f"report {day}")
    at(user, sandbox, utc("2026-06-03 12:00"), f"run {day} --quiet")
    report = at(user, sandbox, utc("2026-06-03 12:00"), f"report {day}")
    assert "4 live bars were replaced by final bars: price difference" in report
    assert "× final volume" in report
    said = "4 live bars were replaced by final bars: price difference"
    assert said in at(user, sandbox, utc("2026-06-03 12:00"), f"report --format html {day}")
    rows = json.loads(at(user, sandbox, utc("2026-06-03 12:00"), f"report --format json {day}"))
    assert [row["live"]["bars"] for row in rows] == [2, 2]
    assert all(0 < row["live"]["median_bp"] <= row["live"]["largest_bp"] for row in rows)
    rows = json.loads(
        at(user, sandbox, utc("2026-06-03 12:00"), "report --format json --start 2026-06-01 --end 2026-06-01")
    )
    assert [row["live"] for row in rows] == [None, None]
    assert "live samples" in at(user, sandbox, utc("2026-06-02 15:10"), "run --help")
