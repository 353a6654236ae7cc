"""What PostgreSQL and the vendor say about a site: runs, bars, requests. Moments are in seconds of the epoch."""

import time
from dataclasses import dataclass

from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets_tests.conftest import read_stored_bars
from backfill_assets_tests.deployment.services import PAUSE_SECONDS, Site
from backfill_assets_tests.integration.test_backfill_engine import MONDAY, TUESDAY, build_expected_bars
from backfill_assets_tests.waiting import wait_until

_GAP_RUNS = """
SELECT r.run_id, r.status, extract(epoch FROM r.create_timestamp AT TIME ZONE 'UTC')::float8, r.start_time, r.end_time,
       split_part(h.value, ' ', 1) FROM runs r JOIN run_tags t USING (run_id)
    LEFT JOIN run_tags h ON h.run_id = r.run_id AND h.key = 'backfill_assets/host'
WHERE t.key = 'dagster/sensor_name' AND t.value = 'gap_backfill_sensor' ORDER BY r.id
"""
_GAP_TICKS = """
SELECT extract(epoch FROM timestamp AT TIME ZONE 'UTC')::float8, status FROM job_ticks
WHERE tick_body::json ->> 'job_name' = 'gap_backfill_sensor' AND timestamp > to_timestamp(%s) AT TIME ZONE 'UTC'
ORDER BY 1
"""
_STORED_SYMBOLS = "SELECT count(DISTINCT symbol_id) FROM market_data"
_ACTIVE_STATUSES = {"QUEUED", "NOT_STARTED", "STARTING", "STARTED", "CANCELING"}


@dataclass(frozen=True)
class GapRun:
    """A run of Dagster that the gap sensor requested."""

    run_id: str
    status: str
    requested_at: float
    started_at: float | None
    ended_at: float | None
    host: str | None  # where it executes; None before it has started


def list_gap_runs(site: Site) -> list[GapRun]:
    """All runs of the gap sensor, in the order of their requests; none before Dagster's database is there."""
    if not site.query("bars", "SELECT FROM pg_database WHERE datname = 'dagster'"):
        return []
    if site.query("dagster", "SELECT to_regclass('run_tags')") == [(None,)]:
        return []
    return [GapRun(*row) for row in site.query("dagster", _GAP_RUNS)]


def list_gap_ticks(site: Site, since: float) -> list[tuple[float, str]]:
    """The ticks of the gap sensor after ``since``: when, and how they ended."""
    return [(at, status) for at, status in site.query("dagster", _GAP_TICKS, since)]


def count_stored_symbols(site: Site) -> int:
    """The number of symbols with a bar."""
    return int(site.query("bars", _STORED_SYMBOLS)[0][0])


def wait_until_healed(site: Site, vendor: Sandbox) -> tuple[float, list[GapRun]]:
    """Wait until every symbol has bars, and for the runs of the gap sensor that were requested until then to end.

    Checks that all bars are the vendor's. Returns when the bars were there, and these runs: later ones only show in
    Dagster what is stored.
    """
    symbols = list(vendor.world.symbols)
    wait_until(lambda: count_stored_symbols(site) == len(symbols), "bars of all symbols", PAUSE_SECONDS)
    healed_at = time.time()
    runs = wait_until(lambda: _list_ended_runs(site, healed_at), "the runs to end", PAUSE_SECONDS)
    for symbol in symbols:
        assert read_stored_bars(site.database, symbol) == build_expected_bars(vendor, symbol, MONDAY, TUESDAY)
    return healed_at, runs


def wait_for_first_bars(site: Site, count: int) -> float:
    """Wait until so many symbols have bars; returns how long after the request of their run that was."""
    wait_until(lambda: count_stored_symbols(site) >= count, "the first bars", PAUSE_SECONDS)
    return time.time() - list_gap_runs(site)[0].requested_at


def _list_ended_runs(site: Site, until: float) -> list[GapRun]:
    """The runs of the gap sensor that were requested until then; none while one of them is unfinished."""
    runs = [run for run in list_gap_runs(site) if run.requested_at <= until]
    return [] if any(run.status in _ACTIVE_STATUSES for run in runs) else runs


def count_repeated_requests(vendor: Sandbox) -> int:
    """How many requests for bars were not the first one of their ticker."""
    counts = vendor.stats()["per_ticker"].values()
    return sum(counts) - len(counts)


def print_seconds(what: str, **seconds: float) -> None:
    """Print how long something took; docs/deployment.md has these figures."""
    parts = [f"{name.replace('_', ' ')} after {value:.1f} s" for name, value in seconds.items()]
    print(f"{what}: {', '.join(parts)}")  # noqa: T201 - make test-machines and deploy-test show it
