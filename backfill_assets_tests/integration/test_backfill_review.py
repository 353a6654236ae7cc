"""The weekly review: which symbols are due, what it may spend, what it finds."""

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
from backfill_assets_tests.conftest import job
from backfill_assets_tests.integration.test_backfill_engine import ignore_progress

SATURDAY = datetime(2026, 6, 6, 14, 0, tzinfo=UTC)  # everything is overdue, and nothing pending
FIRST = date(2026, 5, 7)  # twenty sessions before that Saturday, and one more
THREE = ("AAPL", "AMZN", "MSFT")


@pytest.fixture
def filled(
    engine_on: Callable[..., Engine], sandboxed: Callable[..., Sandbox]
) -> Callable[..., tuple[Engine, Sandbox]]:
    """A complete store on a Saturday."""

    def fill(settings: dict[str, Any] | None = None, **config: Any) -> tuple[Engine, Sandbox]:
        sandbox = sandboxed(now=SATURDAY, **config)
        engine = engine_on(sandbox, THREE, as_of=SATURDAY, **(settings or {}))
        run_backfill(engine, job(engine, start=FIRST, end=SATURDAY.date()), ignore_progress)
        return engine, sandbox

    return fill


def later(engine: Engine, sandbox: Sandbox, days: float) -> Engine:
    moment = SATURDAY + timedelta(days=days)
    sandbox.move_clock(moment)
    return replace(engine, settings=engine.settings.model_copy(update={"as_of": moment}))


def review(engine: Engine, calls: int | None = None, **wish: Any) -> ReviewResult:
    return run_review(engine, job(engine, **wish), ignore_progress, calls=calls)


def count_requests(sandbox: Sandbox) -> dict[str, int]:
    return {ticker.removesuffix(".US"): count for ticker, count in sandbox.stats()["per_ticker"].items()}


def test_late_correction_is_found_and_each_symbol_is_read_once_a_week(
    filled: Callable[..., tuple[Engine, Sandbox]], database: Database
) -> None:
    engine, sandbox = filled()
    with database.transaction() as connection:
        connection.execute(
            "UPDATE market_data SET volume = volume + 7, fetched_at = fetched_at - interval '1 day'"
            " WHERE timestamp IN ('2026-05-08 15:00+00', '2026-05-07 15:00+00')"
        )
    first = review(engine)
    assert (first.sessions, first.due, first.affordable, first.reviewed) == (20, 3, 3, 3)
    # of three tickers the 21st session back is read along as overlap, and revised like the 20th
    assert (first.written.revised, first.written.unchanged, first.written.inserted) == (6, 3 * (21 * 13 - 2), 0)
    assert first.calls == 15
    assert count_requests(sandbox) == dict.fromkeys(THREE, 2)
    again = review(engine)
    assert (again.due, again.requests) == (0, 0)
    assert review(later(engine, sandbox, 6)).due == 0
    assert review(later(engine, sandbox, 7)).due == 3


def test_least_recently_reviewed_symbols_come_first_within_the_calls(
    filled: Callable[..., tuple[Engine, Sandbox]],
) -> None:
    engine, sandbox = filled()
    some = review(engine, calls=14)
    assert (some.due, some.affordable, some.reviewed) == (3, 2, 2)
    assert count_requests(sandbox) == {"AAPL": 2, "AMZN": 2, "MSFT": 1}
    assert review(engine, calls=4).requests == 0
    rest = review(engine)
    assert (rest.due, [str(o.ticker) for o in rest.outcomes]) == (1, ["MSFT.US"])
    one = review(later(engine, sandbox, 8), calls=5)
    assert [str(o.ticker) for o in one.outcomes] == ["AAPL.US"]


def test_user_selected_symbols_are_reviewed_at_once(filled: Callable[..., tuple[Engine, Sandbox]]) -> None:
    engine, sandbox = filled()
    review(engine)
    assert [str(o.ticker) for o in review(engine, symbols=["MSFT"]).outcomes] == ["MSFT.US"]
    assert count_requests(sandbox)["MSFT"] == 3


def test_calls_that_open_gaps_may_need_are_not_spent(filled: Callable[..., tuple[Engine, Sandbox]]) -> None:
    """Of 30 calls 15 are spent; AAPL's hole keeps 5 of the rest."""
    withheld = Publication(never_published=frozenset({("AAPL", date(2026, 6, 2))}))
    settings = {"daily_calls": 30, "collector_reserve": 0.0, "bulk_daily": False}
    engine, sandbox = filled(settings, publication=withheld, daily=30)
    spent = sandbox.stats()["calls"]
    done = review(engine)
    assert done.affordable == (30 - spent - 5) // 5
    assert done.affordable < done.due
    assert sandbox.stats()["calls"] == spent + 5 * done.affordable


def test_pending_symbols_reduce_the_spare_calls(filled: Callable[..., tuple[Engine, Sandbox]]) -> None:
    """On Monday morning each ticker may need a request for the session that is under way."""
    engine, sandbox = filled({"daily_calls": 20, "collector_reserve": 0.0}, daily=20)
    monday = later(engine, sandbox, 2)
    assert review(monday).affordable == (20 - 15) // 5
    assert count_requests(sandbox) == {"AAPL": 2, "AMZN": 1, "MSFT": 1}


def test_symbol_that_could_not_be_read_stays_due(filled: Callable[..., tuple[Engine, Sandbox]]) -> None:
    engine, sandbox = filled({"attempts": 1})
    sandbox.set_faults(down=True)
    failed = review(engine)
    assert (failed.affordable, failed.reviewed, failed.exit_code) == (3, 0, 4)
    assert len(failed.as_dict()["errors"]) == 3
    sandbox.set_faults(down=False)
    done = review(engine)
    assert (done.due, done.reviewed, done.exit_code) == (3, 3, 0)


def test_unlisted_symbol_is_not_reviewed(filled: Callable[..., tuple[Engine, Sandbox]], database: Database) -> None:
    engine, _ = filled()
    with database.transaction() as connection:
        deactivate_symbols(connection, parse_tickers(["AMZN"]))
        connection.execute(
            "INSERT INTO backfill.listing_lives SELECT symbol_id, '2020-01-02', '2026-01-02', true, now()"
            " FROM market_symbols WHERE symbol = 'MSFT'"
        )
    assert [str(o.ticker) for o in review(engine).outcomes] == ["AAPL.US"]


def test_nothing_to_review_before_the_first_session(filled: Callable[..., tuple[Engine, Sandbox]]) -> None:
    engine, sandbox = filled()
    long_ago = replace(engine, settings=engine.settings.model_copy(update={"as_of": datetime(2004, 1, 2, tzinfo=UTC)}))
    before = sandbox.stats()["requests"]
    done = run_review(long_ago, replace(job(engine)), ignore_progress)
    assert (done.sessions, done.as_dict()["reviewed"], sandbox.stats()["requests"]) == (0, 0, before)
