"""Why whole sessions are absent, looked up in the daily data of a sandbox over real HTTP."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from io import StringIO
from typing import Any

import pytest

from backfill_assets.backfill.absence.lookup import explain_absence
from backfill_assets.backfill.absence.market_file import (
    explain_skipped_days,
    fetch_market_file,
)
from backfill_assets.backfill.engine import BackfillJob, Engine
from backfill_assets.backfill.fetch.quota_sync import sync_quota
from backfill_assets.backfill.job_request import JobRequest, build_job
from backfill_assets.backfill.runner import run_backfill
from backfill_assets.cli.options import make_console
from backfill_assets.cli.rendering import show_run
from backfill_assets.market.gaps.slot_states import SlotState
from backfill_assets.market.purposes import Purpose
from backfill_assets.sandbox.absences import Absences
from backfill_assets.sandbox.config import DataQuirks, Publication
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.evidence.findings import ENDED_OR_RENAMED, NO_INTRADAY_DATA, list_findings
from backfill_assets_tests.conftest import make_job
from backfill_assets_tests.integration.scripted_vendor import ScriptedResponse, ScriptedVendor
from backfill_assets_tests.integration.test_backfill_engine import list_sandbox_symbols

MONDAY, TUESDAY = date(2026, 6, 1), date(2026, 6, 2)  # both are overdue on the tests' clock
LONG_AGO = date(2026, 5, 15)
AMZN_HOLE = frozenset({("AMZN", MONDAY)})  # between two days with a row
UNREACHABLE = "http://127.0.0.1:9/api"
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


def explain(engine: Engine, *, bulk: bool = False) -> None:
    """Measure the coverage of both days and look up what is absent, one daily history for each symbol."""
    coverage = engine.measure(build_two_day_job(engine))

    async def run() -> None:
        async with engine.open_vendor_client(Purpose.DAILY) as (rate_limiter, client):
            await sync_quota(client, rate_limiter.budget, engine.settings.now())
            await explain_absence(client, engine.database, coverage, bulk=bulk)

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


def count_missing_on_monday(engine: Engine) -> int:
    """Missing bars of all symbols together."""
    coverage = engine.measure(build_two_day_job(engine))
    return int(coverage.count_by_session(coverage.has_state(SlotState.MISSING))[:, 0].sum())


def query_days_without_row(engine: Engine) -> list[tuple[Any, ...]]:
    return query(
        engine,
        "SELECT symbol, day::text, no_row_reason FROM backfill.daily_prices JOIN market_symbols USING (symbol_id)"
        " WHERE no_row_reason IS NOT NULL ORDER BY 1, 2",
    )


def test_day_that_a_history_lacks_is_explained_by_the_silence_of_the_markets_file(
    make_engine: MakeEngine, start_sandbox: StartSandbox
) -> None:
    holes = AMZN_HOLE | {("MSFT", MONDAY)}
    sandbox = start_sandbox(absences=Absences(eod_skipped=holes, bulk_skipped=holes))
    engine = make_engine(sandbox, ("AAPL", "AMZN", "MSFT"))
    record_empty_responses(engine, MONDAY)
    explain(engine, bulk=True)
    explain(engine, bulk=True)
    assert query_days_without_row(engine) == [
        ("AMZN", "2026-06-01", "not in the daily file of the market"),
        ("MSFT", "2026-06-01", "not in the daily file of the market"),
    ]
    assert count_missing_on_monday(engine) == 13  # AAPL traded on Monday
    assert sandbox.stats()["calls_by_endpoint"]["eod-bulk-last-day"] == 100


@pytest.mark.parametrize("bulk", [True, False])
def test_day_that_a_history_lacks_stays_missing_if_the_file_has_it_or_cannot_be_read(
    make_engine: MakeEngine, start_sandbox: StartSandbox, bulk: bool
) -> None:
    sandbox = start_sandbox(absences=Absences(eod_skipped=AMZN_HOLE))
    engine = make_engine(sandbox, ("AMZN",))
    record_empty_responses(engine, MONDAY)
    explain(engine, bulk=bulk)
    assert query_days_without_row(engine) == []
    assert count_missing_on_monday(engine) == 13
    assert sandbox.stats()["calls_by_endpoint"].get("eod-bulk-last-day", 0) == 100 * bulk


def test_file_read_for_one_symbol_says_the_same_of_every_other(
    make_engine: MakeEngine, start_sandbox: StartSandbox
) -> None:
    holes = AMZN_HOLE | {("MSFT", MONDAY)}
    sandbox = start_sandbox(absences=Absences(eod_skipped=holes, bulk_skipped=holes))
    engine = make_engine(sandbox, ("AMZN", "MSFT"))
    for symbol in ("AMZN", "MSFT"):
        record_empty_responses(engine, MONDAY)
        with engine.database.transaction() as connection:
            connection.execute(
                "DELETE FROM backfill.session_evidence e USING market_symbols m"
                " WHERE m.symbol_id = e.symbol_id AND m.symbol <> %s",
                [symbol],
            )
        explain(engine, bulk=True)
        with engine.database.transaction() as connection:
            connection.execute("DELETE FROM backfill.session_evidence")
    assert [symbol for symbol, _, _ in query_days_without_row(engine)] == ["AMZN", "MSFT"]
    assert sandbox.stats()["by_endpoint"]["eod-bulk-last-day"] == 1


def test_symbol_that_often_has_no_daily_row_needs_no_file(make_engine: MakeEngine, start_sandbox: StartSandbox) -> None:
    days = (MONDAY, date(2026, 3, 2), date(2026, 1, 15), date(2025, 11, 3), date(2025, 9, 2))
    absences = Absences(eod_skipped=frozenset(("NVDA", day) for day in days))
    sandbox = start_sandbox(absences=absences)
    engine = make_engine(sandbox, ("NVDA",))
    record_empty_responses(engine, MONDAY)
    explain(engine, bulk=True)
    assert query_days_without_row(engine) == [("NVDA", "2026-06-01", "no daily row, as usual")]
    assert count_missing_on_monday(engine) == 0
    assert "eod-bulk-last-day" not in sandbox.stats()["by_endpoint"]


def test_refused_and_unknown_symbols_have_a_finding(make_engine: MakeEngine, start_sandbox: StartSandbox) -> None:
    absences = Absences(silent=frozenset({"BRKB"}), invalid=frozenset({"BADX"}))
    engine = make_engine(start_sandbox(absences=absences), ("BRKB", "BADX"))
    record_empty_responses(engine, MONDAY)
    explain(engine)
    assert sorted(list_details(engine)) == [
        (
            NO_INTRADAY_DATA,
            "BADX.US",
            "refused by the vendor (HTTP status 422 (ticker: The ticker format is invalid.)); check the spelling",
        ),
        (NO_INTRADAY_DATA, "BRKB.US", "the vendor answers without rows, intraday and daily; check the spelling"),
    ]


def test_history_without_the_row_of_the_evening_is_read_again_when_the_session_is_overdue(
    make_engine: MakeEngine, start_sandbox: StartSandbox
) -> None:
    sandbox = start_sandbox(
        absences=Absences(untraded=frozenset({("AAPL", TUESDAY)}), eod_skipped=frozenset({("AAPL", TUESDAY)})),
        publication=Publication(hours_after_close=(2.5, 2.5)),
    )
    lookups = []
    for now in ("2026-06-02 23:30", "2026-06-03 03:00", "2026-06-03 13:00", "2026-06-03 14:00"):
        moment = datetime.fromisoformat(now).replace(tzinfo=UTC)
        sandbox.move_clock(moment)
        engine = make_engine(sandbox, as_of=moment)
        run_backfill(engine, make_job(engine, start=MONDAY, end=TUESDAY), lambda _: None)
        lookups.append(count_daily_requests(sandbox))
    assert lookups == [1, 1, 2, 2]


def test_day_with_a_grid_of_nulls_and_no_volume_is_explained_by_the_first_run_after_it(
    make_engine: MakeEngine, start_sandbox: StartSandbox
) -> None:
    sandbox = start_sandbox(
        absences=Absences(untraded=frozenset({("LIQA", TUESDAY)})),
        listed={"LIQA": date(2024, 1, 2)},
        publication=Publication(hours_after_close=(2.5, 2.5)),
    )
    evening = datetime(2026, 6, 2, 23, 30, tzinfo=UTC)  # 3.5 hours after Tuesday's close
    sandbox.move_clock(evening)
    engine = make_engine(sandbox, ("LIQA", "AAPL"), as_of=evening)
    result = run_backfill(engine, make_job(engine, start=MONDAY, end=TUESDAY), lambda _: None)
    assert (result.after.missing, result.exit_code) == (0, 0)
    assert (result.planned, result.stored, result.explained, result.absent) == (52, 39, {"without a trade": 13}, {})
    assert result.written.inserted == 39
    printed = StringIO()
    show_run(make_console(printed), result)
    assert "52 slots requested · 39 have a final bar now · 13 without a trade · absent: none" in printed.getvalue()
    assert query(
        engine,
        "SELECT source_rows > 0, data_until IS NOT NULL FROM backfill.session_evidence"
        " JOIN market_symbols USING (symbol_id) WHERE symbol = 'LIQA' AND session_day = '2026-06-02'",
    ) == [(True, True)]
    coverage = engine.measure(build_two_day_job(engine))
    assert coverage.count_slots(SlotState.NO_TRADE) == 13


def store_bars(engine: Engine, symbol: str, slots: range) -> None:
    """Bars of Monday as a request returned them; without the last ones if ``slots`` ends before 13."""
    with engine.database.transaction() as connection:
        connection.execute(
            "INSERT INTO market_data (symbol_id, timestamp, interval_type, open_price, high_price, low_price,"
            " close_price, volume, source, source_interval, source_rows, is_final, fetched_at)"
            " SELECT symbol_id, '2026-06-01 13:30+00'::timestamptz + slot * interval '30 min', '30m', 1, 1, 1, 1, 9,"
            " 'vendor', '5m', 6, true, now() FROM market_symbols CROSS JOIN unnest(%s::int[]) AS slot"
            " WHERE symbol = %s",
            [list(slots), symbol],
        )
        connection.execute(
            "UPDATE backfill.session_evidence SET is_published = true, source_rows = 78,"
            " data_until = '2026-06-01 20:00+00', not_returned = int4multirange(int4range(%s, 13))"
            " WHERE session_day = '2026-06-01'"
            " AND symbol_id = (SELECT symbol_id FROM market_symbols WHERE symbol = %s)",
            [slots.stop, symbol],
        )


def test_day_without_a_row_explains_no_session_that_has_bars(
    make_engine: MakeEngine, start_sandbox: StartSandbox
) -> None:
    days = (MONDAY, date(2026, 3, 2), date(2026, 1, 15), date(2025, 11, 3), date(2025, 9, 2))
    engine = make_engine(
        start_sandbox(absences=Absences(eod_skipped=frozenset(("NVDA", day) for day in days))), ("NVDA",)
    )
    record_empty_responses(engine, MONDAY, TUESDAY)  # Tuesday is looked up
    store_bars(engine, "NVDA", range(5))
    explain(engine)
    assert query_days_without_row(engine) == []
    assert count_missing_on_monday(engine) == 8


@pytest.mark.parametrize("is_in_file", [True, False])
def test_file_that_lacks_a_symbol_with_bars_explains_nothing(
    make_engine: MakeEngine, start_sandbox: StartSandbox, *, is_in_file: bool
) -> None:
    bulk_skipped = AMZN_HOLE | (frozenset() if is_in_file else {("MSFT", MONDAY)})
    engine = make_engine(
        start_sandbox(absences=Absences(eod_skipped=AMZN_HOLE, bulk_skipped=bulk_skipped)), ("AMZN", "MSFT")
    )
    record_empty_responses(engine, MONDAY)
    store_bars(engine, "MSFT", range(13))
    explain(engine, bulk=True)
    assert len(query_days_without_row(engine)) == is_in_file
    assert count_missing_on_monday(engine) == 13 * (not is_in_file)


@pytest.mark.parametrize(("now", "is_explained"), [("2026-06-02 19:00", False), ("2026-06-03 14:00", True)])
def test_empty_file_explains_a_day_from_24_hours_after_the_close_on(
    make_engine: MakeEngine, start_sandbox: StartSandbox, now: str, *, is_explained: bool
) -> None:
    symbols = tuple(list_sandbox_symbols(5))  # a market that was closed without notice, of less than 20 symbols
    holes = frozenset((symbol, MONDAY) for symbol in symbols)
    moment = datetime.fromisoformat(now).replace(tzinfo=UTC)
    sandbox = start_sandbox(symbols=5, now=moment, absences=Absences(eod_skipped=holes, bulk_skipped=holes))
    engine = make_engine(sandbox, symbols, as_of=moment)
    record_empty_responses(engine, MONDAY)
    coverage = engine.measure(build_two_day_job(engine))

    async def run() -> None:
        async with engine.open_vendor_client(Purpose.DAILY) as (_, client):
            skipped = [(row, 0) for row in range(5)]
            await explain_skipped_days(client, engine.database, coverage, skipped)

    asyncio.run(run())
    assert query(engine, "SELECT tickers FROM backfill.bulk_files") == [(0,)]
    assert len(query_days_without_row(engine)) == 5 * is_explained
    assert sandbox.stats()["by_endpoint"]["eod-bulk-last-day"] == 1


def test_file_is_read_once_by_two_runs_at_once(make_engine: MakeEngine, start_sandbox: StartSandbox) -> None:
    holes = AMZN_HOLE | {("MSFT", MONDAY)}
    sandbox = start_sandbox(absences=Absences(eod_skipped=holes, bulk_skipped=holes))
    engine = make_engine(sandbox, ("AMZN", "MSFT"))
    record_empty_responses(engine, MONDAY)
    coverage = engine.measure(build_two_day_job(engine))

    async def run(row: int) -> None:
        async with engine.open_vendor_client(Purpose.DAILY) as (_, client):
            await explain_skipped_days(client, engine.database, coverage, [(row, 0)])

    async def run_both() -> None:
        await asyncio.gather(run(0), run(1))

    asyncio.run(run_both())
    assert [symbol for symbol, _, _ in query_days_without_row(engine)] == ["AMZN", "MSFT"]
    assert sandbox.stats()["by_endpoint"]["eod-bulk-last-day"] == 1


def test_file_that_could_not_be_read_is_requested_by_the_next_run(
    make_engine: MakeEngine, start_sandbox: StartSandbox
) -> None:
    sandbox = start_sandbox(absences=Absences(eod_skipped=AMZN_HOLE, bulk_skipped=AMZN_HOLE))
    engine = make_engine(sandbox, ("AMZN",))
    record_empty_responses(engine, MONDAY)
    coverage = engine.measure(build_two_day_job(engine))

    async def run(run_engine: Engine) -> None:
        async with run_engine.open_vendor_client(Purpose.DAILY) as (_, client):
            await explain_skipped_days(client, engine.database, coverage, [(0, 0)])

    asyncio.run(
        run(replace(engine, settings=engine.settings.model_copy(update={"base_url": UNREACHABLE, "attempts": 1})))
    )
    assert query_days_without_row(engine) == []
    asyncio.run(run(engine))
    assert [symbol for symbol, _, _ in query_days_without_row(engine)] == ["AMZN"]


def test_rows_of_another_day_in_a_file_say_nothing(make_engine: MakeEngine, start_sandbox: StartSandbox) -> None:
    row = {"code": "AAPL", "date": "2026-06-01", "close": 1.0, "volume": 0}  # the file is Tuesday's

    async def scenario() -> None:
        async with ScriptedVendor(ScriptedResponse(200, json.dumps([row]).encode())) as vendor:
            engine = make_engine(start_sandbox(), base_url=vendor.url)
            coverage = engine.measure(build_two_day_job(engine))
            async with engine.open_vendor_client(Purpose.DAILY) as (_, client):
                assert await fetch_market_file(client, engine.database, coverage, 1, max_age=timedelta(hours=20))
            assert query(engine, "SELECT 1 FROM backfill.daily_prices") == []
            assert query(engine, "SELECT tickers FROM backfill.bulk_files") == [(0,)]

    asyncio.run(scenario())


def read_figures(engine: Engine) -> list[tuple[Any, ...]]:
    return query(
        engine,
        "SELECT day::text, open_price, high_price, low_price, close_price, adjusted_close, reported_volume, volume,"
        " read_at FROM backfill.daily_prices ORDER BY day",
    )


@pytest.mark.parametrize("reader", ["history", "market file"])
def test_both_readers_store_all_figures_and_null_for_what_is_none(
    make_engine: MakeEngine, start_sandbox: StartSandbox, reader: str
) -> None:
    row = {"code": "AAPL", "date": str(TUESDAY), "open": 0, "high": "12.5", "low": "NA", "close": 11, "volume": 900.5}
    rows = [row | {"close": 1}, row]  # of two rows of a day the last counts
    body = json.dumps([dict(row, adjusted_close=-1) for row in rows]).encode()

    async def scenario() -> None:
        async with ScriptedVendor(ScriptedResponse(200, body)) as vendor:
            engine = make_engine(start_sandbox(), base_url=vendor.url)
            record_empty_responses(engine, MONDAY, TUESDAY)
            coverage = engine.measure(build_two_day_job(engine))
            async with engine.open_vendor_client(Purpose.DAILY) as (_, client):
                if reader == "history":
                    await explain_absence(client, engine.database, coverage, bulk=False)
                else:
                    await fetch_market_file(client, engine.database, coverage, 1, max_age=timedelta(hours=20))
            assert read_figures(engine) == [
                ("2026-06-02", None, 12.5, None, 11.0, None, 901, 901, engine.settings.now())
            ]

    asyncio.run(scenario())


def test_a_volume_that_the_vendor_corrects_overnight_is_a_revision(
    make_engine: MakeEngine, start_sandbox: StartSandbox
) -> None:
    evening, noon = datetime(2026, 6, 3, 1, tzinfo=UTC), datetime(2026, 6, 3, 13, tzinfo=UTC)
    quirks = DataQuirks(daily_revisions=1.0)

    def read_at(moment: datetime) -> list[tuple[Any, ...]]:
        settings = {"base_url": start_sandbox(now=moment, quirks=quirks).base_url, "as_of": moment}
        engine = replace(first_engine, settings=first_engine.settings.model_copy(update=settings))
        coverage = engine.measure(build_two_day_job(engine))

        async def run() -> None:
            async with engine.open_vendor_client(Purpose.DAILY) as (_, client):
                await fetch_market_file(client, engine.database, coverage, 1, max_age=timedelta(hours=1))

        asyncio.run(run())
        return read_figures(engine)

    first_engine = make_engine(start_sandbox(now=evening, quirks=quirks))
    ((*_, early_volume, early_read),) = read_at(evening)
    ((*_, volume, read),) = read_at(noon)
    assert (early_read, read) == (evening, noon)
    assert early_volume < volume
    assert query(first_engine, "SELECT volume, read_at, replaced_at FROM backfill.daily_revisions") == [
        (early_volume, evening, noon)
    ]
