"""Ten days in which FB becomes META: whenever a person accepts it, no gap is counted, nothing is paid twice, and no bar
is lost; also if the last sessions under the old name were not published yet. The reader then gets one series.
"""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from backfill_assets.backfill.daily_reading import read_daily_data
from backfill_assets.backfill.decisions.inbox import decide, refresh_inbox
from backfill_assets.backfill.engine import Engine
from backfill_assets.market.calendar.sessions import list_sessions
from backfill_assets.market.exchanges.registry import US
from backfill_assets.quality.checks import evaluate_window
from backfill_assets.sandbox.actions import Split
from backfill_assets.sandbox.config import Publication
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.evidence.decisions import list_open_decisions
from backfill_assets.store.evidence.proposals import Answer
from backfill_assets_tests.conftest import read_stored_bars
from backfill_assets_tests.integration.test_backfill_engine import build_expected_bars
from backfill_assets_tests.moving_clock import MovingClock, iter_times, parse_utc

FIRST, RENAMED, SPLIT, LAST = date(2026, 5, 28), date(2026, 6, 2), date(2026, 6, 4), date(2026, 6, 8)
LAST_MIDNIGHT = datetime(2026, 6, 9, tzinfo=UTC)  # later sessions may be stored, too
BEGIN, END = parse_utc("2026-05-29 02:30"), parse_utc("2026-06-11 12:30")
PROPOSED_AT = parse_utc("2026-06-03 12:30")
HOURS_BETWEEN_RUNS = 6
BOTH_OPEN = {0: 0, 2: 2}
MORNING = 12  # UTC


def list_days(first: date, last: date) -> list[date]:
    return [session.day for session in list_sessions(US, first, last)]


def query(engine: Engine, statement: str) -> list[tuple[Any, ...]]:
    with engine.database.transaction() as connection:
        return connection.execute(statement.encode()).fetchall()


def accept(engine: Engine, now: datetime) -> None:
    """Accept the rename that the inbox proposes."""
    refresh_inbox(engine.database, now)
    with engine.database.transaction() as connection:
        (decision,) = list_open_decisions(connection)
    assert decision.proposal.subject == "FB.US was renamed to META.US on 2026-06-02"
    decide(engine.database, [decision.decision_id], Answer.ACCEPTED, by="ann@a", note=None, now=now, was_shown=False)


def let_days_pass(clock: MovingClock, accepted_at: datetime) -> None:
    """Run every few hours, and read the daily data every morning; accept the rename at its time."""
    was_accepted = False
    for now in iter_times(BEGIN, END, 60 * HOURS_BETWEEN_RUNS):
        engine = clock.move_to(now)
        if now.hour in range(MORNING, MORNING + HOURS_BETWEEN_RUNS):
            read_daily_data(engine, US)
        if now >= accepted_at and not was_accepted:
            accept(engine, now)
            was_accepted = True
        clock.run(now)


def count_answered(engine: Engine, *tickers: str) -> int:
    """How many requests for intraday rows of some tickers the vendor answered."""
    asked = query(engine, "SELECT ticker FROM backfill.requests WHERE endpoint = '/intraday' AND error IS NULL")
    return sum(ticker in tickers for (ticker,) in asked)


def list_paid_days(engine: Engine, symbol: str) -> set[date]:
    """The sessions of which there are answers for a ticker."""
    rows = query(
        engine, "SELECT symbol, session_day FROM backfill.session_evidence JOIN market_symbols USING (symbol_id)"
    )
    return {day for name, day in rows if name == symbol}


def read_adjusted_closes(engine: Engine, symbol: str) -> list[float]:
    """The closes of a ticker's bars as adjusted for splits."""
    statement = """
    SELECT s.symbol, b.close_price FROM backfill.adjusted_bars('splits') b JOIN market_symbols s USING (symbol_id)
    ORDER BY b.timestamp
    """
    return [close for name, close in query(engine, statement) if name == symbol]


@pytest.mark.long
@pytest.mark.parametrize("sessions_late", [0, 2])
@pytest.mark.parametrize("days_late", [0, 3])
def test_a_rename_loses_no_bar_and_pays_none_twice(
    make_engine: Callable[..., Engine], start_sandbox: Callable[..., Sandbox], days_late: int, sessions_late: int
) -> None:
    sandbox = start_sandbox(
        per_minute=100_000,
        renamed={"FB": ("META", RENAMED)},
        actions={"META": (Split(SPLIT, 2),)},
        publication=Publication(sessions_late=dict.fromkeys(("FB", "META", "MSFT"), sessions_late)),
    )
    engine = make_engine(sandbox, ("AAPL", "MSFT", "FB"), daily_data=True, partition_days=10)
    clock = MovingClock(engine, sandbox, FIRST)
    accepted_at = PROPOSED_AT + timedelta(days=days_late)
    let_days_pass(clock, accepted_at)

    old_days, new_days = list_days(FIRST, RENAMED - timedelta(days=1)), list_days(RENAMED, LAST)
    for symbol, days in (("FB", old_days), ("META", new_days)):
        stored = [bar for bar in read_stored_bars(engine.database, symbol) if bar[0] < LAST_MIDNIGHT.timestamp()]
        assert stored == build_expected_bars(sandbox, symbol, *days)
    assert list_paid_days(engine, "FB") & list_paid_days(engine, "META") == set()
    # MSFT has the same delays. A run in which both names have an open session makes a request for each.
    assert count_answered(engine, "FB.US", "META.US") <= count_answered(engine, "MSFT.US") + BOTH_OPEN[sessions_late]
    closes = [*read_adjusted_closes(engine, "FB"), *read_adjusted_closes(engine, "META")]
    assert max(abs(later / earlier - 1) for earlier, later in pairwise(closes)) < 0.1  # one series, with one split
    if not sessions_late:
        assert [at for at, result in clock.results if result.after.missing and at >= accepted_at] == []
        criteria = evaluate_window(engine.database, clock.measure(END))
        assert [criterion.name for criterion in criteria if not criterion.passed] == []
