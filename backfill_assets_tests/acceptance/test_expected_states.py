"""Unusual days, each with an answer file: the number of slots of each session in each state."""

import csv
import json
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backfill_assets.backfill.engine import Engine
from backfill_assets.market.calendar.tickers import parse_tickers
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.market.gaps.slot_states import SlotState
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.symbols import add_symbols
from backfill_assets_tests.conftest import recorded
from backfill_assets_tests.moving_clock import Clockwork, utc

ANSWERS = Path(__file__).parent / "answers"
COLUMNS = ("present", "pending", "missing", "no_trade", "vendor_gap", "suspect")


def states_by_session(coverage: Coverage) -> list[dict[str, str]]:
    """A row per symbol and session: expected slots, and the number of them in each state."""
    grid, slots = coverage.grid, coverage.open_slots
    expected = np.zeros((len(coverage.symbols), len(grid.sessions), len(SlotState)), int)
    np.add.at(expected, (slots.row, grid.session_index[slots.ordinal], coverage.slot_states.state), 1)
    sizes = np.diff(grid.session_offsets)
    rows = []
    for row, symbol in enumerate(coverage.symbols):
        for at, session in enumerate(grid.sessions):
            listed = coverage.absence_evidence.first_session[row] <= at <= coverage.absence_evidence.last_session[row]
            counts = {state.name.lower(): int(expected[row, at, state]) for state in SlotState}
            counts["present"] += int(sizes[at]) * listed - int(expected[row, at].sum())
            shown = {name: str(counts[name]) for name in COLUMNS}
            total = str(int(sizes[at]) * listed)
            rows.append({"symbol": symbol.ticker.symbol, "session": str(session.day), "expected": total, **shown})
    return rows


@pytest.fixture
def matches(engine_on: Callable[..., Engine], sandboxed: Callable[..., Sandbox]) -> Callable[..., Clockwork]:
    """Run at the given times, only measure at the last one, and compare with the answer file."""

    def check(name: str, symbols: tuple[str, ...], first: date, moments: list[str], **config: Any) -> Clockwork:
        sandbox = sandboxed(per_minute=100_000, **config)
        clock = Clockwork(engine_on(sandbox, symbols, requests_per_minute=100_000), sandbox, first)
        for moment in moments:
            clock.tick(utc(moment))
        compare(name, clock.survey(utc(moments[-1])))
        return clock

    return check


def compare(name: str, coverage: Coverage) -> None:
    found = states_by_session(coverage)
    with (ANSWERS / f"{name}.csv").open(newline="") as file:
        assert found == list(csv.DictReader(file))


def test_listing_that_begins_within_the_window(matches: Callable[..., Clockwork]) -> None:
    listed = {"MSFT": date(2026, 6, 3)}
    matches("listing_begins", ("AAPL", "MSFT"), date(2026, 6, 1), ["2026-06-05 13:00"], listed=listed)


def test_delisted_ticker(matches: Callable[..., Clockwork]) -> None:
    mornings = [f"2026-06-{day:02} 13:00" for day in (3, 4, 5, 8)]
    delisted = {"MSFT": date(2026, 6, 2)}
    matches("delisted", ("AAPL", "MSFT"), date(2026, 6, 1), mornings, delisted=delisted)


def test_renamed_ticker(matches: Callable[..., Clockwork]) -> None:
    renamed = {"OLDN": ("NEWN", date(2026, 6, 2))}
    clock = matches("renamed", ("AAPL", "OLDN"), date(2026, 6, 1), ["2026-06-03 13:00"], renamed=renamed)
    with clock.engine.database.transaction() as connection:
        ((detail,),) = connection.execute("SELECT detail FROM backfill.findings").fetchall()
    assert "renamed to NEWN on 2026-06-02" in detail


def test_symbol_added_today(matches: Callable[..., Clockwork]) -> None:
    clock = matches("added_before", ("AAPL",), date(2026, 6, 1), ["2026-06-03 15:00"])
    with clock.engine.database.transaction() as connection:
        add_symbols(connection, parse_tickers(["MSFT"]))
    compare("added_at_first", clock.survey(utc("2026-06-03 15:01")))
    clock.tick(utc("2026-06-03 15:01"))
    compare("added_and_filled", clock.survey(utc("2026-06-03 15:02")))


def test_half_day_after_thanksgiving(matches: Callable[..., Clockwork]) -> None:
    matches("thanksgiving_evening", ("AAPL",), date(2026, 11, 25), ["2026-11-27 22:00"])


def test_the_monday_after_thanksgiving(matches: Callable[..., Clockwork]) -> None:
    matches("thanksgiving_monday", ("AAPL",), date(2026, 11, 25), ["2026-11-30 13:00"])


def test_trading_halt_of_half_a_day(
    engine_on: Callable[..., Engine], sandboxed: Callable[..., Sandbox], tmp_path: Path
) -> None:
    """The afternoon of a liquid ticker comes as null rows: requested again, then a vendor gap, never no_trade."""
    rows = recorded("AAPL_5m_2026-06-01")
    halted = range(1780336800, 1780343100)  # 14:00 to 15:45 in New York
    for row in rows:
        if row["timestamp"] in halted:
            row.update(open=None, high=None, low=None, close=None, volume=None)
    (tmp_path / "intraday_AAPL.US_5m_2026-06-01.json").write_text(json.dumps(rows))
    sandbox = sandboxed(replay=tmp_path)
    clock = Clockwork(engine_on(sandbox), sandbox, date(2026, 6, 1))
    monday = {"end": date(2026, 6, 1)}
    begin = utc("2026-06-02 13:00")
    clock.tick(begin)
    compare("halted", clock.survey(begin, **monday))
    for hours in (1, 4, 10, 22, 46, *range(70, 310, 24)):
        clock.tick(begin + timedelta(hours=hours))
    compare("halted_given_up", clock.survey(begin + timedelta(days=13), **monday))


def test_calendar_file_adds_closures_and_early_closes(
    engine_on: Callable[..., Engine], sandboxed: Callable[..., Sandbox], tmp_path: Path
) -> None:
    told = {"closures": ["2026-06-02"], "early_closes": {"2026-06-01": "13:00"}}
    (tmp_path / "calendar.json").write_text(json.dumps(told))
    sandbox = sandboxed()
    clock = Clockwork(engine_on(sandbox, calendar_file=tmp_path / "calendar.json"), sandbox, date(2026, 6, 1))
    clock.tick(utc("2026-06-03 14:00"))
    compare("told_calendar", clock.survey(utc("2026-06-03 14:00")))


def test_trading_on_a_day_without_a_session_is_one_finding(
    engine_on: Callable[..., Engine], sandboxed: Callable[..., Sandbox], tmp_path: Path
) -> None:
    """The calendar file closes Tuesday, on which the sandbox's market was open."""
    (tmp_path / "calendar.json").write_text(json.dumps({"closures": ["2026-06-02"]}))
    sandbox = sandboxed(symbols=12)
    engine = engine_on(sandbox, tuple(sandbox.world.symbols), calendar_file=tmp_path / "calendar.json")
    Clockwork(engine, sandbox, date(2026, 6, 1)).tick(utc("2026-06-04 14:00"))
    with engine.database.transaction() as connection:
        found = connection.execute("SELECT kind, subject FROM backfill.findings").fetchall()
    assert found == [("calendar drift", "2026-06-02")]
