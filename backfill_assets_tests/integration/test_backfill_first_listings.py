"""Daily histories are read before a history of several requests, so that none lies before the first listed day."""

from collections.abc import Callable
from datetime import date

from backfill_assets.backfill.engine import BackfillJob, Engine
from backfill_assets.backfill.job_request import JobRequest, build_job
from backfill_assets.backfill.runner import run_backfill
from backfill_assets.market.calendar.tickers import Ticker
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.symbols import add_symbols

FIRST, LAST = date(2026, 3, 2), date(2026, 6, 2)
LISTED = date(2026, 5, 20)


def build_long_job(engine: Engine, *names: str) -> BackfillJob:
    with engine.database.transaction() as connection:
        add_symbols(connection, [Ticker(name, "US") for name in names])
    return build_job(engine, JobRequest(start=FIRST, end=LAST))[0]


def list_first_days(engine: Engine) -> list[tuple[str, str]]:
    with engine.database.transaction() as connection:
        return connection.execute(
            "SELECT symbol, min(session_day)::text FROM backfill.session_evidence JOIN market_symbols USING (symbol_id)"
            " GROUP BY 1 ORDER BY 1"
        ).fetchall()


def test_nothing_is_requested_before_the_first_listed_day(
    make_engine: Callable[..., Engine], start_sandbox: Callable[..., Sandbox]
) -> None:
    sandbox = start_sandbox(listed={"AAPL": LISTED})
    engine = make_engine(sandbox, max_span_days=30)
    job = build_long_job(engine, "AAPL", "MSFT")
    assert len(engine.plan(job, engine.measure(job)).requests) == 8
    result = run_backfill(engine, job, lambda _: None)
    assert sandbox.stats()["calls"] == result.calls == 2 * 1 + 5 * (1 + 4)
    assert result.after.missing == 0
    assert list_first_days(engine) == [("AAPL", "2026-05-18"), ("MSFT", "2026-03-02")]  # AAPL with its overlap
    assert run_backfill(engine, job, lambda _: None).calls == 0


def test_a_ticker_of_one_request_is_not_looked_up_and_neither_is_one_that_is_known(
    make_engine: Callable[..., Engine], start_sandbox: Callable[..., Sandbox]
) -> None:
    sandbox = start_sandbox()
    engine = make_engine(sandbox)
    assert run_backfill(engine, build_long_job(engine, "AAPL"), lambda _: None).calls == 5
    short = make_engine(sandbox, max_span_days=30)
    job = build_long_job(short, "MSFT")  # AAPL lacks nothing
    with short.database.transaction() as connection:
        connection.execute(
            "INSERT INTO backfill.listing_lives (symbol_id, has_ended, read_at)"
            " SELECT symbol_id, false, now() FROM market_symbols"
        )
    assert run_backfill(short, job, lambda _: None).calls == 20


def test_a_daily_history_that_cannot_be_read_stops_no_bars(
    make_engine: Callable[..., Engine], start_sandbox: Callable[..., Sandbox]
) -> None:
    engine = make_engine(start_sandbox(refused_endpoints={"eod": (403, "Forbidden")}), max_span_days=30)
    result = run_backfill(engine, build_long_job(engine, "AAPL"), lambda _: None)
    assert (result.after.missing, result.stopped) == (0, None)
