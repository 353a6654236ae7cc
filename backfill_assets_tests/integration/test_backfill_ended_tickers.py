"""Tickers that ended: their last sessions are filled and counted once, under whichever ticker the vendor has them."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.identity.rename import record_rename, undo_rename
from backfill_assets.backfill.identity.rename_plan import Rename
from backfill_assets.backfill.job_request import JobRequest, build_job
from backfill_assets.backfill.results import RunResult
from backfill_assets.backfill.runner import run_backfill
from backfill_assets.market.calendar.sessions import list_sessions
from backfill_assets.market.calendar.tickers import parse_tickers
from backfill_assets.market.exchanges.registry import US
from backfill_assets.quality.checks import evaluate_window
from backfill_assets.quality.symbol_reports import read_symbol_reports
from backfill_assets.sandbox.config import Publication
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.symbols import add_symbols
from backfill_assets_tests.conftest import read_stored_bars
from backfill_assets_tests.integration.test_backfill_absence_lookup import query
from backfill_assets_tests.integration.test_backfill_engine import build_expected_bars
from backfill_assets_tests.moving_clock import MovingClock, parse_utc

THURSDAY, FRIDAY, MONDAY, TUESDAY = date(2026, 5, 28), date(2026, 5, 29), date(2026, 6, 1), date(2026, 6, 2)
MakeClock = Callable[..., MovingClock]


@pytest.fixture
def make_clock(make_engine: Callable[..., Engine], start_sandbox: Callable[..., Sandbox]) -> MakeClock:
    """AAPL and FB, which is META from Tuesday on."""

    def make(**config: Any) -> MovingClock:
        sandbox = start_sandbox(**{"renamed": {"FB": ("META", TUESDAY)}, **config})
        return MovingClock(make_engine(sandbox, ("AAPL", "FB")), sandbox, FRIDAY)

    return make


def rename(engine: Engine) -> dict[str, Any]:
    """FB became META on Tuesday, as a person's command records it; returns what was changed."""
    fb, meta = parse_tickers(["FB", "META"])
    last, first = list_sessions(US, MONDAY, TUESDAY)
    found = Rename(fb, meta, last, first)
    with engine.database.transaction() as connection:
        return record_rename(connection, found, "told by a person", "ann@a", engine.settings.now())


def run(clock: MovingClock, now: str) -> RunResult:
    """A run of the default window, as the job makes it each hour."""
    engine = clock.move_to(parse_utc(now))
    return run_backfill(engine, build_job(engine, JobRequest())[0], lambda _: None)


def list_asked(engine: Engine) -> list[tuple[str, str | None, int]]:
    """Every attempt at rows of the first feed: ticker, error, calls."""
    attempts = "SELECT ticker, error, calls FROM backfill.requests WHERE endpoint = '/intraday' AND purpose = 'gap'"
    return query(engine, f"{attempts} ORDER BY at")


def report(engine: Engine, **options: Any) -> dict[str, tuple[int, int, int, str | None]]:
    """By symbol: expected, stored and missing bars, and its last session if it ended."""
    job, _ = build_job(engine, JobRequest(**options))
    coverage = engine.measure(job)
    with engine.database.transaction() as connection:
        rows = read_symbol_reports(connection, coverage)
    return {r.symbol: (r.expected_bars, r.bar_count, r.estimated_missing_bars, r.listed_until) for r in rows}


def test_the_last_sessions_of_a_renamed_ticker_are_filled_once(make_clock: MakeClock) -> None:
    clock = make_clock()
    run(clock, "2026-05-30 14:00")  # on Monday no process ran
    engine = clock.move_to(parse_utc("2026-06-02 13:00"))
    assert report(engine)["FB"] == (26, 13, 13, None)
    rename(engine)
    asked = len(list_asked(engine))

    run(clock, "2026-06-02 14:00")
    # The vendor does not know FB any more, which costs one call; META has its Monday. META itself is not asked for it.
    assert sorted(list_asked(engine)[asked:]) == [
        ("AAPL.US", None, 5), ("FB.US", "UnknownTicker", 1), ("META.US", None, 5),
    ]  # fmt: skip
    expected = build_expected_bars(clock.sandbox, "META", THURSDAY, FRIDAY, MONDAY)
    assert read_stored_bars(engine.database, "FB") == expected
    assert read_stored_bars(engine.database, "META") == []

    engine = clock.move_to(parse_utc("2026-06-03 14:00"))
    run(clock, "2026-06-03 14:00")
    assert sorted(list_asked(engine)[asked + 3 :]) == [("AAPL.US", None, 5), ("META.US", None, 5)]
    assert read_stored_bars(engine.database, "META") == build_expected_bars(clock.sandbox, "META", TUESDAY)
    reported = report(engine, start=FRIDAY, end=TUESDAY)
    assert reported == {"AAPL": (39, 39, 0, None), "FB": (26, 26, 0, "2026-06-01"), "META": (13, 13, 0, None)}
    assert query(engine, "SELECT count(*) FROM backfill.rejects WHERE reason = 'outside_listing'") == [(0,)]
    assert query(engine, "SELECT kind, subject FROM backfill.findings WHERE resolved_at IS NULL") == []
    criteria = evaluate_window(engine.database, engine.measure(build_job(engine, JobRequest())[0]))
    assert [criterion.name for criterion in criteria if not criterion.passed] == []

    # Once the window begins after its last session, it is in no report unless it is asked for.
    assert set(report(engine, start=TUESDAY, end=TUESDAY)) == {"AAPL", "META"}
    assert report(engine, start=TUESDAY, end=TUESDAY, with_ended=True)["FB"] == (0, 0, 0, "2026-06-01")
    assert report(engine, start=FRIDAY, end=FRIDAY, symbols=["FB"])["FB"] == (13, 13, 0, "2026-06-01")


def test_a_gap_is_requested_under_the_known_name_only(make_clock: MakeClock) -> None:
    """What the vendor said last is remembered, and an answer in vain after the bars were overdue counts as well."""
    clock = make_clock(publication=Publication(never_published=frozenset({("FB", MONDAY), ("META", MONDAY)})))
    run(clock, "2026-05-30 14:00")
    engine = clock.move_to(parse_utc("2026-06-02 13:00"))
    rename(engine)
    for now in ("2026-06-02 14:00", "2026-06-02 15:30", "2026-06-03 03:00"):
        run(clock, now)
    asked = [ticker for ticker, _, _ in list_asked(engine)]
    assert asked.count("FB.US") == 2  # on Saturday, and the one that was in vain
    assert report(clock.move_to(parse_utc("2026-06-03 14:00")))["FB"][2] == 13
    # Why its Monday is absent was looked up under the present ticker, too.
    daily = "SELECT ticker, error FROM backfill.requests WHERE endpoint = '/eod' ORDER BY at"
    assert query(engine, daily) == [("META.US", None)]
    traded = "SELECT day, volume > 0 FROM backfill.daily_prices NATURAL JOIN market_symbols WHERE symbol = 'FB'"
    assert (MONDAY, True) in query(engine, traded)
    assert query(engine, "SELECT kind, subject FROM backfill.findings WHERE resolved_at IS NULL") == []


def test_a_known_name_without_rows_is_asked_until_its_bars_are_overdue(make_clock: MakeClock) -> None:
    """The vendor still answers for FB, with nothing: then its bars may stand under META."""
    unpublished = Publication(never_published=frozenset({("FB", MONDAY)}))
    clock = make_clock(renamed={}, delisted={"FB": MONDAY}, listed={"META": TUESDAY}, publication=unpublished)
    run(clock, "2026-05-30 14:00")
    rename(clock.move_to(parse_utc("2026-06-02 13:00")))
    asked = len(list_asked(clock.engine))
    for now in ("2026-06-02 14:00", "2026-06-02 15:30", "2026-06-02 19:00"):  # Monday is overdue since 12:00
        run(clock, now)
    assert [ticker for ticker, *_ in list_asked(clock.engine)[asked:] if ticker != "AAPL.US"] == [
        "FB.US", "META.US", "META.US",
    ]  # fmt: skip


def test_undoing_a_rename_brings_the_old_slots_back(make_clock: MakeClock) -> None:
    clock = make_clock()
    engine = clock.move_to(parse_utc("2026-06-03 14:00"))
    before = report(engine)
    changes = rename(engine)
    assert report(engine) == {"AAPL": before["AAPL"], "FB": (13, 0, 13, "2026-06-01"), "META": (26, 0, 13, None)}
    with engine.database.transaction() as connection:
        undo_rename(connection, changes, "ann@a", engine.settings.now())
    assert report(engine) == before


def test_rows_outside_the_listing_are_rejected_and_raise_no_alarm(make_clock: MakeClock) -> None:
    """META was requested over the days of FB before anybody said that it is FB; forced, it is not any more."""
    clock = make_clock(renamed={}, publication=Publication(), delisted={"FB": MONDAY}, listed={"META": FRIDAY})
    engine = clock.move_to(parse_utc("2026-06-03 14:00"))
    with engine.database.transaction() as connection:
        add_symbols(connection, parse_tickers(["META"]))
    run(clock, "2026-06-03 14:00")
    assert len(read_stored_bars(engine.database, "META")) == 26
    rename(engine)
    job = replace(build_job(engine, JobRequest())[0], force=True)
    planned = engine.plan(job, engine.measure(job))
    sessions = planned.grid.sessions
    days = {
        str(request.symbol.ticker): (sessions[request.first_session].day, sessions[request.last_session].day)
        for request in planned.requests
    }
    assert days["META.US"] == (TUESDAY, TUESDAY)
    assert days["FB.US"][1] == MONDAY
    run_backfill(engine, job, lambda _: None)
    assert query(engine, "SELECT count(*) FROM backfill.doubts") == [(0,)]
    assert query(engine, "SELECT kind, subject FROM backfill.findings WHERE resolved_at IS NULL") == []
