"""What is read about absent bars: past requests, thin symbols, daily data, listing lives and closures."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.sessions import list_previous_sessions, list_sessions
from backfill_assets.market.calendar.slots import SlotGrid, build_slot_grid
from backfill_assets.market.calendar.tickers import parse_tickers
from backfill_assets.market.exchanges.profile import CalendarOverrides
from backfill_assets.market.exchanges.registry import US, get_profile
from backfill_assets.market.gaps.evidence import AbsenceEvidence, DayTrading, RequestHistory
from backfill_assets.market.gaps.slot_states import SlotState
from backfill_assets.store.bars.gap_queries import NEWEST_SESSIONS
from backfill_assets.store.bars.symbol_index import SymbolIndex
from backfill_assets.store.evidence.daily_data import (
    ListingLife,
    record_closure,
    record_listing_lives,
)
from backfill_assets.store.evidence.daily_prices import (
    NO_ROW_AS_USUAL,
    NOT_IN_MARKET_FILE,
    record_daily_rows,
    record_days_without_row,
)
from backfill_assets.store.evidence.daily_series import read_daily_series
from backfill_assets.store.evidence.evidence_reader import read_evidence
from backfill_assets.store.evidence.slot_baseline import BASELINE_SESSIONS
from backfill_assets.store.listings import NewListing, record_listings
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.symbols import add_symbols, list_symbols
from backfill_assets_tests.unit.gap_builders import RULES, Slot, build_open_slots
from backfill_assets_tests.unit.market_builders import make_daily_prices

SESSIONS = list_sessions(US, date(2026, 6, 1), date(2026, 6, 5))
GRID = build_slot_grid(SESSIONS, INTERVALS["30m"])
NOW = datetime(2026, 6, 6, tzinfo=UTC)
REQUESTED_AT = datetime(2026, 6, 6, 14, tzinfo=UTC)
AAPL, MSFT, SPY = 0, 1, 2  # rows
INSERT_EVIDENCE = """
INSERT INTO backfill.session_evidence (symbol_id, interval_type, source_interval, session_day, requested_at,
    request_count, no_new_data_since, source_rows, data_until, is_published, published_at, not_returned)
VALUES (%(symbol_id)s, %(interval)s, %(source)s, %(day)s, %(requested_at)s, %(request_count)s, %(no_new_data_since)s,
    0, %(data_until)s, %(is_published)s, %(published_at)s, %(not_returned)s)
"""


@pytest.fixture
def store(database: Database) -> Database:
    """A store with three symbols."""
    with database.transaction() as connection:
        add_symbols(connection, parse_tickers(["AAPL", "MSFT", "SPY"]))
    return database


def get_symbol_ids(database: Database) -> list[int]:
    with database.transaction() as connection:
        return [symbol.symbol_id for symbol in list_symbols(connection, "US")]


def insert_request(database: Database, row: int, day: date, **changed: Any) -> None:
    """Insert evidence of one request; without ``changed`` it returned nothing."""
    values = {
        "symbol_id": get_symbol_ids(database)[row],
        "interval": "30m",
        "source": "5m",
        "day": day,
        "requested_at": REQUESTED_AT,
        "request_count": 1,
        "no_new_data_since": None,
        "data_until": None,
        "is_published": False,
        "published_at": None,
        "not_returned": "{}",
        **changed,
    }
    with database.transaction() as connection:
        connection.execute(INSERT_EVIDENCE, values)


def read(
    database: Database,
    open_rows: Sequence[int] = (),
    grid: SlotGrid = GRID,
    slots: Sequence[Slot] = (),
    now: datetime = NOW,
    *,
    only_states: bool = False,
) -> tuple[RequestHistory, AbsenceEvidence]:
    """Read with an absent first slot of each of ``open_rows``, or with ``slots``."""
    index = SymbolIndex(np.array(get_symbol_ids(database), np.int64))
    open_slots = build_open_slots(slots or [(row, 0, SlotState.MISSING) for row in open_rows])
    with database.transaction() as connection:
        return read_evidence(connection, index, grid, INTERVALS["5m"], open_slots, RULES, now, only_states=only_states)


def test_nothing_is_known_of_an_empty_store(store: Database) -> None:
    history, evidence = read(store, [AAPL, MSFT, SPY])
    assert history.row.size == 0
    assert (evidence.traded == -1).all()
    assert evidence.is_listed.all()
    assert not evidence.closed.any()
    assert np.isnan(evidence.first_published_at).all()


def test_request_is_read_with_its_results(store: Database) -> None:
    since, data_until = REQUESTED_AT - timedelta(hours=2), SESSIONS[4].close
    insert_request(
        store,
        MSFT,
        SESSIONS[4].day,
        request_count=3,
        no_new_data_since=since,
        data_until=data_until,
        is_published=True,
        published_at=since,
        not_returned="{[0,2),[12,13)}",
    )
    history, _ = read(store, [MSFT])
    assert (history.row.tolist(), history.session.tolist(), history.request_count.tolist()) == ([MSFT], [4], [3])
    assert history.requested_at.tolist() == [int(REQUESTED_AT.timestamp())]
    assert history.no_new_data_since.tolist() == history.published_at.tolist() == [since.timestamp()]
    assert (history.data_until.tolist(), history.published.tolist()) == ([int(data_until.timestamp())], [True])
    assert (history.not_returned_entry.tolist(), history.not_returned_ordinal.tolist()) == ([0, 0, 0], [52, 53, 64])


def test_request_without_rows_has_no_data(store: Database) -> None:
    insert_request(store, AAPL, SESSIONS[0].day)
    history, _ = read(store, [AAPL])
    assert (history.data_until.tolist(), history.published.tolist()) == ([0], [False])
    assert np.isnan(history.no_new_data_since).all()


def test_older_requests_are_read_for_symbols_with_open_slots_only(store: Database) -> None:
    for row in (AAPL, MSFT):
        for session in SESSIONS:
            insert_request(store, row, session.day)
    history, _ = read(store, [MSFT])
    sessions_by_row = {row: sorted(history.session[history.row == row].tolist()) for row in (AAPL, MSFT)}
    assert sessions_by_row == {AAPL: list(range(len(SESSIONS)))[-NEWEST_SESSIONS:], MSFT: list(range(len(SESSIONS)))}


@pytest.mark.parametrize("other", [{"interval": "1h"}, {"source": "1m"}])
def test_requests_for_other_intervals_are_ignored(store: Database, other: dict[str, str]) -> None:
    insert_request(store, AAPL, SESSIONS[4].day, is_published=True, published_at=REQUESTED_AT, **other)
    history, evidence = read(store, [AAPL])
    assert history.row.size == 0
    assert evidence.published_sessions.tolist() == [0, 0, 0]


def test_baseline_has_the_last_published_sessions_before_the_window_as_well(store: Database) -> None:
    days = [session.day for session in list_previous_sessions(SESSIONS[0], BASELINE_SESSIONS)]
    for number, day in enumerate(days):  # number 0 is the 21st from the end: not counted
        insert_request(store, AAPL, day, is_published=True, not_returned="{[0,1)}" if number in (0, 1, 5) else "{}")
    insert_request(store, AAPL, SESSIONS[0].day, is_published=True)
    insert_request(store, AAPL, SESSIONS[1].day, is_published=False, not_returned="{[0,13)}")
    insert_request(store, MSFT, SESSIONS[0].day, is_published=True, not_returned="{[3,4)}")
    _, evidence = read(store, [AAPL, MSFT])
    assert evidence.published_sessions.tolist() == [BASELINE_SESSIONS, 1, 0]
    assert evidence.incomplete_sessions.tolist() == [2, 1, 0]


def test_daily_volume_tells_whether_a_symbol_traded(store: Database) -> None:
    symbol_ids = get_symbol_ids(store)
    with store.transaction() as connection:
        rows = (symbol_ids[AAPL], SESSIONS[0].day, 1.0, 9), (symbol_ids[AAPL], SESSIONS[1].day, None, 0)
        record_daily_rows(connection, make_daily_prices(*rows), REQUESTED_AT)
    _, evidence = read(store, [AAPL, MSFT])
    assert evidence.traded.tolist() == [[1, 0, -1, -1, -1], [-1] * 5, [-1] * 5]


def test_listing_life_bounds_the_sessions(store: Database) -> None:
    symbol_ids = get_symbol_ids(store)
    lives = [
        ListingLife(symbol_ids[AAPL], SESSIONS[1].day, SESSIONS[3].day, has_ended=True),
        ListingLife(symbol_ids[MSFT], SESSIONS[2].day, SESSIONS[3].day, has_ended=False),
        ListingLife(symbol_ids[SPY] + 1000, SESSIONS[2].day, SESSIONS[3].day, has_ended=True),
    ]
    with store.transaction() as connection:
        record_listing_lives(connection, lives, REQUESTED_AT)
    _, evidence = read(store)
    assert evidence.is_listed.tolist() == [
        [False, True, True, True, False],
        [False, False, True, True, True],
        [True] * 5,
    ]


def test_closed_session_is_marked(store: Database) -> None:
    with store.transaction() as connection:
        record_closure(connection, "US", SESSIONS[2].day, "no file", REQUESTED_AT)
        record_closure(connection, "US", SESSIONS[4].day + timedelta(days=1), "a Saturday", REQUESTED_AT)
    _, evidence = read(store)
    assert evidence.closed.tolist() == [False, False, True, False, False]


def test_publication_times_are_those_of_the_first_symbol_and_of_half_of_the_store(store: Database) -> None:
    moments = [REQUESTED_AT + timedelta(hours=hours) for hours in (2, 0)]
    for row, moment in zip((AAPL, MSFT), moments, strict=True):
        insert_request(store, row, SESSIONS[4].day, is_published=True, published_at=moment)
    insert_request(store, AAPL, SESSIONS[3].day, is_published=True, published_at=REQUESTED_AT)
    _, evidence = read(store)
    assert evidence.first_published_at[3:].tolist() == [REQUESTED_AT.timestamp()] * 2
    assert evidence.half_published_at[4] == moments[0].timestamp()
    assert np.isnan(evidence.half_published_at[3])


def test_who_published_long_ago_is_not_read_for_states(store: Database) -> None:
    """Requests for symbols with open slots are, whatever the session."""
    for row in (AAPL, MSFT):
        insert_request(store, row, SESSIONS[4].day, is_published=True, published_at=REQUESTED_AT)
    much_later = RULES.compute_overdue_at(SESSIONS[4]) + RULES.retry_schedule.vendor_gap_after + timedelta(minutes=1)
    for now, is_read in ((NOW, True), (much_later, False)):
        history, evidence = read(store, [AAPL], now=now, only_states=True)
        assert (AAPL in history.row, MSFT in history.row) == (True, is_read)
        assert np.isnan(evidence.first_published_at[4]) != is_read
    assert MSFT in read(store, [AAPL], now=much_later)[0].row


def test_who_published_is_read_of_the_newest_sessions_however_long_an_exchange_is_closed(store: Database) -> None:
    """A look without ``only_states`` reads it, too: both must find the same states."""
    closures = frozenset(SESSIONS[-1].day + timedelta(days=days) for days in range(1, 30))
    sessions = list_sessions(replace(US, overrides=CalendarOverrides(closures=closures)), date(2026, 6, 1), NOW.date())
    insert_request(store, MSFT, SESSIONS[4].day, is_published=True, published_at=REQUESTED_AT)
    much_later = RULES.compute_overdue_at(SESSIONS[4]) + RULES.retry_schedule.vendor_gap_after + timedelta(minutes=1)
    grid = build_slot_grid(sessions, INTERVALS["30m"])
    evidence = [read(store, [AAPL], grid, now=much_later, only_states=only)[1] for only in (False, True)]
    assert evidence[0].first_published_at[4] == evidence[1].first_published_at[4] == REQUESTED_AT.timestamp()


def test_nothing_is_read_without_sessions(store: Database) -> None:
    history, evidence = read(store, [AAPL], build_slot_grid([], INTERVALS["30m"]))
    assert (history.row.size, evidence.traded.shape) == (0, (3, 0))


def test_a_session_without_rows_begins_anew_when_a_listing_is_recorded(store: Database) -> None:
    vain_since, recorded_at = REQUESTED_AT - timedelta(days=2), REQUESTED_AT + timedelta(minutes=5)
    answered = {"data_until": SESSIONS[0].close, "not_returned": "{[1,2)}"}
    insert_request(store, AAPL, SESSIONS[0].day, no_new_data_since=vain_since, **answered)
    insert_request(store, AAPL, SESSIONS[1].day, no_new_data_since=vain_since)
    insert_request(store, AAPL, SESSIONS[2].day)
    insert_request(store, MSFT, SESSIONS[1].day, no_new_data_since=vain_since)
    with store.transaction() as connection:
        listing = NewListing(get_symbol_ids(store)[AAPL], None, SESSIONS[3].day)
        record_listings(connection, [listing], source="a test", by="ann@a", now=recorded_at)
    history, _ = read(store, [AAPL, MSFT])
    since = dict(
        zip(zip(history.row.tolist(), history.session.tolist(), strict=True), history.no_new_data_since, strict=True)
    )
    assert since[AAPL, 1] == recorded_at.timestamp()
    assert since[AAPL, 0] == since[MSFT, 1] == vain_since.timestamp()
    assert np.isnan(since[AAPL, 2])


def test_slots_are_read_of_symbols_that_may_be_thin(store: Database) -> None:
    """Of AAPL, which lacked a slot in two of six sessions, but not of MSFT, which lacked one in one."""
    days = [session.day for session in list_previous_sessions(SESSIONS[0], 6)]
    for number, day in enumerate(days):
        insert_request(store, AAPL, day, is_published=True, not_returned="{[2,4)}" if number in (1, 4) else "{}")
        insert_request(store, MSFT, day, is_published=True, not_returned="{[2,4)}" if number == 1 else "{}")
    _, evidence = read(store, [AAPL, MSFT])
    baseline = evidence.slot_baseline
    assert baseline.grid is not None
    assert [session.day for session in baseline.grid.sessions] == days
    assert (baseline.rows.tolist(), baseline.is_published.tolist()) == ([AAPL], [[True] * 6])
    first = [AAPL * baseline.grid.size + session * 13 for session in (1, 4)]
    assert baseline.absent.tolist() == [key + slot for key in first for slot in (2, 3)]
    assert read(store, [MSFT])[1].slot_baseline.grid is None


@pytest.mark.parametrize(("exchange", "tells"), [("LSE", True), ("AU", False)])
def test_where_daily_rows_are_carried_forward_one_that_is_absent_says_nothing(
    database: Database, exchange: str, tells: bool
) -> None:
    sessions = list_sessions(get_profile(exchange), date(2026, 6, 1), date(2026, 6, 3))
    grid = build_slot_grid(sessions, INTERVALS["30m"])
    with database.transaction() as connection:
        add_symbols(connection, parse_tickers([f"ABC.{exchange}"]))
        symbols = list_symbols(connection, exchange)
        ids = [symbols[0].symbol_id]
        record_days_without_row(connection, [(ids[0], sessions[0].day)], NOT_IN_MARKET_FILE)
        record_days_without_row(connection, [(ids[0], sessions[1].day)], NO_ROW_AS_USUAL)
        index = SymbolIndex.from_symbols(symbols)
        is_open = build_open_slots([(0, 0, SlotState.MISSING)])
        _, evidence = read_evidence(connection, index, grid, INTERVALS["5m"], is_open, RULES, NOW)
        series = read_daily_series(connection, ids, sessions)
    absent = [DayTrading.NOT_IN_MARKET_FILE, DayTrading.NO_ROW_AS_USUAL] if tells else [DayTrading.UNKNOWN] * 2
    assert evidence.traded[0].tolist() == [*absent, DayTrading.UNKNOWN]
    assert series.is_without_trade[0].tolist() == [tells, tells, False]


def test_a_daily_volume_of_0_that_an_older_version_wrote_for_an_unknown_one_says_nothing(store: Database) -> None:
    """Version 0.7.0 wrote 0 and no reported volume; versions before it no reported volume for any row."""
    (symbol_id, *_) = get_symbol_ids(store)
    insert = """INSERT INTO backfill.daily_prices (symbol_id, day, close_price, volume, reported_volume, read_at)
    VALUES (%(id)s, '2026-06-01', 1, 0, NULL, now()), (%(id)s, '2026-06-02', 1, NULL, NULL, now()),
           (%(id)s, '2026-06-03', 1, 0, 0, now()), (%(id)s, '2026-06-04', 1, 0, NULL, NULL)"""
    with store.transaction() as connection:
        connection.execute(insert, {"id": symbol_id})
        series = read_daily_series(connection, [symbol_id], SESSIONS)
    _, evidence = read(store, [AAPL])
    assert series.is_without_trade[0].tolist() == [False, False, True, True, False]
    unknown, untraded = DayTrading.UNKNOWN, DayTrading.NO_VOLUME
    assert evidence.traded[AAPL].tolist() == [unknown, unknown, untraded, untraded, unknown]
