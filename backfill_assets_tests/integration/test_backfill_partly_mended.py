"""Doubts about several bars of which the vendor, or its other feed, changes some."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import numpy as np

from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.job_request import JobRequest, build_job
from backfill_assets.market.calendar.slots import build_slot_grid
from backfill_assets.market.plausibility.doubts import Doubt
from backfill_assets.market.plausibility.rules import Rule
from backfill_assets.market.vendor import IntradayRows
from backfill_assets.sandbox.config import DataQuirks
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.evidence.doubts import StoredDoubt, record_doubts
from backfill_assets_tests.conftest import NOW, make_job
from backfill_assets_tests.integration.test_backfill_cross_feed import FEEDS, TUESDAY, execute, fetch, run_tuesday
from backfill_assets_tests.integration.test_backfill_doubts import (
    MONDAY,
    OPEN,
    SPIKE_ROW,
    answer,
    build_rows,
    engine,
    judge,
    list_all,
    measure_suspect,
    read_day,
)

__all__ = ["engine"]  # a fixture
StartSandbox = Callable[..., Sandbox]
MakeEngine = Callable[..., Engine]
FIRST = date(2026, 5, 1)
FIRST_SLOT, HOLLOW_SLOT = (datetime(2026, 6, 2, 13, 30, tzinfo=UTC) + timedelta(hours=hours) for hours in (0, 1))
LAST_SLOT = "2026-06-02 19:30+00"
DOUBTS = "SELECT outcome, marks_bar, first_slot, first_slot = last_slot FROM backfill.doubts ORDER BY doubt_id"


def store_history(engine: Engine, monday: IntradayRows) -> None:
    """Twenty sessions that move, and Monday."""
    job, _ = build_job(engine, JobRequest(start=FIRST, end=MONDAY))
    opens = [int(session.open.timestamp()) for session in job.window.sessions[:-1]]
    moved = [build_rows(phase=100 * at) for at in range(1, len(opens) + 1)]
    before = [replace(rows, timestamp=rows.timestamp - OPEN + at) for rows, at in zip(moved, opens, strict=True)]
    names = ("timestamp", "open", "high", "low", "close", "volume")
    parts = [*before, monday]
    rows = IntradayRows(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))
    answer(engine, rows, plan=engine.plan(job, engine.measure(job)))


def build_frozen(*, moved: slice | None = None, until: int = 78) -> IntradayRows:
    """Monday at one price and without volume, but for some rows, until a row."""
    right = build_rows()
    is_right = np.zeros(79, bool)
    is_right[moved or slice(0, 0)] = True
    prices = [np.where(is_right, values, 10.0) for values in (right.open, right.high, right.low, right.close)]
    volume = np.where(is_right, right.volume, 0.0)
    return IntradayRows(*(values[:until] for values in (right.timestamp, *prices, volume)))


def list_bars(doubts: list[StoredDoubt]) -> list[tuple[int, int]]:
    """The positions of the first and last slots of the doubts that mark bars."""
    stamps = [(d.first_slot.timestamp() - OPEN, d.last_slot.timestamp() - OPEN) for d in doubts if d.marks_bar]
    return [(int(first // 1800), int(last // 1800)) for first, last in stamps]


def test_a_frozen_session_stays_in_doubt_but_for_the_bar_that_the_vendor_mended(engine: Engine) -> None:
    store_history(engine, build_frozen())
    read_day(engine)
    assert judge(engine).opened == 1
    answer(engine, build_frozen(moved=slice(24, 30)))  # the fifth bar
    judge(engine)
    assert list_bars(list_all(engine)) == [(0, 3), (5, 12)]
    assert {doubt.rule for doubt in list_all(engine)} == {Rule.FROZEN}
    assert len(measure_suspect(engine)) == 12
    read_day(engine, high=10.2)  # judged again: of what is left, the rule can say nothing
    judge(engine)
    assert list_bars(list_all(engine)) == [(0, 3), (5, 12)]
    answer(engine, build_rows())
    judge(engine)
    assert [(doubt.outcome, doubt.marks_bar) for doubt in list_all(engine)] == [("mended", False)] * 2


def test_a_bar_that_comes_beside_a_frozen_session_bears_nothing_out(engine: Engine) -> None:
    store_history(engine, build_frozen(until=72))
    read_day(engine)
    assert judge(engine).opened == 1
    assert list_bars(list_all(engine)) == [(0, 11)]
    answer(engine, build_frozen(moved=slice(72, 78)))  # its last bar was absent
    assert judge(engine).ended == 0
    assert list_bars(list_all(engine)) == [(0, 11)]
    read_day(engine, high=10.0, low=10.0, volume=0.0)  # the day did not trade
    assert judge(engine).ended == 1
    assert [doubt.outcome for doubt in list_all(engine) if doubt.rule is Rule.FROZEN] == ["confirmed"]


def test_a_sum_that_is_right_again_clears_all_its_bars(engine: Engine) -> None:
    answer(engine, build_rows())
    read_day(engine, volume=7790.0)
    judge(engine)
    assert [(doubt.rule, doubt.marks_bar) for doubt in list_all(engine)] == [(Rule.VOLUME_EXCEEDS_DAY, True)]
    rows = build_rows()
    rows.volume[SPIKE_ROW] = 50.0
    answer(engine, rows)
    assert judge(engine).ended == 1
    assert [(doubt.outcome, doubt.marks_bar) for doubt in list_all(engine)] == [("mended", False)]


def open_frozen_doubt(engine: Engine) -> None:
    """Tuesday's bars at one price, but the last, as the vendor repeated them; their doubt."""
    execute(
        engine,
        # An answer with fewer rows than the stored bars does not replace them: so the vendor repeats the wrong price.
        "UPDATE market_data SET (open_price, high_price, low_price, close_price, volume, source_rows, fetched_at)"
        f" = (7, 7, 7, 7, 0, 9, fetched_at + interval '1 us') WHERE timestamp <> '{LAST_SLOT}'",
    )
    job = make_job(engine, start=TUESDAY, end=TUESDAY)
    grid = build_slot_grid(job.window.sessions, job.interval)
    doubt = Doubt(Rule.FROZEN, 1, 0, int(grid.starts[0]), int(grid.starts[11]), {"price": 7.0})
    with engine.database.transaction() as connection:
        assert record_doubts(connection, [doubt], grid=grid, now=NOW, from_rows=False) == 1
    execute(engine, f"DELETE FROM market_data WHERE timestamp = '{LAST_SLOT}'")  # makes the symbol due
    execute(engine, "UPDATE backfill.doubts SET repeats = 1")


def test_the_other_feed_replaces_all_bars_in_doubt_at_once(
    start_sandbox: StartSandbox, make_engine: MakeEngine
) -> None:
    sandbox = start_sandbox()
    engine = make_engine(sandbox, ("AAPL",))
    run_tuesday(engine, sandbox)
    open_frozen_doubt(engine)
    assert run_tuesday(engine, sandbox, 2).cross_feed.taken == 12
    assert fetch(engine, DOUBTS) == [("mended", False, FIRST_SLOT, False)]
    assert dict(fetch(engine, FEEDS)) == {"1m": 12, "5m": 1}
    assert fetch(engine, "SELECT count(*) FROM backfill.session_evidence WHERE judged_as IS NULL") == [(0,)]


def test_what_the_other_feed_lacks_stays_in_doubt(start_sandbox: StartSandbox, make_engine: MakeEngine) -> None:
    sandbox = start_sandbox()
    engine = make_engine(sandbox, ("AAPL",))
    run_tuesday(engine, sandbox)
    open_frozen_doubt(engine)
    hollow = start_sandbox(quirks=DataQuirks(halts={("AAPL", TUESDAY): (60, 80)}))  # 10 of the third slot's 30 minutes
    engine = make_engine(hollow, ())
    assert run_tuesday(engine, hollow, 2).cross_feed.taken == 11
    assert fetch(engine, DOUBTS) == [(None, True, HOLLOW_SLOT, True)]
    assert fetch(engine, "SELECT timestamp FROM market_data WHERE volume = 0") == [(HOLLOW_SLOT,)]
    assert fetch(
        engine, "SELECT other_feed->>'answer', other_feed->>'values_hash' = values_hash FROM backfill.doubts"
    ) == [("no_rows", True)]
    assert not run_tuesday(engine, hollow, 8, symbols=["AAPL"]).cross_feed  # it is asked again after a day
    engine = make_engine(sandbox, ())
    assert run_tuesday(engine, sandbox, 30, symbols=["AAPL"]).cross_feed.taken == 1
    assert fetch(engine, DOUBTS) == [("mended", False, HOLLOW_SLOT, True)]
