"""After a change of BACKFILL_SOURCE_INTERVAL: what is mixed is said, and ``--force`` replaces bars of the old feed."""

from collections.abc import Callable
from typing import Any

from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.review import run_review
from backfill_assets.backfill.runner import run_backfill
from backfill_assets.market.gaps.slot_states import SlotState
from backfill_assets.quality.status import read_status
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets_tests.conftest import make_job
from backfill_assets_tests.integration.test_backfill_engine import TUESDAY, ignore_progress

StartSandbox = Callable[..., Sandbox]
FEEDS = "SELECT source_interval, count(*) FROM market_data GROUP BY 1 ORDER BY 1"
VALUES = "open_price, high_price, low_price, close_price, volume"


def fetch(engine: Engine, query: str) -> list[tuple[Any, ...]]:
    with engine.database.transaction() as connection:
        return connection.execute(query.encode()).fetchall()


def execute(engine: Engine, statement: str) -> None:
    with engine.database.transaction() as connection:
        connection.execute(statement.encode())


def run_tuesday(engine: Engine, **options: Any) -> Any:
    return run_backfill(engine, make_job(engine, start=TUESDAY, end=TUESDAY, **options), ignore_progress)


def test_a_session_of_two_feeds_is_reported_and_force_makes_it_one(
    start_sandbox: StartSandbox, make_engine: Callable[..., Engine]
) -> None:
    sandbox = start_sandbox()
    engine = make_engine(sandbox, ("AAPL", "MSFT"))
    assert run_tuesday(engine).mixed_feeds is None
    execute(
        engine,
        "DELETE FROM market_data WHERE symbol_id = 1 AND timestamp >= '2026-06-02 18:00+00';"
        "UPDATE market_data SET source_rows = 2, volume = volume - 1, fetched_at = fetched_at + interval '1 us'"
        " WHERE symbol_id = 1 AND timestamp = '2026-06-02 15:00+00'",
    )
    before = fetch(engine, f"SELECT timestamp, {VALUES} FROM market_data WHERE symbol_id = 1 ORDER BY 1")
    engine = Engine(engine.database, engine.settings.model_copy(update={"source_interval": "1m"}))

    filled = run_tuesday(engine, symbols=["AAPL"])
    assert (filled.written.inserted, filled.written.revised, filled.written.protected) == (4, 0, 9)
    assert fetch(engine, FEEDS) == [("1m", 4), ("5m", 22)]
    assert filled.describe_warnings() == [
        "1 session of 1 ticker mixes bars of 5m and 1m rows, for instance AAPL.US on 2026-06-02; run --force over these"
        " sessions replaces all bars with those of the source interval of the settings"
    ]
    assert filled.as_dict()["mixed_feeds"] == read_status(engine.database, engine.settings)["mixed_feeds"]
    assert engine.measure(make_job(engine, start=TUESDAY, end=TUESDAY)).count_slots(SlotState.SUSPECT) == 1

    forced = run_tuesday(engine, force=True, symbols=["AAPL"])
    assert forced.written.revised + forced.written.unchanged == 13
    assert forced.written.revised >= 1
    assert (forced.written.protected, forced.mixed_feeds, forced.exit_code) == (0, None, 0)
    assert fetch(engine, FEEDS) == [("1m", 13), ("5m", 13)]
    revisions = fetch(engine, f"SELECT timestamp, {VALUES}, source_interval FROM backfill.revisions ORDER BY 1")
    assert len(revisions) == forced.written.revised
    assert {row[:-1] for row in revisions} <= set(before)
    assert {row[-1] for row in revisions} == {"5m"}
    assert engine.measure(make_job(engine, start=TUESDAY, end=TUESDAY)).count_slots(SlotState.SUSPECT) == 0
    assert read_status(engine.database, engine.settings)["mixed_feeds"] is None


def test_without_force_and_in_a_review_bars_of_the_other_feed_stay(
    start_sandbox: StartSandbox, make_engine: Callable[..., Engine]
) -> None:
    sandbox = start_sandbox()
    engine = make_engine(sandbox)
    run_tuesday(engine)
    other = Engine(engine.database, engine.settings.model_copy(update={"source_interval": "1m"}))
    assert run_tuesday(other, symbols=["AAPL"]).written.revised == 0
    run_review(other, make_job(other), ignore_progress)
    assert fetch(other, FEEDS)[-1][0] == "5m"
    assert fetch(other, "SELECT count(*) FROM backfill.revisions") == [(0,)]
