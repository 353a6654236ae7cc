"""Moves the clocks of an engine and a sandbox together, so that a test over several days takes seconds."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta

from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.job_request import JobRequest, build_job
from backfill_assets.backfill.results import RunResult
from backfill_assets.backfill.runner import run_backfill
from backfill_assets.live.collector import collect_round
from backfill_assets.live.result import LiveRound
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.sandbox.server.serve import Sandbox


@dataclass
class MovingClock:
    """Runs an engine over all sessions since ``first``, as the sensor does, at times that the test chooses."""

    engine: Engine
    sandbox: Sandbox
    first: date
    results: list[tuple[datetime, RunResult]] = field(default_factory=list)

    def move_to(self, now: datetime) -> Engine:
        """Move both clocks to ``now``; returns the engine with this time."""
        self.sandbox.move_clock(now)
        return replace(self.engine, settings=self.engine.settings.model_copy(update={"as_of": now}))

    def run(self, now: datetime) -> RunResult:
        """Run a backfill of all sessions since the first."""
        engine = self.move_to(now)
        job, _ = build_job(engine, JobRequest(start=self.first, end=now.date()))
        result = run_backfill(engine, job, lambda _: None)
        self.results.append((now, result))
        return result

    def collect(self, now: datetime) -> LiveRound:
        """Run one round of live collection."""
        return collect_round(self.move_to(now))

    def measure(self, now: datetime, **options: object) -> Coverage:
        """Measure the coverage of all sessions since the first."""
        engine = self.move_to(now)
        job, _ = build_job(engine, JobRequest(**{"start": self.first, "end": now.date(), **options}))  # type: ignore[arg-type]
        return engine.measure(job)

    @property
    def calls(self) -> int:
        """The calls that the sandbox has billed so far."""
        return int(self.sandbox.stats()["calls"])


def iter_times(first: datetime, last: datetime, minutes: int) -> Iterator[datetime]:
    """Iterate over times from ``first`` to ``last``, both included, in steps of ``minutes``."""
    now = first
    while now <= last:
        yield now
        now += timedelta(minutes=minutes)


def parse_utc(text: str) -> datetime:
    """Parse a UTC time like ``2026-06-01 13:30``."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
