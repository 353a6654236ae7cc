"""A session collected live in market time, and its bars after the final data are published."""

from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta

import pytest

from backfill_assets.market.calendar.sessions import Session, list_sessions
from backfill_assets.market.gaps.slot_states import SlotState
from backfill_assets.quality.checks import evaluate_window
from backfill_assets.quality.criteria import evaluate_live
from backfill_assets.quality.live_accuracy import read_live_accuracy
from backfill_assets.sandbox.config import DataQuirks, Publication, SandboxConfig
from backfill_assets.sandbox.endpoints.live_quotes import QuoteGenerator
from backfill_assets.store.postgres.connection import Database
from backfill_assets_tests.conftest import bars_in
from backfill_assets_tests.integration.test_backfill_engine import build_expected_bars, list_sandbox_symbols
from backfill_assets_tests.moving_clock import Clockwork, moments, utc

TUESDAY = date(2026, 6, 2)
(SESSION,) = list_sessions("US", TUESDAY, TUESDAY)
FEW = ("AAPL", "MSFT", "AMZN", "BRK-B")
Clock = Callable[..., Clockwork]


def ticks(session: Session = SESSION) -> Iterator[datetime]:
    """Every five minutes from before the open until after sampling ends, seven seconds late as a schedule may be."""
    first = session.open - timedelta(minutes=10)
    return (at + timedelta(seconds=7) for at in moments(first, session.close + timedelta(minutes=40), 5))


def bars(database: Database, what: str = "true") -> dict[str, list[tuple[datetime, int]]]:
    """Timestamps and volumes of the bars that meet the SQL condition ``what``, by symbol."""
    with database.transaction() as connection:
        rows = connection.execute(
            "SELECT symbol, timestamp, volume FROM market_data JOIN market_symbols USING (symbol_id)"
            f" WHERE {what} ORDER BY 1, 2".encode()
        ).fetchall()
    found: dict[str, list[tuple[datetime, int]]] = {}
    for symbol, at, volume in rows:
        found.setdefault(symbol, []).append((at, volume))
    return found


def due_slots(now: datetime, session: Session = SESSION) -> list[datetime]:
    """Slots that ended at least 30 minutes ago."""
    starts = moments(session.open, session.close - timedelta(minutes=30), 30)
    return [at for at in starts if at + timedelta(minutes=60) <= now]


def live_volume(config: SandboxConfig, clock: Clockwork, symbol: str) -> int:
    """The volume of the live series at the last timestamp before the close that a sample could read."""
    quotes = QuoteGenerator(config, clock.sandbox.world)
    seen = [q for at in ticks() if (q := quotes.find_quote(symbol, at.timestamp())) and q.session.day == TUESDAY]
    return max(q.volume for q in seen if q.timestamp < SESSION.close.timestamp())


def test_session_from_the_first_sample_to_the_last_final_bar(live_clock: Clock) -> None:
    clock = live_clock(FEW, publication=Publication(hours_after_close=(6, 6)))
    database = clock.engine.database
    for now in ticks():
        clock.sample(now)
        held = {symbol: [at for at, _ in rows] for symbol, rows in bars(database).items()}
        for symbol in FEW if due_slots(now) else ():
            assert held[symbol][: len(due_slots(now))] == due_slots(now)
        coverage = clock.survey(now)
        assert evaluate_live(database, coverage).passed
        assert coverage.count_slots(SlotState.PROVISIONAL) == sum(len(rows) for rows in held.values())

    provisional = bars(database, "is_final IS FALSE AND source_interval = 'live'")
    config = SandboxConfig(publication=Publication(hours_after_close=(6, 6)))
    assert {symbol: len(rows) for symbol, rows in provisional.items()} == dict.fromkeys(FEW, 13)
    assert {symbol: sum(v for _, v in rows) for symbol, rows in provisional.items()} == {
        symbol: live_volume(config, clock, symbol) for symbol in FEW
    }

    for now in moments(utc("2026-06-03 02:10"), utc("2026-06-03 03:10"), 30):
        clock.tick(now)
    assert bars(database, "is_final IS NOT TRUE") == {}
    for symbol in FEW:
        assert bars_in(database, symbol) == build_expected_bars(clock.sandbox, symbol, TUESDAY)
    coverage = clock.survey(utc("2026-06-03 14:00"), end=TUESDAY)
    assert all(c.passed for c in evaluate_window(database, coverage, live=True))
    found = read_live_accuracy(database, coverage)
    assert found is not None
    assert found.bars == 13 * len(FEW)
    assert 0 < found.median_bp < 20  # other series, the same market
    assert found.volume_ratio is not None
    assert found.volume_ratio > 1.2  # all venues against one


@pytest.mark.long
def test_five_hundred_tickers_cost_less_than_ten_thousand_calls_a_day(live_clock: Clock) -> None:
    symbols = tuple(list_sandbox_symbols(500))
    clock = live_clock(symbols, symbols=500)
    for now in ticks():
        clock.sample(now)
    assert clock.sandbox.stats()["calls_by_endpoint"]["real-time"] == clock.calls == 8_200
    assert {len(rows) for rows in bars(clock.engine.database).values()} == {13}
    assert len(bars(clock.engine.database)) == 500


def test_live_collection_down_for_an_hour_leaves_that_hour_without_bars(live_clock: Clock) -> None:
    """Twelve rounds are missed: those whose samples would carry timestamps from 16:00 to 17:00 UTC."""
    clock = live_clock(FEW)
    for now in ticks():
        if not utc("2026-06-02 16:20") <= now < utc("2026-06-02 17:20"):
            clock.sample(now)
    hour = [utc("2026-06-02 16:00"), utc("2026-06-02 16:30")]
    wanted = [at for at in moments(SESSION.open, SESSION.close - timedelta(minutes=30), 30) if at not in hour]
    assert {symbol: [at for at, _ in rows] for symbol, rows in bars(clock.engine.database).items()} == dict.fromkeys(
        FEW, wanted
    )
    coverage = clock.survey(utc("2026-06-02 20:45"))
    judged = evaluate_live(clock.engine.database, coverage)
    assert (judged.passed, judged.figure) == (False, 2 * len(FEW))
    assert judged.offenders == tuple(f"{s}.US (2)" for s in sorted(FEW))


def test_without_exchange_quotes_the_interval_grows_and_every_slot_gets_its_bar(live_clock: Clock) -> None:
    symbols = tuple(list_sandbox_symbols(300))
    clock = live_clock(symbols, symbols=300, live={"attempts": 1, "live_budget": 5_000})
    clock.sandbox.set_faults(exchange_quotes=1.0)
    made = [clock.sample(now) for now in ticks()]
    sampled = [m for m in made if m.kind == "sampled"]
    assert {m.method for m in sampled} == {"tickers"}
    assert sampled[0].seconds_between == 1800
    assert all(m.seconds_between in (300, 600, 900, 1800) for m in sampled)  # shorter again as calls are left over
    assert clock.calls == 300 * len(sampled) <= 5_000
    late = clock.survey(utc("2026-06-02 20:31"))
    provisional = bars(clock.engine.database)
    assert {symbol: len(rows) for symbol, rows in provisional.items() if len(rows) < 12} == {}
    assert late.count_slots(SlotState.PROVISIONAL) >= 12 * 300


def test_exchange_quotes_are_used_again_after_an_outage(live_clock: Clock) -> None:
    symbols = tuple(list_sandbox_symbols(150))
    clock = live_clock(symbols, symbols=150, live={"attempts": 1})
    clock.sandbox.set_faults(exchange_quotes=1.0)
    assert clock.sample(utc("2026-06-02 14:05")).method == "tickers"  # every 10 minutes: what 150 tickers afford
    clock.sandbox.set_faults(exchange_quotes=0.0)
    methods = [clock.sample(now).method for now in moments(utc("2026-06-02 14:10"), utc("2026-06-02 14:40"), 5)]
    assert methods == [None, "tickers", None, "tickers", None, "exchange", "exchange"]


def test_thin_tickers_absent_values_and_text_timestamps_are_handled(live_clock: Clock) -> None:
    traits = DataQuirks(string_timestamps=0.5, missing_live_quotes=0.2, live_unknown_404=True)
    symbols = (*list_sandbox_symbols(12), "NOPE")
    clock = live_clock(tuple(symbols), symbols=12, thin=frozenset({"AMZN", "TSLA"}), quirks=traits)
    readings = [clock.sample(now).readings for now in ticks()]
    assert max(r.absent for r in readings) > 1  # NOPE and those in a live gap
    assert all(r.broken == r.unanswered == 0 for r in readings)
    held = bars(clock.engine.database)
    assert "NOPE" not in held
    coverage = clock.survey(utc("2026-06-02 20:45"))
    gone = {s.ticker.symbol for s in coverage.symbols if s.ticker.symbol not in held}
    judged = evaluate_live(clock.engine.database, coverage)
    assert {name.split(".")[0] for name in judged.offenders} == gone  # quiet slots of thin tickers are not late
    assert len(held["AMZN"]) < 13
