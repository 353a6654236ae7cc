"""Several days of market time: times of requests, states of slots, and calls spent."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from datetime import date, timedelta

import pytest

from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.results import RunResult
from backfill_assets.backfill.runner import run_backfill
from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.sessions import Session, list_sessions
from backfill_assets.market.calendar.slots import build_slot_grid
from backfill_assets.market.exchanges.registry import US
from backfill_assets.market.gaps.slot_states import SlotState
from backfill_assets.market.purposes import Purpose
from backfill_assets.quality.checks import evaluate_window
from backfill_assets.sandbox.config import Publication, SandboxConfig
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.sandbox.world.publication import PublicationSchedule
from backfill_assets.sandbox.world.session_index import SessionIndex
from backfill_assets_tests.conftest import make_job, read_stored_bars
from backfill_assets_tests.integration.scripted_vendor import ScriptedResponse, ScriptedVendor
from backfill_assets_tests.integration.test_backfill_engine import (
    build_expected_bars,
    ignore_progress,
    list_sandbox_symbols,
)
from backfill_assets_tests.moving_clock import MovingClock, iter_times, parse_utc

pytestmark = pytest.mark.no_cover

OTHER_FEED_REQUESTS = 3  # about slots that both feeds lack: at once, after 24 and after 72 hours
MONDAY, TUESDAY = date(2026, 6, 1), date(2026, 6, 2)
MakeClock = Callable[..., MovingClock]


@pytest.fixture
def make_clock(make_engine: Callable[..., Engine], start_sandbox: Callable[..., Sandbox]) -> MakeClock:
    def make(tickers: tuple[str, ...] = ("AAPL",), first: date = MONDAY, **config: object) -> MovingClock:
        sandbox = start_sandbox(per_minute=100_000, **config)
        return MovingClock(make_engine(sandbox, tickers, requests_per_minute=100_000), sandbox, first)

    return make


def count_states(clock: MovingClock, now: str, **selection: object) -> dict[str, int]:
    coverage = clock.measure(parse_utc(now), **selection)
    return {state.name.lower(): coverage.count_slots(state) for state in SlotState if coverage.count_slots(state)}


def count_requests_of_aapl(clock: MovingClock) -> Counter[str]:
    """How many intraday requests of AAPL each purpose made."""
    with clock.engine.database.transaction() as connection:
        found = connection.execute(
            "SELECT purpose FROM backfill.requests WHERE ticker = 'AAPL.US' AND endpoint = '/intraday'"
        )
        return Counter(purpose for (purpose,) in found)


def test_normal_day_passes_all_checks_and_spends_few_calls(make_clock: MakeClock) -> None:
    """See docs/design.md, "A normal day". New York is four hours behind UTC."""
    clock = make_clock(("AAPL", "MSFT", "AMZN"), first=TUESDAY, publication=Publication(hours_after_close=(6, 6)))
    calls_by_time: dict[str, int] = {}
    failed_at: list[str] = []
    complete_at = None
    for now in iter_times(parse_utc("2026-06-02 13:00"), parse_utc("2026-06-03 14:00"), 30):
        result = clock.run(now)
        calls_by_time[f"{now:%d %H:%M}"] = result.calls
        coverage = clock.measure(now)
        if not all(c.passed for c in evaluate_window(clock.engine.database, coverage)):
            failed_at.append(f"{now:%d %H:%M}")
        if complete_at is None and result.after.present == 39:
            complete_at = now
    # requests begin at 19:00 New York time
    assert next(time for time, calls in calls_by_time.items() if calls) == "02 23:00"
    assert all(calls_by_time[time] <= 5 for time in calls_by_time if time < "03 02:00")  # one probe per round
    assert complete_at is not None
    assert complete_at <= parse_utc("2026-06-03 03:00")  # published at 02:00, stored within an hour
    assert failed_at == []
    assert sum(calls_by_time.values()) <= 15 + 6 * 5


def test_bars_still_absent_in_the_morning_are_missing(make_clock: MakeClock) -> None:
    publication = Publication(never_published=frozenset({("AAPL", TUESDAY)}))
    clock = make_clock(("AAPL", "MSFT", "AMZN"), first=TUESDAY, publication=publication)
    assert count_states(clock, "2026-06-02 13:00") == {}
    assert count_states(clock, "2026-06-02 14:00") == {"pending": 39}
    clock.run(parse_utc("2026-06-02 23:00"))
    clock.run(parse_utc("2026-06-03 00:00"))
    clock.run(parse_utc("2026-06-03 01:00"))
    assert count_states(clock, "2026-06-03 01:00") == {"present": 26, "pending": 13}
    # two of three tickers were published by 00:00, so the third is overdue six hours later
    assert count_states(clock, "2026-06-03 05:00") == {"present": 26, "pending": 13}
    assert count_states(clock, "2026-06-03 07:30") == {"present": 26, "missing": 13}
    check_results = evaluate_window(clock.engine.database, clock.measure(parse_utc("2026-06-03 12:00")))
    assert {c.name for c in check_results if not c.passed} == {
        "every_symbol_has_recent_bars",
        "no_missing_bars",
        "newest_bar_is_fresh",
    }


@pytest.mark.long
def test_session_published_four_sessions_late_is_stored_within_twelve_requests(make_clock: MakeClock) -> None:
    clock = make_clock(("AAPL", "MSFT", "AMZN"), publication=Publication(sessions_late={"AAPL": 4}))
    for now in iter_times(parse_utc("2026-06-01 20:00"), parse_utc("2026-06-07 12:00"), 30):
        clock.run(now)
    assert len(read_stored_bars(clock.engine.database, "AAPL")) == 13  # Monday's, published on Friday evening
    requests = count_requests_of_aapl(clock)
    assert requests[Purpose.GAP] <= 12
    assert requests[Purpose.CROSS_FEED] <= OTHER_FEED_REQUESTS
    assert requests.total() == clock.sandbox.stats()["per_ticker"]["AAPL.US"]
    assert read_stored_bars(clock.engine.database, "AAPL") == build_expected_bars(clock.sandbox, "AAPL", MONDAY)


def find_slots_absent_once(clock: MovingClock, symbol: str, sessions: Sequence[Session]) -> set[int]:
    """Starts of the slots that no true bar fills, and that every other session fills at that time of day."""
    absent = defaultdict(list)
    for session in sessions:
        bars = clock.sandbox.world.true_bars(symbol, session, INTERVALS["30m"], "5m")
        starts = build_slot_grid([session], INTERVALS["30m"]).starts.tolist()
        for start in set(starts) - set(bars["timestamp"].tolist()):
            absent[start - int(session.open.timestamp())].append(start)
    return {starts[0] for starts in absent.values() if len(starts) == 1}


def test_thin_ticker_has_no_missing_bars_and_costs_no_further_calls(make_clock: MakeClock) -> None:
    """UPS skips no time of day only once in these sessions; SPHB does, and such a slot may have been lost."""
    first = date(2026, 5, 20)
    clock = make_clock(("AAPL", "SPHB", "UPS"), first=first, thin=frozenset({"SPHB", "UPS"}), symbols=100)
    result = clock.run(parse_utc("2026-06-03 14:00"))
    sessions = list_sessions(US, first - timedelta(days=2), TUESDAY)  # with the two before that are requested as well
    absent_once = {at for at in find_slots_absent_once(clock, "SPHB", sessions) if at >= sessions[2].open.timestamp()}
    coverage = clock.measure(parse_utc("2026-06-03 14:00"))
    missing = coverage.open_slots.ordinal[coverage.has_state(SlotState.MISSING)]
    assert set(coverage.grid.starts[missing].tolist()) == absent_once
    assert result.after.missing == len(absent_once) > 0
    assert find_slots_absent_once(clock, "UPS", sessions) == set()
    assert count_states(clock, "2026-06-03 14:00")["no_trade"] > 30
    requests_before, calls_before = clock.sandbox.stats()["per_ticker"], clock.calls
    for now in iter_times(parse_utc("2026-06-03 14:30"), parse_utc("2026-06-03 22:00"), 90):
        clock.run(now)
    requests = Counter(clock.sandbox.stats()["per_ticker"]) - Counter(requests_before)
    assert set(requests) == {"SPHB.US"}
    assert clock.calls - calls_before == 5 * (2 + 1)  # after 1 and 3 hours, and the other feed


@pytest.mark.long
def test_permanent_gap_becomes_a_vendor_gap_with_one_request_a_week(make_clock: MakeClock) -> None:
    clock = make_clock(("AAPL", "MSFT", "AMZN"), publication=Publication(never_published=frozenset({("AAPL", MONDAY)})))

    def count_requests(first: str, last: str) -> Counter[str]:
        requests_before = count_requests_of_aapl(clock)
        for now in iter_times(parse_utc(first), parse_utc(last), 60):
            engine = clock.move_to(now)
            run_backfill(engine, make_job(engine, start=MONDAY, end=MONDAY), ignore_progress)
        return count_requests_of_aapl(clock) - requests_before

    requests = count_requests("2026-06-01 20:00", "2026-06-16 00:00")
    assert requests[Purpose.GAP] <= 1 + 5 + 10 + 1
    assert requests[Purpose.CROSS_FEED] <= OTHER_FEED_REQUESTS
    assert requests.total() == clock.sandbox.stats()["per_ticker"]["AAPL.US"]
    assert count_states(clock, "2026-06-16 00:00", end=MONDAY) == {"present": 26, "vendor_gap": 13}
    assert count_requests("2026-06-16 01:00", "2026-06-30 01:00") == {Purpose.GAP: 2}
    check_results = evaluate_window(clock.engine.database, clock.measure(parse_utc("2026-06-30 01:00"), end=MONDAY))
    assert all(c.passed for c in check_results if c.name == "no_missing_bars")


def test_day_without_trades_has_no_missing_bars(make_clock: MakeClock) -> None:
    clock = make_clock(
        ("AAPL",), first=TUESDAY, publication=Publication(never_published=frozenset({("AAPL", TUESDAY)}))
    )
    result = clock.run(parse_utc("2026-06-03 14:00"))
    assert result.after.missing == 13  # the daily data show trades
    with clock.engine.database.transaction() as connection:
        assert connection.execute(
            "SELECT volume > 0 FROM backfill.daily_prices WHERE day = '2026-06-02'"
        ).fetchall() == [(True,)]
        connection.execute("UPDATE backfill.daily_prices SET volume = 0")
    assert count_states(clock, "2026-06-03 14:00") == {"no_trade": 13, "pending": 13}


def test_no_bars_are_missing_before_a_listing_begins_and_after_it_ends(make_clock: MakeClock) -> None:
    listed, delisted = {"MSFT": TUESDAY}, {"AMZN": MONDAY}
    clock = make_clock(("AAPL", "MSFT", "AMZN"), listed=listed, delisted=delisted)
    results = [clock.run(parse_utc(f"2026-06-{day:02} 13:00")) for day in (3, 4, 5, 8)]
    assert any(result.explained.get("not expected") for result in results)
    assert [result.stored for result in results] == [result.written.inserted for result in results]
    coverage = clock.measure(parse_utc("2026-06-08 13:00"), end=date(2026, 6, 5))
    expected = dict(zip((s.ticker.symbol for s in coverage.symbols), coverage.expected.tolist(), strict=True))
    assert expected == {"AAPL": 65, "MSFT": 52, "AMZN": 13}
    assert coverage.missing.sum() == 0


def test_renamed_ticker_is_reported_with_its_new_name(make_clock: MakeClock) -> None:
    clock = make_clock(("AAPL", "OLDN"), renamed={"OLDN": ("NEWN", TUESDAY)})
    clock.run(parse_utc("2026-06-04 13:00"))
    with clock.engine.database.transaction() as connection:
        findings = connection.execute("SELECT subject, detail FROM backfill.findings").fetchall()
    assert [subject for subject, _ in findings] == ["OLDN.US"]
    assert "renamed to NEWN on 2026-06-02" in findings[0][1]


def test_bulk_file_replaces_daily_requests_of_many_tickers(make_clock: MakeClock) -> None:
    symbols = tuple(s for s in list_sandbox_symbols(230) if s.startswith("S01") or s.startswith("S02"))
    publication = Publication(never_published=frozenset((s, TUESDAY) for s in symbols))
    clock = make_clock(symbols, first=TUESDAY, symbols=230, publication=publication)
    assert len(symbols) > 100
    for hour in (14, 15):
        assert clock.run(parse_utc(f"2026-06-03 {hour}:30")).after.missing == 13 * len(symbols)
    calls = clock.sandbox.stats()["calls_by_endpoint"]
    assert calls["eod-bulk-last-day"] == 100
    assert "eod" not in calls


def test_session_without_trading_has_no_missing_bars(
    make_engine: Callable[..., Engine], start_sandbox: Callable[..., Sandbox]
) -> None:
    async def run_without_trading() -> RunResult:
        async with ScriptedVendor(ScriptedResponse(200, b"[]")) as vendor:
            engine = make_engine(
                start_sandbox(), tuple(list_sandbox_symbols(130)), base_url=vendor.url, backoff_seconds=(0.0, 0.0)
            )
            tuesday = make_job(engine, start=TUESDAY, end=TUESDAY)
            return await asyncio.to_thread(run_backfill, engine, tuesday, ignore_progress)

    result = asyncio.run(run_without_trading())
    assert (result.before.missing, result.after.missing) == (130 * 13, 0)
    assert result.calls == 130 * 5 + 100


def test_deleted_bar_is_requested_at_once(make_clock: MakeClock) -> None:
    clock = make_clock(first=TUESDAY)
    clock.run(parse_utc("2026-06-03 14:00"))
    with clock.engine.database.transaction() as connection:
        connection.execute("DELETE FROM market_data WHERE timestamp = '2026-06-02 15:00+00'")
    assert clock.run(parse_utc("2026-06-03 14:01")).written.inserted == 1


@pytest.mark.long
def test_calls_of_two_sessions_are_close_to_the_minimum(make_clock: MakeClock) -> None:
    """Two sessions of 200 tickers; ``make bench`` measures ten sessions."""
    publication = Publication(hours_after_close=(3, 14), ticker_delay_minutes=20)
    clock = make_clock(tuple(list_sandbox_symbols(200)), symbols=200, publication=publication)
    for now in iter_times(parse_utc("2026-06-01 22:00"), parse_utc("2026-06-03 14:00"), 30):
        clock.run(now)
    assert clock.calls <= 1.2 * 200 * 2 * 5
    schedule = PublicationSchedule(SandboxConfig(symbols=200, publication=publication), SessionIndex(date(2026, 5, 1)))
    with clock.engine.database.transaction() as connection:
        rows = connection.execute(
            "SELECT s.symbol, session_day, published_at FROM backfill.session_evidence"
            " JOIN market_symbols s USING (symbol_id) WHERE is_published AND session_day >= '2026-06-01'"
        ).fetchall()
    assert len(rows) == 400
    for symbol, day, published_at in rows:
        (session,) = list_sessions(US, day, day)
        delay = published_at.timestamp() - schedule.get_times(symbol, symbol, session, "5m").first_at
        assert delay <= timedelta(minutes=90).total_seconds()
