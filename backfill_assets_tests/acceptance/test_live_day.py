"""A session of live collection in market time, and its bars after publication of the final data."""

from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta

import pytest

from backfill_assets.market.calendar.sessions import Session, list_sessions
from backfill_assets.market.exchanges.registry import US
from backfill_assets.market.gaps.slot_states import SlotState
from backfill_assets.quality.checks import evaluate_window
from backfill_assets.quality.criteria import evaluate_live
from backfill_assets.quality.live_accuracy import read_live_accuracy
from backfill_assets.sandbox.config import DataQuirks, Publication, SandboxConfig
from backfill_assets.sandbox.endpoints.live_quotes import QuoteGenerator
from backfill_assets.store.postgres.connection import Database
from backfill_assets_tests.conftest import read_stored_bars
from backfill_assets_tests.integration.test_backfill_engine import build_expected_bars, list_sandbox_symbols
from backfill_assets_tests.moving_clock import MovingClock, iter_times, parse_utc

pytestmark = pytest.mark.no_cover

TUESDAY = date(2026, 6, 2)
(SESSION,) = list_sessions(US, TUESDAY, TUESDAY)
SYMBOLS = ("AAPL", "MSFT", "AMZN", "BRK-B")
MakeClock = Callable[..., MovingClock]


def iterate_sample_times(session: Session = SESSION) -> Iterator[datetime]:
    """Sample times: every five minutes from before the open until after sampling ends, seven seconds late."""
    first = session.open - timedelta(minutes=10)
    return (at + timedelta(seconds=7) for at in iter_times(first, session.close + timedelta(minutes=40), 5))


def fetch_bars(database: Database, condition: str = "true") -> dict[str, list[tuple[datetime, int]]]:
    """Timestamps and volumes of the bars that meet an SQL condition, by symbol."""
    with database.transaction() as connection:
        rows = connection.execute(
            "SELECT symbol, timestamp, volume FROM market_data JOIN market_symbols USING (symbol_id)"
            f" WHERE {condition} ORDER BY 1, 2".encode()
        ).fetchall()
    bars_by_symbol: dict[str, list[tuple[datetime, int]]] = {}
    for symbol, at, volume in rows:
        bars_by_symbol.setdefault(symbol, []).append((at, volume))
    return bars_by_symbol


def list_due_slots(now: datetime, session: Session = SESSION) -> list[datetime]:
    """Slots that ended at least 30 minutes ago."""
    starts = iter_times(session.open, session.close - timedelta(minutes=30), 30)
    return [at for at in starts if at + timedelta(minutes=60) <= now]


def compute_live_volume(config: SandboxConfig, clock: MovingClock, symbol: str) -> int:
    """The volume of the live series at the last timestamp before the close that a sample could contain."""
    generator = QuoteGenerator(config, clock.sandbox.world)
    quotes = [
        q
        for at in iterate_sample_times()
        if (q := generator.find_quote(symbol, at.timestamp())) and q.session.day == TUESDAY
    ]
    return max(q.volume for q in quotes if q.timestamp < SESSION.close.timestamp())


@pytest.mark.long
def test_provisional_bars_of_a_session_are_replaced_by_final_bars(make_live_clock: MakeClock) -> None:
    clock = make_live_clock(SYMBOLS, publication=Publication(hours_after_close=(6, 6)))
    database = clock.engine.database
    for now in iterate_sample_times():
        clock.collect(now)
        stored = {symbol: [at for at, _ in rows] for symbol, rows in fetch_bars(database).items()}
        for symbol in SYMBOLS if list_due_slots(now) else ():
            assert stored[symbol][: len(list_due_slots(now))] == list_due_slots(now)
        coverage = clock.measure(now)
        assert evaluate_live(database, coverage).passed
        assert coverage.count_slots(SlotState.PROVISIONAL) == sum(len(rows) for rows in stored.values())

    provisional = fetch_bars(database, "is_final IS FALSE AND source_interval = 'live'")
    config = SandboxConfig(publication=Publication(hours_after_close=(6, 6)))
    assert {symbol: len(rows) for symbol, rows in provisional.items()} == dict.fromkeys(SYMBOLS, 13)
    assert {symbol: sum(v for _, v in rows) for symbol, rows in provisional.items()} == {
        symbol: compute_live_volume(config, clock, symbol) for symbol in SYMBOLS
    }

    for now in iter_times(parse_utc("2026-06-03 02:10"), parse_utc("2026-06-03 03:10"), 30):
        clock.run(now)
    assert fetch_bars(database, "is_final IS NOT TRUE") == {}
    for symbol in SYMBOLS:
        assert read_stored_bars(database, symbol) == build_expected_bars(clock.sandbox, symbol, TUESDAY)
    coverage = clock.measure(parse_utc("2026-06-03 14:00"), end=TUESDAY)
    assert all(c.passed for c in evaluate_window(database, coverage, live=True))
    accuracy = read_live_accuracy(database, coverage)
    assert accuracy is not None
    assert accuracy.bars == 13 * len(SYMBOLS)
    assert 0 < accuracy.median_bp < 20  # the live series differs little from the final one
    assert accuracy.volume_ratio is not None
    assert accuracy.volume_ratio > 1.2  # live volumes cover all venues, final volumes one


@pytest.mark.long
def test_five_hundred_tickers_cost_under_ten_thousand_calls_a_day(make_live_clock: MakeClock) -> None:
    symbols = tuple(list_sandbox_symbols(500))
    clock = make_live_clock(symbols, symbols=500)
    for now in iterate_sample_times():
        clock.collect(now)
    assert clock.sandbox.stats()["calls_by_endpoint"]["real-time"] == clock.calls == 8_200
    assert {len(rows) for rows in fetch_bars(clock.engine.database).values()} == {13}
    assert len(fetch_bars(clock.engine.database)) == 500


def test_hour_without_live_collection_has_no_live_bars(make_live_clock: MakeClock) -> None:
    """The twelve missed rounds are those for sample timestamps from 16:00 to 17:00 UTC."""
    clock = make_live_clock(SYMBOLS)
    for now in iterate_sample_times():
        if not parse_utc("2026-06-02 16:20") <= now < parse_utc("2026-06-02 17:20"):
            clock.collect(now)
    hour = [parse_utc("2026-06-02 16:00"), parse_utc("2026-06-02 16:30")]
    expected = [at for at in iter_times(SESSION.open, SESSION.close - timedelta(minutes=30), 30) if at not in hour]
    assert {
        symbol: [at for at, _ in rows] for symbol, rows in fetch_bars(clock.engine.database).items()
    } == dict.fromkeys(SYMBOLS, expected)
    coverage = clock.measure(parse_utc("2026-06-02 20:45"))
    result = evaluate_live(clock.engine.database, coverage)
    assert (result.passed, result.figure) == (False, 2 * len(SYMBOLS))
    assert result.offenders == tuple(f"{s}.US (2)" for s in sorted(SYMBOLS))


def test_without_exchange_quotes_a_longer_interval_still_fills_slots(make_live_clock: MakeClock) -> None:
    symbols = tuple(list_sandbox_symbols(300))
    clock = make_live_clock(symbols, symbols=300, live={"attempts": 1, "live_budget": 5_000})
    clock.sandbox.set_faults(exchange_quotes=1.0)
    rounds = [clock.collect(now) for now in iterate_sample_times()]
    sampled = [m for m in rounds if m.kind == "sampled"]
    assert {m.method for m in sampled} == {"tickers"}
    assert sampled[0].seconds_between == 1800
    assert all(m.seconds_between in (300, 600, 900, 1800) for m in sampled)  # shorter again when calls remain
    assert clock.calls == 300 * len(sampled) <= 5_000
    coverage = clock.measure(parse_utc("2026-06-02 20:31"))
    provisional = fetch_bars(clock.engine.database)
    assert {symbol: len(rows) for symbol, rows in provisional.items() if len(rows) < 12} == {}
    assert coverage.count_slots(SlotState.PROVISIONAL) >= 12 * 300


def test_exchange_quotes_are_used_again_after_an_outage(make_live_clock: MakeClock) -> None:
    symbols = tuple(list_sandbox_symbols(150))
    clock = make_live_clock(symbols, symbols=150, live={"attempts": 1})
    clock.sandbox.set_faults(exchange_quotes=1.0)
    assert (
        clock.collect(parse_utc("2026-06-02 14:05")).method == "tickers"
    )  # every 10 minutes: the budget for 150 tickers
    clock.sandbox.set_faults(exchange_quotes=0.0)
    methods = [
        clock.collect(now).method for now in iter_times(parse_utc("2026-06-02 14:10"), parse_utc("2026-06-02 14:40"), 5)
    ]
    assert methods == [None, "tickers", None, "tickers", None, "exchange", "exchange"]


@pytest.mark.long
def test_thin_tickers_absent_values_and_text_timestamps_are_handled(make_live_clock: MakeClock) -> None:
    quirks = DataQuirks(string_timestamps=0.5, missing_live_quotes=0.2, live_unknown_404=True)
    symbols = (*list_sandbox_symbols(12), "NOPE")
    clock = make_live_clock(tuple(symbols), symbols=12, thin=frozenset({"AMZN", "TSLA"}), quirks=quirks)
    readings = [clock.collect(now).readings for now in iterate_sample_times()]
    assert max(r.absent for r in readings) > 1  # NOPE and tickers with a gap in live quotes
    assert all(r.broken == r.unanswered == 0 for r in readings)
    stored = fetch_bars(clock.engine.database)
    assert "NOPE" not in stored
    coverage = clock.measure(parse_utc("2026-06-02 20:45"))
    absent = {s.ticker.symbol for s in coverage.symbols if s.ticker.symbol not in stored}
    result = evaluate_live(clock.engine.database, coverage)
    # slots without trades of thin tickers are not late
    assert {name.split(".")[0] for name in result.offenders} == absent
    assert len(stored["AMZN"]) < 13
