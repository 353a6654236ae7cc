"""Twelve sessions of Tokyo in a real store: the break is nothing that is absent, and excuses nothing that is."""

from collections import Counter
from collections.abc import Callable
from datetime import date, datetime

from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.runner import run_backfill
from backfill_assets.market.calendar.sessions import list_sessions
from backfill_assets.market.exchanges.registry import get_profile
from backfill_assets.market.gaps.slot_states import SlotState
from backfill_assets.quality.heatmap import Cell, build_heatmap
from backfill_assets.sandbox.around_the_clock import Withheld
from backfill_assets.sandbox.config import ExchangeConfig
from backfill_assets.sandbox.exchange_feed import BreakRows, ExchangeFeed
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.bars.bar_checks import find_bar_faults
from backfill_assets_tests.conftest import make_job

FIRST, LAST = date(2026, 5, 15), date(2026, 6, 1)
TICKERS = ("7203.TSE", "6758.TSE")


def make_hole(day: date, first: str, last: str) -> Withheld:
    """The stamps from ``first`` to before ``last`` of a day in Tokyo, which the vendor never has."""
    begin, end = (datetime.fromisoformat(f"{day}T{at}+09:00") for at in (first, last))
    return Withheld("7203", begin, end)


def test_a_lost_half_hour_and_a_suspect_bar_in_twelve_tokyo_sessions_are_told_as_exactly_that(
    make_engine: Callable[..., Engine], start_sandbox: Callable[..., Sandbox]
) -> None:
    days = [session.day for session in list_sessions(get_profile("TSE"), FIRST, LAST)]
    holes = (make_hole(days[5], "10:00", "10:30"), make_hole(days[8], "13:05", "13:30"))
    tokyo = ExchangeConfig(symbols=2, feed=ExchangeFeed(break_rows=BreakRows.WITHOUT_VOLUME), withheld=holes)
    engine = make_engine(start_sandbox(exchanges={"TSE": tokyo}), TICKERS, exchanges=("TSE",))
    job = make_job(engine, start=FIRST, end=LAST)
    run_backfill(engine, job, lambda _: None)

    coverage = engine.measure(job)
    assert (len(days), coverage.grid.size) == (12, 12 * 11)
    open_slots = coverage.open_slots
    found = {
        (days[coverage.grid.session_index[ordinal]], f"{datetime.fromtimestamp(start, job.market.zone):%H:%M}", state)
        for ordinal, start, state in zip(
            open_slots.ordinal.tolist(),
            coverage.grid.starts[open_slots.ordinal].tolist(),
            map(SlotState, coverage.slot_states.state.tolist()),
            strict=True,
        )
        if state is not SlotState.PRESENT
    }
    assert found == {(days[5], "10:00", SlotState.MISSING), (days[8], "13:00", SlotState.SUSPECT)}
    cells = Counter(map(Cell, build_heatmap(coverage).cells.ravel().tolist()))
    assert cells == {Cell.COMPLETE: 22, Cell.PARTIAL: 1, Cell.SUSPECT: 1}
    with engine.database.transaction() as connection:
        faults, rows = find_bar_faults(connection, coverage.grid)
    assert (faults, rows) == ([], 2 * 132 - 1)
