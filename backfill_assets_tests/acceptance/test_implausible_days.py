"""Ten days of a vendor that gives improbable data of every kind: what is trusted in the end is right."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta

import pytest

from backfill_assets.backfill.daily_reading import read_daily_data
from backfill_assets.backfill.engine import Engine
from backfill_assets.market.calendar.sessions import list_sessions
from backfill_assets.market.exchanges.registry import US
from backfill_assets.sandbox.config import DataQuirks
from backfill_assets.sandbox.oddities import OddityRates
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.symbols import list_symbols
from backfill_assets_tests.integration.test_backfill_engine import list_sandbox_symbols
from backfill_assets_tests.moving_clock import MovingClock, iter_times, parse_utc
from bench.trusted_bars import TableCheck, check_bars

pytestmark = pytest.mark.no_cover

HISTORY, FIRST, LAST = date(2026, 4, 29), date(2026, 6, 1), date(2026, 6, 12)  # rules look back 20 sessions
SPLIT, LISTED = date(2026, 6, 4), date(2026, 6, 8)
QUIRKS = replace(DataQuirks.build_realistic(), revisions=0.0, cumulative_volume_months=0.0, duplicate_splits=0.5)


def run_days(
    make_engine: Callable[..., Engine],
    start_sandbox: Callable[..., Sandbox],
    *,
    symbols: int,
    last: date,
    rate: float,
    hours: int = 3,
    history: date = HISTORY,
) -> TableCheck:
    """Run a backfill every few hours and read the daily data every morning, until four days after the last session."""
    tickers = tuple(list_sandbox_symbols(symbols))
    sandbox = start_sandbox(
        symbols=symbols,
        per_minute=100_000,
        listed=dict.fromkeys(tickers[5:8], LISTED),
        splits={tickers[10]: (SPLIT, 4.0), tickers[11]: (SPLIT, 0.1), tickers[12]: (SPLIT, 3.0)},
        quirks=replace(QUIRKS, oddities=OddityRates.build_all(rate, 0.7)),
    )
    clock = MovingClock(make_engine(sandbox, tickers, requests_per_minute=100_000, daily_data=True), sandbox, history)
    begin, end = parse_utc(f"{FIRST} 13:00"), parse_utc(f"{last + timedelta(days=4)} 13:00")
    for now in iter_times(begin, end, 60 * hours):
        if now.hour in range(12, 12 + hours):
            read_daily_data(clock.move_to(now), US)
        clock.run(now)
    with clock.engine.database.transaction() as connection:
        stored = tuple(list_symbols(connection, "US"))
    return check_bars(clock.engine, sandbox.world, stored, list_sessions(US, history, last))


@pytest.mark.long
def test_no_trusted_bar_is_wrong_after_ten_days(
    make_engine: Callable[..., Engine], start_sandbox: Callable[..., Sandbox]
) -> None:
    check = run_days(make_engine, start_sandbox, symbols=40, last=LAST, rate=0.02)
    print(check.describe())  # noqa: T201 - make soak shows it
    assert check.bars > 40 * 9 * 12
    assert sum(check.marked_wrong.values()) > 100
    assert check.promised == []


def test_no_trusted_bar_is_wrong_after_a_disturbed_session(
    make_engine: Callable[..., Engine], start_sandbox: Callable[..., Sandbox]
) -> None:
    check = run_days(
        make_engine, start_sandbox, symbols=14, last=FIRST, rate=0.04, hours=12, history=FIRST - timedelta(days=5)
    )
    assert sum(check.marked_wrong.values()) > 10
    assert check.promised == []
