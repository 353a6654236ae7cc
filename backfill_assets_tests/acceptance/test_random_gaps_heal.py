"""Any week, any subset of stored bars, any time: the states add up, and a vendor without faults leaves no bar missing.

Six weeks by default; ``make soak`` draws more (``--examples 100``).
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
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.market.gaps.slot_states import SlotState
from backfill_assets.sandbox.config import Publication
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.postgres.connection import Database
from backfill_assets_tests.conftest import bars_in
from backfill_assets_tests.integration.test_backfill_engine import build_expected_bars, ignore_progress

TICKERS = ("AAPL", "MSFT")
HALF_HOUR = INTERVALS["30m"]
# what a slot may hold: no bar (twice as likely), a final, a provisional, a suspect or an external bar
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
    """A calendar week, the bars stored of it by ticker and slot, and the time of the measurement."""

    first: date
    last: date
    grid: SlotGrid
    held: dict[str, list[str]]
    now: datetime


@st.composite
def weeks(draw: st.DrawFn) -> Week:
    monday = date(2021, 1, 4) + timedelta(weeks=draw(st.integers(0, 300)))
    friday = monday + timedelta(days=4)
    grid = build_slot_grid(list_sessions("US", monday, friday), HALF_HOUR)
    # one usual kind with exceptions: whole gaps and single gaps are likelier than in independent draws
    held = {}
    for ticker in TICKERS:
        usual = draw(st.sampled_from(["", "final"]))
        kinds = [usual] * grid.size
        for ordinal in draw(st.sets(st.integers(0, grid.size - 1), max_size=12)):
            kinds[ordinal] = draw(st.sampled_from(KINDS))
        held[ticker] = kinds
    end = grid.sessions[-1].close + timedelta(hours=draw(st.integers(-100, 60)), minutes=draw(st.integers(0, 59)))
    now = max(end, grid.sessions[0].open + timedelta(minutes=1))
    return Week(monday, friday, grid, held, now)


def store(database: Database, week: Week) -> None:
    with database.transaction() as connection:
        connection.execute("TRUNCATE market_data, backfill.session_evidence, backfill.claims, backfill.daily_prices")
        connection.execute("TRUNCATE backfill.listing_lives, backfill.bulk_files, backfill.closures, backfill.rejects")
        rows = [
            (datetime.fromtimestamp(int(start), UTC), *PROVENANCE[kind], ticker)
            for ticker, kinds in week.held.items()
            for start, kind in zip(week.grid.starts, kinds, strict=True)
            if kind and start < week.now.timestamp()
        ]
        connection.cursor().executemany(INSERT, rows)


def add_up(coverage: Coverage, week: Week) -> None:
    """Every expected slot is in exactly one state, and the counts are those of the bars that were stored."""
    seen = coverage.grid.size
    assert coverage.expected.tolist() == [seen] * len(TICKERS)
    assert (coverage.counts >= 0).all()
    assert coverage.counts.sum(axis=1).tolist() == coverage.expected.tolist()
    for row, symbol in enumerate(coverage.symbols):
        kinds = Counter(
            kind
            for start, kind in zip(week.grid.starts, week.held[symbol.ticker.symbol], strict=True)
            if start in coverage.grid.starts and start < week.now.timestamp()
        )
        counts = coverage.counts[row]
        assert counts[SlotState.PRESENT] == kinds["final"]
        assert counts[SlotState.PROVISIONAL] == kinds["provisional"]
        assert counts[SlotState.SUSPECT] == kinds["suspect"]
        assert counts[SlotState.UNVERIFIED] == kinds["external"]
        assert counts[[SlotState.PENDING, SlotState.MISSING]].sum() == seen - sum(kinds[k] for k in PROVENANCE)


def test_states_of_any_week_add_up_and_every_gap_is_filled(
    engine_on: Callable[..., Engine], sandboxed: Callable[..., Sandbox], request: pytest.FixtureRequest
) -> None:
    sandbox = sandboxed(publication=Publication(hours_after_close=(0.0, 0.0)), per_minute=1_000_000)
    engine = engine_on(sandbox, TICKERS, requests_per_minute=100_000)
    met: Counter[str] = Counter()

    @given(weeks())
    @settings(max_examples=int(request.config.getoption("--examples")), derandomize=True, deadline=None)
    def check(week: Week) -> None:
        store(engine.database, week)
        sandbox.move_clock(week.now)
        then = replace(engine, settings=engine.settings.model_copy(update={"as_of": week.now}))
        job, _ = build_job(then, JobRequest(start=week.first, end=week.last))
        add_up(then.measure(job), week)
        result = run_backfill(then, job, ignore_progress)
        after = then.measure(job)
        assert (after.counts.sum(axis=1) == after.expected).all()
        assert (result.after.missing, int(after.missing.sum()), result.after.gaps) == (0, 0, 0)
        given_now = [s for s, at in zip(job.window.sessions, after.askable_at, strict=True) if at <= week.now]
        met.update(healed=result.before.missing, pending=result.after.pending, sessions=len(given_now))
        for ticker in TICKERS:
            kinds = {int(s): kind for s, kind in zip(week.grid.starts, week.held[ticker], strict=True)}
            kept = {bar[0]: bar for bar in bars_in(engine.database, ticker)}
            for bar in build_expected_bars(sandbox, ticker, *(s.day for s in given_now)):
                untouched = (bar[0], 5, 6, 4, 5, 7)
                if kinds[bar[0]] == "external":
                    assert kept[bar[0]] == untouched
                elif kinds[bar[0]] == "final":  # re-read only where something near it was asked for
                    assert kept[bar[0]] in (untouched, bar)
                else:
                    assert kept[bar[0]] == bar

    check()
    assert all(met[what] > 0 for what in ("healed", "pending", "sessions"))
    print(f"{dict(met)}")  # noqa: T201 - make soak shows it
