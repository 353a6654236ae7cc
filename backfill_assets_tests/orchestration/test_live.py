"""Live collection and the review in Dagster."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import dagster as dg
import pytest

from backfill_assets.orchestration.live import LIVE_QUOTES, rounds_cron
from backfill_assets_tests.conftest import Sandboxed
from backfill_assets_tests.orchestration.conftest import BARS, Deployment

Deployed = Callable[..., Deployment]
FOUR = ("AAPL", "MSFT", "AMZN", "TSLA")
MIDDAY = datetime(2026, 6, 3, 16, 5, tzinfo=UTC)
SUNDAY = datetime(2026, 6, 7, 16, tzinfo=UTC)


@pytest.fixture
def at(deployed: Deployed, sandboxed: Sandboxed) -> Callable[..., Deployment]:
    """A deployment with live collection on, at a moment."""

    def make(now: datetime, **settings: Any) -> Deployment:
        return deployed(sandboxed(now=now), FOUR, **{"as_of": now, "live": True, **settings})

    return make


def schedule_says(deployment: Deployment) -> Any:
    repository = deployment.definitions.get_repository_def()
    return repository.get_schedule_def("live_schedule").evaluate_tick(
        dg.build_schedule_context(instance=deployment.instance, repository_def=repository)
    )


def test_it_is_off_by_default(deployed: Deployed, sandboxed: Sandboxed) -> None:
    repository = deployed(sandboxed(), FOUR).definitions.get_repository_def()
    assert not repository.has_schedule_def("live_schedule")
    assert LIVE_QUOTES not in repository.asset_graph.get_all_asset_keys()
    assert {key.name for key in repository.asset_graph.asset_check_keys if key.asset_key == BARS} == {
        *("every_symbol_has_recent_bars", "no_missing_bars", "newest_bar_is_fresh", "no_rate_limit_errors"),
        *("bars_are_valid", "sessions_agree_with_eod"),
    }


def test_a_round_in_market_hours_says_what_it_read(at: Callable[..., Deployment]) -> None:
    deployment = at(MIDDAY)
    assert len(schedule_says(deployment).run_requests) == 1
    (asset,) = (
        a for a in deployment.definitions.assets or [] if isinstance(a, dg.AssetsDefinition) and LIVE_QUOTES in a.keys
    )
    run = dg.materialize([asset], instance=deployment.instance, resources={"engine": deployment.engine})
    (event,) = run.get_asset_materialization_events()
    figures = {name: value.value for name, value in event.materialization.metadata.items()}
    assert (figures["kind"], figures["tickers"], figures["samples_fresh"], figures["calls"]) == ("sampled", 4, 4, 4)
    assert figures["delay_seconds"] > 0
    assert deployment.green == set()  # today stays missing until the final data come


def test_at_other_times_nothing_runs(at: Callable[..., Deployment]) -> None:
    assert "out of sampling hours" in schedule_says(at(SUNDAY)).skip_message


def test_its_check_is_one_of_the_assets(at: Callable[..., Deployment]) -> None:
    deployment = at(MIDDAY)
    job = deployment.definitions.resolve_job_def("verify_window")
    run = job.execute_in_process(instance=deployment.instance, resources={"engine": deployment.engine})
    assert "live_keeps_up" in {check.check_name for check in run.get_asset_check_evaluations()}


@pytest.mark.parametrize(
    ("seconds", "cron"), [(300, "*/5 9-16 * * 1-5"), (60, "*/1 9-16 * * 1-5"), (90, "*/1 9-16 * * 1-5")]
)
def test_it_looks_as_often_as_rounds_come(seconds: int, cron: str) -> None:
    assert rounds_cron(seconds) == cron


def test_the_review_reads_again_what_the_vendor_may_have_corrected(deployed: Deployed, sandboxed: Sandboxed) -> None:
    deployment = deployed(sandboxed(now=SUNDAY), FOUR, as_of=SUNDAY, review_sessions=2)
    deployment.heal()
    asked = deployment.sandbox.stats()["by_endpoint"]["intraday"]
    job = deployment.definitions.resolve_job_def("review_bars")
    for again in (4, 0):  # the second finds nobody due
        run = job.execute_in_process(instance=deployment.instance, resources={"engine": deployment.engine})
        assert run.success
        assert deployment.sandbox.stats()["by_endpoint"]["intraday"] == asked + 4
        record = deployment.instance.fetch_observations(BARS, limit=1).records[0].asset_observation
        assert record.metadata["reviewed"].value == again
    assert date(2026, 6, 5).isoformat() + "|AAPL.US" in deployment.green
