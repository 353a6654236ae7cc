"""Tokyo with a break that the calendar knows, and does not know: what is lost, what is explained, and the finding."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.job_request import JobRequest, collect_jobs
from backfill_assets.backfill.runner import run_backfill
from backfill_assets.market.calendar import sessions
from backfill_assets.market.calendar.calendar_tables import (
    NO_BREAK,
    CalendarTable,
    build_calendar_table,
    use_table_reader,
)
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.market.gaps.slot_states import SlotState
from backfill_assets.sandbox.around_the_clock import Withheld
from backfill_assets.sandbox.config import ExchangeConfig
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.evidence.findings import CALENDAR_OR_VENDOR_HOLE, list_findings
from backfill_assets.store.symbols import deactivate_symbols

NOW = datetime(2026, 10, 22, 6, tzinfo=UTC)  # the evening after is far from the next session's publication
DAYS: dict[str, Any] = {"start": date(2026, 10, 5), "end": date(2026, 10, 21)}  # twelve sessions
TICKERS = 12
LOST, SUSPECT = datetime(2026, 10, 15, 4, tzinfo=UTC), datetime(2026, 10, 19, 1, tzinfo=UTC)  # 13:00, 10:00 in Tokyo
WITHHELD = (
    Withheld("7203", LOST, LOST + timedelta(minutes=30)),
    Withheld("6758", SUSPECT, SUSPECT + timedelta(minutes=20)),  # two of six rows are left
)


@pytest.fixture
def forget_break() -> Iterator[Callable[[], None]]:
    """Let the library not know Tokyo's break; the sandbox that was started before keeps it."""

    def read(calendar: str, year: int) -> CalendarTable:
        table = build_calendar_table(calendar, year)
        none = (NO_BREAK,) * len(table.days)
        return replace(table, break_starts=none, break_ends=none) if calendar == "XTKS" else table

    yield lambda: use_calendars(read)
    use_calendars(None)


def use_calendars(reader: Callable[[str, int], CalendarTable] | None) -> None:
    use_table_reader(reader)
    sessions._list_year.cache_clear()


@pytest.fixture
def engine(make_engine: Callable[..., Engine], start_sandbox: Callable[..., Sandbox]) -> Engine:
    config = ExchangeConfig(symbols=TICKERS, withheld=WITHHELD)
    sandbox = start_sandbox(symbols=1, now=NOW, per_minute=100_000, exchanges={"TSE": config})
    tickers = [f"{symbol}.TSE" for symbol in sandbox.worlds.get_world("TSE").symbols]
    assert len(tickers) == TICKERS
    return make_engine(sandbox, tuple(tickers), exchanges=("TSE",), as_of=NOW, requests_per_minute=100_000)


def run(engine: Engine, **options: Any) -> None:
    for job in collect_jobs(engine, JobRequest(**(DAYS | options))).jobs:
        run_backfill(engine, job, lambda _: None)


def measure(engine: Engine, symbol: str | None = None) -> Coverage:
    (job,) = collect_jobs(engine, JobRequest(**DAYS)).jobs
    chosen = tuple(s for s in job.symbols if symbol in (None, s.ticker.symbol))
    return engine.measure(replace(job, symbols=chosen))


def list_states(coverage: Coverage) -> dict[tuple[str, datetime], SlotState]:
    slots = coverage.open_slots
    return {
        (coverage.symbols[row].ticker.symbol, datetime.fromtimestamp(start, UTC)): SlotState(state)
        for row, start, state in zip(
            slots.row.tolist(),
            coverage.grid.starts[slots.ordinal].tolist(),
            coverage.slot_states.state.tolist(),
            strict=True,
        )
    }


def list_holes(engine: Engine) -> list[str]:
    with engine.database.transaction() as connection:
        return [f.detail for f in list_findings(connection) if f.kind == CALENDAR_OR_VENDOR_HOLE]


ODD = {("7203", LOST): SlotState.MISSING, ("6758", SUSPECT): SlotState.SUSPECT}


def test_twelve_tokyo_sessions_have_one_lost_half_hour_and_one_suspect_bar(engine: Engine) -> None:
    run(engine)
    assert list_states(measure(engine)) == ODD
    assert list_holes(engine) == []


def test_a_break_that_the_calendar_does_not_know_is_a_finding_until_it_does(
    engine: Engine, forget_break: Callable[[], None]
) -> None:
    forget_break()
    run(engine)
    states = list_states(measure(engine))
    assert {key: states.pop(key) for key in ODD} == ODD
    assert {(start.hour, start.minute) for _, start in states} == {(2, 30), (3, 0)}  # 11:30 and 12:00 in Tokyo
    assert len(states) == TICKERS * 12 * 2
    assert {*states.values()} == {SlotState.MISSING}
    assert list_states(measure(engine, "7203")) == {
        key: state for key, state in (states | ODD).items() if key[0] == "7203"
    }  # as of all tickers
    assert list_holes(engine) == [  # two sessions before the window are requested as well
        "none of 12 tickers of TSE that were asked has bars of 11:30 to 12:30 on 14 days, 2026-10-01 to 2026-10-21"
        ' (Asia/Tokyo). If nobody trades then, write breaks = [["11:30", "12:30"]] under TSE in BACKFILL_MARKETS_FILE'
        " (docs/markets.md); else wait: they stay missing, and are requested until the vendor has them"
    ]
    use_calendars(None)
    run(engine)
    assert list_holes(engine) == []
    assert list_states(measure(engine)) == ODD
    with engine.database.transaction() as connection:  # what was not returned by the hours of before is numbered anew
        after_break = datetime(2026, 10, 9, 3, 30, tzinfo=UTC)
        chosen = "symbol_id = (SELECT symbol_id FROM market_symbols WHERE symbol = '9984')"
        connection.execute(f"DELETE FROM market_data WHERE {chosen} AND timestamp = %s".encode(), [after_break])
    assert list_states(measure(engine)) == ODD | {("9984", after_break): SlotState.MISSING}


def test_fewer_than_ten_tickers_show_no_hole(engine: Engine, forget_break: Callable[[], None]) -> None:
    with engine.database.transaction() as connection:
        deactivate_symbols(connection, [s.ticker for s in measure(engine).symbols[9:]])
    forget_break()
    run(engine)
    states = list_states(measure(engine))
    assert {key: states.pop(key) for key in ODD} == ODD
    assert {*states.values()} == {SlotState.NO_TRADE}
    assert list_holes(engine) == []
