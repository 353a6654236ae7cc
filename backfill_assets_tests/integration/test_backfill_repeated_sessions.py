"""A session served again with a shift that is no multiple of a bar: shown only by an answer that has both sessions."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.fetch.batch_writer import FetchedRows, WriteContext, write_batch
from backfill_assets.backfill.job_request import JobRequest, build_job
from backfill_assets.backfill.plausibility.judge import judge_job
from backfill_assets.config.settings import Settings
from backfill_assets.market.calendar.tickers import parse_tickers
from backfill_assets.market.plausibility.rules import Rule
from backfill_assets.market.vendor import IntradayRows
from backfill_assets.store.evidence.doubts import Outcome, StoredDoubt, list_doubts
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.symbols import add_symbols

MONDAY, TUESDAY = date(2026, 6, 1), date(2026, 6, 2)
REQUESTED_AT = datetime.now(UTC) + timedelta(days=1)  # after anything that is stored
SHIFT = 3  # rows: a quarter of an hour
WALK = np.round(100 + np.cumsum(np.random.default_rng(4).normal(0, 0.2, 79)), 2)


def build_session(day: date, prices: np.ndarray[tuple[int], np.dtype[np.float64]]) -> IntradayRows:
    """78 rows of 5 minutes and the print at the close."""
    opened = int(datetime(day.year, day.month, day.day, 13, 30, tzinfo=UTC).timestamp())
    volumes = np.r_[np.full(78, 100.0) + day.day, np.nan]
    return IntradayRows(opened + 300 * np.arange(79), prices, prices + 0.03, prices - 0.03, prices + 0.01, volumes)


def join(first: IntradayRows, second: IntradayRows) -> IntradayRows:
    names = ("timestamp", "open", "high", "low", "close", "volume")
    return IntradayRows(*(np.r_[getattr(first, name), getattr(second, name)] for name in names))


MONDAYS = build_session(MONDAY, WALK)
REPEATED = build_session(TUESDAY, np.r_[WALK[0] + 0.5 * np.arange(1, SHIFT + 1), WALK[:-SHIFT]])
TRUE = build_session(TUESDAY, np.round(WALK[::-1] + 1, 2))


@pytest.fixture
def engine(database: Database, settings: Settings) -> Engine:
    with database.transaction() as connection:
        add_symbols(connection, parse_tickers(["AAPL"]))
    return Engine(database, settings)


def answer(engine: Engine, rows: IntradayRows, first: date) -> None:
    """Store an answer to a request for the sessions from ``first`` to Tuesday, and judge as a run does."""
    job = build_job(engine, JobRequest(start=first, end=TUESDAY))[0]
    plan = engine.plan(replace(job, force=True), engine.measure(job))
    context = WriteContext(plan, job.source_interval, "30m", engine.settings.vendor_host, engine.settings.now())
    with engine.database.transaction() as connection:
        write_batch(connection, context, [FetchedRows(plan.requests[0], rows)], REQUESTED_AT)
    judge_job(engine, job)


def read(engine: Engine) -> list[StoredDoubt]:
    job = build_job(engine, JobRequest(start=MONDAY, end=TUESDAY))[0]
    with engine.database.transaction() as connection:
        ids = [job.symbols[0].symbol_id]
        doubts = list_doubts(connection, ids, job.interval, MONDAY, TUESDAY, with_ended=True)
    return [doubt for doubt in doubts if doubt.rule is Rule.SESSION_REPEATED]


def test_the_repeat_is_doubted_until_the_values_change(engine: Engine) -> None:
    answer(engine, join(MONDAYS, REPEATED), MONDAY)
    (doubt,) = read(engine)
    assert (doubt.session_day, doubt.from_rows, doubt.is_open) == (TUESDAY, True, True)
    figures = {name: doubt.figures[name] for name in ("repeated_session", "equal_rows", "shifted_minutes")}
    assert figures == {"repeated_session": "2026-06-01", "equal_rows": 78 - SHIFT, "shifted_minutes": 5 * SHIFT}

    answer(engine, REPEATED, TUESDAY)  # cannot show that it repeats Monday
    (doubt,) = read(engine)
    assert (doubt.is_open, doubt.repeats) == (True, 1)

    answer(engine, TRUE, TUESDAY)
    (doubt,) = read(engine)
    assert (doubt.outcome, doubt.marks_bar) == (Outcome.MENDED, False)


def test_stored_bars_show_a_repeat_at_the_same_times_in_answers_of_their_own(engine: Engine) -> None:
    answer(engine, MONDAYS, MONDAY)
    answer(engine, build_session(TUESDAY, WALK), TUESDAY)
    (doubt,) = read(engine)
    assert (doubt.session_day, doubt.from_rows, doubt.figures["equal_rows"]) == (TUESDAY, False, 13)
