"""What is read about absent bars: past requests, thin symbols, daily data, listing lives and closures."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.sessions import list_previous_sessions, list_sessions
from backfill_assets.market.calendar.slots import SlotGrid, build_slot_grid
from backfill_assets.market.calendar.tickers import parse_tickers
from backfill_assets.market.exchanges.registry import US
from backfill_assets.market.gaps.evidence import AbsenceEvidence, RequestHistory
from backfill_assets.store.bars.gap_queries import NEWEST_SESSIONS
from backfill_assets.store.bars.symbol_index import SymbolIndex
from backfill_assets.store.evidence.daily_data import (
    ListingLife,
    record_closure,
    record_listing_lives,
)
from backfill_assets.store.evidence.daily_prices import record_daily_rows
from backfill_assets.store.evidence.evidence_reader import BASELINE_SESSIONS, read_evidence
from backfill_assets.store.listings import NewListing, record_listings
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.symbols import add_symbols, list_symbols
from backfill_assets_tests.unit.market_builders import make_daily_prices

SESSIONS = list_sessions(US, date(2026, 6, 1), date(2026, 6, 5))
GRID = build_slot_grid(SESSIONS, INTERVALS["30m"])
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
    database: Database, open_rows: Sequence[int] = (), grid: SlotGrid = GRID
) -> tuple[RequestHistory, AbsenceEvidence]:
    index = SymbolIndex(np.array(get_symbol_ids(database), np.int64))
    with database.transaction() as connection:
        return read_evidence(connection, index, grid, INTERVALS["5m"], np.array(open_rows, np.int64))


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
