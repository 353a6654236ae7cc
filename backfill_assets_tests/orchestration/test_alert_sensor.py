"""A failed check or run in Dagster sends one message to a real HTTP receiver."""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
from pydantic import SecretStr

from backfill_assets.market.calendar.tickers import parse_tickers
from backfill_assets.sandbox.config import Publication
from backfill_assets.store.alert_outbox import enqueue, list_failing, load_state
from backfill_assets.store.evidence.findings import ENDED_OR_RENAMED, Finding, record_finding
from backfill_assets.store.quota.request_log import RequestLogEntry, log_requests
from backfill_assets.store.symbols import deactivate_symbols
from backfill_assets_tests.acceptance.stub_vendor import StubVendor, serve_stub
from backfill_assets_tests.conftest import NOW, StartSandbox
from backfill_assets_tests.integration.alert_receiver import Receiver
from backfill_assets_tests.orchestration.conftest import Deployment

Deploy = Callable[..., Deployment]
SYMBOLS = ("AAPL", "MSFT", "AMZN", "TSLA")
UNPUBLISHED = Publication(never_published=frozenset({("AAPL", date(2026, 6, 2))}))


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as listening:
        yield listening


def parse_next_steps(message: str) -> list[str]:
    """List the commands or pages that a message recommends."""
    return [line.removeprefix("next step: ") for line in message.splitlines() if line.startswith("next step: ")]


class WatchedDeployment:
    """A deployment with the cursor and the last skip reason of its alert sensor."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.cursor: str | None = None
        self.skip_reason = self.tick()

    def tick(self) -> str:
        tick = self.deployment.tick("alert_sensor", self.cursor)
        assert not tick.run_requests
        self.cursor = tick.cursor
        self.skip_reason = tick.skip_message
        return self.skip_reason

    def with_settings(self, **changed: Any) -> None:
        self.deployment = self.deployment.with_settings(**changed)

    def materialize(self, *assets: str, tags: Mapping[str, str]) -> bool:
        """Execute one run over assets and the partitions in the tags; return whether it succeeded."""
        result = dg.materialize(
            [asset for asset in self.deployment.definitions.assets or [] if isinstance(asset, dg.AssetsDefinition)],
            instance=self.deployment.instance,
            selection=list(assets),
            tags=tags,
            resources={"backfill_engine": self.deployment.engine},
            raise_on_error=False,
        )
        return result.success

    def list_failing_runs(self) -> list[str]:
        with self.deployment.engine.database.transaction() as connection:
            return sorted(state.name for state in list_failing(connection) if state.name.startswith("run of "))

    def evaluate_checks(self) -> None:
        job = self.deployment.definitions.resolve_job_def("verify_window")
        resources = {"backfill_engine": self.deployment.engine}
        assert job.execute_in_process(instance=self.deployment.instance, resources=resources).success


@pytest.fixture
def deploy_watched(deploy: Deploy, start_sandbox: StartSandbox, receiver: Receiver) -> Callable[..., WatchedDeployment]:
    def create(*urls: str, **sandbox: Any) -> WatchedDeployment:
        addresses = tuple(map(SecretStr, urls or (receiver.url,)))
        return WatchedDeployment(deploy(start_sandbox(**sandbox), SYMBOLS, alert_urls=addresses))

    return create


def test_earlier_events_are_ignored_and_simultaneous_failures_are_one_message(
    deploy_watched: Callable[..., WatchedDeployment], receiver: Receiver
) -> None:
    watched = deploy_watched(publication=UNPUBLISHED)
    assert watched.skip_reason == "following check results and runs from now on"
    watched.deployment.run_gap_sensor()
    assert watched.tick() == "9 results read, 1 messages sent"
    assert receiver.titles == ["FAILING: bars_30m: newest_bar_is_fresh and 1 more"]
    message = receiver.messages[0]["message"]
    assert "13 bars are missing in 1 symbol" in message
    assert "AAPL.US (13)" in message
    assert parse_next_steps(message) == ["backfill-assets report"] * 2
    watched.evaluate_checks()
    assert watched.tick() == "9 results read, 0 messages sent"


def test_recovery_is_reported(deploy_watched: Callable[..., WatchedDeployment], receiver: Receiver) -> None:
    watched = deploy_watched()
    watched.evaluate_checks()
    watched.tick()
    assert receiver.titles == ["FAILING: bars_30m: every_symbol_has_recent_bars and 2 more"]
    watched.with_settings(as_of=NOW + timedelta(minutes=10))
    watched.deployment.run_gap_sensor()
    watched.tick()
    assert len(receiver.titles) == 2
    assert receiver.titles[1].lower().startswith("recovered: bars_30m: every_symbol_has_recent_bars and 2 more")


def test_decisions_that_wait_are_one_message(
    deploy_watched: Callable[..., WatchedDeployment], receiver: Receiver
) -> None:
    watched = deploy_watched()
    with watched.deployment.engine.database.transaction() as connection:
        for ticker in ("AAPL.US", "MSFT.US"):
            record_finding(connection, Finding(ENDED_OR_RENAMED, ticker, "unknown to the vendor", NOW))
    assert watched.tick() == "0 results read, 1 messages sent"
    assert receiver.titles == ["2 decisions wait"]
    assert parse_next_steps(receiver.messages[0]["message"]) == ["backfill-assets decisions list"]
    assert watched.tick() == "0 results read, 0 messages sent"


def test_checks_of_a_manually_chosen_window_are_not_reported(
    deploy_watched: Callable[..., WatchedDeployment], receiver: Receiver
) -> None:
    watched = deploy_watched()
    watched.evaluate_checks()
    watched.tick()
    watched.with_settings(as_of=NOW + timedelta(minutes=10))
    verification = watched.deployment.verify(hours_back=0.1)
    assert all(check.passed for check in verification.get_asset_check_evaluations())
    assert watched.tick() == "1 results read, 0 messages sent"  # the end of the run
    assert len(receiver.titles) == 1


def test_a_repeated_tick_sends_nothing_twice(
    deploy_watched: Callable[..., WatchedDeployment], receiver: Receiver
) -> None:
    watched = deploy_watched(publication=UNPUBLISHED)
    before = watched.cursor
    watched.deployment.run_gap_sensor()
    watched.tick()
    assert len(receiver.titles) == 1
    watched.cursor = before  # the process died before its cursor was stored
    assert watched.tick() == "9 results read, 0 messages sent"
    assert len(receiver.titles) == 1


def test_a_failed_run_is_reported_with_its_error(
    deploy_watched: Callable[..., WatchedDeployment], receiver: Receiver
) -> None:
    watched = deploy_watched(tokens=frozenset({"another"}))
    assert not watched.deployment.run_gap_sensor()[0].success
    watched.tick()
    (message,) = [message["message"] for message in receiver.messages]
    assert "\nrun of " in message
    (run_id,) = [run.run_id for run in watched.deployment.instance.get_runs()]
    assert parse_next_steps(message)[-1] == f"the run {run_id} in Dagster's UI"
    assert "the vendor rejects the token" in message
    assert "test-token-4711" not in message


def test_a_failure_ends_with_the_next_success_of_the_same_asset(
    deploy_watched: Callable[..., WatchedDeployment], receiver: Receiver
) -> None:
    watched = deploy_watched(tokens=frozenset({"another"}))
    (request,) = watched.deployment.tick().run_requests
    assert not watched.materialize("market_symbols", "bars_30m", "data_quality_report", tags=request.tags)
    watched.tick()
    assert watched.list_failing_runs() == ["run of bars_30m"]  # market_symbols succeeded, the report did not start
    watched.with_settings(token=SecretStr("another"))
    assert watched.materialize("bars_30m", tags=request.tags)
    watched.tick()
    assert watched.list_failing_runs() == []
    assert "run of bars_30m passes again" in receiver.messages[-1]["message"]


def test_a_killed_run_is_reported_without_an_error(
    deploy_watched: Callable[..., WatchedDeployment], receiver: Receiver
) -> None:
    watched = deploy_watched()
    all_assets_job = watched.deployment.definitions.resolve_implicit_global_asset_job_def()
    selection = frozenset([dg.AssetKey("market_symbols"), dg.AssetKey("data_quality_report")])
    run = watched.deployment.instance.create_run_for_job(all_assets_job, asset_selection=selection)
    failure_message = "Detected run worker status FAILED: 'process 4711 has ended'"
    watched.deployment.instance.report_run_failed(run, failure_message)  # as Dagster's monitoring does
    watched.tick()
    assert watched.list_failing_runs() == ["run of data_quality_report", "run of market_symbols"]
    assert (
        f"run {run.run_id} failed: no error was recorded (process killed?), see the run's log: {failure_message}"
        in receiver.messages[0]["message"]
    )


def test_a_run_ended_by_an_invalid_setting_is_reported_with_it(
    deploy_watched: Callable[..., WatchedDeployment], receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = deploy_watched()
    monkeypatch.setenv("EODHD_BASE_URL", "eodhd.com/api")
    all_assets_job = watched.deployment.definitions.resolve_implicit_global_asset_job_def()
    selection = [dg.AssetKey("market_symbols")]
    run = all_assets_job.execute_in_process(
        instance=watched.deployment.instance, asset_selection=selection, raise_on_error=False
    )
    assert not run.success
    watched.tick()
    (message,) = [message["message"] for message in receiver.messages]
    assert message.startswith(f"run of market_symbols: run {run.run_id} failed: ")
    assert "EODHD_BASE_URL must be an http or https URL" in message
    assert "outage" not in message


def test_a_run_of_a_schedule_is_reported_under_its_asset(deploy_watched: Callable[..., WatchedDeployment]) -> None:
    watched = deploy_watched()
    job = watched.deployment.definitions.resolve_job_def("__anonymous_asset_job_morning_report_schedule")
    resources = {"backfill_engine": watched.deployment.engine}
    assert job.execute_in_process(instance=watched.deployment.instance, resources=resources).success
    watched.tick()
    with watched.deployment.engine.database.transaction() as connection:
        assert load_state(connection, "run of data_quality_report") is not None


def test_failures_end_when_no_symbol_is_active(
    deploy_watched: Callable[..., WatchedDeployment], receiver: Receiver
) -> None:
    watched = deploy_watched()
    watched.evaluate_checks()
    watched.tick()
    with watched.deployment.engine.database.transaction() as connection:
        assert len(list_failing(connection)) == 3
        deactivate_symbols(connection, parse_tickers(SYMBOLS))
    watched.with_settings(as_of=NOW + timedelta(minutes=10))
    watched.evaluate_checks()
    watched.tick()
    with watched.deployment.engine.database.transaction() as connection:
        assert list_failing(connection) == []
    expected = "no_missing_bars failed for 10 min; not judged: there are no active symbols"
    assert expected in receiver.messages[-1]["message"]
    assert receiver.titles[-1].lower().startswith("no longer judged: bars_30m: ")


def test_an_address_that_is_down_receives_the_message_later(
    deploy_watched: Callable[..., WatchedDeployment], receiver: Receiver
) -> None:
    watched = deploy_watched(publication=UNPUBLISHED)
    receiver.status = 503
    watched.deployment.run_gap_sensor()
    assert watched.tick() == "9 results read, 0 messages sent, 1 addresses failed and will be retried"
    receiver.status = 200
    watched.with_settings(as_of=NOW + timedelta(hours=2))
    assert watched.tick() == "0 results read, 1 messages sent"


def test_without_addresses_results_are_recorded_and_nothing_is_sent(
    deploy: Deploy, start_sandbox: StartSandbox
) -> None:
    watched = WatchedDeployment(deploy(start_sandbox(), SYMBOLS))
    watched.evaluate_checks()
    assert watched.tick().endswith("0 messages sent")


def test_checks_of_another_interval_are_reported_under_their_own_names(
    deploy: Deploy, start_sandbox: StartSandbox, receiver: Receiver
) -> None:
    addresses = (SecretStr(receiver.url),)
    deployment = deploy(start_sandbox(), SYMBOLS, intervals=("30m", "1h"), alert_urls=addresses)
    watched = WatchedDeployment(deployment)
    with deployment.engine.database.transaction() as connection:
        rate_limited = RequestLogEntry(datetime.now(UTC), "/intraday", "AAPL.US", 429, "RateLimited", 0, None, 0, 0.1)
        log_requests(connection, None, [rate_limited])
    job = deployment.definitions.resolve_job_def("verify_window_1h")
    assert job.execute_in_process(
        instance=deployment.instance, resources={"backfill_engine": deployment.engine}
    ).success
    watched.tick()
    (message,) = [message["message"] for message in receiver.messages]
    next_steps_by_check = {
        paragraph.partition(":")[2].split(":")[0].strip(): parse_next_steps(paragraph)
        for paragraph in message.split("\n\n")
    }
    assert message.count("bars_1h: ") == 4
    assert next_steps_by_check == {
        "every_symbol_has_recent_bars": ["backfill-assets report --interval 1h"],
        "newest_bar_is_fresh": ["backfill-assets report --interval 1h"],
        "no_missing_bars": ["backfill-assets report --interval 1h"],
        "no_rate_limit_errors": ["backfill-assets status"],
    }


def test_heartbeat_follows_a_look_unless_a_destination_failed(
    deploy_watched: Callable[..., WatchedDeployment], receiver: Receiver
) -> None:
    watched, monitor = deploy_watched(), StubVendor(200, b"OK")
    with serve_stub(monitor) as address:
        watched.with_settings(heartbeat_url=SecretStr(f"{address}/beat"))
        watched.tick()
        assert len(monitor.request_paths) == 1
        receiver.status = 500
        with watched.deployment.engine.database.transaction() as connection:
            enqueue(connection, "failing", "a title", "a body", watched.deployment.engine.settings.now())
        assert "1 addresses failed" in watched.tick()
        assert watched.tick() == "0 results read, 0 messages sent", "no attempt before a minute has passed"
        assert len(monitor.request_paths) == 1, "nobody hears the alert, so silence must tell"
