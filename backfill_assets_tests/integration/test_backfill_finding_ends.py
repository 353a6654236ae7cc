"""Every kind of finding ends when it no longer holds, and stays in the table as resolved."""

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest

from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.finding_ends import find_disproved_drift, resolve_disproved_drift, resolve_ended_findings
from backfill_assets.backfill.findings import record_vendor_warnings
from backfill_assets.backfill.plan_limits import PlanReach, build_reach, merge_reaches
from backfill_assets.market.calendar.tickers import parse_tickers
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.evidence.daily_data import ListingLife, record_closure, record_listing_lives
from backfill_assets.store.evidence.findings import (
    CALENDAR_DRIFT,
    ENDED_OR_RENAMED,
    PLAN_LIMITED,
    Finding,
    list_findings,
    record_finding,
)
from backfill_assets.store.symbols import add_symbols, deactivate_symbols
from backfill_assets_tests.conftest import NOW

MakeEngine = Callable[..., Engine]
MONDAY, TUESDAY = date(2026, 6, 1), date(2026, 6, 2)
FRIDAY = date(2026, 5, 29)
APPLE = parse_tickers(["AAPL"])


@pytest.fixture
def engine(make_engine: MakeEngine, start_sandbox: Callable[..., Sandbox]) -> Engine:
    """An engine over three symbols; nothing is requested."""
    return make_engine(start_sandbox(), ("AAPL", "MSFT", "TSLA"))


def record(engine: Engine, kind: str, subject: str, found_at: Any = NOW - timedelta(days=1)) -> None:
    with engine.database.transaction() as connection:
        record_finding(connection, Finding(kind, subject, "a detail", found_at))


def list_open(engine: Engine) -> list[str]:
    with engine.database.transaction() as connection:
        return [finding.subject for finding in list_findings(connection)]


def record_published(engine: Engine, day: date, symbols: tuple[str, ...] = ("AAPL",)) -> None:
    """Evidence that the vendor returned a session of the symbols just now."""
    with engine.database.transaction() as connection:
        connection.execute(
            "INSERT INTO backfill.session_evidence (symbol_id, interval_type, source_interval, session_day,"
            " requested_at, source_rows, data_until, is_published, published_at, not_returned)"
            " SELECT symbol_id, '30m', '5m', %(day)s, %(now)s, 78, %(now)s, true, %(now)s, '{}'"
            " FROM market_symbols WHERE symbol = ANY (%(symbols)s)",
            {"day": day, "now": NOW, "symbols": list(symbols)},
        )


def end_listing(engine: Engine, last_day: date) -> None:
    with engine.database.transaction() as connection:
        ((symbol_id,),) = connection.execute("SELECT symbol_id FROM market_symbols WHERE symbol = 'AAPL'").fetchall()
        record_listing_lives(connection, [ListingLife(symbol_id, None, last_day, has_ended=True)], NOW)


@pytest.mark.parametrize(("answered", "remaining"), [(TUESDAY, []), (FRIDAY, ["AAPL.US"])])
def test_listing_goes_on_when_the_vendor_has_sessions_after_its_end(
    engine: Engine, answered: date, remaining: list[str]
) -> None:
    end_listing(engine, FRIDAY)
    record(engine, ENDED_OR_RENAMED, "AAPL.US")
    record_published(engine, answered)
    resolve_ended_findings(engine)
    assert list_open(engine) == remaining
    with engine.database.transaction() as connection:
        assert connection.execute("SELECT has_ended FROM backfill.listing_lives").fetchall() == [(bool(remaining),)]


def test_listing_end_is_closed_for_an_inactive_ticker_and_opens_again_with_it(engine: Engine) -> None:
    end_listing(engine, FRIDAY)
    record(engine, ENDED_OR_RENAMED, "AAPL.US")
    with engine.database.transaction() as connection:
        deactivate_symbols(connection, APPLE)
    resolve_ended_findings(engine)
    assert list_open(engine) == []
    with engine.database.transaction() as connection:
        add_symbols(connection, APPLE)
    resolve_ended_findings(engine)
    assert list_open(engine) == ["AAPL.US"]


@pytest.mark.parametrize(
    ("day", "published", "remaining"),
    [
        (MONDAY, (), ["2026-06-01"]),
        (MONDAY, ("AAPL",), []),  # a third of the symbols have data of the day
        (date(2026, 5, 25), (), []),  # Memorial Day: the calendar has no session (any more)
        (date(2025, 6, 2), (), []),  # older than all retained sessions
    ],
    ids=["still without data", "data came", "no session", "long ago"],
)
def test_closed_day_ends_with_data_with_the_calendar_or_with_time(
    engine: Engine, day: date, published: tuple[str, ...], remaining: list[str]
) -> None:
    with engine.database.transaction() as connection:
        record_closure(connection, "US", day, "a reason", NOW)
    record(engine, CALENDAR_DRIFT, str(day))
    record_published(engine, day, published)
    resolve_ended_findings(engine)
    assert list_open(engine) == remaining
    if published:  # the closure explained absence; now it is gone
        with engine.database.transaction() as connection:
            assert connection.execute("SELECT FROM backfill.closures").fetchall() == []


def test_drift_of_trading_outside_is_disproved_by_answers_that_span_the_day(engine: Engine) -> None:
    record(engine, CALENDAR_DRIFT, str(MONDAY))
    resolve_disproved_drift(engine, "US", [(FRIDAY, TUESDAY)] * 20, {MONDAY: 20})
    assert list_open(engine) == [str(MONDAY)]
    resolve_disproved_drift(engine, "US", [(FRIDAY, TUESDAY)] * 20, {MONDAY: 1})
    assert list_open(engine) == []


@pytest.mark.parametrize(
    ("answers", "off_calendar", "disproved"),
    [(9, 0, False), (10, 0, True), (10, 8, True), (10, 9, False)],
)
def test_find_disproved_drift_needs_ten_answers_and_contradicts_nearly_all(
    answers: int, off_calendar: int, disproved: bool
) -> None:
    days = find_disproved_drift([MONDAY], [(MONDAY, MONDAY)] * answers, {MONDAY: off_calendar})
    assert days == [MONDAY] * disproved


def test_plan_limit_ends_with_an_answer_that_reaches_as_far_back(engine: Engine) -> None:
    ticker = frozenset(APPLE)
    record_vendor_warnings(engine.database, {"one year": ticker}, NOW, {"US": PlanReach(limited_days=400)})
    record_vendor_warnings(engine.database, {}, NOW, {"US": PlanReach(full_days=3)})
    assert list_open(engine) == ["US"]  # the last two sessions were never limited
    record_vendor_warnings(engine.database, {}, NOW, {"US": PlanReach(full_days=400)})
    assert list_open(engine) == []
    record_vendor_warnings(engine.database, {"one year": ticker}, NOW)  # of a daily history, which has no start
    record_vendor_warnings(engine.database, {}, NOW, {"US": PlanReach(full_days=5000)})
    assert list_open(engine) == ["US"]  # what was known of the resolved finding does not count
    with engine.database.transaction() as connection:
        kinds = connection.execute("SELECT kind, resolved_at IS NULL FROM backfill.findings").fetchall()
    assert kinds == [(PLAN_LIMITED, True)]


def test_reaches_of_an_exchange_merge_to_the_shortest_limited_and_the_longest_full_one() -> None:
    reaches = [
        ("US", build_reach(count_back(days), None, NOW, is_limited=is_limited))
        for days, is_limited in ((500, True), (400, True), (3, False), (30, False))
    ]
    assert merge_reaches(reaches) == {"US": PlanReach(limited_days=400, full_days=30)}


def count_back(days: int) -> int:
    return int((NOW - timedelta(days=days)).timestamp())


def test_plan_limit_does_not_end_with_the_whole_history_of_a_new_listing(engine: Engine) -> None:
    """A plan of one year has a listing of half a year whole; its answer says nothing about the limit."""
    limited = build_reach(None, count_back(365), NOW, is_limited=True)
    record_vendor_warnings(engine.database, {"one year": frozenset(APPLE)}, NOW, {"US": limited})
    for start, first_row in ((None, count_back(180)), (count_back(800), count_back(180)), (count_back(360), None)):
        reach = build_reach(start, first_row, NOW, is_limited=False)
        record_vendor_warnings(engine.database, {}, NOW, {"US": reach})
        assert list_open(engine) == ["US"]
    record_vendor_warnings(engine.database, {}, NOW, {"US": build_reach(None, count_back(5000), NOW, is_limited=False)})
    assert list_open(engine) == []


def test_plan_limit_ends_with_the_same_request_without_a_remark(engine: Engine) -> None:
    """Its first row is some days after its start, as after a weekend."""
    limited = build_reach(count_back(400), count_back(365), NOW, is_limited=True)
    record_vendor_warnings(engine.database, {"one year": frozenset(APPLE)}, NOW, {"US": limited})
    record_vendor_warnings(
        engine.database, {}, NOW, {"US": build_reach(count_back(400), count_back(397), NOW, is_limited=False)}
    )
    assert list_open(engine) == []


def test_plan_limit_of_daily_histories_and_of_intraday_data_end_apart(engine: Engine) -> None:
    limited, full = {"US": PlanReach(limited_days=400)}, {"US": PlanReach(full_days=5000)}
    remark = {"one year": frozenset(APPLE)}
    for endpoint in ("", "/eod"):
        record_vendor_warnings(engine.database, remark, NOW, limited, endpoint)
    mixed = {"US": PlanReach(limited_days=400, full_days=5000)}
    record_vendor_warnings(engine.database, remark, NOW, mixed, "/eod")  # answers of one run
    assert list_open(engine) == ["US", "US /eod"]
    record_vendor_warnings(engine.database, {}, NOW, full, "/eod")
    assert list_open(engine) == ["US"]
    record_vendor_warnings(engine.database, {}, NOW, full)
    assert list_open(engine) == []
