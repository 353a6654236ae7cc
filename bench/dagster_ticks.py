"""From a sensor's tick to green partitions, beside Dagster's own empty run in the same deployment.

Both are code locations of one deployment, so storage, launcher, daemon and the work of other programs are the same. A
run waits in the queue until the daemon looks next, up to its interval: luck, which is left out of ratios on both sides.
"""

import statistics
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path

import psycopg

from backfill_assets.market.calendar.tickers import parse_tickers
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.postgres.embedded import start_embedded_database
from backfill_assets.store.postgres.migrate import migrate
from backfill_assets.store.symbols import add_symbols
from bench.baselines import empty_run
from bench.dagster_deployment import Deployment, RunTimes, run_deployment, wait_until
from bench.environment import NOW, TOKEN, build_symbols, fetch_stats, run_sandbox
from bench.figures import Figure
from bench.rate_limit import RateLimitedLoad, build_rate_settings

ASSET = "bars_30m"
CONFIG = files("backfill_assets.orchestration") / "dagster.yaml"
OWN_LOCATION = "backfill_assets"
EMPTY_LOCATION = "empty_run"
WORKSPACE = f"""load_from:
  - python_module: {{module_name: backfill_assets.definitions, location_name: {OWN_LOCATION}}}
  - python_module: {{module_name: {empty_run.__name__}, location_name: {EMPTY_LOCATION}}}
"""


@dataclass(frozen=True)
class Timing:
    """Seconds from a sensor's tick, of a run of ours and of empty runs before and after it.

    Attributes:
        green: until all partitions were materialized.
        end: until the run ended, with daily data, certificates and checks.
        queued: of these, how long the run waited in the queue.
        asked: of these, what the requests to the vendor took, storing included.
        empty: from the ticks of the empty runs to their ends, without their time in the queue: their mean.
        empty_queued: how long these waited in the queue: their mean.
    """

    green: float
    end: float
    queued: float
    asked: float
    empty: float
    empty_queued: float


def compare_with_empty_run(what: str, timings: Sequence[Timing], at_most: float | None = None) -> Iterator[Figure]:
    """Compare runs of ours with empty ones, also without what they take to ask the vendor."""
    yield Figure(f"tick to green, {what}", "s", [timing.green for timing in timings])
    yield Figure("… of it in the queue", "s", [timing.queued for timing in timings])
    yield Figure("… of it requests and storing", "s", [timing.asked for timing in timings])
    yield Figure("tick to the end of an empty run beside it", "s", [t.empty + t.empty_queued for t in timings])
    yield Figure("… of it in the queue", "s", [timing.empty_queued for timing in timings])
    own = [timing.green - timing.queued for timing in timings]
    ratios = [seconds / timing.empty for seconds, timing in zip(own, timings, strict=True)]
    yield Figure("tick to green relative to it, both without the queue", "×", ratios, at_most=at_most)
    rest = [(seconds - timing.asked) / timing.empty for seconds, timing in zip(own, timings, strict=True)]
    yield Figure("… the same without requests and storing", "×", rest, at_most=2)


def time_backfill(load: RateLimitedLoad, sessions: int = 2) -> Timing:
    """Time the run that a tick requests for the newest sessions that have ended, between two empty runs."""
    limits = ("--per-minute", str(load.limit), "--window-seconds", str(load.window))
    with tempfile.TemporaryDirectory(prefix="backfill-bench-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        url = create_store(home, load.tickers)
        with run_sandbox("--symbols", str(load.tickers), "--now", NOW, *limits) as vendor:
            variables = {
                **build_rate_settings(load),
                **build_environment(home, url, vendor),
                "DAGSTER_HOME": folder,
                "BACKFILL_PARTITION_DAYS": str(sessions + 1),
                "BACKFILL_SENSOR_SECONDS": "5",
                "BACKFILL_AUTO": "false",
            }
            (home / "dagster.yaml").write_text(CONFIG.read_text("utf-8"), "utf-8")
            (home / "workspace.yaml").write_text(WORKSPACE, "utf-8")
            words = ("dagster", "dev", "--host", "127.0.0.1", "--workspace", str(home / "workspace.yaml"))
            with run_deployment(words, OWN_LOCATION, home, variables) as dagster:
                timing = _time_runs(dagster, load.tickers, sessions)
            assert fetch_stats(vendor)["by_status"].get("429", 0) == 0
        return replace(timing, asked=_read_asked_seconds(url))


def _time_runs(dagster: Deployment, tickers: int, sessions: int) -> Timing:
    dagster.start_sensor("symbol_partitions_sensor")
    wait_until(lambda: dagster.count_symbols(ASSET) == tickers, "the symbols to be partitions")
    dagster.stop_sensor("symbol_partitions_sensor")
    empty = replace(dagster, location=EMPTY_LOCATION)
    before = _time_one_run(empty, empty_run.SENSOR)
    own = _time_one_run(dagster, "gap_backfill_sensor")
    assert dagster.count_materialized(ASSET) == sessions * tickers
    green = dagster.find_newest_materialization(ASSET)
    around = (before, _time_one_run(empty, empty_run.SENSOR))
    return Timing(
        green=green - own.tick,
        end=own.ended - own.tick,
        queued=own.queued,
        asked=0.0,
        empty=statistics.mean(run.ended - run.tick - run.queued for run in around),
        empty_queued=statistics.mean(run.queued for run in around),
    )


def _time_one_run(dagster: Deployment, sensor: str) -> RunTimes:
    """Switch a sensor on until it has requested one more run, and wait for that run's end."""
    known = dagster.find_ticks_of_runs(sensor)
    dagster.start_sensor(sensor)
    wait_until(lambda: dagster.find_ticks_of_runs(sensor).keys() - known.keys(), "a tick with a run")
    dagster.stop_sensor(sensor)
    ((run, tick),) = dagster.find_ticks_of_runs(sensor).items() - known.items()
    return replace(wait_until(lambda: dagster.find_times(run), "the run to end"), tick=tick)


def _read_asked_seconds(url: str) -> float:
    """Read how long the first run of the engine took."""
    with psycopg.connect(url) as connection:
        query = "SELECT extract(epoch FROM finished_at - started_at)::float8 FROM backfill.runs ORDER BY started_at"
        return float(connection.execute(query).fetchall()[0][0])


def build_environment(home: Path, url: str, vendor: str) -> dict[str, str]:
    """The variables of a process that works with a store and a vendor of a benchmark."""
    return {
        "BACKFILL_HOME": str(home),
        "DATABASE_URL": url,
        "EODHD_BASE_URL": vendor,
        "EODHD_API_TOKEN": TOKEN,
        "BACKFILL_AS_OF": NOW,
    }


def create_store(home: Path, count: int) -> str:
    """Create a store with so many symbols and without bars; returns its address."""
    url = start_embedded_database(home, "bars_of_bench")
    database = Database(url)
    migrate(database)
    with database.transaction() as connection:
        add_symbols(connection, parse_tickers(build_symbols(count)))
    database.close()
    return url
