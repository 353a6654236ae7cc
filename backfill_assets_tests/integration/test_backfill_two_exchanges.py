"""New York and Sydney in one database: the same run heals both, and symbols with the same name never meet."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from backfill_assets.backfill.engine import BackfillJob, Engine
from backfill_assets.backfill.exchange_findings import note_calendar_ends
from backfill_assets.backfill.exchange_loop import work_on_markets
from backfill_assets.backfill.finding_ends import resolve_ended_findings
from backfill_assets.backfill.findings import MIN_TICKERS_FOR_DRIFT, record_calendar_drift
from backfill_assets.backfill.job_request import JobRequest, collect_jobs
from backfill_assets.backfill.results import RunResult
from backfill_assets.backfill.review import run_review
from backfill_assets.backfill.runner import run_backfill
from backfill_assets.backfill.session_hours import describe_hours
from backfill_assets.backfill.skip_reasons import HELD_BACK
from backfill_assets.errors import UsageError
from backfill_assets.live.collector import collect_round, collect_today, find_live_market
from backfill_assets.market.calendar import sessions
from backfill_assets.market.calendar.calendar_tables import (
    CalendarTable,
    CalendarUnbuildable,
    TableReader,
    build_calendar_table,
    use_table_reader,
)
from backfill_assets.market.calendar.sessions import SessionsUnknown
from backfill_assets.market.calendar.tickers import Ticker
from backfill_assets.market.exchanges.registry import get_profile
from backfill_assets.quality.status import read_status
from backfill_assets.sandbox.config import ExchangeConfig
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.evidence.findings import list_findings
from backfill_assets.store.evidence.session_fingerprints import ContradictingSession
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.symbols import deactivate_symbols

SYMBOLS = ("AAPL.US", "BHP.US", "BHP.AU", "CBA.AU")
DAYS: dict[str, Any] = {"start": date(2026, 6, 1), "end": date(2026, 6, 2)}
SLOTS = {"AAPL.US": 26, "BHP.US": 26, "BHP.AU": 24, "CBA.AU": 24}  # of two days
COUNT_BARS = """
SELECT s.symbol || '.' || s.exchange, count(*), min(d.timestamp), min(d.close_price)
FROM market_data d JOIN market_symbols s USING (symbol_id) WHERE d.is_final GROUP BY 1
"""


@pytest.fixture
def make_both(make_engine: Callable[..., Engine], start_sandbox: Callable[..., Sandbox]) -> Callable[..., Engine]:
    """Make an engine that collects New York and Sydney from a sandbox with both."""

    def make(symbols: tuple[str, ...] = SYMBOLS, au: dict[str, Any] | None = None, **overrides: Any) -> Engine:
        sandbox = start_sandbox(more_symbols=("BHP",), exchanges={"AU": ExchangeConfig(**(au or {}))})
        return make_engine(sandbox, symbols, **{"exchanges": ("US", "AU"), **overrides})

    return make


def run_all(engine: Engine, **options: Any) -> dict[str, Any]:
    jobs = collect_jobs(engine, JobRequest(**(DAYS | options)))

    def run(job: BackfillJob) -> RunResult:
        return run_backfill(engine, job, lambda _: None, jobs.list_later(job.market.exchange))

    work = work_on_markets(jobs, run)
    return {**work.results, **work.failures}


def read_bars(database: Database) -> dict[str, tuple[int, datetime, float]]:
    with database.transaction() as connection:
        rows = connection.execute(COUNT_BARS).fetchall()
    return {name: (count, first.astimezone(UTC), float(price)) for name, count, first, price in rows}


def test_the_same_run_heals_both_and_equal_names_never_meet(make_both: Callable[..., Engine]) -> None:
    engine = make_both()
    results = run_all(engine)
    bars = read_bars(engine.database)
    assert {name: found[0] for name, found in bars.items()} == SLOTS
    assert [result.after.missing for result in results.values()] == [0, 0]
    assert bars["BHP.US"][1] == datetime(2026, 6, 1, 13, 30, tzinfo=UTC)
    assert bars["BHP.AU"][1] == datetime(2026, 6, 1, 0, 0, tzinfo=UTC)
    assert bars["BHP.US"][2] != bars["BHP.AU"][2]
    again = run_all(engine)
    assert [result.requests for result in again.values()] == [0, 0]


def test_an_exchange_whose_tickers_are_unknown_does_not_stop_the_other(make_both: Callable[..., Engine]) -> None:
    engine = make_both(("AAPL.US", "QQQQQQ.AU", "ZZZZZZ.AU"))
    results = run_all(engine)
    assert (results["US"].exit_code, results["AU"].exit_code) == (0, 3)
    assert {name: found[0] for name, found in read_bars(engine.database).items()} == {"AAPL.US": 26}


@pytest.fixture
def end_sydney(shared_calendars: TableReader) -> Any:
    """Let Sydney's calendar end on 29 May 2026, as those do whose library knows no more holidays."""

    def read(calendar: str, year: int) -> CalendarTable:
        table = build_calendar_table(calendar, year)
        if calendar != "XASX" or year < 2026:
            return table
        return CalendarTable(calendar, year, None, date(2026, 5, 29))

    yield lambda: use_calendars(read)
    use_calendars(shared_calendars)


def test_an_exchange_whose_calendar_has_ended_does_not_stop_the_other(
    make_both: Callable[..., Engine], end_sydney: Callable[[], None]
) -> None:
    engine = make_both()
    end_sydney()
    results = run_all(engine)
    assert isinstance(results["AU"], UsageError)
    assert "calendar of exchange AU (XASX of the package exchange_calendars) ends on 2026-05-29" in str(results["AU"])
    assert results["US"].after.missing == 0
    findings = {f.subject: f.detail for f in list_all(engine, "calendar ends")}
    assert "XASX of the package exchange_calendars) ended on 2026-05-29" in findings["AU"]
    use_calendars(None)
    resolve_ended_findings(engine)
    assert list_all(engine, "calendar ends") == []


def test_an_exchange_whose_sessions_cannot_be_told_does_not_stop_the_other(make_both: Callable[..., Engine]) -> None:
    """Jakarta's breaks are not given. The end of a run, and the status, look at all exchanges."""
    engine = make_both(("AAPL.US", "BBCA.JK"), exchanges=("US", "JK"))
    results = run_all(engine)
    assert (results["US"].after.missing, type(results["JK"])) == (0, SessionsUnknown)
    assert {name: found[0] for name, found in read_bars(engine.database).items()} == {"AAPL.US": 26}
    shown = read_status(engine.database, engine.settings)["exchanges"]
    assert "sessions_unknown" not in shown["US"]
    assert shown["US"]["window"]
    assert (shown["JK"]["sessions_unknown"], shown["JK"]["next_session"]) == (str(results["JK"]), None)
    assert shown["JK"]["symbols"] == {"active": 1, "inactive": 0}


def test_a_calendar_that_cannot_be_built_is_none_that_ends(
    make_both: Callable[..., Engine], shared_calendars: TableReader
) -> None:
    def read(calendar: str, year: int) -> CalendarTable:
        if calendar == "XASX":
            raise CalendarUnbuildable("pandas 3.1 cannot build it")
        return build_calendar_table(calendar, year)

    engine = make_both()
    use_calendars(read)
    try:
        results = run_all(engine)
    finally:
        use_calendars(shared_calendars)
    assert (results["US"].after.missing, type(results["AU"])) == (0, SessionsUnknown)
    assert list_all(engine, "calendar ends") == []


def test_the_status_of_the_us_alone_says_when_its_calendar_cannot_be_built(
    make_both: Callable[..., Engine], shared_calendars: TableReader
) -> None:
    def read(calendar: str, year: int) -> CalendarTable:
        raise CalendarUnbuildable("pandas 3.1 cannot build it")

    engine = make_both(("AAPL.US",), exchanges=("US",))
    assert "exchanges" not in read_status(engine.database, engine.settings)
    use_calendars(read)
    try:
        shown = read_status(engine.database, engine.settings)["exchanges"]
    finally:
        use_calendars(shared_calendars)
    assert "pandas 3.1 cannot build it" in shown["US"]["sessions_unknown"]


def test_a_calendar_that_ends_is_a_finding_60_days_before_by_its_own_date(
    make_both: Callable[..., Engine], end_sydney: Callable[[], None]
) -> None:
    engine = make_both()
    end_sydney()
    for now, subjects in (
        ("2026-03-29T12:00Z", list[str]()),
        ("2026-03-29T13:30Z", ["AU"]),
    ):  # midnight in Sydney is between
        settings = engine.settings.model_copy(update={"as_of": datetime.fromisoformat(now)})
        with engine.database.transaction() as connection:
            note_calendar_ends(connection, settings, list_findings(connection))
        assert [finding.subject for finding in list_all(engine, "calendar ends")] == subjects


def list_all(engine: Engine, kind: str) -> list[Any]:
    with engine.database.transaction() as connection:
        return [finding for finding in list_findings(connection) if finding.kind == kind]


def test_symbols_of_an_exchange_that_is_not_collected_are_one_finding(make_both: Callable[..., Engine]) -> None:
    engine = make_both((*SYMBOLS, "VOD.LSE"), exchanges=("US",))
    resolve_ended_findings(engine)
    (finding,) = list_all(engine, "exchange not collected")
    assert finding.subject == "BACKFILL_EXCHANGES"
    assert finding.detail.startswith("2 active symbols of AU, 1 active symbol of LSE not collected, because")
    assert """set BACKFILL_EXCHANGES='["US", "AU", "LSE"]'""" in finding.detail
    with engine.database.transaction() as connection:
        deactivate_symbols(connection, [Ticker("BHP", "AU"), Ticker("CBA", "AU"), Ticker("VOD", "LSE")])
    resolve_ended_findings(engine)
    assert list_all(engine, "exchange not collected") == []


def test_findings_about_days_are_of_an_exchange(make_both: Callable[..., Engine]) -> None:
    """Trading after the close is no finding where nobody knows what a close is; trading on a closed day always is."""
    engine, monday, sunday = make_both(), date(2026, 6, 1), date(2026, 5, 31)
    for market in engine.settings.markets:
        days = {monday: 20, sunday: 20}
        record_calendar_drift(engine.database, market, days, MIN_TICKERS_FOR_DRIFT, engine.settings.now())
    findings = {finding.subject: finding.detail for finding in list_all(engine, "calendar drift")}
    assert set(findings) == {"2026-06-01", "2026-05-31", "AU 2026-05-31"}
    assert findings["2026-06-01"].endswith("see BACKFILL_CALENDAR_FILE")
    assert findings["AU 2026-05-31"].endswith("see BACKFILL_MARKETS_FILE under AU")


def test_a_review_reads_each_exchanges_sessions_within_the_same_calls(make_both: Callable[..., Engine]) -> None:
    engine = make_both()
    run_all(engine)
    jobs = collect_jobs(engine, JobRequest())
    shared = [run_review(engine, job, lambda _: None, calls=10) for job in jobs.jobs]
    assert [(result.due, result.affordable) for result in shared] == [(2, 1), (2, 1)]  # of two that the calls pay for
    alone = run_review(engine, jobs.jobs[0], lambda _: None, calls=10, later=())
    assert (alone.due, alone.affordable) == (1, 1)


def test_live_quotes_of_an_exchange_that_has_none_are_no_error(make_both: Callable[..., Engine]) -> None:
    engine = make_both(exchanges=("AU",), live=True)
    made = collect_round(engine)
    assert (made.kind, made.exit_code) == ("not offered", 0)
    assert str(made) == "the vendor has no live quotes of AU; bars come from history"
    (job,) = collect_jobs(engine, JobRequest(**DAYS)).jobs
    assert str(collect_today(engine, job.window)) == str(made)
    both = Engine(engine.database, engine.settings.model_copy(update={"exchanges": ("AU", "US")}))
    market = find_live_market(both.settings)
    assert market is not None
    assert market.exchange == "US"
    assert collect_round(both).kind != "not offered"


def test_a_run_over_history_leaves_the_calls_for_what_is_overdue_elsewhere(
    make_engine: Callable[..., Engine], start_sandbox: Callable[..., Sandbox]
) -> None:
    """Of nine requests New York's newest sessions take four, and Sydney's need three: two are left for history."""
    sandbox = start_sandbox(more_symbols=("BHP",), exchanges={"AU": ExchangeConfig()}, daily=45)
    symbols = ("AAPL.US", "BHP.US", "KO.US", "MSFT.US", "BHP.AU", "CBA.AU", "CSL.AU")
    engine = make_engine(sandbox, symbols, exchanges=("US", "AU"), daily_calls=45, collector_reserve=0.0)
    assert run_all(engine, exchange="US")["US"].calls == 20
    history = run_all(engine, start=date(2026, 4, 6), end=date(2026, 4, 10), exchange="US")["US"]
    assert (history.calls, history.exit_code) == (10, 3)
    assert list(map(str, history.skipped)) == ["KO.US", "MSFT.US"]
    assert set(history.skipped.values()) == {HELD_BACK}
    assert history.absent == {f"not requested: {HELD_BACK}": 130}
    overdue = run_all(engine, start=date(2026, 6, 1), end=date(2026, 6, 2), exchange="AU")["AU"]
    assert (overdue.calls, overdue.after.missing) == (15, 0)


@pytest.fixture
def close_early(shared_calendars: TableReader) -> Any:
    """Let a newer library have New York close at 13:00 on 1 June 2026."""

    def read(calendar: str, year: int) -> CalendarTable:
        table = build_calendar_table(calendar, year)
        if (calendar, year) != ("XNYS", 2026):
            return table
        closes = list(table.closes)
        closes[table.days.index(date(2026, 6, 1))] -= 3 * 3600
        return replace(table, closes=tuple(closes))

    yield lambda: use_calendars(read)
    use_calendars(shared_calendars)


def use_calendars(reader: TableReader | None) -> None:
    """As another process would, with another library."""
    use_table_reader(reader)
    sessions._list_year.cache_clear()


def test_hours_that_contradict_stored_sessions_are_found(
    make_both: Callable[..., Engine], close_early: Callable[[], None]
) -> None:
    engine = make_both()
    run_all(engine)
    assert list_all(engine, "session hours differ") == []
    close_early()
    run_all(engine)
    (finding,) = list_all(engine, "session hours differ")
    assert finding.subject == "US"
    library = f"exchange_calendars {version('exchange_calendars')}"
    assert finding.detail.startswith(
        f"1 stored session has other hours in the calendar XNYS of {library} than when the bars were stored:"
        " 2026-06-01 was 09:30 to 16:00, is 09:30 to 13:00. If the calendar is wrong, correct"
    )
    assert finding.detail.endswith("backfill-assets run --force --start 2026-06-01 --end 2026-06-01")
    run_all(engine, force=True, exchange="US")
    assert list_all(engine, "session hours differ") == []


def test_hours_are_right_again_with_the_calendar_of_before(
    make_both: Callable[..., Engine], close_early: Callable[[], None]
) -> None:
    engine = make_both()
    run_all(engine, exchange="US")
    close_early()
    run_all(engine, exchange="US")
    use_calendars(None)
    run_all(engine, exchange="AU")
    assert len(list_all(engine, "session hours differ")) == 1  # Sydney's run says nothing about New York
    run_all(engine, exchange="US")
    assert list_all(engine, "session hours differ") == []


def correct_markets(engine: Engine, file: Path, text: str) -> Engine:
    file.write_text(text)
    return Engine(engine.database, engine.settings.model_copy(update={"markets_file": file}))


def test_another_clock_of_slots_is_found_until_its_bars_are_deleted_and_read_again(
    make_both: Callable[..., Engine], tmp_path: Path
) -> None:
    """The bar of 10:00 reaches until 10:30, and would count for a slot that ends at 10:15."""
    engine = make_both(("CBA.AU",))
    run_all(engine)
    engine = correct_markets(engine, tmp_path / "markets.toml", 'AU.grid_anchor = "10:15"')
    run_all(engine)
    (finding,) = list_all(engine, "session hours differ")
    assert "2026-06-01 is 10:00 to 16:00 as before, with other breaks or slots; 2026-06-02 is" in finding.detail
    assert "if it is right, delete the bars of the sessions with other breaks or slots, and read them" in finding.detail
    with engine.database.transaction() as connection:
        connection.execute("DELETE FROM market_data")
    assert finding.detail.endswith("backfill-assets run --force --exchange AU --start 2026-05-28 --end 2026-06-02")
    run_all(engine, force=True, start=date(2026, 5, 28))
    assert list_all(engine, "session hours differ") == []
    assert read_bars(engine.database)["CBA.AU"][0] == 4 * 13


def test_a_correction_that_was_read_again_may_be_taken_back_once_the_library_has_it(
    make_both: Callable[..., Engine], close_early: Callable[[], None], tmp_path: Path
) -> None:
    engine = make_both(("AAPL.US",))
    run_all(engine)
    corrected = correct_markets(engine, tmp_path / "markets.toml", 'US.early_closes.2026-06-01 = "13:00"')
    run_all(corrected, force=True)
    close_early()
    run_all(engine)
    assert list_all(engine, "session hours differ") == []


def test_a_stored_session_that_is_none_any_more_is_to_be_written_into_closures() -> None:
    """It cannot be read again."""
    moment = datetime(2026, 6, 1, 14, tzinfo=UTC)
    gone = ContradictingSession("AU", date(2026, 6, 1), moment, moment, moment, None)
    text = describe_hours(get_profile("AU"), [gone])
    assert "is none. If the calendar is wrong" in text
    assert text.endswith(
        "if it is right, write days that are no sessions any more into closures of BACKFILL_MARKETS_FILE"
    )
