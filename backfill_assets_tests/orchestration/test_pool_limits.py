"""The limit of a pool on Postgres after the setting behind it has changed."""

from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster._core.op_concurrency_limits_counter import GlobalOpConcurrencyLimitsCounter

from backfill_assets_tests.orchestration.test_storage import CONFIG

POOL = "eodhd"
pytestmark = pytest.mark.filterwarnings("ignore")


@dg.op(pool=POOL)
def call_vendor() -> None:
    """Stand for a backfill."""


@dg.job
def backfill() -> None:
    """A run in the pool."""
    call_vendor()


def read_limit(folder: Path, limit: int, *, set_by_hand: int | None = None) -> int | None:
    """Do what the daemon does when a run is queued, with another ``default_limit``; the pool's limit afterwards."""
    config = yaml.safe_load(CONFIG.read_text())
    config["concurrency"]["pools"]["default_limit"] = limit
    (folder / "dagster.yaml").write_text(yaml.safe_dump(config))
    with dg.DagsterInstance.from_config(str(folder)) as instance:
        if set_by_hand is not None:
            instance.event_log_storage.set_concurrency_slots(POOL, set_by_hand)
        queued = instance.create_run_for_job(backfill)
        limits = instance.event_log_storage.get_pool_limits()
        GlobalOpConcurrencyLimitsCounter(instance, [queued], [], {POOL}, limits)
        pools = {pool.name: pool.limit for pool in instance.event_log_storage.get_pool_limits()}
        assert instance.event_log_storage.get_concurrency_info(POOL).slot_count == pools[POOL]
        return pools[POOL]


def test_a_changed_setting_reaches_the_pool_and_what_a_person_has_set_stays(
    create_database: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", create_database(None))
    monkeypatch.setenv("BACKFILL_BATCH_PLANNED_EVENTS", "false")  # what batches events extends what keeps limits
    assert [read_limit(tmp_path, limit) for limit in (1, 4, 2)] == [1, 4, 2]
    assert read_limit(tmp_path, 2, set_by_hand=3) == 3
    assert read_limit(tmp_path, 5) == 3
