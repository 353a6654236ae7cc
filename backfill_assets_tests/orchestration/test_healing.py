"""Sessions and symbols that are no partitions are healed, by runs that no other run overlaps."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime

import dagster as dg
import pytest

from backfill_assets.backfill.job_request import JobRequest, build_job
from backfill_assets.backfill.older_sessions import count_older_missing, take_block
from backfill_assets.backfill.runner import run_backfill
from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.tickers import Symbol
from backfill_assets.market.calendar.windows import build_session_window
from backfill_assets.market.exchanges.registry import US
from backfill_assets.orchestration.checks import evaluate
from backfill_assets.orchestration.heal_ranges import HealRange
from backfill_assets.orchestration.healing_sensor import PATIENCE_TICKS, HealCursor
from backfill_assets.orchestration.partition_ranges import PartitionRange
from backfill_assets.quality.status import read_status
from backfill_assets.sandbox.config import ExchangeConfig
from backfill_assets.store.bars.bar_writer import delete_bars
from backfill_assets.store.certification_looks import read_hashed_sessions
from backfill_assets.store.quota.calls_by_purpose import read_calls_by_purpose
from backfill_assets.store.symbols import add_symbols, list_symbols
from backfill_assets.store.watched_sessions import read_watched
from backfill_assets_tests.conftest import NOW, StartSandbox, read_stored_bars
from backfill_assets_tests.orchestration.conftest import BARS, Deployment, build_partition_keys, parse_tickers

pytestmark = pytest.mark.filterwarnings("ignore")
Deploy = Callable[..., Deployment]
SYMBOLS = ("AAPL", "MSFT")
MONDAY, TUESDAY = "2026-06-01", "2026-06-02"
OLDEST, NEWEST = "2026-05-20", "2026-05-29"  # of the 7 sessions before the 3 that are partitions
SENSOR, GAP_SENSOR = "healing_sensor", "gap_backfill_sensor"
LOST = datetime(2026, 5, 21, 14, tzinfo=UTC)  # of a bar in an older session


def heal(deployment: Deployment, cursor: str | None = None) -> str:
    """Tick the sensor and execute what it requests; returns its cursor."""
    tick = deployment.tick(SENSOR, cursor)
    for request in tick.run_requests or []:
        execute(deployment, request)
    assert isinstance(tick.cursor, str)
    return tick.cursor


def execute(deployment: Deployment, request: dg.RunRequest) -> None:
    result = deployment.definitions.resolve_job_def("heal_sessions").execute_in_process(
        instance=deployment.instance,
        resources={"backfill_engine": deployment.engine},
        run_config=request.run_config,
        tags=dict(request.tags),
    )
    assert result.success


def fill(deployment: Deployment, exchange: str = "US", sessions: int = 3) -> None:
    """Fill the newest sessions as another program does: without Dagster, and without certificates."""
    job, _ = build_job(deployment.engine, JobRequest(exchange=exchange))
    window = build_session_window(job.market, NOW, sessions)
    run_backfill(deployment.engine, replace(job, window=window), lambda _: None)


def start(deployment: Deployment, tags: dict[str, str], job: str = "heal_sessions") -> dg.DagsterRun:
    """A run that stays at work."""
    selection = None if job == "heal_sessions" else frozenset({BARS})
    definitions = deployment.definitions
    named = definitions.resolve_implicit_global_asset_job_def() if selection else definitions.resolve_job_def(job)
    sessions = {"symbols": ["AAPL.US"], "start": MONDAY, "end": MONDAY}
    return deployment.instance.create_run_for_job(
        named,
        tags=tags,
        asset_selection=selection,
        status=dg.DagsterRunStatus.STARTED,
        run_config={} if selection else {"ops": {"fill_sessions": {"config": sessions}}},
    )


def read_watched_days(deployment: Deployment) -> dict[str, str]:
    with deployment.engine.database.transaction() as connection:
        symbols = list_symbols(connection, "US")
        watched = read_watched(connection, [s.symbol_id for s in symbols], INTERVALS["30m"])
    return {s.ticker.symbol: str(watched[s.symbol_id].day) for s in symbols if s.symbol_id in watched}


def read_calls(deployment: Deployment) -> dict[str, int]:
    with deployment.engine.database.transaction() as connection:
        return dict(read_calls_by_purpose(connection, deployment.engine.require_token(), NOW).today)


def delete_bar(deployment: Deployment, symbol: str, stamp: datetime) -> None:
    with deployment.engine.database.transaction() as connection:
        (found,) = [s for s in list_symbols(connection, "US") if s.ticker.symbol == symbol]
        assert delete_bars(connection, found.symbol_id, INTERVALS["30m"], [stamp]) == 1


def test_nothing_more_is_healed_unless_a_user_asks_for_it(deploy: Deploy, start_sandbox: StartSandbox) -> None:
    deployment = deploy(start_sandbox(), SYMBOLS)
    tick = deployment.tick(SENSOR)
    assert tick.skip_message == "every session that is healed is a partition, and every symbol"
    assert deployment.sandbox.stats()["requests"] == 0
    assert read_watched_days(deployment) == {}
    assert "healing" not in read_status(deployment.engine.database, deployment.engine.settings)


def test_added_sessions_come_after_open_ones_and_are_watched_once_they_are_filled(
    deploy: Deploy, start_sandbox: StartSandbox
) -> None:
    deployment = deploy(start_sandbox(), SYMBOLS, heal_sessions=10)
    assert "wait for newer ones" in deployment.tick(SENSOR).skip_message
    assert read_watched_days(deployment) == dict.fromkeys(SYMBOLS, MONDAY)
    assert count_older_missing(deployment.engine, US, "30m") == 0
    deployment.run_gap_sensor()
    (request,) = deployment.tick(SENSOR).run_requests
    assert request.tags == {
        "dagster/sensor_name": SENSOR,
        "dagster/priority": "-1",
        "backfill_assets/healed_asset": "bars_30m",
        "backfill_assets/healed_range_start": f"{OLDEST}|AAPL.US",
        "backfill_assets/healed_range_end": f"{NEWEST}|MSFT.US",
    }
    cursor = heal(deployment)
    assert read_calls(deployment) == {"gap": 10, "history": 10}
    assert read_watched_days(deployment) == dict.fromkeys(SYMBOLS, OLDEST)
    assert deployment.materialized == build_partition_keys(SYMBOLS, (MONDAY, TUESDAY))  # older ones have no event
    assert deployment.tick(SENSOR, cursor).skip_message.startswith("nothing is due in AAPL.US to MSFT.US")

    delete_bar(deployment, "AAPL", LOST)
    (lost,) = deployment.tick(SENSOR, cursor).run_requests  # watched now: it counts, and is requested like any gap
    assert count_older_missing(deployment.engine, US, "30m") == 1
    figures = {"sessions": 7, "symbols": 2, "symbols_watched": 2, "missing": 1}
    assert read_status(deployment.engine.database, deployment.engine.settings)["healing"] == figures
    evaluation = evaluate(deployment.engine, US, "30m")
    assert evaluation is not None
    lingering = {one.name: (one.passed, one.lingering) for one in evaluation.observations}
    assert lingering["no_missing_bars"] == (True, 1)
    assert lingering["newest_bar_is_fresh"] == (True, 0)
    assert "dagster/priority" not in lost.tags
    assert lost.run_key.endswith(f"#{HealCursor.parse(cursor).attempt + 1}")  # Dagster drops a key that it knows
    backfill = start(deployment, {"dagster/partition": f"{LOST:%Y-%m-%d}|AAPL.US"}, "bars")  # started when it was one
    assert deployment.tick(SENSOR, cursor).skip_message.startswith("an unfinished run covers AAPL.US…AAPL.US × 2026-05")
    deployment.instance.report_run_canceled(backfill)
    heal(deployment, cursor)
    assert read_calls(deployment) == {"gap": 15, "history": 10}
    assert count_older_missing(deployment.engine, US, "30m") == 0


def test_sessions_that_other_programs_have_filled_are_certified_once(
    deploy: Deploy, start_sandbox: StartSandbox
) -> None:
    """No run that fills one of them follows, which would certify it."""
    deployment = deploy(start_sandbox(), ("AAPL",), heal_sessions=5)
    fill(deployment, sessions=5)
    first = deployment.tick(SENSOR)
    assert first.skip_message.startswith("nothing is due in AAPL.US")
    calls = read_calls(deployment)
    (request,) = deployment.tick(SENSOR, first.cursor).run_requests
    assert request.tags["backfill_assets/healed_range_start"] == "2026-05-28|AAPL.US"
    assert request.tags["dagster/priority"] == "-1"
    cursor = heal(deployment, first.cursor)
    with deployment.engine.database.transaction() as connection:
        days = {date(2026, 5, 28), date(2026, 5, 29)}
        assert {day for _, day in read_hashed_sessions(connection, "US", "30m", days)} == days
    assert read_calls(deployment) == calls
    for known in (cursor, first.cursor):
        assert deployment.tick(SENSOR, known).skip_message.startswith("nothing is due in AAPL.US")


def test_no_gap_run_overlaps_a_healing_run(deploy: Deploy, start_sandbox: StartSandbox) -> None:
    deployment = deploy(start_sandbox(), SYMBOLS)
    for healed, is_blocked in (
        (HealRange("bars_30m", NEWEST, MONDAY, "AAPL.US", "AAPL.US"), True),
        (HealRange("bars_30m", MONDAY, MONDAY, "A.US", "AA.US"), False),
        (HealRange("bars_30m", OLDEST, NEWEST, "AAPL.US", "MSFT.US"), False),
        (HealRange("bars_30m_LSE", MONDAY, MONDAY, "AAPL.US", "AAPL.US"), False),
    ):
        run = start(deployment, healed.tags)
        tick = deployment.tick(GAP_SENSOR)
        assert bool(tick.run_requests) != is_blocked
        assert not is_blocked or tick.skip_message == f"an unfinished run covers {healed}"
        deployment.instance.report_run_canceled(run)


def test_no_healing_run_overlaps_another_one_or_a_backfill_of_the_ui(
    deploy: Deploy, start_sandbox: StartSandbox
) -> None:
    deployment = deploy(start_sandbox(), SYMBOLS, heal_sessions=10)
    fill(deployment)
    (request,) = deployment.tick(SENSOR).run_requests
    run = start(deployment, dict(request.tags))
    assert deployment.tick(SENSOR).skip_message == f"an unfinished run heals AAPL.US…MSFT.US × {OLDEST}…{NEWEST}"
    deployment.instance.report_run_canceled(run)
    calls = read_calls(deployment)
    execute(deployment.with_settings(collector_reserve=0.9999), request)  # others have spent meanwhile what was left
    assert read_calls(deployment) == calls
    backfill = start(deployment, {"dagster/partition": f"{MONDAY}|AAPL.US"}, "bars")
    assert "wait for newer ones" in deployment.tick(SENSOR).skip_message  # open sessions first
    deployment.instance.report_run_canceled(backfill)


def test_what_is_no_partition_yet_is_healed_and_recorded_only_where_it_is_one(
    deploy: Deploy, start_sandbox: StartSandbox
) -> None:
    deployment = deploy(start_sandbox(), SYMBOLS).with_settings(partition_days=5)  # the code server knows 3 of them
    with deployment.engine.database.transaction() as connection:
        add_symbols(connection, parse_tickers(["NVDA"]))
    cursor = heal(deployment)
    assert read_calls(deployment) == {"gap": 10}  # a request for unknown days fills those of the partitions, too
    assert len(read_stored_bars(deployment.engine.database, "AAPL")) == 4 * 13
    assert deployment.materialized >= build_partition_keys(SYMBOLS, (MONDAY, TUESDAY))
    for _ in range(PATIENCE_TICKS - 1):
        tick = deployment.tick(SENSOR, cursor)
        assert tick.skip_message == "some symbols are not partitions yet"
        cursor = tick.cursor
    heal(deployment, cursor)
    assert read_calls(deployment) == {"gap": 15}
    assert len(read_stored_bars(deployment.engine.database, "NVDA")) == 4 * 13
    assert not any("NVDA" in partition for partition in deployment.materialized)


def test_fewer_sessions_than_partitions(deploy: Deploy, start_sandbox: StartSandbox) -> None:
    deployment = deploy(start_sandbox(), SYMBOLS, heal_sessions=2)
    (request,) = deployment.tick(GAP_SENSOR).run_requests
    assert request.tags["dagster/asset_partition_range_start"] == f"{TUESDAY}|AAPL.US"
    assert deployment.tick(SENSOR).skip_message == "every session that is healed is a partition, and every symbol"


def test_blocks_go_on_where_the_last_one_ended() -> None:
    symbols = [Symbol(number, ticker, True) for number, ticker in enumerate(parse_tickers(["C", "A", "B-X", "B", "D"]))]
    after, seen = "", []
    for _ in range(3):
        block, after = take_block(symbols, after, 25_000)
        seen.append([str(symbol.ticker) for symbol in block])
    assert seen == [["A.US", "B-X.US"], ["B.US", "C.US"], ["D.US"]]
    assert after == ""
    assert take_block(symbols, "ZZ.US", 25_000)[0] == take_block(symbols, "", 25_000)[0]
    assert take_block([], "A.US", 5) == ((), "")


@pytest.mark.parametrize(
    ("first", "last", "order", "overlaps"),
    [
        ("Z.US", "A.US", ["Z.US", "M.US", "A.US"], True),  # Dagster's order is that of adding
        ("Z.US", "A.US", ["Z.US", "A.US", "M.US"], False),
        ("GONE.US", "M.US", ["M.US"], True),
        ("GONE.US", "Z.US", ["Z.US", "M.US"], False),
    ],
)
def test_overlap_with_partitions(first: str, last: str, order: list[str], overlaps: bool) -> None:
    healed = HealRange("bars_30m", "2026-05-01", "2026-05-20", "L.US", "N.US")
    assert healed.overlaps_partitions(PartitionRange("2026-05-20", "2026-05-21", first, last), order) is overlaps
    assert not healed.overlaps_partitions(PartitionRange("2026-05-21", "2026-05-21", first, last), order)


def test_each_exchange_is_healed_by_itself_around_the_clock_too(deploy: Deploy, start_sandbox: StartSandbox) -> None:
    pairs = ExchangeConfig(symbols=1, history_from=date(2026, 5, 1))
    sandbox = start_sandbox(exchanges={"CC": pairs})
    pair = f"{sandbox.worlds.get_world('CC').symbols[0]}.CC"
    deployment = deploy(sandbox, ("AAPL", pair), exchanges=("US", "CC"), heal_sessions=6)
    for exchange in ("US", "CC"):
        fill(deployment, exchange)
    (request,) = deployment.tick(f"{SENSOR}_CC").run_requests
    assert request.tags["backfill_assets/healed_asset"] == "bars_30m_CC"
    assert request.tags["backfill_assets/healed_range_start"] == f"2026-05-29|{pair}"  # a day of partitions is Monday
    start(deployment, dict(request.tags))
    assert "wait for newer ones" in deployment.tick(SENSOR).skip_message  # one run with spare calls at a time
