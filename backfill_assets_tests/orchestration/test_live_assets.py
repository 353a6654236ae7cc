"""Live collection and the review in Dagster."""

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import dagster as dg
import pytest

from backfill_assets.live.collector import collect_round
from backfill_assets.market.calendar.sessions import Session, list_sessions
from backfill_assets.market.exchanges.registry import US
from backfill_assets.market.live.sampling_schedule import find_sampled_session, list_rounds
from backfill_assets.orchestration.live_assets import LIVE_QUOTES, build_rounds_cron
from backfill_assets_tests.conftest import StartSandbox, read_stored_bars
from backfill_assets_tests.moving_clock import MovingClock
from backfill_assets_tests.orchestration.conftest import BARS, Deployment

Deploy = Callable[..., Deployment]
SYMBOLS = ("AAPL", "MSFT", "AMZN", "TSLA")
MIDDAY = datetime(2026, 6, 3, 16, 5, tzinfo=UTC)
SUNDAY = datetime(2026, 6, 7, 16, tzinfo=UTC)


@pytest.fixture
def deploy_at(deploy: Deploy, start_sandbox: StartSandbox) -> Callable[..., Deployment]:
    """Create deployments with live collection at a given time."""

    def create(now: datetime, **settings: Any) -> Deployment:
        return deploy(start_sandbox(now=now), SYMBOLS, **{"as_of": now, "live": True, **settings})

    return create


def list_schedule_ticks(session: Session, seconds: int) -> list[datetime]:
    """List the ticks of the schedule within the sampling hours of a session."""
    minutes, hours, *_ = build_rounds_cron(seconds).split()
    minute_values = range(0, 60, int(minutes[2:])) if minutes.startswith("*/") else map(int, minutes.split(","))
    assert hours == "9-16"
    midnight = datetime.combine(session.day, time(), US.zone)
    ticks = [midnight + timedelta(hours=hour, minutes=minute) for minute in minute_values for hour in range(9, 17)]
    return sorted(tick.astimezone(UTC) for tick in ticks if find_sampled_session([session], tick))


def evaluate_live_schedule(deployment: Deployment) -> Any:
    repository = deployment.definitions.get_repository_def()
    return repository.get_schedule_def("live_schedule").evaluate_tick(
        dg.build_schedule_context(instance=deployment.instance, repository_def=repository)
    )


def test_live_assets_are_absent_by_default(deploy: Deploy, start_sandbox: StartSandbox) -> None:
    repository = deploy(start_sandbox(), SYMBOLS).definitions.get_repository_def()
    assert not repository.has_schedule_def("live_schedule")
    assert LIVE_QUOTES not in repository.asset_graph.get_all_asset_keys()
    assert {key.name for key in repository.asset_graph.asset_check_keys if key.asset_key == BARS} == {
        *("every_symbol_has_recent_bars", "no_missing_bars", "newest_bar_is_fresh", "no_rate_limit_errors"),
        *("bars_are_valid", "bars_are_plausible", "sessions_agree_with_eod", "splits_are_consistent"),
        "history_is_complete",
    }


def test_a_round_in_market_hours_reports_its_samples_as_metadata(deploy_at: Callable[..., Deployment]) -> None:
    deployment = deploy_at(MIDDAY)
    assert len(evaluate_live_schedule(deployment).run_requests) == 1
    (asset,) = (
        a for a in deployment.definitions.assets or [] if isinstance(a, dg.AssetsDefinition) and LIVE_QUOTES in a.keys
    )
    run = dg.materialize([asset], instance=deployment.instance, resources={"backfill_engine": deployment.engine})
    (event,) = run.get_asset_materialization_events()
    figures = {name: value.value for name, value in event.materialization.metadata.items()}
    assert (figures["kind"], figures["tickers"], figures["samples_fresh"], figures["calls"]) == ("sampled", 4, 4, 4)
    assert figures["delay_seconds"] > 0
    assert deployment.materialized == set()  # today stays missing until the final bars


def test_the_report_contains_the_accuracy_of_live_bars(deploy_at: Callable[..., Deployment]) -> None:
    deployment = deploy_at(MIDDAY)
    (asset,) = (
        a
        for a in deployment.definitions.assets or []
        if isinstance(a, dg.AssetsDefinition) and dg.AssetKey("data_quality_report") in a.keys
    )

    def read_live_summary() -> Any:
        run = dg.materialize([asset], instance=deployment.instance, resources={"backfill_engine": deployment.engine})
        (event,) = run.get_asset_materialization_events()
        return event.materialization.metadata["live_bars"].value

    assert read_live_summary() == "no live bar was replaced by a final bar"
    with deployment.engine.database.transaction() as connection:
        connection.execute(
            "INSERT INTO backfill.live_reconciliations (symbol_id, interval_type, timestamp, live_open, live_high,"
            " live_low, live_close, live_volume, final_open, final_high, final_low, final_close,"
            " final_volume, source_interval)"
            " VALUES (1, '30m', '2026-06-02 15:00+00', 10, 10, 10, 10, 30, 10, 10, 10, 10, 20, '5m')"
        )
    assert read_live_summary().startswith("1 live bars were replaced by final bars: price difference 0.0 bp")


def test_the_schedule_skips_outside_sampling_hours(deploy_at: Callable[..., Deployment]) -> None:
    assert "outside sampling hours" in evaluate_live_schedule(deploy_at(SUNDAY)).skip_message


def test_live_keeps_up_is_a_check_of_the_bars_asset(deploy_at: Callable[..., Deployment]) -> None:
    deployment = deploy_at(MIDDAY)
    job = deployment.definitions.resolve_job_def("verify_window")
    run = job.execute_in_process(instance=deployment.instance, resources={"backfill_engine": deployment.engine})
    assert "live_keeps_up" in {check.check_name for check in run.get_asset_check_evaluations()}


@pytest.mark.parametrize(
    ("seconds", "minutes"),
    [
        (60, "*/1"),
        (90, "*/1"),
        (300, "*/5"),
        (360, "3,9,10,15,21,27,33,39,45,51,57"),
        (600, "5,10,15,25,35,45,55"),
        (900, "0,10,15,30,45"),
        (1800, "10,15,45"),
    ],
)
def test_the_cron_expression_has_the_minutes_of_the_rounds(seconds: int, minutes: str) -> None:
    assert build_rounds_cron(seconds) == f"{minutes} 9-16 * * 1-5"


@pytest.mark.parametrize("seconds", [s for s in range(60, 1801) if 1800 % s == 0])
@pytest.mark.parametrize("day", [date(2026, 6, 2), date(2026, 11, 27)], ids=["regular", "early close"])
def test_every_round_has_a_tick_of_the_schedule(seconds: int, day: date) -> None:
    (session,) = list_sessions(US, day, day)
    ticks = list_schedule_ticks(session, seconds)
    for due in list_rounds(session, seconds):
        assert any(due <= tick < due + timedelta(minutes=1) for tick in ticks), due


@pytest.mark.no_cover
@pytest.mark.parametrize("seconds", [600, 900, 1800])
@pytest.mark.parametrize("minutes_late", [0, 1])
def test_scheduled_rounds_build_every_bar_at_any_delay(
    make_live_clock: Callable[..., MovingClock], seconds: int, minutes_late: int
) -> None:
    """Quotes are 15 minutes late for MSFT and 16 for AAPL, plus ``minutes_late``."""
    clock = make_live_clock(("AAPL", "MSFT"), live={"live_seconds": seconds})
    (session,) = list_sessions(US, clock.first, clock.first)
    delays = set()
    for tick in list_schedule_ticks(session, seconds):
        engine = clock.move_to(tick)
        clock.sandbox.move_clock(tick - timedelta(minutes=minutes_late))
        delays.add(collect_round(engine).longest_delay_seconds)
    assert (16 + minutes_late) * 60 in delays
    for symbol in ("AAPL", "MSFT"):
        assert len(read_stored_bars(engine.database, symbol)) == 13


def test_the_review_stores_vendor_corrections(deploy: Deploy, start_sandbox: StartSandbox) -> None:
    deployment = deploy(start_sandbox(now=SUNDAY), SYMBOLS, as_of=SUNDAY, review_sessions=2)
    deployment.run_gap_sensor()
    request_count = deployment.sandbox.stats()["by_endpoint"]["intraday"]
    job = deployment.definitions.resolve_job_def("review_bars")
    for reviewed in (4, 0):  # no symbol is due in the second run
        run = job.execute_in_process(instance=deployment.instance, resources={"backfill_engine": deployment.engine})
        assert run.success
        assert deployment.sandbox.stats()["by_endpoint"]["intraday"] == request_count + 4
        record = deployment.instance.fetch_observations(BARS, limit=1).records[0].asset_observation
        assert record.metadata["reviewed"].value == reviewed
    assert date(2026, 6, 5).isoformat() + "|AAPL.US" in deployment.materialized
