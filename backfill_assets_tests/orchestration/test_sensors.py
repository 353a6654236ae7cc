"""The gap sensor requests as few runs as possible, and gives a skip reason if it requests none."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import dagster as dg
import pytest

from backfill_assets.backfill.due_work import find_due_work
from backfill_assets.backfill.identity.rename import record_rename
from backfill_assets.backfill.identity.rename_plan import Rename
from backfill_assets.backfill.runner import run_backfill
from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.sessions import list_sessions
from backfill_assets.market.exchanges.registry import US
from backfill_assets.orchestration.partition_ranges import PartitionRange
from backfill_assets.orchestration.sensors import build_reload_warning, build_run_requests
from backfill_assets.sandbox.config import Faults, Publication
from backfill_assets.store.bars.bar_writer import delete_bars
from backfill_assets.store.quota.spending_pause import end_pause, start_pause
from backfill_assets.store.sensor_looks import list_looks
from backfill_assets.store.symbols import add_symbols, list_symbols
from backfill_assets_tests.conftest import NOW, StartSandbox, make_monday_tuesday_job, read_stored_bars
from backfill_assets_tests.integration.test_backfill_engine import ignore_progress, list_sandbox_symbols
from backfill_assets_tests.orchestration.conftest import (
    BARS,
    SYMBOL_DIMENSION,
    Deployment,
    build_partition_keys,
    parse_tickers,
)

Deploy = Callable[..., Deployment]
SYMBOLS = ("AAPL", "MSFT", "AMZN", "TSLA")
MONDAY, TUESDAY = "2026-06-01", "2026-06-02"


def delete_bars_at(deployment: Deployment, symbol: str, *stamps: datetime) -> None:
    with deployment.engine.database.transaction() as connection:
        (found,) = [s for s in list_symbols(connection, "US") if s.ticker.symbol == symbol]
        assert delete_bars(connection, found.symbol_id, INTERVALS["30m"], stamps) == len(stamps)


def test_gaps_are_filled_by_one_run_and_then_no_run_is_requested(deploy: Deploy, start_sandbox: StartSandbox) -> None:
    deployment = deploy(start_sandbox(), SYMBOLS)
    (run,) = deployment.run_gap_sensor()
    assert run.success
    assert deployment.materialized == build_partition_keys(SYMBOLS, (MONDAY, TUESDAY))
    assert deployment.sandbox.stats()["calls"] == 20
    assert all(check.passed for check in run.get_asset_check_evaluations())
    tick = deployment.tick()
    assert not tick.run_requests
    assert tick.skip_message == "no gap in 4 symbols × 3 sessions"
    with deployment.engine.database.transaction() as connection:
        (look,) = list_looks(connection, ("US",))
    assert (look.interval, look.symbols, look.sessions, look.missing) == ("30m", 4, 3, 0)


def test_scattered_gaps_are_one_run_and_one_request_per_ticker(deploy: Deploy, start_sandbox: StartSandbox) -> None:
    deployment = deploy(start_sandbox(), SYMBOLS)
    deployment.run_gap_sensor()
    delete_bars_at(deployment, "AAPL", datetime(2026, 6, 1, 14, tzinfo=UTC), datetime(2026, 6, 2, 19, 30, tzinfo=UTC))
    delete_bars_at(deployment, "TSLA", datetime(2026, 6, 2, 13, 30, tzinfo=UTC))
    (request,) = deployment.tick().run_requests
    deployment.run(request)
    assert deployment.sandbox.stats()["per_ticker"] == {"AAPL.US": 2, "MSFT.US": 1, "AMZN.US": 1, "TSLA.US": 2}
    assert len(read_stored_bars(deployment.engine.database, "AAPL")) == 26


def test_a_run_has_at_most_the_configured_number_of_partitions(deploy: Deploy, start_sandbox: StartSandbox) -> None:
    symbols = tuple(list_sandbox_symbols(30))
    deployment = deploy(start_sandbox(symbols=30), symbols, partitions_per_run=20)
    requests = deployment.tick().run_requests
    assert len(requests) == 3  # 10 symbols × 2 sessions each
    for request in requests:
        assert deployment.run(request).success
    assert deployment.materialized == build_partition_keys(symbols, (MONDAY, TUESDAY))
    assert set(deployment.sandbox.stats()["per_ticker"].values()) == {1}


def test_gaps_with_a_later_retry_start_no_run_and_the_reason_has_its_time(
    deploy: Deploy, start_sandbox: StartSandbox
) -> None:
    unpublished = Publication(never_published=frozenset({("AAPL", date(2026, 6, 2))}))
    deployment = deploy(start_sandbox(publication=unpublished), SYMBOLS)
    deployment.run_gap_sensor()
    tick = deployment.tick()
    assert not tick.run_requests
    assert tick.skip_message == (
        "13 slots in 4 symbols × 3 sessions wait for their next request; the first is due at 2026-06-03 15:00 UTC"
    )
    assert len(deployment.with_settings(as_of=NOW + timedelta(minutes=61)).tick().run_requests) == 1


def test_before_publication_only_one_probe_is_sent(deploy: Deploy, start_sandbox: StartSandbox) -> None:
    late = Publication(hours_after_close=(9.0, 9.1))
    deployment = deploy(start_sandbox(publication=late), SYMBOLS)
    deployment.run_gap_sensor()
    evening = datetime(2026, 6, 3, 23, 30, tzinfo=UTC)
    deployment.sandbox.move_clock(evening)
    assert len(deployment.with_settings(as_of=evening).run_gap_sensor()) == 1
    request_count = deployment.sandbox.stats()["by_endpoint"]["intraday"]
    assert request_count == 4 + 1
    tick = deployment.with_settings(as_of=evening + timedelta(minutes=5)).tick()
    assert not tick.run_requests
    assert "wait for the next probe; no publication seen yet" in tick.skip_message


@pytest.mark.parametrize("source", ["sensor run", "UI run"])
def test_no_run_overlaps_an_unfinished_run(deploy: Deploy, start_sandbox: StartSandbox, source: str) -> None:
    deployment = deploy(start_sandbox(), SYMBOLS)
    (request,) = deployment.tick().run_requests
    tags = request.tags if source == "sensor run" else {"dagster/partition": f"{MONDAY}|AMZN.US"}
    run = deployment.instance.create_run_for_job(
        deployment.definitions.resolve_implicit_global_asset_job_def(),
        status=dg.DagsterRunStatus.STARTED,
        tags=tags,
        asset_selection=frozenset({BARS}),
    )
    tick = deployment.tick()
    assert not tick.run_requests
    assert tick.skip_message.startswith("an unfinished run covers ")
    deployment.instance.report_run_canceled(run)
    assert len(deployment.tick().run_requests) == 1


def test_an_unfinished_run_does_not_block_other_ranges(deploy: Deploy, start_sandbox: StartSandbox) -> None:
    deployment = deploy(start_sandbox(), SYMBOLS, partitions_per_run=4)
    assert len(deployment.tick().run_requests) == 2
    deployment.instance.create_run_for_job(
        deployment.definitions.resolve_implicit_global_asset_job_def(),
        status=dg.DagsterRunStatus.STARTING,
        tags={"dagster/partition": f"{MONDAY}|AAPL.US"},
        asset_selection=frozenset({BARS}),
    )
    (request,) = deployment.tick().run_requests
    assert "AAPL.US" not in str(request.tags)


def test_run_keys_differ_between_ticks(deploy: Deploy, start_sandbox: StartSandbox) -> None:
    deployment = deploy(start_sandbox(), SYMBOLS)
    first = deployment.tick()
    second = deployment.tick(cursor=first.cursor)
    assert first.run_requests[0].tags == second.run_requests[0].tags
    assert first.run_requests[0].run_key != second.run_requests[0].run_key


def test_no_run_starts_without_quota(deploy: Deploy, start_sandbox: StartSandbox) -> None:
    deployment = deploy(start_sandbox(daily=12), SYMBOLS, collector_reserve=0.0, in_flight_max=1)
    assert not deployment.run_gap_sensor()[0].success
    tick = deployment.tick()
    assert not tick.run_requests
    assert tick.skip_message.startswith("1 run ended early; the next may start in ")
    with deployment.engine.database.transaction() as connection:
        connection.execute("UPDATE backfill.runs SET finished_at = finished_at - interval '1 hour'")
    assert deployment.tick().skip_message == "daily call quota is used up; requests resume at 2026-06-04 00:00 UTC"
    (next_day,) = deployment.with_settings(as_of=NOW + timedelta(hours=12)).tick().run_requests
    assert next_day.tags


def test_no_run_starts_while_spending_is_paused(deploy: Deploy, start_sandbox: StartSandbox) -> None:
    deployment = deploy(start_sandbox(), SYMBOLS)
    requested = deployment.tick().run_requests[0]
    pause = start_pause(deployment.engine.database, None, "ann@host", "invoice")
    tick = deployment.tick()
    assert not tick.run_requests
    assert tick.skip_message == f"{pause}; to go on: backfill-assets resume"
    started_before = deployment.run(requested)
    assert not started_before.success
    (failure,) = (e for e in started_before.all_events if e.event_type_value == "STEP_FAILURE")
    assert f"{pause}; to go on: backfill-assets resume" in str(failure.event_specific_data)
    assert deployment.sandbox.stats()["requests"] == 0
    with deployment.engine.database.transaction() as connection:
        end_pause(connection)
        connection.execute("UPDATE backfill.runs SET finished_at = finished_at - interval '1 hour'")
    assert all(result.success for result in deployment.run_gap_sensor())


def test_retries_back_off_while_the_vendor_is_down(deploy: Deploy, start_sandbox: StartSandbox) -> None:
    sandbox = start_sandbox(symbols=30, faults=Faults(down=True))
    deployment = deploy(sandbox, tuple(list_sandbox_symbols(30)), attempts=1, backoff_seconds=(0.0, 0.0))
    assert not deployment.run_gap_sensor()[0].success
    assert not deployment.tick().run_requests
    with deployment.engine.database.transaction() as connection:
        connection.execute("UPDATE backfill.runs SET finished_at = finished_at - interval '3 minutes'")
        connection.execute("UPDATE backfill.requests SET at = at - interval '3 minutes'")
    assert not deployment.run_gap_sensor()[0].success
    assert "2 runs in a row ended early" in deployment.tick().skip_message
    sandbox.set_faults(down=False)
    with deployment.engine.database.transaction() as connection:
        connection.execute("UPDATE backfill.runs SET finished_at = finished_at - interval '10 minutes'")
        connection.execute("UPDATE backfill.requests SET at = at - interval '10 minutes'")
    assert deployment.run_gap_sensor()[0].success
    assert deployment.tick().skip_message.startswith("no gap in ")


def test_retries_back_off_for_a_failing_ticker_only(deploy: Deploy, start_sandbox: StartSandbox) -> None:
    sandbox = start_sandbox(faults=Faults(html_200=1.0))
    deployment = deploy(sandbox, SYMBOLS, attempts=1, backoff_seconds=(0.0, 0.0))
    assert deployment.run_gap_sensor()[0].success
    assert deployment.tick().skip_message == "requests for 4 symbols failed recently; backing off"
    with deployment.engine.database.transaction() as connection:
        add_symbols(connection, parse_tickers(["NVDA"]))
    deployment.tick("symbol_partitions_sensor")
    (request,) = deployment.tick().run_requests
    assert request.tags["dagster/asset_partition_range_start"] == f"{MONDAY}|NVDA.US"


def test_without_a_token_the_sensor_skips_with_the_reason(deploy: Deploy, start_sandbox: StartSandbox) -> None:
    deployment = deploy(start_sandbox(), SYMBOLS)
    settings = deployment.engine.settings.model_copy(update={"token": None})
    without_token = replace(deployment, engine=replace(deployment.engine, settings=settings))
    assert "no API token is set" in without_token.tick().skip_message


def test_sessions_filled_by_the_command_line_are_materialized_without_a_request(
    deploy: Deploy, start_sandbox: StartSandbox
) -> None:
    deployment = deploy(start_sandbox(), SYMBOLS)
    run_backfill(deployment.engine, make_monday_tuesday_job(deployment.engine), ignore_progress)
    request_count = deployment.sandbox.stats()["requests"]
    (run,) = deployment.run_gap_sensor()
    assert run.success
    assert deployment.materialized == build_partition_keys(SYMBOLS, (MONDAY, TUESDAY))
    assert deployment.sandbox.stats()["requests"] == request_count
    assert not deployment.tick().run_requests


def test_a_late_published_session_is_requested_days_later(deploy: Deploy, start_sandbox: StartSandbox) -> None:
    unpublished = Publication(never_published=frozenset({("AAPL", date(2026, 6, 1))}))
    sandbox = start_sandbox(publication=unpublished)
    deployment = deploy(sandbox, SYMBOLS, partition_days=8)
    deployment.run_gap_sensor()
    thursday = datetime(2026, 6, 4, 20, tzinfo=UTC)
    sandbox.move_clock(thursday)
    (request,) = deployment.with_settings(as_of=thursday).tick().run_requests
    assert request.tags["dagster/asset_partition_range_start"].startswith(MONDAY)


@pytest.mark.no_cover
def test_two_deployments_on_one_database_fetch_each_gap_once(deploy: Deploy, start_sandbox: StartSandbox) -> None:
    symbols = tuple(list_sandbox_symbols(60))
    deployment = deploy(start_sandbox(symbols=60, latency_ms=(5, 20)), symbols)
    with dg.DagsterInstance.ephemeral() as another:
        other_deployment = replace(deployment, instance=another)
        other_deployment.tick("symbol_partitions_sensor")
        requests = [deployment.tick().run_requests[0], other_deployment.tick().run_requests[0]]
        with ThreadPoolExecutor(2) as pool:
            runs = list(
                pool.map(lambda pair: pair[0].run(pair[1]), zip((deployment, other_deployment), requests, strict=True))
            )
        assert all(run.success for run in runs)
        assert set(deployment.sandbox.stats()["per_ticker"].values()) == {1}
        for each in (deployment, other_deployment):
            each.run_gap_sensor()
            assert each.materialized == build_partition_keys(symbols, (MONDAY, TUESDAY))
    assert set(deployment.sandbox.stats()["per_ticker"].values()) == {1}


def test_only_partitions_of_the_code_server_are_requested(deploy: Deploy, start_sandbox: StartSandbox) -> None:
    # because the universe shrank, more sessions are retained now than when the code server was loaded
    deployment = deploy(start_sandbox(), SYMBOLS).with_settings(partition_days=5)
    (request,) = deployment.tick().run_requests
    assert request.tags["dagster/asset_partition_range_start"] == f"{MONDAY}|AAPL.US"
    deployment.instance.create_run_for_job(  # Dagster rejects a range that the code server does not have
        deployment.definitions.get_repository_def()
        .get_implicit_job_def_for_assets([BARS])
        .get_subset(asset_selection={BARS}),
        tags=request.tags,
        asset_selection=frozenset({BARS}),
        status=dg.DagsterRunStatus.CANCELED,
    )
    assert deployment.run(request).success
    assert deployment.materialized == build_partition_keys(SYMBOLS, (MONDAY, TUESDAY))
    tick = deployment.tick()
    assert not tick.run_requests
    assert tick.skip_message == (
        "no gap in 4 symbols × 5 sessions; "
        "2 sessions (2026-05-28 to 2026-05-29) are not partitions until the definitions are reloaded"
    )
    delete_bars_at(deployment, "TSLA", datetime(2026, 5, 28, 14, tzinfo=UTC))
    assert deployment.tick().skip_message == (
        "2 sessions (2026-05-28 to 2026-05-29) are not partitions until the definitions are reloaded"
    )


def test_too_many_partitions_cause_a_reload_warning(deploy: Deploy, start_sandbox: StartSandbox) -> None:
    deployment = deploy(start_sandbox(), SYMBOLS)
    due_work = find_due_work(deployment.engine, US, "30m")
    days = [session.day.isoformat() for session in due_work.coverage.grid.sessions]
    # a few days more than when the definitions were loaded
    assert build_reload_warning(due_work, {*days, *map(str, range(27_000))}) == ""
    assert build_reload_warning(due_work, {*days, *map(str, range(30_000))}) == (
        "120,012 partitions, more than 100,000: reload the definitions to drop the oldest days"
    )


def test_daily_data_are_read_by_whatever_run_comes_first(deploy: Deploy, start_sandbox: StartSandbox) -> None:
    deployment = deploy(start_sandbox(), SYMBOLS, daily_data=True)
    (run,) = deployment.run_gap_sensor()
    assert run.success
    assert deployment.sandbox.stats()["by_endpoint"]["eod"] == 4
    assert not deployment.tick("daily_data_sensor").run_requests
    tomorrow = NOW + timedelta(hours=18)  # Wednesday's bars are not overdue, its daily rows are settled
    deployment.sandbox.move_clock(tomorrow)
    later = deployment.with_settings(as_of=tomorrow)
    (request,) = later.tick("daily_data_sensor").run_requests
    assert request.run_key == f"2026-06-03 at {tomorrow:%Y-%m-%d %H} h UTC"  # Dagster drops the same key
    (repeated,) = deployment.with_settings(as_of=tomorrow + timedelta(hours=1)).tick("daily_data_sensor").run_requests
    assert repeated.run_key != request.run_key  # that run may have been stopped by a pause
    job = deployment.definitions.resolve_job_def("read_daily_data")
    assert job.execute_in_process(instance=deployment.instance, resources={"backfill_engine": later.engine}).success
    assert deployment.sandbox.stats()["by_endpoint"]["eod"] == 8
    assert not later.tick("daily_data_sensor").run_requests


@pytest.mark.parametrize(
    ("retries", "expected"),
    [
        ({}, None),  # one machine: nothing changes
        ({"enabled": True, "max_retries": 0}, "1"),  # the instances for several hosts
        ({"enabled": True, "max_retries": 3}, None),  # the number is the user's
    ],
)
def test_runs_are_retried_once_where_dagster_retries_only_tagged_runs(
    retries: dict[str, object], expected: str | None
) -> None:
    with dg.DagsterInstance.ephemeral(settings={"run_retries": retries}) as instance:
        context = dg.build_sensor_context(instance)
        one = PartitionRange(MONDAY, TUESDAY, "AAPL.US", "MSFT.US")
        (request,) = build_run_requests([one], "", ["AAPL.US", "MSFT.US"], context, dg.AssetKey("bars_30m"))
    assert isinstance(request, dg.RunRequest)
    assert request.tags == {**one.tags, **({"dagster/max_retries": expected} if expected else {})}


def test_a_renamed_ticker_keeps_its_partition_until_its_last_session_is_none(
    deploy: Deploy, start_sandbox: StartSandbox
) -> None:
    sandbox = start_sandbox(renamed={"FB": ("META", date(2026, 6, 2))})
    deployment = deploy(sandbox, ("AAPL", "FB"))
    fb, meta = parse_tickers(["FB", "META"])
    last, first = list_sessions(US, date(2026, 6, 1), date(2026, 6, 2))
    renamed = Rename(fb, meta, last, first)
    with deployment.engine.database.transaction() as connection:
        record_rename(connection, renamed, "told by a person", "ann@a", deployment.engine.settings.now())
    deployment.tick("symbol_partitions_sensor")
    assert deployment.instance.get_dynamic_partitions(SYMBOL_DIMENSION) == ["AAPL.US", "FB.US", "META.US"]
    (run,) = deployment.run_gap_sensor()
    assert run.success
    settled = build_partition_keys(("AAPL",), (MONDAY, TUESDAY)) | {f"{MONDAY}|FB.US"}
    assert deployment.materialized == settled | build_partition_keys(("META",), (MONDAY, TUESDAY))
    for symbol, bars in (("FB", 13), ("META", 13), ("AAPL", 26)):
        assert len(read_stored_bars(deployment.engine.database, symbol)) == bars
    assert not deployment.tick().run_requests

    later = deployment.with_settings(as_of=datetime(2026, 6, 5, 14, tzinfo=UTC))  # Wednesday is the oldest partition
    later.tick("symbol_partitions_sensor")
    assert later.instance.get_dynamic_partitions(SYMBOL_DIMENSION) == ["AAPL.US", "META.US"]
    assert len(later.tick().run_requests) == 1
    assert f"{MONDAY}|FB.US" in later.materialized  # its history stays
