"""Daily rows in the store: all figures, when they were read, and the old figures of those that the vendor changed."""

from collections.abc import Sequence
from dataclasses import astuple
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from backfill_assets.market.daily_prices import DailyPrices, build_daily_prices
from backfill_assets.store.evidence.daily_prices import (
    MAX_ROWS_PER_STATEMENT,
    NO_ROW_AS_USUAL,
    DailyPrice,
    read_daily_price,
    read_daily_revisions,
    record_daily_rows,
    record_days_without_row,
)
from backfill_assets.store.postgres.connection import Database
from backfill_assets_tests.unit.market_builders import make_daily_rows

AAPL, DAY = 1, date(2026, 6, 2)
EVENING = datetime(2026, 6, 2, 23, tzinfo=UTC)
MORNING, NEXT_MORNING = EVENING + timedelta(hours=13), EVENING + timedelta(hours=37)
FIGURES = (10.0, 12.0, 9.0, 11.0, 5.5, 1000)


def record(database: Database, now: datetime, *figures: float | None) -> None:
    rows = build_daily_prices([AAPL], make_daily_rows((DAY, *figures)), [0])
    with database.transaction() as connection:
        record_daily_rows(connection, rows, now)


def read(database: Database) -> tuple[DailyPrice | None, list[DailyPrice]]:
    with database.transaction() as connection:
        return read_daily_price(connection, AAPL, DAY), read_daily_revisions(connection, AAPL, DAY)


def query(database: Database, statement: str) -> list[tuple[Any, ...]]:
    with database.transaction() as connection:
        return connection.execute(statement.encode()).fetchall()


def test_all_figures_are_stored_with_the_time_of_reading(database: Database) -> None:
    record(database, EVENING, *FIGURES)
    assert read(database) == (DailyPrice(*FIGURES, read_at=EVENING), [])
    record(database, MORNING, *FIGURES)  # unchanged: settled from now on
    assert read(database) == (DailyPrice(*FIGURES, read_at=MORNING), [])


def test_unknown_figures_are_null_and_say_nothing_about_absence(database: Database) -> None:
    record(database, MORNING, None, None, None, 11.0, None, None)
    assert read(database) == (DailyPrice(None, None, None, 11.0, None, None, MORNING), [])
    assert query(database, "SELECT volume, no_row_reason FROM backfill.daily_prices") == [(None, None)]


@pytest.mark.parametrize("position", [0, 1, 2, 3, 5])
@pytest.mark.parametrize("new", [10.5, None])
def test_each_change_of_a_known_figure_keeps_the_old_ones(database: Database, position: int, new: float | None) -> None:
    new = 900 if position == 5 and new else new
    changed = (*FIGURES[:position], new, *FIGURES[position + 1 :])
    record(database, MORNING, *FIGURES)
    record(database, NEXT_MORNING, *changed)
    assert read(database) == (
        DailyPrice(*changed, read_at=NEXT_MORNING),  # type: ignore[arg-type]
        [DailyPrice(*FIGURES, read_at=MORNING, replaced_at=NEXT_MORNING)],
    )


def test_a_change_back_is_a_second_revision(database: Database) -> None:
    for at, volume in ((EVENING, 1000), (MORNING, 1065), (NEXT_MORNING, 1000)):
        record(database, at, *FIGURES[:5], volume)
    _, revisions = read(database)
    assert [(old.volume, old.read_at, old.replaced_at) for old in revisions] == [
        (1000, EVENING, MORNING),
        (1065, MORNING, NEXT_MORNING),
    ]


@pytest.mark.parametrize("before", [FIGURES, (None, None, None, 11.0, 5.5, None)])
def test_an_adjusted_close_and_figures_that_were_unknown_are_no_revisions(
    database: Database, before: Sequence[float | None]
) -> None:
    record(database, MORNING, *before)
    record(database, NEXT_MORNING, *FIGURES[:4], 5.4, 1000)
    assert read(database) == (DailyPrice(*FIGURES[:4], 5.4, 1000, NEXT_MORNING), [])


@pytest.mark.parametrize(
    ("close", "volume", "revised"), [(11.0, 1000, False), (11.0, 0, False), (10.5, 1000, True), (11.0, 999, True)]
)
def test_rows_of_before_the_migration_are_completed(
    database: Database, close: float, volume: int, revised: bool
) -> None:
    with database.transaction() as connection:
        connection.execute(
            "INSERT INTO backfill.daily_prices (symbol_id, day, close_price, volume) VALUES (%s, %s, %s, %s)",
            [AAPL, DAY, close, volume],
        )
    before = DailyPrice(None, None, None, close, None, volume or None, None)
    assert read(database) == (before, [])
    record(database, MORNING, *FIGURES)
    now, revisions = read(database)
    assert now == DailyPrice(*FIGURES, read_at=MORNING)
    assert [astuple(old) for old in revisions] == [(*astuple(before)[:-1], MORNING)] * revised


def test_a_day_without_a_row_has_no_figures_until_the_vendor_has_one(database: Database) -> None:
    with database.transaction() as connection:
        record_days_without_row(connection, [(AAPL, DAY)], NO_ROW_AS_USUAL)
    assert read(database) == (None, [])
    record(database, MORNING, *FIGURES)
    assert read(database) == (DailyPrice(*FIGURES, read_at=MORNING), [])
    with database.transaction() as connection:  # the row stays
        record_days_without_row(connection, [(AAPL, DAY)], NO_ROW_AS_USUAL)
    assert read(database) == (DailyPrice(*FIGURES, read_at=MORNING), [])


@pytest.mark.no_cover
def test_histories_of_many_symbols_are_two_statements_for_each_50_000_rows(database: Database) -> None:
    symbols, days = 250, 250
    count = symbols * days
    ids = np.repeat(np.arange(1, symbols + 1), days)
    day = np.tile(np.datetime64("2025-06-02") + np.arange(days), symbols)
    price, volume = np.full(count, 10.0), np.full(count, 1000.0)
    rows = DailyPrices(ids, day, price, price, price, price, price, volume, volume.astype(np.int64))
    assert count > MAX_ROWS_PER_STATEMENT
    with database.transaction() as connection:
        record_daily_rows(connection, rows, MORNING)
        changed = np.where(np.arange(count) == count - 1, 11.0, price)
        changed_rows = DailyPrices(ids, day, price, changed, price, price, price, volume, rows.traded_volume)
        record_daily_rows(connection, changed_rows, NEXT_MORNING)
    assert query(database, "SELECT count(*), count(DISTINCT read_at) FROM backfill.daily_prices") == [(count, 1)]
    assert query(database, "SELECT symbol_id, high_price FROM backfill.daily_revisions") == [(symbols, 10.0)]
