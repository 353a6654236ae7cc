"""Every morning's reading of daily data: once for each settled session, and the splits that its volumes need."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from backfill_assets.backfill.daily_reading import find_due_reading, read_daily_data
from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.optional_endpoints import SPLITS
from backfill_assets.backfill.runner import run_backfill
from backfill_assets.market.calendar.tickers import parse_tickers
from backfill_assets.market.exchanges.registry import US
from backfill_assets.market.vendor_errors import BudgetSpent, SpendingPaused
from backfill_assets.sandbox.absences import Absences
from backfill_assets.sandbox.config import DataQuirks, Faults, Publication
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.actions.splits import read_splits
from backfill_assets.store.evidence.findings import ENDPOINT_NOT_IN_PLAN, list_findings
from backfill_assets.store.quota.calls_by_purpose import read_calls_by_purpose
from backfill_assets.store.quota.spending_pause import start_pause
from backfill_assets.store.symbols import add_symbols
from backfill_assets_tests.conftest import NOW, make_job, make_monday_tuesday_job
from backfill_assets_tests.integration.test_backfill_engine import ignore_progress, list_sandbox_symbols

MakeEngine = Callable[..., Engine]
StartSandbox = Callable[..., Sandbox]
FOUR = ("AAPL", "MSFT", "AMZN", "TSLA")
MONDAY, TUESDAY, WEDNESDAY, THURSDAY, FRIDAY = (date(2026, 6, day) for day in range(1, 6))
MONDAY_AFTER = date(2026, 6, 8)
SETTLED = datetime(2026, 6, 3, 8, tzinfo=UTC)  # of Tuesday, 12 h after its close


def move_to(engine: Engine, sandbox: Sandbox, now: datetime, **overrides: Any) -> Engine:
    sandbox.move_clock(now)
    return replace(engine, settings=engine.settings.model_copy(update={"as_of": now, **overrides}))


@pytest.fixture
def open_engine(make_engine: MakeEngine) -> MakeEngine:
    """An engine that reads daily data, with three retained sessions."""

    def make(sandbox: Sandbox, symbols: tuple[str, ...] = FOUR, **overrides: Any) -> Engine:
        settings = {"daily_data": True, "partition_days": 3, "requests_per_minute": 100_000, **overrides}
        return make_engine(sandbox, symbols, **settings)

    return make


def list_rows(engine: Engine) -> list[tuple[str, date, datetime]]:
    with engine.database.transaction() as connection:
        return connection.execute(
            "SELECT symbol, day, read_at FROM backfill.daily_prices JOIN market_symbols USING (symbol_id)"
            " ORDER BY day, symbol"
        ).fetchall()


def count_requests(sandbox: Sandbox) -> dict[str, int]:
    counts: dict[str, int] = sandbox.stats()["by_endpoint"]
    return {name: counts.get(name, 0) for name in ("eod", "splits", "eod-bulk-last-day")}


def list_splits(engine: Engine) -> list[tuple[date, float]]:
    with engine.database.transaction() as connection:
        ids = [row[0] for row in connection.execute("SELECT symbol_id FROM market_symbols").fetchall()]
        splits = read_splits(connection, ids)
    return list(zip(splits.ex_date.tolist(), splits.ratio.tolist(), strict=True))


def test_one_request_a_symbol_once_for_each_settled_session(
    open_engine: MakeEngine, start_sandbox: StartSandbox
) -> None:
    sandbox = start_sandbox()
    engine = move_to(open_engine(sandbox), sandbox, SETTLED - timedelta(minutes=1))
    assert read_daily_data(engine, US).requested == 4  # Monday is settled
    engine = move_to(engine, sandbox, SETTLED)
    assert [read_daily_data(engine, US).requested for _ in range(3)] == [4, 0, 0]
    rows = list_rows(engine)
    assert [(symbol, day) for symbol, day, _ in rows if day >= MONDAY] == [
        (symbol, day) for day in (MONDAY, TUESDAY) for symbol in sorted(FOUR)
    ]
    assert {read_at for _, day, read_at in rows if day >= MONDAY} == {
        SETTLED
    }  # Monday's rows once more, with Tuesday's
    after_weekend = move_to(engine, sandbox, datetime(2026, 6, 9, 9, tzinfo=UTC))
    assert [read_daily_data(after_weekend, US).requested for _ in range(2)] == [4, 0]  # four sessions at once
    with engine.database.transaction() as connection:
        calls = read_calls_by_purpose(connection, "test-token-4711", after_weekend.settings.now()).past_30_days
    assert calls == {"daily": 12, "splits": 4, "dividends": 4}


def test_what_a_lookup_of_absence_read_is_not_read_again(open_engine: MakeEngine, start_sandbox: StartSandbox) -> None:
    unpublished = Publication(never_published=frozenset({("AAPL", TUESDAY)}))
    sandbox = start_sandbox(publication=unpublished)
    engine = open_engine(sandbox)
    run_backfill(engine, make_monday_tuesday_job(engine), ignore_progress)
    assert count_requests(sandbox)["eod"] == 1
    assert read_daily_data(engine, US).requested == 3
    run_backfill(engine, make_monday_tuesday_job(engine, force=True), ignore_progress)
    assert count_requests(sandbox)["eod"] == 4


def test_a_symbol_without_an_answer_keeps_none_from_theirs_and_waits_for_the_next_morning(
    open_engine: MakeEngine, start_sandbox: StartSandbox
) -> None:
    sandbox = start_sandbox(absences=Absences(invalid=frozenset({"MSFT"})))
    engine = open_engine(sandbox)
    reading = read_daily_data(engine, US)
    assert (reading.requested, reading.failed) == (4, 1)
    assert str(reading) == "4 symbols (1 without an answer), splits of 3 symbols, dividends of 3 symbols"
    assert not find_due_reading(move_to(engine, sandbox, NOW + timedelta(hours=17)), US)
    assert len(find_due_reading(move_to(engine, sandbox, NOW + timedelta(hours=20)), US).first_days) == 4


def test_a_day_without_a_row_is_asked_for_once(open_engine: MakeEngine, start_sandbox: StartSandbox) -> None:
    sandbox = start_sandbox(absences=Absences(eod_skipped=frozenset({("AAPL", TUESDAY)})))
    engine = open_engine(sandbox)
    assert [read_daily_data(engine, US).requested for _ in range(2)] == [4, 0]
    assert not find_due_reading(move_to(engine, sandbox, NOW + timedelta(hours=17)), US)


def test_a_spent_budget_and_a_pause_end_a_reading_and_nothing_waits_for_it(
    open_engine: MakeEngine, start_sandbox: StartSandbox
) -> None:
    poor, sandbox = start_sandbox(daily=3), start_sandbox()
    engine = open_engine(poor, collector_reserve=0.0)
    reading = read_daily_data(engine, US)
    assert (reading.requested, type(reading.stopped)) == (3, BudgetSpent)
    richer = move_to(engine, sandbox, NOW, base_url=sandbox.base_url)
    assert read_daily_data(richer, US).requested == 1
    start_pause(engine.database, None, "me", None)
    tomorrow = move_to(richer, sandbox, NOW + timedelta(days=1))
    assert type(read_daily_data(tomorrow, US).stopped) is SpendingPaused
    assert len(find_due_reading(tomorrow, US).first_days) == 4


def test_a_vendor_that_is_down_ends_a_reading(open_engine: MakeEngine, start_sandbox: StartSandbox) -> None:
    sandbox = start_sandbox(symbols=40, faults=Faults(status_500=1.0))
    symbols = tuple(list_sandbox_symbols(40))
    engine = open_engine(sandbox, symbols, attempts=1, in_flight_max=1)
    reading = read_daily_data(engine, US)
    assert reading.stopped is not None
    assert reading.requested < 40


@pytest.mark.parametrize(("symbol_count", "uses_file"), [(100, False), (101, True)])
def test_beyond_100_symbols_the_markets_file_is_read(
    open_engine: MakeEngine, start_sandbox: StartSandbox, symbol_count: int, uses_file: bool
) -> None:
    sandbox = start_sandbox(symbols=symbol_count)
    engine = open_engine(sandbox, tuple(list_sandbox_symbols(symbol_count)))
    reading = read_daily_data(engine, US)
    assert (reading.file_day, reading.requested) == ((TUESDAY, 0) if uses_file else (None, 100))
    assert not read_daily_data(engine, US)
    assert sum(day == TUESDAY for _, day, _ in list_rows(engine)) == symbol_count
    stats = sandbox.stats()
    assert stats["calls"] == 100 + reading.splits_requested + reading.dividends_requested
    assert reading.splits_requested == reading.dividends_requested == min(100, symbol_count)


def test_a_file_that_was_missed_is_read_on_a_day_without_another(
    open_engine: MakeEngine, start_sandbox: StartSandbox
) -> None:
    sandbox = start_sandbox(now=datetime(2026, 6, 2, 9, tzinfo=UTC))
    engine = open_engine(sandbox, daily_file_symbols=4, partition_days=5)

    def read_at(day: int, hour: int = 9) -> date | None:
        return read_daily_data(move_to(engine, sandbox, datetime(2026, 6, day, hour, tzinfo=UTC)), US).file_day

    assert read_at(2) == MONDAY
    assert [read_at(5), read_at(5, 12)] == [date(2026, 6, 4), None]  # down for two days
    assert [read_at(6), read_at(6, 12)] == [date(2026, 6, 5), None]
    assert [read_at(7), read_at(7, 12), read_at(8), read_at(8, 12)] == [WEDNESDAY, None, TUESDAY, None]


@pytest.mark.no_cover
def test_without_the_file_a_plan_gets_one_request_a_symbol_and_no_more_than_the_file_costs(
    open_engine: MakeEngine, start_sandbox: StartSandbox
) -> None:
    sandbox = start_sandbox(symbols=120)
    engine = open_engine(sandbox, tuple(list_sandbox_symbols(120)), bulk_daily=False)
    assert [read_daily_data(engine, US).requested for _ in range(2)] == [100, 0]
    assert read_daily_data(move_to(engine, sandbox, NOW + timedelta(hours=16)), US).requested == 20
    assert (
        read_daily_data(move_to(engine, sandbox, NOW + timedelta(hours=19)), US).requested == 80
    )  # of the next session


@pytest.mark.no_cover
def test_what_the_files_do_not_cover_is_read_when_no_file_is_due(
    open_engine: MakeEngine, start_sandbox: StartSandbox
) -> None:
    """Symbols that are added later have bars of sessions before; Friday's file is read on Saturday."""
    tickers = tuple(list_sandbox_symbols(170))
    sandbox = start_sandbox(symbols=170, now=datetime(2026, 6, 5, 9, tzinfo=UTC), per_minute=100_000)
    engine = open_engine(sandbox, tickers[:101], partition_days=4)

    def read_at(day: int, hour: int = 9) -> tuple[date | None, int]:
        now = datetime(2026, 6, day, hour, tzinfo=UTC)
        reading = read_daily_data(move_to(engine, sandbox, now), US)
        with engine.database.transaction() as connection:
            calls = read_calls_by_purpose(connection, "test-token-4711", now).today
        assert all(calls.get(purpose, 0) <= 100 for purpose in ("daily", "splits", "dividends"))
        return reading.file_day, reading.requested

    assert read_at(5) == (THURSDAY, 0)
    with engine.database.transaction() as connection:
        add_symbols(connection, parse_tickers(tickers[:160]))
    saturday = move_to(engine, sandbox, datetime(2026, 6, 6, 7, tzinfo=UTC))
    assert not find_due_reading(saturday, US)  # an hour before the file is due
    run_backfill(saturday, make_job(saturday, start=TUESDAY, end=FRIDAY), ignore_progress)
    assert not find_due_reading(saturday, US)  # the file takes the calls of the day
    assert [read_at(6), read_at(6, 15)] == [(FRIDAY, 0), (None, 0)]
    assert [read_at(7), read_at(7, 15)] == [(None, 100), (None, 0)]
    assert [read_at(8), read_at(8, 15)] == [(None, 58), (None, 0)]  # two have theirs with closes that their splits need
    settled = [(symbol, day) for symbol, day, read_at in list_rows(engine) if day >= TUESDAY]
    assert len(settled) == 160 * 4
    with engine.database.transaction() as connection:
        add_symbols(connection, parse_tickers(tickers))
    assert [read_at(9, 7), read_at(9)] == [(None, 0), (MONDAY_AFTER, 0)]


def test_a_symbol_that_is_added_later_is_read_from_its_first_retained_session_on(
    open_engine: MakeEngine, start_sandbox: StartSandbox
) -> None:
    sandbox = start_sandbox()
    engine = move_to(open_engine(sandbox, FOUR[:2], partition_days=4), sandbox, datetime(2026, 6, 5, 9, tzinfo=UTC))
    assert read_daily_data(engine, US).requested == 2
    with engine.database.transaction() as connection:
        add_symbols(connection, parse_tickers(FOUR))
    assert read_daily_data(engine, US).requested == 2
    rows = [(symbol, day) for symbol, day, _ in list_rows(engine) if day >= MONDAY]
    assert rows == [(symbol, day) for day in (MONDAY, TUESDAY, WEDNESDAY, THURSDAY) for symbol in sorted(FOUR)]


def test_a_split_is_read_at_once_and_counts_once(open_engine: MakeEngine, start_sandbox: StartSandbox) -> None:
    quirks = DataQuirks(duplicate_splits=1.0)
    sandbox = start_sandbox(splits={"AAPL": (THURSDAY, 4.0)}, quirks=quirks)
    engine = open_engine(sandbox)
    read_daily_data(engine, US)
    assert list_splits(engine) == []  # it takes effect tomorrow
    engine = move_to(engine, sandbox, NOW + timedelta(days=1))
    reading = read_daily_data(engine, US)
    assert (reading.requested, reading.splits_requested) == (4, 1)  # Wednesday's adjusted close tells, not a week later
    assert list_splits(engine) == [(THURSDAY, 4.0)]


def test_beyond_500_symbols_the_markets_splits_are_read(open_engine: MakeEngine, start_sandbox: StartSandbox) -> None:
    sandbox = start_sandbox(symbols=501, splits={"AAPL": (TUESDAY, 4.0), "MSFT": (MONDAY, 2.0)})
    engine = open_engine(sandbox, tuple(list_sandbox_symbols(501)))
    reading = read_daily_data(engine, US)
    assert (reading.file_day, reading.splits_day, reading.splits_requested) == (TUESDAY, TUESDAY, 0)
    assert list_splits(engine) == [(TUESDAY, 4.0)]
    with engine.database.transaction() as connection:
        calls = read_calls_by_purpose(connection, "test-token-4711", NOW).today
    assert calls == {"daily": 100, "splits": 100, "dividends": 100}
    assert (reading.dividends_day, reading.dividends_requested) == (TUESDAY, 0)


def test_a_plan_without_splits_is_told_once(open_engine: MakeEngine, start_sandbox: StartSandbox) -> None:
    refusal = (403, "Only EOD data allowed for free users. Please, contact our support team.")
    sandbox = start_sandbox(refused_endpoints={"splits": refusal})
    engine = open_engine(sandbox)
    assert read_daily_data(engine, US).stopped is None
    tomorrow = read_daily_data(move_to(engine, sandbox, NOW + timedelta(days=1)), US)
    assert (tomorrow.requested, tomorrow.splits_requested, tomorrow.stopped) == (4, 0, None)
    assert count_requests(sandbox)["splits"] == 1
    with engine.database.transaction() as connection:
        told = [f.subject for f in list_findings(connection) if f.kind == ENDPOINT_NOT_IN_PLAN]
    assert told == [SPLITS]


def test_switched_off_nothing_is_read(open_engine: MakeEngine, start_sandbox: StartSandbox) -> None:
    sandbox = start_sandbox()
    assert not read_daily_data(open_engine(sandbox, daily_data=False), US)
    assert sandbox.stats()["calls"] == 0
