"""When past sessions came, as it is written with the evidence and read for what is learned of it."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.sessions import list_previous_sessions, list_sessions
from backfill_assets.market.calendar.slots import build_slot_grid
from backfill_assets.market.calendar.tickers import parse_tickers
from backfill_assets.market.columns import Columns
from backfill_assets.market.exchanges.registry import US
from backfill_assets.quality.session_explanation import describe_session
from backfill_assets.store.coverage import measure_coverage
from backfill_assets.store.evidence.evidence_writer import record_evidence
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.symbols import add_symbols, list_symbols
from backfill_assets_tests.unit.gap_builders import RULES

SOURCE, INTERVAL = INTERVALS["5m"], INTERVALS["30m"]
(SESSION,) = list_sessions(US, date(2026, 6, 3), date(2026, 6, 3))
EVENING = SESSION.regular_close + timedelta(hours=3, minutes=10)
OWN_HOURS = {"AAPL": 5.0, "MSFT": 8.0, "VTI": 11.0}


@pytest.fixture(autouse=True)
def _symbols(database: Database) -> None:
    with database.transaction() as connection:
        add_symbols(connection, parse_tickers([*OWN_HOURS, "TSLA", "BTC-USD.CC"]))


def record(database: Database, symbol: str, day: date, at: datetime, *, published: bool) -> None:
    """The answer to one request for one session."""
    with database.transaction() as connection:
        (symbol_id,) = connection.execute(
            "SELECT symbol_id FROM market_symbols WHERE symbol = %s", [symbol]
        ).fetchall()[0]
        answer = {
            "symbol_id": symbol_id,
            "day": day,
            "source_rows": 79 if published else 0,
            "data_until": at.timestamp() if published else np.nan,
            "published": published,
            "ends_before_close": False,
            "not_returned": "{}" if published else "{[0,13)}",
            "refused": False,
            "official_close": np.nan,
            "auction_volume": np.nan,
        }
        record_evidence(connection, Columns(pd.DataFrame([answer])), interval=INTERVAL, source=SOURCE, now=at)


def read_bounds(database: Database, symbol: str) -> tuple[str, str | None]:
    with database.transaction() as connection:
        found: Sequence[tuple[str, str | None]] = connection.execute(
            "SELECT unpublished_at::text, published_at::text FROM backfill.session_evidence"
            " JOIN market_symbols USING (symbol_id) WHERE symbol = %s",
            [symbol],
        ).fetchall()
    return found[0]


def test_the_requests_before_and_after_publication_are_kept(database: Database) -> None:
    hours = [SESSION.regular_close + timedelta(hours=hour) for hour in range(3, 7)]
    record(database, "AAPL", SESSION.day, hours[0], published=False)
    record(database, "AAPL", SESSION.day, hours[1], published=False)
    assert read_bounds(database, "AAPL") == ("2026-06-04 00:00:00+00", None)
    record(database, "AAPL", SESSION.day, hours[2], published=True)
    record(database, "AAPL", SESSION.day, hours[3], published=True)
    assert read_bounds(database, "AAPL") == ("2026-06-04 00:00:00+00", "2026-06-04 01:00:00+00")
    record(database, "MSFT", SESSION.day, hours[0], published=True)
    record(database, "MSFT", SESSION.day, hours[1], published=False)  # of an answer that was cut
    assert read_bounds(database, "MSFT") == ("-infinity", "2026-06-03 23:00:00+00")


def measure_next_hours(database: Database, now: datetime = EVENING) -> dict[str, float]:
    """By symbol, the hours from the close to the next request."""
    with database.transaction() as connection:
        symbols = list_symbols(connection, "US")
        grid = build_slot_grid([*list_previous_sessions(SESSION, 1), SESSION], INTERVAL)
        coverage = measure_coverage(connection, symbols, grid, SOURCE, RULES, now)
    newest = coverage.grid.session_index[coverage.open_slots.ordinal] == 1
    at = {
        int(row): at
        for row, at in zip(coverage.open_slots.row[newest], coverage.slot_states.next_request_at[newest], strict=True)
    }
    return {
        str(s.ticker.symbol): round((at[row] - SESSION.regular_close.timestamp()) / 3600, 3)
        for row, s in enumerate(symbols)
    }


def record_past(database: Database, sessions: int) -> None:
    """Each symbol of OWN_HOURS at its hours, requested half an hour before in vain; TSLA was never requested."""
    for session in list_previous_sessions(SESSION, sessions):
        for symbol, hours in OWN_HOURS.items():
            came_at = session.regular_close + timedelta(hours=hours)
            record(database, symbol, session.day, came_at - timedelta(minutes=30), published=False)
            record(database, symbol, session.day, came_at, published=True)


def test_new_sessions_are_requested_when_past_ones_came(database: Database) -> None:
    record_past(database, 1)
    assert set(measure_next_hours(database).values()) == {3.0}  # one session teaches nothing
    record_past(database, 8)
    hours = measure_next_hours(database)
    assert OWN_HOURS.items() <= hours.items()
    assert hours["TSLA"] in OWN_HOURS.values()  # as the others


def test_what_an_earlier_version_wrote_teaches_nothing(database: Database) -> None:
    record_past(database, 8)
    with database.transaction() as connection:
        connection.execute("UPDATE backfill.session_evidence SET unpublished_at = NULL")
    assert set(measure_next_hours(database).values()) == {3.0}


def test_what_was_first_requested_later_teaches_nothing(database: Database) -> None:
    for session in list_previous_sessions(SESSION, 8):
        for symbol, hours in OWN_HOURS.items():
            came_at = session.regular_close + timedelta(hours=hours + 20)
            record(database, symbol, session.day, came_at, published=True)
    assert set(measure_next_hours(database).values()) == {3.0}


def test_why_says_when_a_session_is_likely_to_come(database: Database) -> None:
    record_past(database, 8)
    with database.transaction() as connection:
        symbols = [symbol for symbol in list_symbols(connection, "US") if symbol.ticker.symbol == "MSFT"]
        coverage = measure_coverage(connection, symbols, build_slot_grid([SESSION], INTERVAL), SOURCE, RULES, EVENING)
    (sentence,) = [text for text in describe_session(coverage) if "come" in text]
    assert (
        sentence == "MSFT's sessions come 7.5 to 8 h after the close, by the last 8; next request 2026-06-04T04:00:00Z"
    )
    assert datetime(2026, 6, 4, 4, tzinfo=UTC) - SESSION.regular_close == timedelta(hours=8)
