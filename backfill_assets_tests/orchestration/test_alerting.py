"""From a failed check or run in Dagster to a message at a real receiver, once."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from backfill_assets.eodhd.sandbox.config import Publication
from backfill_assets.store.requests import Request, log_requests
from backfill_assets_tests.conftest import NOW, Sandboxed
from backfill_assets_tests.integration.receiver import Receiver
from backfill_assets_tests.orchestration.conftest import Deployment

Deployed = Callable[..., Deployment]
FOUR = ("AAPL", "MSFT", "AMZN", "TSLA")
HELD_BACK = Publication(withheld=frozenset({("AAPL", date(2026, 6, 2))}))


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as listening:
        yield listening


def looks(message: str) -> list[str]:
    """Where a message sends its reader."""
    return [line.removeprefix("look: ") for line in message.splitlines() if line.startswith("look: ")]


class Watched:
    """A deployment whose alert sensor is ticked by hand, with its cursor."""

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

    def at(self, now: datetime) -> None:
        settings = self.deployment.engine.settings.model_copy(update={"as_of": now})
        self.deployment = replace(self.deployment, engine=replace(self.deployment.engine, settings=settings))

    def judges(self) -> None:
        job = self.deployment.definitions.resolve_job_def("verify_window")
        resources = {"engine": self.deployment.engine}
        assert job.execute_in_process(instance=self.deployment.instance, resources=resources).success


@pytest.fixture
def watched(deployed: Deployed, sandboxed: Sandboxed, receiver: Receiver) -> Callable[..., Watched]:
    def make(*urls: str, **sandbox: Any) -> Watched:
        addresses = tuple(map(SecretStr, urls or (receiver.url,)))
        return Watched(deployed(sandboxed(**sandbox), FOUR, alert_urls=addresses))

    return make


def test_what_was_before_is_history_and_what_fails_at_once_is_one_message(
    watched: Callable[..., Watched], receiver: Receiver
) -> None:
    user = watched(publication=HELD_BACK)
    assert user.said == "following check results and runs from now on"
    user.deployment.heal()
    assert user.tick() == "7 results heard, 1 messages sent"
    assert receiver.titles == ["FAILING: bars_30m: newest_bar_is_fresh and 1 more"]
    message = receiver.got[0]["message"]
    assert "13 bars are missing, of 1 symbols" in message
    assert "AAPL.US (13)" in message
    assert looks(message) == ["backfill-assets report"] * 2
    user.judges()
    assert user.tick() == "7 results heard, 0 messages sent"


def test_recovery_is_told_too(watched: Callable[..., Watched], receiver: Receiver) -> None:
    user = watched()
    user.judges()
    user.tick()
    assert receiver.titles == ["FAILING: bars_30m: every_symbol_has_recent_bars and 2 more"]
    user.at(NOW + timedelta(minutes=10))
    user.deployment.heal()
    user.tick()
    assert len(receiver.titles) == 2
    assert receiver.titles[1].lower().startswith("recovered: bars_30m: every_symbol_has_recent_bars and 2 more")


def test_a_window_of_a_persons_choice_is_no_news(watched: Callable[..., Watched], receiver: Receiver) -> None:
    user = watched()
    user.judges()
    user.tick()
    user.at(NOW + timedelta(minutes=10))
    nothing_due = user.deployment.verify(hours_back=0.1)
    assert all(check.passed for check in nothing_due.get_asset_check_evaluations())
    assert user.tick() == "1 results heard, 0 messages sent"  # that the run succeeded
    assert len(receiver.titles) == 1


def test_a_replay_sends_nothing_twice(watched: Callable[..., Watched], receiver: Receiver) -> None:
    user = watched(publication=HELD_BACK)
    before = user.cursor
    user.deployment.heal()
    user.tick()
    assert len(receiver.titles) == 1
    user.cursor = before  # the process died before its cursor was kept
    assert user.tick() == "7 results heard, 0 messages sent"
    assert len(receiver.titles) == 1


def test_a_failed_run_is_told_with_its_reason(watched: Callable[..., Watched], receiver: Receiver) -> None:
    user = watched(tokens=frozenset({"another"}))
    assert not user.deployment.heal()[0].success
    user.tick()
    (message,) = [said["message"] for said in receiver.got]
    assert "\nrun of " in message
    (run_id,) = [run.run_id for run in user.deployment.instance.get_runs()]
    assert looks(message)[-1] == f"the run {run_id} in Dagster's UI"
    assert "the vendor refuses the token" in message
    assert "test-token-4711" not in message


def test_an_address_that_is_down_blocks_nobody_and_gets_it_later(
    watched: Callable[..., Watched], receiver: Receiver
) -> None:
    user = watched(publication=HELD_BACK)
    receiver.status = 503
    user.deployment.heal()
    assert user.tick() == "7 results heard, 0 messages sent, 1 addresses are down and will be tried again"
    receiver.status = 200
    user.at(NOW + timedelta(hours=2))
    assert user.tick() == "0 results heard, 1 messages sent"


def test_without_addresses_it_only_listens(deployed: Deployed, sandboxed: Sandboxed) -> None:
    user = Watched(deployed(sandboxed(), FOUR))
    user.judges()
    assert user.tick().endswith("0 messages sent")


def test_checks_of_another_interval_are_told_apart(
    deployed: Deployed, sandboxed: Sandboxed, receiver: Receiver
) -> None:
    addresses = (SecretStr(receiver.url),)
    deployment = deployed(sandboxed(), FOUR, intervals=("30m", "1h"), alert_urls=addresses)
    user = Watched(deployment)
    with deployment.engine.database.transaction() as connection:
        refused = Request(datetime.now(UTC), "/intraday", "AAPL.US", 429, "RateLimited", 0, None, 0, 0.1)
        log_requests(connection, None, [refused])
    job = deployment.definitions.resolve_job_def("verify_window_1h")
    assert job.execute_in_process(instance=deployment.instance, resources={"engine": deployment.engine}).success
    user.tick()
    (message,) = [said["message"] for said in receiver.got]
    told = {paragraph.partition(":")[2].split(":")[0].strip(): looks(paragraph) for paragraph in message.split("\n\n")}
    assert message.count("bars_1h: ") == 4
    assert told == {
        "every_symbol_has_recent_bars": ["backfill-assets report --interval 1h"],
        "newest_bar_is_fresh": ["backfill-assets report --interval 1h"],
        "no_missing_bars": ["backfill-assets report --interval 1h"],
        "no_rate_limit_errors": ["backfill-assets status"],
    }
