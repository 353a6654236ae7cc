"""From a failed check or run in Dagster to one message at a real receiver."""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
from pydantic import SecretStr

from backfill_assets.market.calendar.tickers import parse_tickers
from backfill_assets.sandbox.config import Publication
from backfill_assets.store.alert_outbox import list_failing, load_state
from backfill_assets.store.quota.request_log import RequestLogEntry, log_requests
from backfill_assets.store.symbols import deactivate_symbols
from backfill_assets_tests.conftest import NOW, Sandboxed
from backfill_assets_tests.integration.alert_receiver import Receiver
from backfill_assets_tests.orchestration.conftest import Deployment

Deployed = Callable[..., Deployment]
FOUR = ("AAPL", "MSFT", "AMZN", "TSLA")
HELD_BACK = Publication(never_published=frozenset({("AAPL", date(2026, 6, 2))}))


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as listening:
        yield listening


def next_steps(message: str) -> list[str]:
    """The commands or pages that a message names."""
    return [line.removeprefix("next step: ") for line in message.splitlines() if line.startswith("next step: ")]


class WatchedDeployment:
    """A deployment whose alert sensor is ticked by the test, with its cursor."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.cursor: str | None = None
        self.said = self.tick()

    def tick(self) -> str:
        tick = self.deployment.tick("alert_sensor", self.cursor)
        assert not tick.run_requests
        self.cursor = tick.cursor
        self.said = tick.skip_message
        return self.said

    def with_settings(self, **changed: Any) -> None:
        self.deployment = self.deployment.with_settings(**changed)

    def materialize(self, *assets: str, tags: Mapping[str, str]) -> bool:
        """One run over these assets and the partitions in the tags; returns whether it succeeded."""
        made = dg.materialize(
            [asset for asset in self.deployment.definitions.assets or [] if isinstance(asset, dg.AssetsDefinition)],
            instance=self.deployment.instance,
            selection=list(assets),
            tags=tags,
            resources={"engine": self.deployment.engine},
            raise_on_error=False,
        )
        return made.success

    def failing_runs(self) -> list[str]:
        with self.deployment.engine.database.transaction() as connection:
            return sorted(state.name for state in list_failing(connection) if state.name.startswith("run of "))

    def evaluate_checks(self) -> None:
        job = self.deployment.definitions.resolve_job_def("verify_window")
        resources = {"engine": self.deployment.engine}
        assert job.execute_in_process(instance=self.deployment.instance, resources=resources).success


@pytest.fixture
def watched(deployed: Deployed, sandboxed: Sandboxed, receiver: Receiver) -> Callable[..., WatchedDeployment]:
    def make(*urls: str, **sandbox: Any) -> WatchedDeployment:
        addresses = tuple(map(SecretStr, urls or (receiver.url,)))
        return WatchedDeployment(deployed(sandboxed(**sandbox), FOUR, alert_urls=addresses))

    return make


def test_earlier_events_are_not_reported_and_simultaneous_failures_are_one_message(
    watched: Callable[..., WatchedDeployment], receiver: Receiver
) -> None:
    user = watched(publication=HELD_BACK)
    assert user.said == "following check results and runs from now on"
    user.deployment.heal()
    assert user.tick() == "7 results read, 1 messages sent"
    assert receiver.titles == ["FAILING: bars_30m: newest_bar_is_fresh and 1 more"]
    message = receiver.got[0]["message"]
    assert "13 bars are missing in 1 symbols" in message
    assert "AAPL.US (13)" in message
    assert next_steps(message) == ["backfill-assets report"] * 2
    user.evaluate_checks()
    assert user.tick() == "7 results read, 0 messages sent"


def test_recovery_is_reported(watched: Callable[..., WatchedDeployment], receiver: Receiver) -> None:
    user = watched()
    user.evaluate_checks()
    user.tick()
    assert receiver.titles == ["FAILING: bars_30m: every_symbol_has_recent_bars and 2 more"]
    user.with_settings(as_of=NOW + timedelta(minutes=10))
    user.deployment.heal()
    user.tick()
    assert len(receiver.titles) == 2
    assert receiver.titles[1].lower().startswith("recovered: bars_30m: every_symbol_has_recent_bars and 2 more")


def test_checks_of_a_manually_chosen_window_are_not_reported(
    watched: Callable[..., WatchedDeployment], receiver: Receiver
) -> None:
    user = watched()
    user.evaluate_checks()
    user.tick()
    user.with_settings(as_of=NOW + timedelta(minutes=10))
    nothing_due = user.deployment.verify(hours_back=0.1)
    assert all(check.passed for check in nothing_due.get_asset_check_evaluations())
    assert user.tick() == "1 results read, 0 messages sent"  # the end of the run
    assert len(receiver.titles) == 1


def test_a_repeated_tick_sends_nothing_twice(watched: Callable[..., WatchedDeployment], receiver: Receiver) -> None:
    user = watched(publication=HELD_BACK)
    before = user.cursor
    user.deployment.heal()
    user.tick()
    assert len(receiver.titles) == 1
    user.cursor = before  # the process died before its cursor was stored
    assert user.tick() == "7 results read, 0 messages sent"
    assert len(receiver.titles) == 1


def test_a_failed_run_is_reported_with_its_error(watched: Callable[..., WatchedDeployment], receiver: Receiver) -> None:
    user = watched(tokens=frozenset({"another"}))
    assert not user.deployment.heal()[0].success
    user.tick()
    (message,) = [said["message"] for said in receiver.got]
    assert "\nrun of " in message
    (run_id,) = [run.run_id for run in user.deployment.instance.get_runs()]
    assert next_steps(message)[-1] == f"the run {run_id} in Dagster's UI"
    assert "the vendor rejects the token" in message
    assert "test-token-4711" not in message


def test_a_failure_ends_with_the_next_success_of_the_same_asset(
    watched: Callable[..., WatchedDeployment], receiver: Receiver
) -> None:
    user = watched(tokens=frozenset({"another"}))
    (request,) = user.deployment.tick().run_requests
    assert not user.materialize("market_symbols", "bars_30m", "data_quality_report", tags=request.tags)
    user.tick()
    assert user.failing_runs() == ["run of bars_30m"]  # the universe succeeded, the report did not start
    user.with_settings(token=SecretStr("another"))
    assert user.materialize("bars_30m", tags=request.tags)
    user.tick()
    assert user.failing_runs() == []
    assert "run of bars_30m passes again" in receiver.got[-1]["message"]


def test_a_killed_run_is_reported_without_an_error(
    watched: Callable[..., WatchedDeployment], receiver: Receiver
) -> None:
    user = watched()
    everything = user.deployment.definitions.resolve_implicit_global_asset_job_def()
    chosen = frozenset([dg.AssetKey("market_symbols"), dg.AssetKey("data_quality_report")])
    run = user.deployment.instance.create_run_for_job(everything, asset_selection=chosen)
    gone = "Detected run worker status FAILED: 'its process 4711 is gone'"
    user.deployment.instance.report_run_failed(run, gone)  # as Dagster's monitoring does
    user.tick()
    assert user.failing_runs() == ["run of data_quality_report", "run of market_symbols"]
    assert (
        f"run {run.run_id} failed: no error was recorded (process killed?), see the run's log: {gone}"
        in receiver.got[0]["message"]
    )


def test_a_run_ended_by_an_invalid_setting_is_reported_with_it(
    watched: Callable[..., WatchedDeployment], receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = watched()
    monkeypatch.setenv("EODHD_BASE_URL", "eodhd.com/api")
    everything = user.deployment.definitions.resolve_implicit_global_asset_job_def()
    universe = [dg.AssetKey("market_symbols")]
    run = everything.execute_in_process(
        instance=user.deployment.instance, asset_selection=universe, raise_on_error=False
    )
    assert not run.success
    user.tick()
    (message,) = [said["message"] for said in receiver.got]
    assert message.startswith(f"run of market_symbols: run {run.run_id} failed: ")
    assert "EODHD_BASE_URL must be an http or https URL" in message
    assert "outage" not in message


def test_a_run_of_a_schedule_is_reported_under_its_asset(watched: Callable[..., WatchedDeployment]) -> None:
    user = watched()
    job = user.deployment.definitions.resolve_job_def("__anonymous_asset_job_morning_report_schedule")
    resources = {"engine": user.deployment.engine}
    assert job.execute_in_process(instance=user.deployment.instance, resources=resources).success
    user.tick()
    with user.deployment.engine.database.transaction() as connection:
        assert load_state(connection, "run of data_quality_report") is not None


def test_failures_recover_when_no_symbol_is_active(
    watched: Callable[..., WatchedDeployment], receiver: Receiver
) -> None:
    user = watched()
    user.evaluate_checks()
    user.tick()
    with user.deployment.engine.database.transaction() as connection:
        assert len(list_failing(connection)) == 3
        deactivate_symbols(connection, parse_tickers(FOUR))
    user.with_settings(as_of=NOW + timedelta(minutes=10))
    user.evaluate_checks()
    user.tick()
    with user.deployment.engine.database.transaction() as connection:
        assert list_failing(connection) == []
    assert "no_missing_bars passes again after 10 min: there are no active symbols" in receiver.got[-1]["message"]


def test_an_address_that_is_down_receives_the_message_later(
    watched: Callable[..., WatchedDeployment], receiver: Receiver
) -> None:
    user = watched(publication=HELD_BACK)
    receiver.status = 503
    user.deployment.heal()
    assert user.tick() == "7 results read, 0 messages sent, 1 addresses failed and will be retried"
    receiver.status = 200
    user.with_settings(as_of=NOW + timedelta(hours=2))
    assert user.tick() == "0 results read, 1 messages sent"


def test_without_addresses_results_are_recorded_and_nothing_is_sent(deployed: Deployed, sandboxed: Sandboxed) -> None:
    user = WatchedDeployment(deployed(sandboxed(), FOUR))
    user.evaluate_checks()
    assert user.tick().endswith("0 messages sent")


def test_checks_of_another_interval_have_names_of_their_own(
    deployed: Deployed, sandboxed: Sandboxed, receiver: Receiver
) -> None:
    addresses = (SecretStr(receiver.url),)
    deployment = deployed(sandboxed(), FOUR, intervals=("30m", "1h"), alert_urls=addresses)
    user = WatchedDeployment(deployment)
    with deployment.engine.database.transaction() as connection:
        refused = RequestLogEntry(datetime.now(UTC), "/intraday", "AAPL.US", 429, "RateLimited", 0, None, 0, 0.1)
        log_requests(connection, None, [refused])
    job = deployment.definitions.resolve_job_def("verify_window_1h")
    assert job.execute_in_process(instance=deployment.instance, resources={"engine": deployment.engine}).success
    user.tick()
    (message,) = [said["message"] for said in receiver.got]
    told = {
        paragraph.partition(":")[2].split(":")[0].strip(): next_steps(paragraph) for paragraph in message.split("\n\n")
    }
    assert message.count("bars_1h: ") == 4
    assert told == {
        "every_symbol_has_recent_bars": ["backfill-assets report --interval 1h"],
        "newest_bar_is_fresh": ["backfill-assets report --interval 1h"],
        "no_missing_bars": ["backfill-assets report --interval 1h"],
        "no_rate_limit_errors": ["backfill-assets status"],
    }
