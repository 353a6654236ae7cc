"""Two hosts share the runs of 200 tickers by Celery, and one is lost: the other one completes them, within the limit.

Run by ``make deploy-test``.
"""

import time

import pytest
import yaml

from backfill_assets_tests.deployment.machines import skip_without_machines
from backfill_assets_tests.deployment.records import (
    count_repeated_requests,
    count_stored_symbols,
    list_gap_runs,
    print_seconds,
    wait_until_healed,
)
from backfill_assets_tests.deployment.services import PAUSE_SECONDS, ROOT, Site
from backfill_assets_tests.deployment.test_lost_worker import (
    FAILED_WITHIN_SECONDS,
    IN_FLIGHT,
    LATENCY_MS,
    set_requests_in_flight,
)
from backfill_assets_tests.waiting import wait_until

SYMBOLS, RUNS_AT_ONCE = 200, 4
WINDOW_SECONDS, REQUESTS_IN_WINDOW = 10.0, 60  # of the vendor; a minute is too long to be reached several times
PARTITIONS_PER_RUN = SYMBOLS * 2 // RUNS_AT_ONCE  # two sessions of each symbol
pytestmark = pytest.mark.deploy
INSTANCE = ROOT / "deploy" / "hosts" / "etc" / "dagster.yaml"


def test_two_workers_share_tickers_and_one_is_lost(site: Site) -> None:
    skip_without_machines("redis-server")
    vendor = site.start_vendor(
        symbols=SYMBOLS, latency_ms=LATENCY_MS, per_minute=REQUESTS_IN_WINDOW, window_seconds=WINDOW_SECONDS
    )
    instance = yaml.safe_load(INSTANCE.read_text())
    assert instance["concurrency"]["pools"]["default_limit"] == RUNS_AT_ONCE
    set_requests_in_flight(site)
    site.environment |= {
        "EODHD_REQUESTS_PER_MINUTE": str(REQUESTS_IN_WINDOW),
        "BACKFILL_RATE_WINDOW_SECONDS": str(WINDOW_SECONDS),
        "BACKFILL_PARTITIONS_PER_RUN": str(PARTITIONS_PER_RUN),
    }
    code, control = site.network.add_machine("code"), site.network.add_machine("control")
    workers = {name: site.network.add_machine(name) for name in ("worker-1", "worker-2")}
    site.start_broker()
    for worker in workers.values():
        site.start_worker(worker, instance)
    site.start_pipeline(vendor.world.symbols, code, control, instance)
    wait_until(lambda: count_stored_symbols(site) >= SYMBOLS // 4, "a quarter of the bars", PAUSE_SECONDS)
    busy = {run.host for run in list_gap_runs(site) if run.status == "STARTED"}
    cut_at = time.time()
    workers["worker-2"].cut_power()
    healed_at, runs = wait_until_healed(site, vendor)
    stats = vendor.stats()
    assert busy == set(workers)
    lost = [run for run in runs if run.host == "worker-2"]
    assert {run.status for run in lost} == {"FAILURE"}
    assert {run.status for run in runs if run.host == "worker-1"} == {"SUCCESS"}
    failed_at = max(run.ended_at or cut_at for run in lost)
    print_seconds("Celery worker lost", failed=failed_at - cut_at, healed=healed_at - cut_at)
    assert failed_at - cut_at <= FAILED_WITHIN_SECONDS
    assert "429" not in stats["by_status"]
    assert count_repeated_requests(vendor) <= len(lost) * IN_FLIGHT
