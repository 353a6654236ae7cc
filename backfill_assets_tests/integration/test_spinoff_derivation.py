"""Spin-offs from stored bars and daily rows: derived, revised, withdrawn, and what becomes of the finding."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from backfill_assets.backfill.actions.spinoff_derivation import SpinOffChanges, derive_spinoffs
from backfill_assets.backfill.engine import BackfillJob, Engine
from backfill_assets.backfill.fetch.batch_writer import FetchedRows, WriteContext, write_batch
from backfill_assets.backfill.job_request import JobRequest, build_job
from backfill_assets.backfill.plausibility.judge import judge_job
from backfill_assets.config.settings import Settings
from backfill_assets.market.calendar.tickers import parse_tickers
from backfill_assets.market.daily_prices import DailyPrices
from backfill_assets.market.vendor import IntradayRows
from backfill_assets.store.actions.spinoffs import list_spinoffs
from backfill_assets.store.evidence.daily_prices import record_daily_rows
from backfill_assets.store.evidence.findings import COMMON_PRICE_FACTOR, list_findings
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.symbols import add_symbols

FIRST, LAST = date(2026, 5, 11), date(2026, 5, 29)
SESSIONS = 14
EX_AT, EX_DATE = 9, date(2026, 5, 22)
FACTOR = 1 / 2.39
LEVEL = 81.7
READ_AT = datetime(2026, 5, 30, 6, tzinfo=UTC)


@pytest.fixture
def engine(database: Database, settings: Settings) -> Engine:
    """An engine over a store with the bars of a company that loses a part, and those of one that does not."""
    with database.transaction() as connection:
        add_symbols(connection, parse_tickers(["DD", "AAPL"]))
    engine = Engine(database, settings)
    job = build_window(engine)
    plan = engine.plan(replace(job, force=True), engine.measure(job))
    opens = [int(session.open.timestamp()) for session in job.window.sessions]
    rows = {"DD": build_rows(opens, FACTOR), "AAPL": build_rows(opens, 1.0)}
    context = WriteContext(plan, job.source_interval, "30m", settings.vendor_host, settings.now())
    fetched = [FetchedRows(request, rows[request.symbol.ticker.symbol]) for request in plan.requests]
    with database.transaction() as connection:
        write_batch(connection, context, fetched, datetime.now(UTC) + timedelta(days=1))
    return engine


def build_window(engine: Engine) -> BackfillJob:
    return build_job(engine, JobRequest(start=FIRST, end=LAST))[0]


def list_levels(factor: float) -> list[float]:
    """The official close of each session, as traded."""
    return [round(LEVEL * (1 + 0.01 * np.sin(at)) * (factor if at >= EX_AT else 1), 2) for at in range(SESSIONS)]


def build_rows(opens: Sequence[int], factor: float) -> IntradayRows:
    """Rows of 5 minutes around each session's close, and the print of it."""
    steps = np.arange(79)
    stamps = np.concatenate([at + 300 * steps for at in opens])
    moves = 1 + 0.002 * np.sin(steps + 40 * np.arange(len(opens))[:, None])
    close = np.round(np.array(list_levels(factor))[:, None] * moves, 2)
    close[:, -1] = list_levels(factor)
    prices = close.ravel()
    volume = np.tile(np.r_[np.full(78, 100.0), np.nan], len(opens))
    return IntradayRows(stamps, prices, prices * 1.0001, prices * 0.9999, prices, volume)


def read_days(
    engine: Engine, code: str, read_at: datetime, *, share: float = 1.0, sessions: slice = slice(None)
) -> None:
    """Daily rows of some sessions; ``share`` is what the vendor makes of closes before the ex-date."""
    at = np.arange(SESSIONS)[sessions]
    levels = np.array(list_levels(FACTOR if code == "DD" else 1.0))[sessions]
    close = np.round(levels * np.where(at < EX_AT, share, 1), 4)
    days = [session.day for session in build_window(engine).window.sessions][sessions]
    rows = DailyPrices(
        symbol_id=np.full(len(at), get_ids(engine)[code]),
        day=np.array(days, "datetime64[D]"),
        open=close,
        high=close * 1.004,
        low=close * 0.996,
        close=close,
        adjusted_close=close,
        volume=np.full(len(at), 1e6),
        traded_volume=np.full(len(at), 1_000_000),
    )
    with engine.database.transaction() as connection:
        record_daily_rows(connection, rows, read_at)


def read_each_morning(engine: Engine) -> None:
    """Each row before the ex-date on the morning after its session."""
    for at, session in enumerate(build_window(engine).window.sessions[:EX_AT]):
        read_days(engine, "DD", session.close + timedelta(hours=14), sessions=slice(at, at + 1))


def get_ids(engine: Engine) -> Mapping[str, int]:
    return {symbol.ticker.symbol: symbol.symbol_id for symbol in build_window(engine).symbols}


def list_stored(engine: Engine) -> list[tuple[str, date, float, int]]:
    names = {key: name for name, key in get_ids(engine).items()}
    with engine.database.transaction() as connection:
        found = list_spinoffs(connection, names)
    return [(names[s.symbol_id], s.ex_date, round(s.factor, 5), s.sessions) for s in found]


def list_open(engine: Engine) -> list[tuple[str, str]]:
    with engine.database.transaction() as connection:
        return [(f.kind, f.subject) for f in list_findings(connection)]


def query(engine: Engine, statement: str) -> list[Any]:
    with engine.database.transaction() as connection:
        return connection.execute(statement.encode()).fetchall()


def test_a_spin_off_is_derived_once_and_ends_the_finding(engine: Engine) -> None:
    for code in ("DD", "AAPL"):
        read_days(engine, code, READ_AT, share=FACTOR if code == "DD" else 1.0)
    job = build_window(engine)
    assert judge_job(engine, job).opened == 0  # a step that a spin-off makes is no doubt
    assert list_open(engine) == [(COMMON_PRICE_FACTOR, "DD.US")]

    assert derive_spinoffs(engine, job) == SpinOffChanges(recorded=1)
    assert list_stored(engine) == [("DD", EX_DATE, round(FACTOR, 5), EX_AT)]
    assert list_open(engine) == []
    (source,) = query(engine, "SELECT source FROM backfill.spinoffs")[0]
    assert source.startswith("derived from daily closes")

    assert derive_spinoffs(engine, job) == SpinOffChanges()
    read_days(engine, "DD", READ_AT + timedelta(days=1), share=FACTOR)
    query_all = "UPDATE backfill.session_evidence SET judged_as = NULL RETURNING 1"
    assert query(engine, query_all)
    assert judge_job(engine, job).opened == 0
    assert list_open(engine) == []  # it is known why the prices are a multiple
    assert query(engine, "SELECT count(*) FROM backfill.spinoff_revisions") == [(0,)]


def test_rows_read_before_it_show_it_when_enough_are_read_again(engine: Engine) -> None:
    job = build_window(engine)
    read_each_morning(engine)
    read_days(engine, "DD", READ_AT, sessions=slice(EX_AT, None))
    assert derive_spinoffs(engine, job) == SpinOffChanges()
    read_days(engine, "DD", READ_AT, share=FACTOR, sessions=slice(EX_AT - 1, None))
    assert derive_spinoffs(engine, job) == SpinOffChanges()  # of the session before alone, as a morning's reading does
    read_days(engine, "DD", READ_AT, share=FACTOR, sessions=slice(EX_AT - 5, None))
    assert derive_spinoffs(engine, job) == SpinOffChanges(recorded=1)
    assert list_stored(engine) == [("DD", EX_DATE, round(FACTOR, 5), 5)]


def test_another_factor_is_a_revision_and_rows_without_it_withdraw_it(engine: Engine) -> None:
    job = build_window(engine)
    read_days(engine, "DD", READ_AT, share=FACTOR)
    derive_spinoffs(engine, job)
    read_days(engine, "DD", READ_AT + timedelta(days=1), share=0.43)
    assert derive_spinoffs(engine, job) == SpinOffChanges(recorded=1)
    assert list_stored(engine) == [("DD", EX_DATE, 0.43, EX_AT)]
    ((old, is_ordered),) = query(engine, "SELECT factor, known_from <= known_until FROM backfill.spinoff_revisions")
    assert (round(old, 5), is_ordered) == (round(FACTOR, 5), True)

    read_days(engine, "DD", READ_AT + timedelta(days=2))
    assert derive_spinoffs(engine, job) == SpinOffChanges(withdrawn=1)
    assert list_stored(engine) == []
    read_days(engine, "DD", READ_AT + timedelta(days=3), share=0.43)
    assert derive_spinoffs(engine, job) == SpinOffChanges(recorded=1)  # it counts again; what held before is kept
    assert query(engine, "SELECT count(*) FROM backfill.spinoff_revisions") == [(2,)]


def test_without_official_closes_the_old_daily_close_or_the_last_bar_counts(engine: Engine) -> None:
    job = build_window(engine)
    query(engine, "UPDATE backfill.session_evidence SET official_close = NULL RETURNING 1")
    read_each_morning(engine)
    for read_at in (READ_AT, READ_AT + timedelta(days=1)):
        read_days(engine, "DD", read_at, share=FACTOR)
    assert derive_spinoffs(engine, job).recorded == 1
