"""Random weeks, stored bars and times: counts of states are consistent, and every gap is filled.

Six weeks by default; ``make soak`` tests more (``--examples 100``).
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.job_request import JobRequest, build_job
from backfill_assets.backfill.runner import run_backfill
from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.sessions import list_sessions
from backfill_assets.market.calendar.slots import SlotGrid, build_slot_grid
from backfill_assets.market.exchanges.registry import US
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.market.gaps.slot_states import SlotState
from backfill_assets.sandbox.config import Publication
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.postgres.connection import Database
from backfill_assets_tests.conftest import read_stored_bars
from backfill_assets_tests.integration.test_backfill_engine import build_expected_bars, ignore_progress

pytestmark = pytest.mark.no_cover

TICKERS = ("AAPL", "MSFT")
HALF_HOUR = INTERVALS["30m"]
# kinds of stored bars; an empty string is a slot without a bar and twice as likely
KINDS = ("", "", "final", "provisional", "suspect", "external")
INSERT = """
INSERT INTO market_data (symbol_id, interval_type, timestamp, open_price, high_price, low_price, close_price, volume,
                         source, source_interval, source_rows, is_final, fetched_at)
SELECT symbol_id, '30m', %s, 5, 6, 4, 5, 7, s.source, CASE WHEN s.source IS NOT NULL THEN '5m' END, s.rows, s.final,
       CASE WHEN s.source IS NOT NULL THEN now() - interval '1 day' END
FROM market_symbols, (VALUES (%s::text, %s::smallint, %s::boolean)) AS s (source, rows, final) WHERE symbol = %s
"""
PROVENANCE = {
    "final": ("127.0.0.1", 6, True),
    "provisional": ("127.0.0.1", 6, False),
    "suspect": ("127.0.0.1", 2, True),
    "external": (None, None, None),
}


@dataclass(frozen=True)
class Week:
    """A calendar week, the kinds of its stored bars by ticker and slot, and the time of the measurement."""

    first: date
    last: date
    grid: SlotGrid
    kinds_by_ticker: dict[str, list[str]]
    now: datetime


@st.composite
def draw_weeks(draw: st.DrawFn) -> Week:
    monday = date(2021, 1, 4) + timedelta(weeks=draw(st.integers(0, 300)))
    friday = monday + timedelta(days=4)
    grid = build_slot_grid(list_sessions(US, monday, friday), HALF_HOUR)
    # one kind with exceptions makes long and single gaps likelier than independent draws
    kinds_by_ticker = {}
    for ticker in TICKERS:
        main_kind = draw(st.sampled_from(["", "final"]))
        kinds = [main_kind] * grid.size
        for ordinal in draw(st.sets(st.integers(0, grid.size - 1), max_size=12)):
            kinds[ordinal] = draw(st.sampled_from(KINDS))
        kinds_by_ticker[ticker] = kinds
    end = grid.sessions[-1].close + timedelta(hours=draw(st.integers(-100, 60)), minutes=draw(st.integers(0, 59)))
    now = max(end, grid.sessions[0].open + timedelta(minutes=1))
    return Week(monday, friday, grid, kinds_by_ticker, now)


def store_bars(database: Database, week: Week) -> None:
    with database.transaction() as connection:
        connection.execute("TRUNCATE market_data, backfill.session_evidence, backfill.claims, backfill.daily_prices")
        connection.execute("TRUNCATE backfill.listing_lives, backfill.bulk_files, backfill.closures, backfill.rejects")
        rows = [
            (datetime.fromtimestamp(int(start), UTC), *PROVENANCE[kind], ticker)
            for ticker, kinds in week.kinds_by_ticker.items()
            for start, kind in zip(week.grid.starts, kinds, strict=True)
            if kind and start < week.now.timestamp()
        ]
        connection.cursor().executemany(INSERT, rows)


def check_counts(coverage: Coverage, week: Week) -> None:
    """Check that every expected slot has exactly one state and that the counts match the stored bars."""
    slot_count = coverage.grid.size
    assert coverage.expected.tolist() == [slot_count] * len(TICKERS)
    assert (coverage.counts >= 0).all()
    assert coverage.counts.sum(axis=1).tolist() == coverage.expected.tolist()
    for row, symbol in enumerate(coverage.symbols):
        kinds = Counter(
            kind
            for start, kind in zip(week.grid.starts, week.kinds_by_ticker[symbol.ticker.symbol], strict=True)
            if start in coverage.grid.starts and start < week.now.timestamp()
        )
        counts = coverage.counts[row]
        assert counts[SlotState.PRESENT] == kinds["final"]
        assert counts[SlotState.PROVISIONAL] == kinds["provisional"]
        assert counts[SlotState.SUSPECT] == kinds["suspect"]
        assert counts[SlotState.UNVERIFIED] == kinds["external"]
        assert counts[[SlotState.PENDING, SlotState.MISSING]].sum() == slot_count - sum(kinds[k] for k in PROVENANCE)


def test_random_gaps_are_filled_and_state_counts_are_consistent(
    make_engine: Callable[..., Engine], start_sandbox: Callable[..., Sandbox], request: pytest.FixtureRequest
) -> None:
    sandbox = start_sandbox(publication=Publication(hours_after_close=(0.0, 0.0)), per_minute=1_000_000)
    engine = make_engine(sandbox, TICKERS, requests_per_minute=100_000)
    totals: Counter[str] = Counter()

    @given(draw_weeks())
    @settings(max_examples=int(request.config.getoption("--examples")), derandomize=True, deadline=None)
    def check(week: Week) -> None:
        store_bars(engine.database, week)
        sandbox.move_clock(week.now)
        week_engine = replace(engine, settings=engine.settings.model_copy(update={"as_of": week.now}))
        job, _ = build_job(week_engine, JobRequest(start=week.first, end=week.last))
        check_counts(week_engine.measure(job), week)
        result = run_backfill(week_engine, job, ignore_progress)
        after = week_engine.measure(job)
        assert (after.counts.sum(axis=1) == after.expected).all()
        assert (result.after.missing, int(after.missing.sum()), result.after.gaps) == (0, 0, 0)
        due_sessions = [
            s for s, askable_at in zip(job.window.sessions, after.askable_at, strict=True) if askable_at <= week.now
        ]
        totals.update(filled=result.before.missing, pending=result.after.pending, sessions=len(due_sessions))
        for ticker in TICKERS:
            kinds = {int(s): kind for s, kind in zip(week.grid.starts, week.kinds_by_ticker[ticker], strict=True)}
            stored = {bar[0]: bar for bar in read_stored_bars(engine.database, ticker)}
            for bar in build_expected_bars(sandbox, ticker, *(s.day for s in due_sessions)):
                unchanged = (bar[0], 5, 6, 4, 5, 7)
                if kinds[bar[0]] == "external":
                    assert stored[bar[0]] == unchanged
                elif kinds[bar[0]] == "final":  # replaced only if a slot near it was requested
                    assert stored[bar[0]] in (unchanged, bar)
                else:
                    assert stored[bar[0]] == bar

    check()
    assert all(totals[name] > 0 for name in ("filled", "pending", "sessions"))
    print(f"{dict(totals)}")  # noqa: T201 - make soak shows it
