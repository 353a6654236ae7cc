"""Halts: found the same day from both feeds, asked again, and told apart from what the vendor lost."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.results import RunResult
from backfill_assets.backfill.runner import run_backfill
from backfill_assets.market.actions.listed_actions import ListedSplit
from backfill_assets.market.calendar.sessions import list_sessions
from backfill_assets.market.exchanges.registry import US
from backfill_assets.market.gaps.halts import HaltKind, HaltState
from backfill_assets.market.gaps.slot_states import SlotState
from backfill_assets.quality.slot_explanation import explain_slots
from backfill_assets.sandbox.config import DataQuirks, SandboxConfig
from backfill_assets.sandbox.endpoints.intraday_rows import build_intraday_rows
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.sandbox.world.simulation import World
from backfill_assets.store.actions.splits import record_symbol_splits
from backfill_assets.store.evidence.halt_facts import read_daily_volumes
from backfill_assets.store.evidence.halts import StoredHalt, decide_halts, record_halts
from backfill_assets_tests.conftest import make_job

StartSandbox = Callable[..., Sandbox]
MakeEngine = Callable[..., Engine]
TUESDAY = date(2026, 6, 2)
EVENING = datetime(2026, 6, 3, 1, 10, tzinfo=UTC)  # Tuesday 21:10 in New York: 1m is published, too
SYMBOLS = tuple(World(SandboxConfig(symbols=22)).symbols)
HALTED = "AAPL"


@pytest.fixture(name="make_market")
def _make_market(start_sandbox: StartSandbox, make_engine: MakeEngine) -> Callable[..., tuple[Engine, Sandbox]]:
    """A sandbox with 22 symbols and an engine that has them."""

    def make(symbols: tuple[str, ...] = SYMBOLS, **quirks: Any) -> tuple[Engine, Sandbox]:
        sandbox = start_sandbox(symbols=22, per_minute=100_000, quirks=DataQuirks(**quirks))
        return make_engine(sandbox, symbols, requests_per_minute=100_000), sandbox

    return make


def run_at(engine: Engine, sandbox: Sandbox, moment: datetime, **options: Any) -> RunResult:
    """A run over Tuesday."""
    sandbox.move_clock(moment)
    later = replace(engine, settings=engine.settings.model_copy(update={"as_of": moment}))
    return run_backfill(later, make_job(later, **{"start": TUESDAY, "end": TUESDAY, **options}), lambda _: None)


def count_states(engine: Engine, moment: datetime, symbol: str = HALTED) -> dict[str, int]:
    """How many of Tuesday's slots of a symbol are in each state."""
    later = replace(engine, settings=engine.settings.model_copy(update={"as_of": moment}))
    coverage = later.measure(make_job(later, start=TUESDAY, end=TUESDAY, symbols=[symbol]))
    return {state.name: count for state in SlotState if (count := coverage.count_slots(state))}


def read_halts(engine: Engine, columns: str = "state, kind") -> list[tuple[Any, ...]]:
    with engine.database.transaction() as connection:
        return connection.execute(f"SELECT DISTINCT {columns} FROM backfill.halts".encode()).fetchall()


def test_a_halt_is_found_the_same_day_asked_again_after_one_day_and_three_and_final(
    make_market: Callable[..., tuple[Engine, Sandbox]],
) -> None:
    engine, sandbox = make_market(halts={(HALTED, TUESDAY): (90, 150)})
    run_at(engine, sandbox, EVENING)
    assert count_states(engine, EVENING) == {"PRESENT": 11, "MISSING": 2}
    found_at = EVENING + timedelta(hours=1.5)
    result = run_at(engine, sandbox, found_at)
    assert (result.cross_feed.tickers, result.cross_feed.halts, result.after.missing) == (1, 2, 0)
    assert count_states(engine, found_at) == {"PRESENT": 11, "NO_TRADE": 2}
    assert read_halts(engine) == [("found", "halt")]
    coverage = engine.measure(make_job(engine, start=TUESDAY, end=TUESDAY, symbols=[HALTED]))
    halted = [slot for slot in explain_slots(coverage, []) if slot.state == "no_trade"]
    assert {slot.evidence for slot in halted} == {
        "no trade (halt): both feeds of the vendor have rows on both sides and none inside"
    }
    asked = []
    for hours in (23, 24, 71, 72, 200):
        moment = found_at + timedelta(hours=hours)
        asked.append(run_at(engine, sandbox, moment).cross_feed.tickers)
        assert count_states(engine, moment) == {"PRESENT": 11, "NO_TRADE": 2}
    assert asked == [0, 1, 0, 1, 0]
    assert read_halts(engine, "next_request_at") == [(None,)]


def test_a_slot_that_the_whole_market_lacks_is_an_outage_of_the_vendor(
    make_market: Callable[..., tuple[Engine, Sandbox]],
) -> None:
    engine, sandbox = make_market(halts={(symbol, TUESDAY): (90, 120) for symbol in SYMBOLS[:2]})
    run_at(engine, sandbox, EVENING)
    moment = EVENING + timedelta(hours=1.5)
    result = run_at(engine, sandbox, moment)
    assert (result.cross_feed.halts, result.after.missing) == (0, 2)
    assert read_halts(engine, "state, reason") == [
        ("refuted", "1 of 21 other liquid symbols lack the slot, too: the vendor lost it")
    ]


def test_a_symbol_of_which_only_5m_lost_the_slot_does_not_lack_it(
    make_market: Callable[..., tuple[Engine, Sandbox]],
) -> None:
    windows = {"halts": {(SYMBOLS[0], TUESDAY): (90, 120)}, "null_windows": {(SYMBOLS[1], TUESDAY): (90, 120)}}
    engine, sandbox = make_market(**windows)
    run_at(engine, sandbox, EVENING)
    moment = EVENING + timedelta(hours=1.5)
    run_at(engine, sandbox, moment, symbols=[SYMBOLS[1]])
    assert run_at(engine, sandbox, moment).cross_feed.halts == 1
    assert read_halts(engine, "tickers_seen, tickers_lacking") == [(21, 0)]


def test_with_few_symbols_a_person_settles_a_halt(make_market: Callable[..., tuple[Engine, Sandbox]]) -> None:
    engine, sandbox = make_market(SYMBOLS[:5], halts={(SYMBOLS[0], TUESDAY): (90, 120)})
    run_at(engine, sandbox, EVENING)
    moment = EVENING + timedelta(hours=1.5)
    assert run_at(engine, sandbox, moment).after.missing == 1
    assert read_halts(engine) == [("proposed", "halt")]
    job = make_job(engine, start=TUESDAY, end=TUESDAY)
    with engine.database.transaction() as connection:
        symbol_id = next(s.symbol_id for s in job.symbols if s.ticker.symbol == SYMBOLS[0])
        assert decide_halts(connection, symbol_id, job.interval, TUESDAY, is_halt=True, by="ann") == 1
    assert count_states(engine, moment, SYMBOLS[0]) == {"PRESENT": 12, "NO_TRADE": 1}
    run_at(engine, sandbox, moment + timedelta(hours=30), symbols=[SYMBOLS[0]])
    assert read_halts(engine, "state, decided_by") == [("found", "ann")]


def test_no_person_is_asked_about_slots_of_a_rarely_traded_symbol(
    make_market: Callable[..., tuple[Engine, Sandbox]],
) -> None:
    """It lacked another time of day in half of its sessions, so this one is not usual, and no halt either."""
    engine, sandbox = make_market(SYMBOLS[:5], halts={(SYMBOLS[0], TUESDAY): (90, 120)})
    earlier = [session.day for session in list_sessions(US, date(2026, 5, 20), date(2026, 5, 29))][-6:]
    with engine.database.transaction() as connection:
        for number, day in enumerate(earlier):
            connection.execute(
                "INSERT INTO backfill.session_evidence (symbol_id, interval_type, source_interval, session_day,"
                " requested_at, source_rows, is_published, not_returned)"
                " SELECT symbol_id, '30m', '5m', %s, now(), 72, true, %s FROM market_symbols WHERE symbol = %s",
                [day, "{[9,10)}" if number < 3 else "{}", SYMBOLS[0]],
            )
    run_at(engine, sandbox, EVENING)
    result = run_at(engine, sandbox, EVENING + timedelta(hours=1.5))
    assert (result.cross_feed.tickers, result.after.missing) == (1, 1)  # the other feed may have had the bar
    assert read_halts(engine) == []


def test_a_bar_that_comes_later_ends_the_halt(
    make_market: Callable[..., tuple[Engine, Sandbox]], start_sandbox: StartSandbox
) -> None:
    engine, sandbox = make_market(halts={(HALTED, TUESDAY): (90, 120)})
    run_at(engine, sandbox, EVENING)
    found_at = EVENING + timedelta(hours=1.5)
    assert run_at(engine, sandbox, found_at).cross_feed.halts == 1
    mended = start_sandbox(symbols=22)
    engine = replace(engine, settings=engine.settings.model_copy(update={"base_url": mended.base_url}))
    moment = found_at + timedelta(hours=24)
    run_at(engine, mended, moment)
    assert count_states(engine, moment) == {"PRESENT": 13}
    assert read_halts(engine, "state, reason") == [("refuted", "a bar of the slot came")]


def test_a_day_that_traded_outside_regular_hours_only_is_explained_the_same_day(
    make_market: Callable[..., tuple[Engine, Sandbox]],
) -> None:
    engine, sandbox = make_market(SYMBOLS[:3], halts={(SYMBOLS[0], TUESDAY): (0, 390)})
    run_at(engine, sandbox, EVENING)
    moment = EVENING + timedelta(hours=1.5)
    result = run_at(engine, sandbox, moment)
    assert result.after.missing == 0
    assert count_states(engine, moment, SYMBOLS[0]) == {"NO_TRADE": 13}
    assert read_halts(engine, "state, kind, volume_share > 0.5") == [("found", "outside_hours", True)]


def test_a_session_that_1m_lost_is_no_day_without_regular_trading(
    make_market: Callable[..., tuple[Engine, Sandbox]],
) -> None:
    engine, sandbox = make_market(SYMBOLS[:3], halts={(SYMBOLS[0], TUESDAY): (0, 390)})
    run_at(engine, sandbox, EVENING)
    with engine.database.transaction() as connection:
        connection.execute("UPDATE backfill.daily_prices SET reported_volume = reported_volume * 30")
    moment = EVENING + timedelta(hours=1.5)
    result = run_at(engine, sandbox, moment)
    assert (result.cross_feed.halts, result.after.missing) == (0, 13)
    assert read_halts(engine) == [("refuted", "outside_hours")]


def record_found_halt(engine: Engine, moment: datetime, *minutes: int) -> None:
    """Store that slots of the only symbol, given by their minutes after the open, were found halted at ``moment``."""
    starts = [datetime(2026, 6, 2, 13, 30, tzinfo=UTC) + timedelta(minutes=minute) for minute in minutes]
    with engine.database.transaction() as connection:
        ((symbol_id,),) = connection.execute("SELECT symbol_id FROM market_symbols").fetchall()
        halt = StoredHalt(
            symbol_id, "30m", starts[0], TUESDAY, HaltKind.HALT, HaltState.FOUND, "seen", 500, 1, None, None,
            moment, moment, moment + timedelta(hours=24),
        )  # fmt: skip
        record_halts(connection, [replace(halt, timestamp=start) for start in starts])


def test_a_halt_that_the_next_answers_do_not_enclose_is_asked_again_twice_and_no_more(
    make_market: Callable[..., tuple[Engine, Sandbox]],
) -> None:
    """Trading is halted until the close, and no later session is requested with it."""
    engine, sandbox = make_market(SYMBOLS[:1], halts={(SYMBOLS[0], TUESDAY): (360, 390)})
    run_at(engine, sandbox, EVENING)
    record_found_halt(engine, EVENING, 360)
    asked = []
    for hours in (25, 73, 200):
        result = run_at(engine, sandbox, EVENING + timedelta(hours=hours))
        asked.append((result.cross_feed.tickers, result.calls))
        assert count_states(engine, EVENING + timedelta(hours=hours), SYMBOLS[0]) == {"PRESENT": 12, "NO_TRADE": 1}
    assert asked == [(1, 10), (1, 10), (0, 0)]
    assert read_halts(engine, "state, next_request_at") == [("found", None)]


def test_a_halt_is_refuted_by_rows_of_the_other_feed(make_market: Callable[..., tuple[Engine, Sandbox]]) -> None:
    engine, sandbox = make_market(SYMBOLS[:1], null_windows={(SYMBOLS[0], TUESDAY): (90, 120)})
    run_at(engine, sandbox, EVENING)
    record_found_halt(engine, EVENING, 90)
    assert run_at(engine, sandbox, EVENING + timedelta(hours=25)).cross_feed.taken == 1
    assert read_halts(engine, "state, reason") == [("refuted", "the other feed has rows of the slot")]


def test_a_rejected_row_that_shows_a_trade_is_no_halt(
    start_sandbox: StartSandbox, make_engine: MakeEngine, tmp_path: Path
) -> None:
    """Trading is halted from 11:00 to 12:00, but 5m has a row of 11:05 that cannot be right."""
    world = World(SandboxConfig(symbols=22, quirks=DataQuirks(halts={(HALTED, TUESDAY): (90, 150)})))
    (session,) = list_sessions(US, TUESDAY, TUESDAY)
    for feed in ("1m", "5m"):
        rows = build_intraday_rows(world.get_published_rows(HALTED, session, feed), False)
        for row in rows:
            if feed == "5m" and row.timestamp == datetime(2026, 6, 2, 15, 5, tzinfo=UTC).timestamp():
                row.open = row.high = row.low = row.close = 0
                row.volume = 700
        (tmp_path / f"intraday_{HALTED}.US_{feed}_tuesday.json").write_bytes(msgspec.json.encode(rows))
    sandbox = start_sandbox(replay=tmp_path)
    engine = make_engine(sandbox, (HALTED,))
    run_at(engine, sandbox, EVENING)
    assert run_at(engine, sandbox, EVENING + timedelta(hours=1.5)).cross_feed.tickers == 1
    assert read_halts(engine, "timestamp, state") == [(datetime(2026, 6, 2, 15, 30, tzinfo=UTC), "proposed")]


def test_daily_volumes_are_in_shares_of_their_own_day(make_market: Callable[..., tuple[Engine, Sandbox]]) -> None:
    engine, _ = make_market(SYMBOLS[:1])
    with engine.database.transaction() as connection:
        connection.execute(
            "INSERT INTO backfill.daily_prices (symbol_id, day, close_price, adjusted_close, volume, reported_volume,"
            " read_at) SELECT 1, day, 400, adjusted, 8000, reported, '2026-06-06 12:00+00'"
            " FROM (VALUES (date '2026-06-02', 100, 8000), (date '2026-06-03', 100, 0), (date '2026-06-04', 400, 900))"
            " AS t (day, adjusted, reported)"
        )
        days = [date(2026, 6, day) for day in (1, 2, 3, 4)]
        assert read_daily_volumes(connection, 1, days, US.zone) == {days[2]: 0.0, days[3]: 900.0}  # without its splits
        record_symbol_splits(
            connection, 1, [ListedSplit(date(2026, 6, 5), Decimal(4), Decimal(1))], "/splits",
            datetime(2026, 6, 6, 13, tzinfo=UTC),
            known_after=date(2026, 1, 1), known_until=date(2026, 6, 6),
        )  # fmt: skip
        assert read_daily_volumes(connection, 1, days, US.zone) == {days[1]: 2000.0, days[2]: 0.0, days[3]: 900.0}
