"""Unusual days: the number of slots per session and state, compared with a file of ``expected_states/``."""

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
from backfill_assets.sandbox.config import Absences
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.symbols import add_symbols
from backfill_assets_tests.conftest import read_recorded_rows
from backfill_assets_tests.moving_clock import MovingClock, parse_utc

EXPECTED_STATES = Path(__file__).parent / "expected_states"
COLUMNS = ("present", "pending", "missing", "no_trade", "vendor_gap", "suspect")


def build_state_rows(coverage: Coverage) -> list[dict[str, str]]:
    """A row per symbol and session: expected slots, and the number of them in each state."""
    grid, slots = coverage.grid, coverage.open_slots
    open_counts = np.zeros((len(coverage.symbols), len(grid.sessions), len(SlotState)), int)
    np.add.at(open_counts, (slots.row, grid.session_index[slots.ordinal], coverage.slot_states.state), 1)
    sizes = np.diff(grid.session_offsets)
    rows = []
    for row, symbol in enumerate(coverage.symbols):
        for index, session in enumerate(grid.sessions):
            listed = (
                coverage.absence_evidence.first_session[row] <= index <= coverage.absence_evidence.last_session[row]
            )
            counts = {state.name.lower(): int(open_counts[row, index, state]) for state in SlotState}
            counts["present"] += int(sizes[index]) * listed - int(open_counts[row, index].sum())
            shown_counts = {name: str(counts[name]) for name in COLUMNS}
            total = str(int(sizes[index]) * listed)
            rows.append(
                {"symbol": symbol.ticker.symbol, "session": str(session.day), "expected": total, **shown_counts}
            )
    return rows


@pytest.fixture
def run_and_compare(
    make_engine: Callable[..., Engine], start_sandbox: Callable[..., Sandbox]
) -> Callable[..., MovingClock]:
    """Run at the given times, measure at the last one, and compare with the file ``name``."""

    def run(name: str, symbols: tuple[str, ...], first: date, moments: list[str], **config: Any) -> MovingClock:
        sandbox = start_sandbox(per_minute=100_000, **config)
        clock = MovingClock(make_engine(sandbox, symbols, requests_per_minute=100_000), sandbox, first)
        for moment in moments:
            clock.run(parse_utc(moment))
        compare_with_file(name, clock.measure(parse_utc(moments[-1])))
        return clock

    return run


def compare_with_file(name: str, coverage: Coverage) -> None:
    rows = build_state_rows(coverage)
    with (EXPECTED_STATES / f"{name}.csv").open(newline="") as file:
        assert rows == list(csv.DictReader(file))


def test_new_listing_has_no_expected_slots_before_its_first_session(
    run_and_compare: Callable[..., MovingClock],
) -> None:
    listed = {"MSFT": date(2026, 6, 3)}
    run_and_compare("listing_begins", ("AAPL", "MSFT"), date(2026, 6, 1), ["2026-06-05 13:00"], listed=listed)


def test_delisted_ticker_has_no_expected_slots_after_its_last_session(
    run_and_compare: Callable[..., MovingClock],
) -> None:
    mornings = [f"2026-06-{day:02} 13:00" for day in (3, 4, 5, 8)]
    delisted = {"MSFT": date(2026, 6, 2)}
    run_and_compare("delisted", ("AAPL", "MSFT"), date(2026, 6, 1), mornings, delisted=delisted)


def test_renamed_ticker_is_not_expected_from_its_new_name_on_and_reported(
    run_and_compare: Callable[..., MovingClock],
) -> None:
    renamed = {"OLDN": ("NEWN", date(2026, 6, 2))}
    clock = run_and_compare("renamed", ("AAPL", "OLDN"), date(2026, 6, 1), ["2026-06-03 13:00"], renamed=renamed)
    with clock.engine.database.transaction() as connection:
        ((detail,),) = connection.execute("SELECT detail FROM backfill.findings").fetchall()
    assert "renamed to NEWN on 2026-06-02" in detail


def test_added_symbol_is_missing_until_the_next_run(run_and_compare: Callable[..., MovingClock]) -> None:
    clock = run_and_compare("before_symbol_added", ("AAPL",), date(2026, 6, 1), ["2026-06-03 15:00"])
    with clock.engine.database.transaction() as connection:
        add_symbols(connection, parse_tickers(["MSFT"]))
    compare_with_file("symbol_added", clock.measure(parse_utc("2026-06-03 15:01")))
    clock.run(parse_utc("2026-06-03 15:01"))
    compare_with_file("symbol_added_and_filled", clock.measure(parse_utc("2026-06-03 15:02")))


def test_half_day_after_thanksgiving_is_pending_in_the_evening(run_and_compare: Callable[..., MovingClock]) -> None:
    run_and_compare("thanksgiving_evening", ("AAPL",), date(2026, 11, 25), ["2026-11-27 22:00"])


def test_half_day_after_thanksgiving_is_complete_on_monday(run_and_compare: Callable[..., MovingClock]) -> None:
    run_and_compare("thanksgiving_monday", ("AAPL",), date(2026, 11, 25), ["2026-11-30 13:00"])


@pytest.mark.no_cover
def test_trading_halt_becomes_a_vendor_gap(
    make_engine: Callable[..., Engine], start_sandbox: Callable[..., Sandbox], tmp_path: Path
) -> None:
    """The rows of the halt are null: the slots are requested again and become a vendor gap, not no_trade."""
    rows = read_recorded_rows("AAPL_5m_2026-06-01")
    halt_timestamps = range(1780336800, 1780343100)  # 14:00 to 15:45 in New York
    for row in rows:
        if row["timestamp"] in halt_timestamps:
            row.update(open=None, high=None, low=None, close=None, volume=None)
    (tmp_path / "intraday_AAPL.US_5m_2026-06-01.json").write_text(json.dumps(rows))
    # The daily row would be of the sandbox's own AAPL, at other prices than the recorded one.
    sandbox = start_sandbox(replay=tmp_path, absences=Absences(eod_skipped=frozenset({("AAPL", date(2026, 6, 1))})))
    clock = MovingClock(make_engine(sandbox), sandbox, date(2026, 6, 1))
    monday = {"end": date(2026, 6, 1)}
    begin = parse_utc("2026-06-02 13:00")
    clock.run(begin)
    compare_with_file("halted", clock.measure(begin, **monday))
    for hours in (1, 4, 10, 22, 46, *range(70, 310, 24)):
        clock.run(begin + timedelta(hours=hours))
    compare_with_file("halted_vendor_gap", clock.measure(begin + timedelta(days=13), **monday))


def test_calendar_file_adds_a_closure_and_an_early_close(
    make_engine: Callable[..., Engine], start_sandbox: Callable[..., Sandbox], tmp_path: Path
) -> None:
    calendar = {"closures": ["2026-06-02"], "early_closes": {"2026-06-01": "13:00"}}
    (tmp_path / "calendar.json").write_text(json.dumps(calendar))
    sandbox = start_sandbox()
    clock = MovingClock(make_engine(sandbox, calendar_file=tmp_path / "calendar.json"), sandbox, date(2026, 6, 1))
    clock.run(parse_utc("2026-06-03 14:00"))
    compare_with_file("calendar_file", clock.measure(parse_utc("2026-06-03 14:00")))


def test_trading_on_a_day_without_a_session_is_one_finding(
    make_engine: Callable[..., Engine], start_sandbox: Callable[..., Sandbox], tmp_path: Path
) -> None:
    """The calendar file closes Tuesday, when the sandbox's market was open."""
    (tmp_path / "calendar.json").write_text(json.dumps({"closures": ["2026-06-02"]}))
    sandbox = start_sandbox(symbols=12)
    engine = make_engine(sandbox, tuple(sandbox.world.symbols), calendar_file=tmp_path / "calendar.json")
    MovingClock(engine, sandbox, date(2026, 6, 1)).run(parse_utc("2026-06-04 14:00"))
    with engine.database.transaction() as connection:
        findings = connection.execute("SELECT kind, subject FROM backfill.findings").fetchall()
    assert findings == [("calendar drift", "2026-06-02")]
