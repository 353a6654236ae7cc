"""The weekly review: which symbols are due, how many calls it may spend, what it finds."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.review import run_review
from backfill_assets.backfill.review_result import ReviewResult
from backfill_assets.backfill.runner import run_backfill
from backfill_assets.market.calendar.tickers import parse_tickers
from backfill_assets.sandbox.config import Publication
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.symbols import deactivate_symbols
from backfill_assets_tests.conftest import make_job
from backfill_assets_tests.integration.test_backfill_engine import ignore_progress

SATURDAY = datetime(2026, 6, 6, 14, 0, tzinfo=UTC)  # everything is overdue, and nothing pending
FIRST = date(2026, 5, 7)  # twenty sessions before that Saturday, and one more
THREE = ("AAPL", "AMZN", "MSFT")


@pytest.fixture
def create_store(
    make_engine: Callable[..., Engine], start_sandbox: Callable[..., Sandbox]
) -> Callable[..., tuple[Engine, Sandbox]]:
    """Create a complete store on a Saturday; return its engine and sandbox."""

    def create(settings: dict[str, Any] | None = None, **config: Any) -> tuple[Engine, Sandbox]:
        sandbox = start_sandbox(now=SATURDAY, **config)
        engine = make_engine(sandbox, THREE, as_of=SATURDAY, **(settings or {}))
        run_backfill(engine, make_job(engine, start=FIRST, end=SATURDAY.date()), ignore_progress)
        return engine, sandbox

    return create


def move_clock_by_days(engine: Engine, sandbox: Sandbox, days: float) -> Engine:
    moment = SATURDAY + timedelta(days=days)
    sandbox.move_clock(moment)
    return replace(engine, settings=engine.settings.model_copy(update={"as_of": moment}))


def run_review_job(engine: Engine, calls: int | None = None, **request: Any) -> ReviewResult:
    return run_review(engine, make_job(engine, **request), ignore_progress, calls=calls)


def count_requests(sandbox: Sandbox) -> dict[str, int]:
    return {ticker.removesuffix(".US"): count for ticker, count in sandbox.stats()["per_ticker"].items()}


def test_late_correction_is_found_and_symbols_are_reviewed_weekly(
    create_store: Callable[..., tuple[Engine, Sandbox]], database: Database
) -> None:
    engine, sandbox = create_store()
    with database.transaction() as connection:
        connection.execute(
            "UPDATE market_data SET volume = volume + 7, fetched_at = fetched_at - interval '1 day'"
            " WHERE timestamp IN ('2026-05-08 15:00+00', '2026-05-07 15:00+00')"
        )
    first = run_review_job(engine)
    assert (first.sessions, first.due, first.affordable, first.reviewed) == (20, 3, 3, 3)
    # the 21st session of each ticker is read as overlap and revised, too
    assert (first.written.revised, first.written.unchanged, first.written.inserted) == (6, 3 * (21 * 13 - 2), 0)
    assert first.calls == 15
    assert count_requests(sandbox) == dict.fromkeys(THREE, 2)
    second = run_review_job(engine)
    assert (second.due, second.requests) == (0, 0)
    assert run_review_job(move_clock_by_days(engine, sandbox, 6)).due == 0
    assert run_review_job(move_clock_by_days(engine, sandbox, 7)).due == 3


def test_least_recently_reviewed_symbols_come_first_within_the_calls(
    create_store: Callable[..., tuple[Engine, Sandbox]],
) -> None:
    engine, sandbox = create_store()
    first = run_review_job(engine, calls=14)
    assert (first.due, first.affordable, first.reviewed) == (3, 2, 2)
    assert count_requests(sandbox) == {"AAPL": 2, "AMZN": 2, "MSFT": 1}
    assert run_review_job(engine, calls=4).requests == 0
    rest = run_review_job(engine)
    assert (rest.due, [str(o.ticker) for o in rest.outcomes]) == (1, ["MSFT.US"])
    next_week = run_review_job(move_clock_by_days(engine, sandbox, 8), calls=5)
    assert [str(o.ticker) for o in next_week.outcomes] == ["AAPL.US"]


def test_user_selected_symbols_are_reviewed_at_once(create_store: Callable[..., tuple[Engine, Sandbox]]) -> None:
    engine, sandbox = create_store()
    run_review_job(engine)
    assert [str(o.ticker) for o in run_review_job(engine, symbols=["MSFT"]).outcomes] == ["MSFT.US"]
    assert count_requests(sandbox)["MSFT"] == 3


def test_calls_for_open_gaps_are_reserved(create_store: Callable[..., tuple[Engine, Sandbox]]) -> None:
    """15 of 30 calls are spent; the gap of AAPL reserves 5 of the rest."""
    unpublished = Publication(never_published=frozenset({("AAPL", date(2026, 6, 2))}))
    settings = {"daily_calls": 30, "collector_reserve": 0.0, "bulk_daily": False}
    engine, sandbox = create_store(settings, publication=unpublished, daily=30)
    calls_spent = sandbox.stats()["calls"]
    result = run_review_job(engine)
    assert result.affordable == (30 - calls_spent - 5) // 5
    assert result.affordable < result.due
    assert sandbox.stats()["calls"] == calls_spent + 5 * result.affordable


def test_pending_symbols_reduce_the_calls_of_the_review(
    create_store: Callable[..., tuple[Engine, Sandbox]],
) -> None:
    """On Monday morning each ticker may need a request for the open session."""
    engine, sandbox = create_store({"daily_calls": 20, "collector_reserve": 0.0}, daily=20)
    monday_engine = move_clock_by_days(engine, sandbox, 2)
    assert run_review_job(monday_engine).affordable == (20 - 15) // 5
    assert count_requests(sandbox) == {"AAPL": 2, "AMZN": 1, "MSFT": 1}


def test_symbol_whose_review_failed_is_due_again(create_store: Callable[..., tuple[Engine, Sandbox]]) -> None:
    engine, sandbox = create_store({"attempts": 1})
    sandbox.set_faults(down=True)
    failed = run_review_job(engine)
    assert (failed.affordable, failed.reviewed, failed.exit_code) == (3, 0, 4)
    assert len(failed.as_dict()["errors"]) == 3
    sandbox.set_faults(down=False)
    result = run_review_job(engine)
    assert (result.due, result.reviewed, result.exit_code) == (3, 3, 0)


def test_unlisted_symbol_is_not_reviewed(
    create_store: Callable[..., tuple[Engine, Sandbox]], database: Database
) -> None:
    engine, _ = create_store()
    with database.transaction() as connection:
        deactivate_symbols(connection, parse_tickers(["AMZN"]))
        connection.execute(
            "INSERT INTO backfill.listing_lives SELECT symbol_id, '2020-01-02', '2026-01-02', true, now()"
            " FROM market_symbols WHERE symbol = 'MSFT'"
        )
    assert [str(o.ticker) for o in run_review_job(engine).outcomes] == ["AAPL.US"]


def test_review_before_the_first_session_requests_nothing(create_store: Callable[..., tuple[Engine, Sandbox]]) -> None:
    engine, sandbox = create_store()
    early_engine = replace(
        engine, settings=engine.settings.model_copy(update={"as_of": datetime(2004, 1, 2, tzinfo=UTC)})
    )
    before = sandbox.stats()["requests"]
    result = run_review(early_engine, replace(make_job(engine)), ignore_progress)
    assert (result.sessions, result.as_dict()["reviewed"], sandbox.stats()["requests"]) == (0, 0, before)
