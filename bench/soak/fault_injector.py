"""Disturbances of a soak test, in an order and with random choices that depend on the seed."""

import subprocess
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

import psutil
import psycopg

from backfill_assets.store.postgres.embedded import resolve_data_folder, start_embedded_database
from backfill_assets.store.postgres.embedded_recovery import find_server
from backfill_assets_tests.embedded_server import restart_embedded_server, stop_embedded_server
from bench.soak.scenario import ADDED_TICKERS, IN_FLIGHT, Scenario
from bench.soak.small_disk import fill_disk

VENDOR_FAULTS = {"status_502": 0.05, "status_500": 0.02, "cut_body": 0.01, "html_200": 0.01, "timeout": 0.003}
MAX_WAIT_SECONDS = 60.0


@dataclass(eq=False)
class SoakFaultInjector:
    """Disturbs a scenario; ``counts`` has the number of each disturbance."""

    scenario: Scenario
    random: Random
    can_fill_disk: bool
    counts: Counter[str] = field(default_factory=Counter)

    def disturb(self) -> None:
        """Run a backfill with the next of ``ORDER`` as disturbance."""
        names = [name for name in ORDER if name != "fill disk" or self.can_fill_disk]
        name = names[self.counts.total() % len(names)]
        self.counts[name] += 1
        DISTURBANCES[name](self)

    def kill_run(self) -> None:
        """Kill a run with SIGKILL after some requests."""
        run = self._start_and_wait_for_requests()
        run.kill()
        self.scenario.wait_for_exit(run)

    def restart_database(self) -> None:
        """Stop PostgreSQL in an orderly way during a run and start it again."""
        run = self._start_and_wait_for_requests()
        stop_embedded_server(self.scenario.home)
        time.sleep(self.random.uniform(0.1, 1.0))
        restart_embedded_server(self.scenario.home)
        self.scenario.wait_for_exit(run)

    def crash_database(self) -> None:
        """Kill PostgreSQL during a run, as a power cut does, and start it again."""
        run = self._start_and_wait_for_requests()
        server = psutil.Process(find_server(resolve_data_folder(self.scenario.home)))
        server.kill()
        psutil.wait_procs([server], timeout=20)
        self._start_database()
        self.scenario.wait_for_exit(run)

    def disconnect_vendor(self) -> None:
        """Make the vendor unavailable during a run."""
        self.scenario.sandbox.set_faults(down=True)
        self.scenario.wait_for_exit(self.scenario.start_process())
        self.scenario.sandbox.set_faults(down=False)

    def run_concurrently(self) -> None:
        """Run two backfills at once."""
        both = [self.scenario.start_process(), self.scenario.start_process()]
        for run in both:
            self.scenario.wait_for_exit(run)

    def fill_disk(self) -> None:
        """Fill the disk during a run."""
        with fill_disk(self.scenario.home):
            self.scenario.wait_for_exit(self.scenario.start_process(BACKFILL_DATABASE_PATIENCE_SECONDS="1"))
        self._start_database()

    def delete_bars(self) -> None:
        """Delete a few bars of a few tickers."""
        symbol_ids = self.random.sample(range(1, len(self.scenario.symbols) + 1), 3)
        with psycopg.connect(self.scenario.url, autocommit=True) as connection:
            for symbol_id in symbol_ids:
                connection.execute(
                    "DELETE FROM market_data WHERE symbol_id = %s AND timestamp IN"
                    " (SELECT timestamp FROM market_data WHERE symbol_id = %s ORDER BY md5(timestamp::text) LIMIT %s)",
                    [symbol_id, symbol_id, self.random.randint(1, 20)],
                )
        self.scenario.run_backfill()

    def _start_and_wait_for_requests(self) -> "subprocess.Popen[str]":
        """Start a run and wait until it has requested some of the added tickers."""
        requests = self.random.randint(1, ADDED_TICKERS - IN_FLIGHT)
        before, run = self.scenario.request_count, self.scenario.start_process()
        self._wait_until(lambda: run.poll() is not None or self.scenario.request_count >= before + requests)
        return run

    def _start_database(self) -> None:
        """Start the server again, as the next process that needs it does."""
        start_embedded_database(self.scenario.home, "bars")

    def _wait_until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + MAX_WAIT_SECONDS
        while not condition() and time.monotonic() < deadline:
            time.sleep(0.002)


DISTURBANCES: dict[str, Callable[[SoakFaultInjector], None]] = {
    "kill run": SoakFaultInjector.kill_run,
    "restart database": SoakFaultInjector.restart_database,
    "crash database": SoakFaultInjector.crash_database,
    "disconnect vendor": SoakFaultInjector.disconnect_vendor,
    "run concurrently": SoakFaultInjector.run_concurrently,
    "delete bars": SoakFaultInjector.delete_bars,
    "fill disk": SoakFaultInjector.fill_disk,
}
ORDER = (
    "kill run",
    "restart database",
    "run concurrently",
    "kill run",
    "crash database",
    "delete bars",
    "fill disk",
    "disconnect vendor",
)
