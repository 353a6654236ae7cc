"""Responses written to the store as one batch: bars, evidence, rejects, and external bars verified."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.fetch.batch_writer import (
    NO_ROWS,
    BatchResult,
    FetchedRows,
    WriteContext,
    write_batch,
)
from backfill_assets.backfill.job_request import JobRequest, build_job
from backfill_assets.backfill.planner import Plan
from backfill_assets.config.settings import Settings
from backfill_assets.errors import UsageError
from backfill_assets.market.calendar.tickers import parse_tickers
from backfill_assets.market.gaps.slot_states import SlotState
from backfill_assets.market.vendor import IntradayRows
from backfill_assets.store.bars.bar_writer import WriteCounts
from backfill_assets.store.bars.source_host import bind_source_host
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.symbols import add_symbols

MONDAY = date(2026, 6, 1)
OPEN = int(datetime(2026, 6, 1, 13, 30, tzinfo=UTC).timestamp())
NUMBERS = ("open", "high", "low", "close", "volume")
ROW_COUNT = 79  # 78 rows of 5 minutes, and the print at the close
REQUESTED_AT = datetime.now(UTC) + timedelta(days=1)  # after anything that is stored


def build_rows(price: float = 10.0) -> IntradayRows:
    """The rows of Monday's session, ended by the print at the close: flat, without volume."""
    prices = np.full(ROW_COUNT, price)
    volume = np.r_[np.full(ROW_COUNT - 1, 100.0), np.nan]
    return IntradayRows(OPEN + 300 * np.arange(ROW_COUNT), prices, prices, prices, prices, volume)


@pytest.fixture
def engine(database: Database, settings: Settings) -> Engine:
    """An engine over a store with two symbols and no bars."""
    with database.transaction() as connection:
        add_symbols(connection, parse_tickers(["AAPL", "MSFT"]))
    return Engine(database, settings)


def make_plan(engine: Engine, **options: Any) -> Plan:
    job, _ = build_job(engine, JobRequest(start=MONDAY, end=MONDAY, **options))
    return engine.plan(job, engine.measure(job))


def write(engine: Engine, plan: Plan, *rows: IntradayRows) -> BatchResult:
    """Write one response for each of the plan's requests."""
    job, _ = build_job(engine, JobRequest(start=MONDAY, end=MONDAY))
    spelling = plan.grid.interval.name
    context = WriteContext(plan, job.source_interval, spelling, engine.settings.vendor_host, engine.settings.now())
    fetched = [FetchedRows(request, part) for request, part in zip(plan.requests, rows, strict=True)]
    with engine.database.transaction() as connection:
        return write_batch(connection, context, fetched, REQUESTED_AT)


def query(engine: Engine, statement: str) -> list[tuple[Any, ...]]:
    with engine.database.transaction() as connection:
        return connection.execute(statement.encode()).fetchall()


def test_complete_session_is_inserted_and_seen_published(engine: Engine) -> None:
    plan = make_plan(engine, symbols=["AAPL"])
    (request,) = plan.requests
    result = write(engine, plan, build_rows())
    assert result.counts == {request.symbol.symbol_id: WriteCounts(inserted=13)}
    assert result.published_sessions == {(request.symbol.symbol_id, request.last_session)}
    assert (result.empty_symbol_ids, result.rejected, result.off_calendar_days) == (frozenset(), 0, {})
    assert query(engine, "SELECT count(*), sum(volume), bool_and(is_final) FROM market_data") == [(13, 7800, True)]


def test_response_without_rows_is_evidence_for_its_symbol(engine: Engine) -> None:
    plan = make_plan(engine)
    result = write(engine, plan, build_rows(), NO_ROWS)
    assert result.empty_symbol_ids == {plan.requests[1].symbol.symbol_id}
    assert query(
        engine,
        "SELECT symbol, source_rows, is_published, not_returned::text FROM backfill.session_evidence"
        " JOIN market_symbols USING (symbol_id) WHERE session_day = '2026-06-01' ORDER BY symbol",
    ) == [("AAPL", ROW_COUNT, True, "{}"), ("MSFT", 0, False, "{[0,13)}")]


def test_evidence_covers_the_sessions_before_the_window_without_inserting_bars(engine: Engine) -> None:
    plan = make_plan(engine, symbols=["AAPL"])
    friday = replace(build_rows(), timestamp=build_rows().timestamp - 3 * 86_400)
    result = write(engine, plan, friday)
    assert result.counts == {plan.requests[0].symbol.symbol_id: WriteCounts(outside=13)}
    assert result.empty_symbol_ids == {plan.requests[0].symbol.symbol_id}  # the window's session has no row
    assert query(engine, "SELECT session_day::text, is_published FROM backfill.session_evidence ORDER BY 1") == [
        ("2026-05-28", False),
        ("2026-05-29", True),
        ("2026-06-01", False),
    ]
    assert query(engine, "SELECT count(*) FROM market_data") == [(0,)]


def test_invalid_row_is_rejected_and_counted_once(engine: Engine) -> None:
    plan = make_plan(engine, symbols=["AAPL"])
    rows = build_rows()
    low = rows.low.copy()
    low[0] = -1.0
    invalid = replace(rows, low=low)
    assert write(engine, plan, invalid).rejected == 1
    assert write(engine, plan, invalid).rejected == 0
    assert query(engine, "SELECT count(*), min(low_price) FROM backfill.rejects") == [(1, -1.0)]


def measure_states(engine: Engine, interval: str = "30m") -> list[str]:
    """The states of Monday's open slots of AAPL that are neither absent nor trusted, with their ordinals."""
    job, _ = build_job(engine, JobRequest(start=MONDAY, end=MONDAY, symbols=["AAPL"], interval=interval))
    coverage = engine.measure(job)
    names = [SlotState(state).name.lower() for state in coverage.slot_states.state.tolist()]
    return [f"{ordinal} {name}" for ordinal, name in zip(coverage.open_slots.ordinal.tolist(), names, strict=True)]


def change_first_row(rows: IntradayRows, **values: float) -> IntradayRows:
    """The rows with other values in the first one, which is in Monday's first slot."""
    changed = {name: np.r_[value, getattr(rows, name)[1:]] for name, value in values.items()}
    return replace(rows, **changed)


NO_PRICE = {"high": -1.0, "low": -1.0, "volume": 0.0}


@pytest.mark.parametrize(
    "repaired",
    [
        build_rows(),
        change_first_row(build_rows(), volume=0.0),
        change_first_row(build_rows(), open=np.nan, high=np.nan, low=np.nan, close=np.nan, volume=np.nan),
    ],
    ids=["with the row", "with a row that changes nothing", "with a row of nulls"],
)
def test_bar_around_a_rejected_row_is_suspect_until_an_answer_does_not_hold_it(
    engine: Engine, repaired: IntradayRows
) -> None:
    plan = make_plan(engine, symbols=["AAPL"])
    broken = change_first_row(build_rows(), **NO_PRICE)
    write(engine, plan, broken)
    assert measure_states(engine) == ["0 suspect"]
    write(engine, plan, broken)
    assert measure_states(engine) == ["0 suspect"]
    write(engine, plan, repaired)
    assert measure_states(engine) == []
    write(engine, plan, broken)  # again
    assert measure_states(engine) == ([] if repaired.volume[0] == 100 else ["0 suspect"])


def test_bar_of_another_interval_stays_suspect_until_it_is_built_anew(engine: Engine) -> None:
    """Each interval has its own requests: what repairs the bars of 1h does not repair those of 30m."""
    plans = {interval: make_plan(engine, symbols=["AAPL"], interval=interval) for interval in ("30m", "1h")}
    broken = change_first_row(build_rows(), **NO_PRICE)
    for plan in plans.values():
        write(engine, plan, broken)
    write(engine, plans["1h"], build_rows())
    assert (measure_states(engine, "1h"), measure_states(engine)) == ([], ["0 suspect"])
    write(engine, plans["30m"], build_rows())
    assert (measure_states(engine, "1h"), measure_states(engine)) == ([], [])


def test_answer_that_ends_before_a_rejected_row_does_not_supersede_it(engine: Engine) -> None:
    plan = make_plan(engine, symbols=["AAPL"])
    rows = build_rows()
    is_broken = np.arange(ROW_COUNT) == 40
    broken = replace(rows, low=np.where(is_broken, -1.0, rows.low))
    write(engine, plan, broken)
    assert measure_states(engine) == ["6 suspect"]
    write(engine, plan, rows.filter_rows(np.arange(ROW_COUNT) < 40))
    write(engine, plan, NO_ROWS)
    assert measure_states(engine) == ["6 suspect"]


@pytest.mark.parametrize("good_row", ["before", "after"])
def test_rejected_row_beside_a_good_one_with_its_stamp_makes_nothing_suspect(engine: Engine, good_row: str) -> None:
    plan = make_plan(engine, symbols=["AAPL"])
    rows = build_rows()
    order = [0, 0, *range(2, ROW_COUNT)]  # the second row of the first slot is absent
    doubled = replace(rows, **{name: getattr(rows, name)[order] for name in ("timestamp", *NUMBERS)})
    volume = doubled.volume.copy()
    volume[0 if good_row == "after" else 1] = -1
    write(engine, plan, replace(doubled, volume=volume))
    assert query(engine, "SELECT reason, superseded_at IS NOT NULL FROM backfill.rejects") == [
        ("volume_negative", True)
    ]
    assert query(engine, "SELECT source_rows FROM market_data ORDER BY timestamp LIMIT 1") == [(5,)]
    assert measure_states(engine) == []


def test_the_same_rejected_row_twice_in_an_answer_is_recorded_once(engine: Engine) -> None:
    plan = make_plan(engine, symbols=["AAPL"])
    rows = change_first_row(build_rows(), **NO_PRICE)
    order = [0, *range(ROW_COUNT)]
    doubled = replace(rows, **{name: getattr(rows, name)[order] for name in ("timestamp", *NUMBERS)})
    assert write(engine, plan, doubled).rejected == 1
    assert query(engine, "SELECT count(*) FROM backfill.rejects") == [(1,)]


def test_last_row_that_never_came_makes_the_last_bar_provisional_and_then_suspect(engine: Engine) -> None:
    """Not final while nothing follows; once later rows exist it is final, but never trusted without its end."""
    plan = make_plan(engine, symbols=["AAPL"])
    rows = build_rows()
    cut = rows.filter_rows(np.arange(ROW_COUNT) < ROW_COUNT - 2)
    write(engine, plan, cut)
    assert measure_states(engine) == ["12 provisional"]
    tuesday = replace(rows, timestamp=rows.timestamp + 86_400)
    names = ("timestamp", *NUMBERS)
    later = replace(cut, **{name: np.concatenate([getattr(cut, name), getattr(tuesday, name)]) for name in names})
    write(engine, plan, later)
    assert measure_states(engine) == ["12 suspect"]
    write(engine, plan, NO_ROWS)
    assert measure_states(engine) == ["12 suspect"]
    write(engine, plan, rows)
    assert measure_states(engine) == []
    write(engine, plan, later)
    assert measure_states(engine) == []


def test_rows_without_volume_that_complete_a_bar_end_its_doubt_without_a_revision(engine: Engine) -> None:
    plan, rows = make_plan(engine, symbols=["AAPL"]), build_rows()
    in_second_half = np.isin(np.arange(ROW_COUNT), (3, 4, 5))  # of the first slot
    write(engine, plan, rows.filter_rows(~in_second_half))
    assert measure_states(engine) == ["0 suspect"]
    written_before = set(query(engine, "SELECT fetched_at FROM market_data"))
    completed = replace(rows, volume=np.where(in_second_half, 0.0, rows.volume))
    ((symbol_id, counts),) = write(engine, plan, completed).counts.items()
    assert (symbol_id, counts) == (plan.requests[0].symbol.symbol_id, WriteCounts(unchanged=13))
    assert measure_states(engine) == []
    assert query(engine, "SELECT min(source_rows), sum(volume) FROM market_data") == [(6, 7500)]
    assert len(set(query(engine, "SELECT fetched_at FROM market_data")) & written_before) == 12  # only one is rewritten
    assert query(engine, "SELECT 1 FROM backfill.revisions") == []
    write(engine, plan, rows.filter_rows(~in_second_half))  # the newest answer decides
    assert measure_states(engine) == ["0 suspect"]


def test_table_that_skips_updates_without_new_values_refuses_nothing(engine: Engine) -> None:
    plan, rows = make_plan(engine, symbols=["AAPL"]), build_rows()
    with engine.database.transaction() as connection:
        connection.execute(
            "CREATE FUNCTION skip() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
            " CREATE TRIGGER skip BEFORE UPDATE ON market_data FOR EACH ROW"
            " WHEN (OLD.close_price = NEW.close_price AND OLD.volume = NEW.volume) EXECUTE FUNCTION skip()"
        )
    write(engine, plan, rows.filter_rows(np.arange(ROW_COUNT) != 1))
    completed = replace(rows, volume=np.where(np.arange(ROW_COUNT) == 1, 0.0, rows.volume))
    assert list(write(engine, plan, completed).counts.values()) == [WriteCounts(unchanged=13)]


def test_fractional_volumes_are_stored_as_whole_shares(engine: Engine) -> None:
    rows = build_rows()
    result = write(engine, make_plan(engine, symbols=["AAPL"]), replace(rows, volume=rows.volume + 0.618093))
    assert result.rejected == 0
    assert query(engine, "SELECT count(*), min(volume), max(volume) FROM market_data") == [(13, 604, 604)]


@pytest.mark.parametrize(("close", "verified", "replaced"), [(10, 1, 0), (11, 0, 1)])
def test_external_bar_is_verified_if_that_is_planned(engine: Engine, close: int, verified: int, replaced: int) -> None:
    with engine.database.transaction() as connection:
        connection.execute(
            "INSERT INTO market_data (symbol_id, interval_type, timestamp, open_price, high_price, low_price,"
            " close_price, volume) SELECT symbol_id, '30m', to_timestamp(%s), 10, %s, 10, %s, 600"
            " FROM market_symbols WHERE symbol = 'MSFT'",
            [OPEN, close, close],
        )
    plan = make_plan(engine, verify_existing=True)
    result = write(engine, plan, build_rows(), build_rows())
    counts = result.counts[plan.requests[1].symbol.symbol_id]
    assert (counts.inserted, counts.verified, counts.replaced, counts.protected) == (12, verified, replaced, 0)


def test_external_bar_is_protected_if_its_verification_is_not_planned(engine: Engine) -> None:
    with engine.database.transaction() as connection:
        connection.execute(
            "INSERT INTO market_data (symbol_id, interval_type, timestamp, open_price, high_price, low_price,"
            " close_price, volume) SELECT symbol_id, '30m', to_timestamp(%s), 1, 1, 1, 1, 1"
            " FROM market_symbols WHERE symbol = 'AAPL'",
            [OPEN],
        )
    plan = make_plan(engine, symbols=["AAPL"])
    (counts,) = write(engine, plan, build_rows()).counts.values()
    assert (counts.inserted, counts.verified, counts.replaced, counts.protected) == (12, 0, 0, 1)


def test_bars_of_another_host_are_an_error_and_nothing_is_written(engine: Engine) -> None:
    plan = make_plan(engine, symbols=["AAPL"])
    with engine.database.transaction() as connection:
        bind_source_host(connection, "other.example")
    with pytest.raises(UsageError, match=r"other\.example"):
        write(engine, plan, build_rows())
    assert query(engine, "SELECT count(*) FROM market_data") == [(0,)]
    assert query(engine, "SELECT count(*) FROM backfill.session_evidence") == [(0,)]
