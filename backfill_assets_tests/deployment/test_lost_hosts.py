"""What a service can lose: the daemon's host, the way to PostgreSQL, one of two code servers.

Each takes minutes, most of them of waiting; run by ``make deploy-test``.
"""

import time
from contextlib import suppress

import psutil
import pytest

from backfill_assets.market.calendar.tickers import parse_tickers
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.symbols import add_symbols
from backfill_assets_tests.deployment.machines import Machine, skip_without_machines
from backfill_assets_tests.deployment.records import (
    count_repeated_requests,
    count_stored_symbols,
    list_gap_runs,
    list_gap_ticks,
    print_seconds,
    wait_for_first_bars,
    wait_until_healed,
)
from backfill_assets_tests.deployment.services import PAUSE_SECONDS, Site
from backfill_assets_tests.deployment.test_lost_worker import (
    FAILED_WITHIN_SECONDS,
    IN_FLIGHT,
    LATENCY_MS,
    check_moments,
    read_instance,
    set_requests_in_flight,
)
from backfill_assets_tests.waiting import wait_until

SYMBOLS = 60  # half a minute of requests
SILENCE_SECONDS = 120
FIRST_TICK_WITHIN_SECONDS = 60
TICKS_GO_ON_SECONDS = 30  # until then a tick may still wait for the code server that is gone
pytestmark = pytest.mark.deploy


def start_vendor(site: Site, symbols: int = SYMBOLS) -> Sandbox:
    set_requests_in_flight(site)
    return site.start_vendor(symbols=symbols, latency_ms=LATENCY_MS, per_minute=100_000)


def list_run_processes(code: Machine) -> list[psutil.Process]:
    """The processes of a code server that execute runs; not those that have ended and that it has not waited for."""
    found = []
    for process in code.list_processes():
        with suppress(psutil.NoSuchProcess):  # it has just ended, or is a zombie
            if "spawn_main" in " ".join(process.cmdline()):
                found.append(process)
    return found


def test_a_lost_daemon_host_stops_no_run_and_is_replaced(site: Site) -> None:
    vendor = start_vendor(site)
    code, control = site.network.add_machine("code"), site.network.add_machine("control-1")
    *first, last = vendor.world.symbols
    site.start_pipeline(first, code, control, read_instance())
    wait_for_first_bars(site, IN_FLIGHT)
    control.cut_power()
    wait_until(lambda: count_stored_symbols(site) == len(first), "the run to go on without a daemon", PAUSE_SECONDS)
    wait_until(lambda: {run.status for run in list_gap_runs(site)} == {"SUCCESS"}, "the run to end", PAUSE_SECONDS)
    with site.database.transaction() as connection:
        add_symbols(connection, parse_tickers([last]))
    started_at = time.time()
    replacement = site.network.add_machine("control-2")
    site.configure_dagster(replacement, read_instance())
    site.start_daemon(replacement)
    _, runs = wait_until_healed(site, vendor)
    first_tick_at = list_gap_ticks(site, started_at)[0][0]
    print_seconds("another daemon started", first_tick=first_tick_at - started_at)
    assert first_tick_at - started_at < FIRST_TICK_WITHIN_SECONDS
    assert {run.status for run in runs} == {"SUCCESS"}
    assert count_repeated_requests(vendor) == 0


def test_a_silent_network_to_postgres_keeps_no_run(site: Site) -> None:
    skip_without_machines("nft")
    vendor = start_vendor(site)
    code, control = site.network.add_machine("code"), site.network.add_machine("control")
    site.start_pipeline(vendor.world.symbols, code, control, read_instance())
    wait_for_first_bars(site, IN_FLIGHT)
    (silent_run,) = list_run_processes(code)
    silent_at = time.time()
    site.network.silence(code, site.postgres)
    wait_until(lambda: list_gap_runs(site)[0].status == "FAILURE", "the run to be failed", PAUSE_SECONDS)
    requests = vendor.stats()["requests"]
    wait_until(lambda: time.time() >= silent_at + SILENCE_SECONDS, "the silence to end", PAUSE_SECONDS)
    assert vendor.stats()["requests"] == requests  # its process waits to tell Dagster of its end, and asks for nothing
    mended_at = time.time()
    site.network.mend()
    wait_until(lambda: silent_run not in list_run_processes(code), "the run's process to end", PAUSE_SECONDS)
    healed_at, (lost, *others) = wait_until_healed(site, vendor)
    assert lost.ended_at is not None
    print_seconds("silence of 120 s", failed=lost.ended_at - silent_at, healed=healed_at - silent_at)
    assert lost.ended_at - silent_at <= FAILED_WITHIN_SECONDS
    # Its only code server is silent, too: what is repeated there meanwhile cannot start.
    assert {run.status for run in others if run.requested_at > mended_at} == {"SUCCESS"}
    assert count_repeated_requests(vendor) <= IN_FLIGHT


def test_two_code_servers_one_lost(site: Site) -> None:
    vendor = start_vendor(site, 24)
    codes = {name: site.network.add_machine(name, "code") for name in ("code-1", "code-2")}
    control = site.network.add_machine("control")
    site.start_code_server(codes["code-2"])
    site.start_pipeline(vendor.world.symbols, codes["code-1"], control, read_instance())
    start_seconds = wait_for_first_bars(site, IN_FLIGHT)
    host = list_gap_runs(site)[0].host
    assert host is not None
    cut_at = time.time()
    codes[host].cut_power()
    healed_at, (lost, repeated, *others) = wait_until_healed(site, vendor)
    check_moments("one of two code servers lost", cut_at, lost, repeated, healed_at, start_seconds)
    assert {run.status for run in (repeated, *others)} == {"SUCCESS"}
    assert "FAILURE" not in {status for _, status in list_gap_ticks(site, cut_at + TICKS_GO_ON_SECONDS)}
    assert count_repeated_requests(vendor) <= IN_FLIGHT
