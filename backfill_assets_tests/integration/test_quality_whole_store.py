"""Whether the whole store is complete: the census's answer, compared with a measurement of every month."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any

import numpy as np
import pytest

from backfill_assets.config.settings import Settings
from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.sessions import list_sessions
from backfill_assets.market.calendar.slots import build_slot_grid
from backfill_assets.market.calendar.tickers import parse_tickers
from backfill_assets.quality.census.answer import WholeStore, read_whole_store
from backfill_assets.quality.census.explaining import explain_months
from backfill_assets.quality.census.month_counts import UNKNOWN
from backfill_assets.quality.census.newest_months import find_lacking_newest, measure_sessions, split_measured
from backfill_assets.quality.census.report import read_whole_histories, select_worst
from backfill_assets.quality.census.scope import HistoryScope, read_scope
from backfill_assets.quality.census.whole_store import (
    examine_stored_months,
    find_lacking_months,
    join_months,
)
from backfill_assets.quality.history_page import to_html
from backfill_assets.store.bars.gap_queries import read_stored_slots
from backfill_assets.store.bars.proven_months import find_proven_months
from backfill_assets.store.census.upkeep import keep_census
from backfill_assets.store.postgres.connection import Connection, Database
from backfill_assets.store.symbols import add_symbols
from backfill_assets_tests.conftest import NOW

FIRST_DAY = date(2026, 3, 18)
M30 = INTERVALS["30m"]
TICKERS = ("AAPL.US", "AMZN.US", "MSFT.US", "TSLA.US", "SAP.XETRA", "ALV.XETRA", "EURUSD.FOREX")
_INSERT_BARS = """
INSERT INTO market_data (symbol_id, interval_type, timestamp, open_price, high_price, low_price, close_price, volume,
                         source, source_interval, source_rows, is_final, fetched_at)
SELECT symbol_id, '30m', at, 100, 101, 99, 100.5, 1000, '127.0.0.1', '5m', 6, true, at + interval '1 day'
FROM market_symbols CROSS JOIN unnest(%(stamps)s::timestamptz[]) AS at WHERE exchange = %(exchange)s
"""


def list_stamps(settings: Settings, exchange: str) -> list[datetime]:
    sessions = list_sessions(settings.get_market(exchange), FIRST_DAY, date(2026, 6, 2))
    return [datetime.fromtimestamp(epoch, UTC) for epoch in build_slot_grid(sessions, M30).starts.tolist()]


@pytest.fixture
def whole(database: Database, settings: Settings) -> Settings:
    """The settings of a store of three exchanges that has every bar since FIRST_DAY."""
    settings = settings.model_copy(
        update={"exchanges": ("US", "XETRA", "FOREX"), "history_from": FIRST_DAY, "calendar_file": None}
    )
    with database.transaction() as connection:
        add_symbols(connection, parse_tickers(TICKERS))
        for exchange in settings.exchanges:
            connection.execute(_INSERT_BARS, {"exchange": exchange, "stamps": list_stamps(settings, exchange)})
    bring_up_to_date(database, settings)
    return settings


def bring_up_to_date(database: Database, settings: Settings, now: datetime = NOW) -> None:
    """Count, fold, and settle until nothing is left to do."""
    keep_census(database, blocks=9)
    for market in settings.markets:
        for _ in range(50):
            with database.transaction() as connection:
                scope = read_scope(connection, settings, market, M30, now)
            step = explain_months(database, scope, max_measured=2000)
            assert step
            if step.is_last:
                break
        else:
            pytest.fail("explaining does not end")


def answer(database: Database, settings: Settings, now: datetime = NOW) -> dict[str, WholeStore]:
    return {m.exchange: read_whole_store(database, settings, m, M30, now) for m in settings.markets}


def find_lacking(database: Database, settings: Settings, now: datetime) -> dict[tuple[str, int], int]:
    """(ticker, month) → missing bars as the census has them, ``UNKNOWN`` where a measurement has to say it."""
    found = {}
    for market in settings.markets:
        with database.snapshot() as connection:
            stored = examine_stored_months(connection, read_scope(connection, settings, market, M30, now))
            months = [find_lacking_months(connection, stored), find_lacking_newest(connection, stored)]
        for row, month, missing, is_unmeasured in zip(*vars(join_months(months)).values(), strict=True):
            found[str(stored.scope.symbols[row].ticker), int(month)] = UNKNOWN if is_unmeasured else int(missing)
    return found


def measure_everything(database: Database, settings: Settings, now: datetime) -> dict[tuple[str, int], int]:
    """(ticker, month) → missing bars, by a measurement of each month."""
    found = {}
    for market in settings.markets:
        with database.transaction() as connection:
            scope = read_scope(connection, settings, market, M30, now)
            for position, month in enumerate(scope.monthly.months.tolist()):
                missing = _measure_month(connection, scope, position)
                for row in np.flatnonzero(missing).tolist():
                    found[str(scope.symbols[row].ticker), month] = int(missing[row])
    return found


def look_at_all_slots(database: Database, settings: Settings, now: datetime) -> int:
    """Look at each slot with the census and without it, which must say the same; how many bars need no look."""
    skipped = 0
    for market in settings.markets:
        with database.transaction() as connection:
            scope = read_scope(connection, settings, market, M30, now)
            index, grid = scope.symbol_index, scope.grid
            proven = find_proven_months(connection, index, grid, int(grid.session_offsets[-4]))
            assert proven
            skipped += int((proven.is_skipped * np.diff(proven.bounds)).sum())
            by_census = vars(read_stored_slots(connection, index, grid))
            connection.execute("UPDATE backfill.census_symbols SET uncounted = '{(,)}'")
            by_bars = vars(read_stored_slots(connection, index, grid))
            connection.rollback()
        for name, expected in by_bars.items():
            found = by_census[name]
            if name in ("provisional", "suspect", "rejected"):  # in any order
                found, expected = np.sort(found), np.sort(expected)
            assert np.array_equal(found, expected), name
    return skipped


def _measure_month(connection: Connection, scope: HistoryScope, position: int) -> Any:
    rows = np.arange(len(scope.symbols))
    begin, end = scope.find_sessions(position)
    months, measured = split_measured(scope, rows, begin, measure_sessions(connection, scope, rows, begin, end))
    return measured.missing[:, np.searchsorted(months, scope.monthly.months[position])]


def test_a_store_with_every_bar_is_complete(database: Database, whole: Settings) -> None:
    for exchange, found in answer(database, whole).items():
        assert found.is_complete, (exchange, found.describe())
        assert found.describe() == f"complete since {FIRST_DAY}"
        assert found.share == 1.0


def delete_bars(connection: Connection, random: Random) -> None:
    connection.execute(
        "DELETE FROM market_data WHERE hashint8(extract(epoch FROM timestamp)::bigint + symbol_id) %% %s = 0",
        [random.choice([97, 401, 1201])],
    )


def delete_month(connection: Connection, random: Random) -> None:
    month = date(2026, random.randint(3, 6), 1)
    connection.execute(
        "DELETE FROM market_data WHERE symbol_id = %s AND timestamp >= %s AND timestamp < %s",
        [random.randint(1, 7), month, month + timedelta(days=31)],
    )


def move_bars(connection: Connection, random: Random) -> None:
    """As many bars as before, but some beside the clock's grid, and two whose places are changed for others'."""
    connection.execute(
        "UPDATE market_data SET timestamp = timestamp + interval '7 minutes'"
        " WHERE symbol_id = %s AND hashint8(extract(epoch FROM timestamp)::bigint) %% 211 = 0",
        [random.randint(1, 7)],
    )


def make_provisional(connection: Connection, random: Random) -> None:
    connection.execute(
        "UPDATE market_data SET is_final = false WHERE symbol_id = %s AND extract(day FROM timestamp) = %s",
        [random.randint(1, 7), random.randint(1, 28)],
    )


def write_as_another_program(connection: Connection, random: Random) -> None:
    """Bars of another program, under another spelling, beside or in the place of those that are there."""
    connection.execute(
        "INSERT INTO market_data (symbol_id, interval_type, timestamp, open_price, high_price, low_price, close_price,"
        " volume) SELECT symbol_id, '30min', timestamp, 100, 101, 99, 100.5, 1000 FROM market_data"
        " WHERE symbol_id = %s AND interval_type = '30m' AND source IS NOT NULL"
        " AND hashint8(extract(epoch FROM timestamp)::bigint) %% 89 = 0 ON CONFLICT DO NOTHING",
        [random.randint(1, 7)],
    )
    if random.random() < 0.5:
        connection.execute("DELETE FROM market_data WHERE hashint8(extract(epoch FROM timestamp)::bigint) % 89 = 0"
                           " AND interval_type = '30m'")  # fmt: skip


def record_untraded_days(connection: Connection, random: Random) -> None:
    connection.execute(
        "INSERT INTO backfill.daily_prices (symbol_id, day, close_price, volume, reported_volume, read_at)"
        " SELECT symbol_id, day::date, 100, 0, 0, day + interval '2 days' FROM market_symbols"
        " CROSS JOIN generate_series(%s::date, '2026-06-02', '9 days') AS day ON CONFLICT DO NOTHING",
        [FIRST_DAY + timedelta(days=random.randint(0, 9))],
    )


def revise_untraded_days(connection: Connection, random: Random) -> None:
    connection.execute("UPDATE backfill.daily_prices SET volume = 5, reported_volume = 5 WHERE symbol_id %% 2 = %s",
                       [random.randint(0, 1)])  # fmt: skip


def record_requests(connection: Connection, random: Random) -> None:
    """Long ago the vendor was asked for sessions and did not return some slots; for some it stopped being asked."""
    connection.execute(
        "INSERT INTO backfill.session_evidence (symbol_id, interval_type, source_interval, session_day, requested_at,"
        " request_count, no_new_data_since, source_rows, data_until, is_published, published_at, not_returned)"
        " SELECT symbol_id, '30m', '5m', day::date, day + interval '20 days', 5, day + interval '2 days', 60,"
        " day + interval '20 h', true, day + interval '30 h', '{[0,3)}'::int4multirange FROM market_symbols"
        " CROSS JOIN generate_series(%s::date, '2026-05-20', '3 days') AS day WHERE symbol_id %% 3 = %s"
        " ON CONFLICT DO NOTHING",
        [FIRST_DAY + timedelta(days=random.randint(0, 5)), random.randint(0, 2)],
    )


def forget_requests(connection: Connection, random: Random) -> None:
    connection.execute("DELETE FROM backfill.session_evidence WHERE symbol_id %% 2 = %s", [random.randint(0, 1)])


def limit_listing(connection: Connection, random: Random) -> None:
    connection.execute(
        "INSERT INTO backfill.listing_lives (symbol_id, first_day, last_day, has_ended, read_at)"
        " VALUES (%s, %s, '2026-06-02', false, now()) ON CONFLICT (symbol_id)"
        " DO UPDATE SET first_day = EXCLUDED.first_day",
        [random.randint(1, 7), date(2026, random.randint(2, 5), random.randint(1, 28))],
    )


def close_exchange(connection: Connection, random: Random) -> None:
    day = date(2026, random.randint(4, 5), random.randint(1, 28))
    connection.execute("INSERT INTO backfill.exchange_closures (exchange, day, found_at, reason)"
                       " VALUES ('US', %s, now(), 'no file') ON CONFLICT DO NOTHING", [day])  # fmt: skip
    connection.execute("DELETE FROM market_data WHERE (timestamp AT TIME ZONE 'America/New_York')::date = %s", [day])


def reopen_exchange(connection: Connection, random: Random) -> None:
    connection.execute("DELETE FROM backfill.exchange_closures")


# What explains absent bars comes after bars went, and goes again.
DAMAGES: tuple[Callable[[Connection, Random], None], ...] = (
    *(delete_bars, delete_month, record_untraded_days, revise_untraded_days, record_requests, forget_requests),
    *(limit_listing, close_exchange, reopen_exchange, move_bars, make_provisional, write_as_another_program),
)


def test_a_measurement_is_repeated_after_a_week(database: Database, whole: Settings) -> None:
    """What other tickers show of a slot is not noted as evidence of this one."""
    with database.transaction() as connection:
        connection.execute("DELETE FROM market_data WHERE symbol_id = 1 AND timestamp::date = '2026-04-15'")
    bring_up_to_date(database, whole)
    with database.transaction() as connection:
        connection.execute("UPDATE backfill.census_months SET missing = 0, no_trade = 13 WHERE missing > 0")
    april = "AAPL.US", (2026 - 1970) * 12 + 3
    bring_up_to_date(database, whole, NOW + timedelta(days=6))
    assert april not in find_lacking(database, whole, NOW + timedelta(days=6))
    bring_up_to_date(database, whole, NOW + timedelta(days=8))
    assert find_lacking(database, whole, NOW + timedelta(days=8))[april] == 13


@pytest.mark.no_cover
@pytest.mark.parametrize("seed", [3])
def test_the_answer_is_that_of_a_measurement_whatever_happens_to_the_store(
    database: Database, whole: Settings, seed: int
) -> None:
    random = Random(seed)
    now = NOW
    for damage in DAMAGES:
        with database.transaction() as connection:
            damage(connection, random)
        now += timedelta(hours=random.choice([0, 1, 30]))
        measured, found = measure_everything(database, whole, now), find_lacking(database, whole, now)
        assert measured.keys() <= found.keys(), damage.__name__  # before anything was folded or measured
        assert all(found[cell] in (UNKNOWN, missing) for cell, missing in measured.items()), damage.__name__
        bring_up_to_date(database, whole, now)
        assert find_lacking(database, whole, now) == measured, damage.__name__
        assert look_at_all_slots(database, whole, now) > 0, damage.__name__
    by_exchange = answer(database, whole, now)
    assert sum(one.missing for one in by_exchange.values()) == sum(measured.values())
    assert sum(one.missing_months for one in by_exchange.values()) == len(measured)


def test_the_oldest_missing_bar_is_not_named_while_a_month_before_it_is_not_examined(
    database: Database, whole: Settings
) -> None:
    with database.transaction() as connection:
        connection.execute("DELETE FROM market_data WHERE symbol_id = 1 AND timestamp < '2026-05-01'")
        connection.execute("DELETE FROM market_data WHERE symbol_id = 1 AND timestamp = '2026-06-01 15:00Z'")
    before = answer(database, whole)["US"]
    assert (before.unmeasured_months > 0, before.oldest_missing_at) == (True, None)
    bring_up_to_date(database, whole)
    oldest = answer(database, whole)["US"].oldest_missing_at
    assert oldest is not None
    assert f"{oldest:%Y-%m}" == "2026-03"


def test_reports_of_the_whole_history_add_up(database: Database, whole: Settings) -> None:
    with database.transaction() as connection:
        connection.execute(
            "DELETE FROM market_data WHERE symbol_id = 1 AND timestamp >= '2026-04-01' AND timestamp < '2026-05-01'"
        )
        connection.execute("DELETE FROM market_data WHERE symbol_id = 5 AND timestamp = '2026-05-04 08:00Z'")
    bring_up_to_date(database, whole)
    histories = read_whole_histories(database, whole, whole.markets, "30m")
    assert [history.answer for history in histories] == list(answer(database, whole).values())
    us, xetra, _ = histories
    april = 21 * 13  # sessions × slots
    assert us.answer.describe() == (
        f"{int(1000 - 1000 * april / us.answer.expected) / 10:.1f} % complete since 2026-03-18,"
        f" {april} bars of 1 symbol missing, the oldest at 2026-04-01T13:30:00Z"
    )
    assert xetra.answer.describe() == (
        "99.9 % complete since 2026-03-18, 1 bar of 1 symbol missing, the oldest at 2026-05-04T08:00:00Z"
    )
    for history in histories:
        months, symbols = history.table.list_by_month(), history.table.list_by_symbol()
        for field in ("expected_bars", "missing_bars", "explained_bars"):
            assert sum(row[field] for row in months) == sum(row[field] for row in symbols)
        assert sum(row["expected_bars"] for row in months) == history.answer.expected
        assert sum(row["missing_bars"] for row in months) == history.answer.missing
    assert us.table.build_heatmap().render_lines() == ["·X··", *["····"] * 3]
    assert xetra.table.build_heatmap().render_lines() == ["····", "··/·"]
    assert [row["symbol"] for row in select_worst(us.table.list_by_symbol())] == ["AAPL"]
    page = to_html(histories)
    assert page.count("<svg") == 3
    assert "4 symbols × 4 months, 2026-03 to 2026-06: 1 missing, 15 complete" in page
