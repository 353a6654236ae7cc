"""From which older session on a symbol is watched, and what calls are left over for those that are not."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date

import pytest

from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.spare_calls import count_spare_requests
from backfill_assets.backfill.watched_sessions import find_common_day, record_watched
from backfill_assets.config.settings import Settings
from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.sessions import list_sessions
from backfill_assets.market.calendar.slots import build_slot_grid
from backfill_assets.market.calendar.tickers import Symbol, parse_tickers
from backfill_assets.market.exchanges.registry import US
from backfill_assets.market.gaps.slot_states import SlotState
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.symbols import add_symbols
from backfill_assets.store.watched_sessions import read_watched
from backfill_assets_tests.unit.coverage_builders import build_coverage

*OLDER, NEXT = list_sessions(US, date(2026, 5, 18), date(2026, 5, 22))
DAYS = [session.day for session in OLDER]
BARS_30M = INTERVALS["30m"]


def fill(session: int) -> range:
    """Every slot of a session."""
    return range(13 * session, 13 * (session + 1))


def record(
    engine: Engine, states: Mapping[tuple[str, range], SlotState], first: int = 0, symbols: str = "A B"
) -> list[int]:
    """Record a look at the sessions from ``first`` on; returns the first watched one of each symbol."""
    sessions = OLDER[first:]
    shifted = {(name, range(r.start - 13 * first, r.stop - 13 * first)): state for (name, r), state in states.items()}
    coverage = build_coverage(symbols, build_slot_grid(sessions, BARS_30M), shifted)
    return record_watched(engine, coverage, NEXT).tolist()


def read_rows(engine: Engine) -> list[tuple[date, int]]:
    with engine.database.transaction() as connection:
        watched = read_watched(connection, [1, 2], BARS_30M)
    return [(watched[symbol_id].day, watched[symbol_id].missing) for symbol_id in sorted(watched)]


@pytest.fixture
def engine(database: Database, settings: Settings) -> Engine:
    return Engine(database, settings)


def test_sessions_are_watched_once_they_and_all_later_ones_are_filled_or_given_up(engine: Engine) -> None:
    lacking = {
        ("A", fill(2)): SlotState.MISSING,
        ("B", fill(1)): SlotState.VENDOR_GAP,
        ("B", fill(2)): SlotState.NO_TRADE,
    }
    assert record(engine, lacking) == [3, 0]
    assert read_rows(engine) == [(DAYS[3], 0), (DAYS[0], 0)]  # what is not watched is not counted
    for state in (SlotState.PENDING, SlotState.PROVISIONAL):
        assert record(engine, {("A", fill(2)[:1]): state}) == [3, 0]
    assert record(engine, {("A", fill(2)): SlotState.VENDOR_GAP}) == [0, 0]
    assert record(engine, {("B", fill(1)[:3]): SlotState.MISSING}) == [0, 0]  # was there, and is lost
    assert read_rows(engine) == [(DAYS[0], 0), (DAYS[0], 3)]


def test_a_symbol_that_is_seen_for_the_first_time_is_watched_in_partitions_only(engine: Engine) -> None:
    assert record(engine, {("A", fill(3)): SlotState.MISSING}, symbols="A") == [4]
    assert read_rows(engine) == [(NEXT.day, 0)]
    symbols = [Symbol(number, ticker, True) for number, ticker in enumerate(parse_tickers(["A", "B"]), 1)]
    assert find_common_day(engine, symbols[:1], BARS_30M) == NEXT.day
    assert find_common_day(engine, symbols, BARS_30M) is None, "B was not looked at"


def test_a_reach_that_shrinks_and_grows_keeps_what_was_watched(engine: Engine) -> None:
    assert record(engine, {("A", fill(1)): SlotState.MISSING}) == [2, 0]
    assert record(engine, {}, first=3) == [0, 0]
    assert read_rows(engine) == [(DAYS[2], 0), (DAYS[0], 0)]
    both = {(name, fill(1)): SlotState.MISSING for name in "AB"}
    assert record(engine, both) == [2, 0]
    assert read_rows(engine) == [(DAYS[2], 0), (DAYS[0], 13)]


@pytest.mark.parametrize(
    ("daily_calls", "requests"),
    [
        (15, 0),  # 13 are this program's, 10 are for open sessions: half of what is left is for reviews
        (25, 1),
        (40, 3),  # both reviews are covered
        (100, 13),  # 22 of 90 are kept for all other purposes
    ],
)
def test_what_is_left_over(engine: Engine, daily_calls: int, requests: int) -> None:
    with engine.database.transaction() as connection:
        add_symbols(connection, parse_tickers(["AAPL", "MSFT"]))
    limited = replace(engine, settings=engine.settings.model_copy(update={"daily_calls": daily_calls}))
    assert count_spare_requests(limited) == requests
