"""The symbols of jobs: of a past moment as they were then, and tickers that ended within the window."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from backfill_assets.backfill.due_work import build_retained_sessions_job
from backfill_assets.backfill.engine import BackfillJob, Engine
from backfill_assets.backfill.job_request import JobRequest, NoActiveSymbols, build_job
from backfill_assets.config.settings import Settings
from backfill_assets.market.exchanges.registry import US
from backfill_assets.store.job_universe import read_job_universe
from backfill_assets.store.listings import NewListing, record_listings
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.universe_changes import record_universe_changes

FIRST = datetime(2026, 5, 20, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def execute(database: Database, statement: str, moment: datetime | None = None) -> int:
    """What another program does to the universe, found at ``moment``."""
    with database.transaction() as connection:
        connection.execute(statement.encode())
        return record_universe_changes(connection, moment) if moment else 0


def make_job(database: Database, settings: Settings, as_of: datetime | None, **options: Any) -> BackfillJob:
    engine = Engine(database, settings.model_copy(update={"as_of": as_of}))
    return build_job(engine, JobRequest(**options))[0]


def name(job: BackfillJob) -> list[str]:
    return [symbol.ticker.symbol for symbol in job.symbols]


def test_a_report_of_a_past_moment_is_about_the_symbols_of_then(database: Database, settings: Settings) -> None:
    execute(database, "INSERT INTO market_symbols (symbol, exchange) VALUES ('AAPL', 'US'), ('GONE', 'US')", FIRST)
    execute(database, "UPDATE market_symbols SET is_active = false WHERE symbol = 'GONE'", FIRST + 5 * DAY)
    execute(database, "INSERT INTO market_symbols (symbol, exchange) VALUES ('LATER', 'US')", FIRST + 10 * DAY)
    assert name(make_job(database, settings, FIRST + 4 * DAY)) == ["AAPL", "GONE"]
    assert name(make_job(database, settings, FIRST + 6 * DAY)) == ["AAPL"]
    assert name(make_job(database, settings, FIRST + 11 * DAY)) == ["AAPL", "LATER"]
    assert make_job(database, settings, FIRST + 11 * DAY).universe_note == ""
    before = make_job(database, settings, FIRST - DAY, symbols=["LATER"])
    assert before.universe_note.startswith("universe of 2026-05-19 12:00 UTC: assumed to be today's")
    retained = build_retained_sessions_job(
        Engine(database, settings.model_copy(update={"as_of": FIRST + 4 * DAY})), US, "30m"
    )
    assert name(retained) == ["AAPL", "GONE"]


def test_a_job_on_the_real_clock_records_what_other_programs_changed(database: Database, settings: Settings) -> None:
    execute(database, "INSERT INTO market_symbols (symbol, exchange) VALUES ('AAPL', 'US')")
    make_job(database, settings, datetime(2026, 6, 3, 14, tzinfo=UTC))  # a clock that was set records nothing
    count = "SELECT count(*) FROM backfill.universe_changes"
    with database.transaction() as connection:
        assert connection.execute(count).fetchall() == [(0,)]
    make_job(database, settings, None)
    with database.transaction() as connection:
        assert connection.execute(count).fetchall() == [(1,)]


@pytest.fixture
def ended(database: Database, settings: Settings) -> Callable[..., list[str]]:
    """AAPL is active; FB ended on 2026-05-29, OLD in 2020, and DOWN was deactivated by a person."""
    execute(
        database,
        "INSERT INTO market_symbols (symbol, exchange, is_active)"
        " VALUES ('AAPL', 'US', true), ('FB', 'US', false), ('OLD', 'US', false), ('DOWN', 'US', false)",
    )
    with database.transaction() as connection:
        ids = dict(connection.execute("SELECT symbol, symbol_id FROM market_symbols").fetchall())
        new = [NewListing(ids["FB"], None, date(2026, 5, 29)), NewListing(ids["OLD"], None, date(2020, 5, 29))]
        record_listings(connection, new, source="test", by="ann@a", now=FIRST)

    def list_names(**options: Any) -> list[str]:
        return name(make_job(database, settings, datetime(2026, 6, 3, 14, tzinfo=UTC), **options))

    return list_names


def test_tickers_that_ended_are_in_windows_that_reach_their_last_day(ended: Callable[..., list[str]]) -> None:
    may_29, june_1 = date(2026, 5, 29), date(2026, 6, 1)
    assert ended(start=may_29, end=june_1) == ["AAPL", "FB"]
    assert ended(start=june_1, end=june_1) == ["AAPL"]
    assert ended(start=june_1, end=june_1, with_ended=True) == ["AAPL", "FB", "OLD"]
    assert ended(start=june_1, end=june_1, symbols=["OLD", "DOWN"]) == ["OLD"]


def test_a_store_with_ended_tickers_only(
    database: Database, settings: Settings, ended: Callable[..., list[str]]
) -> None:
    execute(database, "UPDATE market_symbols SET is_active = false")
    with pytest.raises(NoActiveSymbols):
        ended()
    assert ended(symbols=["OLD"]) == ["OLD"]


def test_without_inactive_symbols_nothing_more_is_read(database: Database) -> None:
    execute(database, "INSERT INTO market_symbols (symbol, exchange) VALUES ('AAPL', 'US')")
    with database.transaction() as connection:
        sent: list[str] = []
        execute_query = connection.execute
        connection.execute = lambda query, *values: sent.append(str(query)) or execute_query(query, *values)  # type: ignore[method-assign, assignment, func-returns-value]
        read_job_universe(connection, "US", FIRST)
        assert len(sent) == 2  # is it recorded, and the rows
        sent.clear()
        record_universe_changes(connection)
        sent.clear()
        read_job_universe(connection, "US", None)
        assert len(sent) == 2  # nothing changed, and the rows
