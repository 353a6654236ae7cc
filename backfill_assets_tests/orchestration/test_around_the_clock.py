"""Crypto pairs and currencies in one deployment: partitions that become green by day, and what the sensors start."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg
import pytest

from backfill_assets.orchestration.build import build_definitions
from backfill_assets.orchestration.exchange_names import build_bars_key
from backfill_assets.reading.dagster import BarsResource
from backfill_assets.sandbox.config import ExchangeConfig
from backfill_assets_tests.conftest import StartSandbox
from backfill_assets_tests.orchestration.conftest import Deployment

pytestmark = pytest.mark.filterwarnings("ignore")
CC_BARS, FOREX_BARS = build_bars_key("30m", "CC"), build_bars_key("30m", "FOREX")
SUNDAY = datetime(2026, 11, 1, 12, tzinfo=UTC)  # clocks went back in New York in the morning
EVENING = datetime(2026, 11, 1, 22, 30, tzinfo=UTC)  # 17:30 in New York: the trade date of 2 November has opened
DeployPairs = Callable[..., Deployment]


@pytest.fixture
def deploy_pairs(deploy: Callable[..., Deployment], start_sandbox: StartSandbox) -> DeployPairs:
    """A deployment of a pair each on a sandbox that serves them, at a moment."""

    def create(now: datetime, **overrides: Any) -> Deployment:
        pairs = ExchangeConfig(symbols=1, history_from=date(2026, 10, 26))
        sandbox = start_sandbox(now=now, exchanges={"CC": pairs, "FOREX": pairs})
        symbols = tuple(f"{sandbox.worlds.get_world(code).symbols[0]}.{code}" for code in ("CC", "FOREX"))
        return deploy(sandbox, symbols, **{"exchanges": ("CC", "FOREX"), "as_of": now, **overrides})

    return create


def move(deployment: Deployment, now: datetime) -> Deployment:
    """The deployment at another moment, as after a reload."""
    deployment.sandbox.move_clock(now)
    moved = deployment.with_settings(as_of=now)
    return replace(moved, definitions=build_definitions(moved.engine.settings))


def list_green_days(deployment: Deployment, key: dg.AssetKey) -> list[str]:
    return sorted(partition.split("|")[0] for partition in deployment.instance.get_materialized_partitions(key))


def list_failed(result: dg.ExecuteInProcessResult) -> list[str]:
    failed = [e for e in result.get_asset_check_evaluations() if not e.passed]
    return sorted(f"{evaluation.asset_key.to_user_string()}: {evaluation.check_name}" for evaluation in failed)


def test_days_and_trade_dates_become_green_and_a_weekend_is_quiet(deploy_pairs: DeployPairs) -> None:
    """From Friday's trade date to Monday's, with days of cryptocurrencies in between."""
    deployment = deploy_pairs(SUNDAY)
    cursors = {code: deployment.tick(f"complete_sessions_sensor_{code}").cursor for code in ("CC", "FOREX")}
    for name in ("gap_backfill_sensor_CC", "gap_backfill_sensor_FOREX"):
        (run,) = deployment.run_gap_sensor(name)
        assert run.success
    complete = {"CC": ["2026-10-30", "2026-10-31"], "FOREX": ["2026-10-28", "2026-10-29", "2026-10-30"]}
    assert list_green_days(deployment, CC_BARS) == complete["CC"]
    assert list_green_days(deployment, FOREX_BARS) == complete["FOREX"]
    assert list_failed(deployment.verify()) == []
    for code, days in complete.items():
        events = deployment.tick(f"complete_sessions_sensor_{code}", cursors[code]).asset_events
        assert [event.partition for event in events] == days

    soon = move(deployment, SUNDAY + timedelta(minutes=10))
    assert "wait for their next request; the first is due at" in soon.tick("gap_backfill_sensor_CC").skip_message
    evening = move(deployment, EVENING)
    assert evening.tick("gap_backfill_sensor_FOREX").skip_message == "no gap in 1 symbol × 3 sessions"
    assert list_failed(evening.verify()) == []

    night = move(deployment, datetime(2026, 11, 3, 4, tzinfo=UTC))  # Monday's trade date closed at 22:00 UTC
    for name in ("gap_backfill_sensor_CC", "gap_backfill_sensor_FOREX"):
        (run,) = night.run_gap_sensor(name)
        assert run.success
    assert list_green_days(night, CC_BARS)[2:] == ["2026-11-01"]  # of 2 November some rows are not there yet
    assert list_green_days(night, FOREX_BARS)[3:] == ["2026-11-02"]
    assert list_failed(night.verify()) == []
    read_trade_date(night)


def read_trade_date(deployment: Deployment) -> None:
    """A session is read by its hours, which begin on the evening before its date."""
    read = BarsResource(exchange="FOREX", require="explained").read_session("2026-11-02")
    stamps = read.frame["timestamp"]
    assert (len(stamps), stamps.min().isoformat(), stamps.max().isoformat()) == (
        48,
        "2026-11-01T22:00:00+00:00",
        "2026-11-02T21:30:00+00:00",
    )
    assert set(read.frame["session"].astype(str)) == {"2026-11-02"}


def test_a_trade_date_that_has_not_opened_can_be_chosen_and_costs_nothing(deploy_pairs: DeployPairs) -> None:
    deployment = deploy_pairs(EVENING).with_settings(as_of=SUNDAY)
    (pair,) = deployment.instance.get_dynamic_partitions("symbol_FOREX")
    key = dg.MultiPartitionKey({"symbol_FOREX": pair, "day": "2026-11-02"})
    result = deployment.materialize({"dagster/partition": key}, FOREX_BARS)
    assert result.success
    assert deployment.sandbox.stats()["calls"] == 0
    assert list_green_days(deployment, FOREX_BARS) == []
