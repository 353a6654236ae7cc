"""Why whole sessions are absent, looked up in the daily data of a sandbox over real HTTP."""

import asyncio
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

from backfill_assets.backfill.absence_lookup import explain_absence, fetch_newest_bulk_file
from backfill_assets.backfill.engine import BackfillJob, Engine
from backfill_assets.backfill.fetch.quota_sync import sync_quota
from backfill_assets.backfill.job_request import JobRequest, build_job
from backfill_assets.market.purposes import Purpose
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.evidence.findings import ENDED_OR_RENAMED, list_findings

MONDAY, TUESDAY = date(2026, 6, 1), date(2026, 6, 2)  # both are overdue on the tests' clock
LONG_AGO = date(2026, 5, 15)
MakeEngine = Callable[..., Engine]
StartSandbox = Callable[..., Sandbox]


def build_two_day_job(engine: Engine) -> BackfillJob:
    return build_job(engine, JobRequest(start=MONDAY, end=TUESDAY))[0]


def record_empty_responses(engine: Engine, *days: date) -> None:
    """Evidence that every symbol was requested for ``days`` and nothing was returned."""
    with engine.database.transaction() as connection:
        connection.execute(
            "INSERT INTO backfill.session_evidence (symbol_id, interval_type, source_interval, session_day,"
            " requested_at, source_rows, is_published, not_returned)"
            " SELECT symbol_id, '30m', '5m', day, %s, 0, false, '{[0,13)}'"
            " FROM market_symbols CROSS JOIN unnest(%s::date[]) AS day",
            [engine.settings.now(), list(days)],
        )


def explain(engine: Engine) -> None:
    """Measure the coverage of both days and look up what is absent, one daily history for each symbol."""
    coverage = engine.measure(build_two_day_job(engine))

    async def run() -> None:
        async with engine.open_vendor_client(Purpose.DAILY) as (rate_limiter, client):
            await sync_quota(client, rate_limiter.budget, engine.settings.now())
            await explain_absence(client, engine.database, coverage, bulk=False)

    asyncio.run(run())


def query(engine: Engine, statement: str) -> list[tuple[Any, ...]]:
    with engine.database.transaction() as connection:
        return connection.execute(statement.encode()).fetchall()


def list_details(engine: Engine) -> list[tuple[str, str, str]]:
    with engine.database.transaction() as connection:
        return [(finding.kind, finding.subject, finding.detail) for finding in list_findings(connection)]


def count_daily_requests(sandbox: Sandbox) -> int:
    count: int = sandbox.stats()["by_endpoint"].get("eod", 0)
    return count


def test_traded_sessions_are_recorded_and_stay_missing(make_engine: MakeEngine, start_sandbox: StartSandbox) -> None:
    engine = make_engine(start_sandbox())
    record_empty_responses(engine, MONDAY, TUESDAY)
    explain(engine)
    assert query(engine, "SELECT day::text, volume > 0 FROM backfill.daily_prices ORDER BY 1") == [
        ("2026-06-01", True),
        ("2026-06-02", True),
    ]
    assert query(engine, "SELECT has_ended FROM backfill.listing_lives") == [(False,)]
    assert list_details(engine) == []
    assert engine.measure(build_two_day_job(engine)).missing.tolist() == [26]


def test_delisted_ticker_has_an_end_and_a_finding(make_engine: MakeEngine, start_sandbox: StartSandbox) -> None:
    engine = make_engine(start_sandbox(delisted={"AAPL": LONG_AGO}))
    record_empty_responses(engine, MONDAY, TUESDAY)
    explain(engine)
    assert query(engine, "SELECT last_day::text, has_ended FROM backfill.listing_lives") == [("2026-05-15", True)]
    assert list_details(engine) == [(ENDED_OR_RENAMED, "AAPL.US", "no daily data after 2026-05-15")]
    assert engine.measure(build_two_day_job(engine)).expected.tolist() == [0]


def test_renamed_ticker_has_a_finding_with_its_new_name(make_engine: MakeEngine, start_sandbox: StartSandbox) -> None:
    engine = make_engine(start_sandbox(renamed={"AAPL": ("APPL", LONG_AGO)}))
    record_empty_responses(engine, MONDAY, TUESDAY)
    explain(engine)
    assert query(engine, "SELECT first_day, last_day::text, has_ended FROM backfill.listing_lives") == [
        (None, "2026-05-14", True)
    ]
    assert list_details(engine) == [
        (ENDED_OR_RENAMED, "AAPL.US", "unknown to the vendor; renamed to APPL on 2026-05-15")
    ]
    assert engine.measure(build_two_day_job(engine)).expected.tolist() == [0]


def test_newly_listed_ticker_is_expected_from_its_first_day(
    make_engine: MakeEngine, start_sandbox: StartSandbox
) -> None:
    engine = make_engine(start_sandbox(listed={"AAPL": TUESDAY}))
    record_empty_responses(engine, MONDAY, TUESDAY)
    explain(engine)
    assert query(engine, "SELECT first_day::text, has_ended FROM backfill.listing_lives") == [("2026-06-02", False)]
    assert engine.measure(build_two_day_job(engine)).expected.tolist() == [13]


def test_history_is_not_read_again_within_the_interval(make_engine: MakeEngine, start_sandbox: StartSandbox) -> None:
    sandbox = start_sandbox(delisted={"AAPL": LONG_AGO})
    engine = make_engine(sandbox)
    record_empty_responses(engine, MONDAY, TUESDAY)
    explain(engine)
    with engine.database.transaction() as connection:  # the absence is unexplained again, but was just looked up
        connection.execute("UPDATE backfill.listing_lives SET first_day = NULL, last_day = NULL, has_ended = false")
    explain(engine)
    assert count_daily_requests(sandbox) == 1


@pytest.mark.parametrize("days", [(), (MONDAY,)])
def test_only_symbols_with_a_requested_absent_session_are_looked_up(
    make_engine: MakeEngine, start_sandbox: StartSandbox, days: tuple[date, ...]
) -> None:
    sandbox = start_sandbox()
    engine = make_engine(sandbox)
    record_empty_responses(engine, *days)
    explain(engine)
    assert count_daily_requests(sandbox) == len(days)


@pytest.mark.parametrize(("from_symbols", "is_worthwhile"), [(2, True), (3, False)])
def test_newest_bulk_file_is_read_for_a_large_universe_only(
    make_engine: MakeEngine, start_sandbox: StartSandbox, from_symbols: int, is_worthwhile: bool
) -> None:
    engine = make_engine(start_sandbox(), ("AAPL", "MSFT"), bulk_daily=True, daily_file_symbols=from_symbols)
    coverage = engine.measure(build_two_day_job(engine))
    assert fetch_newest_bulk_file(engine, coverage) is is_worthwhile
    days = query(engine, "SELECT day::text, count(*)::int FROM backfill.daily_prices GROUP BY day")
    assert days == [("2026-06-02", 2)] * is_worthwhile
