"""More tickers than the request limit admits in one window: how much time the run adds to the unavoidable waiting.

The minimum is set by the limit alone: a whole window for each full batch, then the requests of the last batch.
"""

import json
import math
import tempfile
from dataclasses import dataclass
from pathlib import Path

from backfill_assets.store.postgres.embedded import start_embedded_database
from bench.command_line import WINDOW
from bench.environment import NOW, build_symbols, fetch_stats, run_command, run_sandbox
from bench.figures import Figure, Section

IN_FLIGHT, MEAN_LATENCY = 48, 0.235  # the engine's maximum; mean latency of the sandbox in seconds


@dataclass(frozen=True)
class RateLimitedLoad:
    """A number of tickers, and a limit of requests per window of so many seconds."""

    tickers: int
    limit: int
    window: float

    @property
    def minimum_seconds(self) -> float:
        """Seconds that the limit alone needs."""
        full = math.ceil(self.tickers / self.limit) - 1
        return full * self.window + (self.tickers - full * self.limit) / IN_FLIGHT * MEAN_LATENCY


def measure(*, quick: bool) -> Section:
    """Time one run."""
    load = RateLimitedLoad(480, 200, 6) if quick else RateLimitedLoad(5000, 2000, 60)
    with tempfile.TemporaryDirectory(prefix="backfill-bench-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        database_url = start_embedded_database(home, "bars_sandbox")
        (home / "symbols").write_text("\n".join(build_symbols(load.tickers)))
        limits = ("--per-minute", str(load.limit), "--window-seconds", str(load.window))
        with run_sandbox("--symbols", str(load.tickers), "--now", NOW, *limits) as vendor:
            run_command(home, vendor, "symbols", "add", "--file", str(home / "symbols"))
            run = run_command(home, vendor, "run", "--quiet", "--format", "json", *WINDOW, **build_rate_settings(load))
            spent = fetch_stats(vendor)
        assert database_url
    result = json.loads(run.out)
    ratio = run.seconds / load.minimum_seconds
    refused = spent["by_status"].get("429", 0)
    return Section(
        f"2. {load.tickers} tickers × 2 sessions at {load.limit} requests in {load.window:.0f} s",
        [
            Figure("whole process", "s", [run.seconds]),
            Figure("minimum of the limit", "s", [load.minimum_seconds]),
            Figure("time relative to the minimum", "×", [ratio], at_most=1.4 if quick else 1.10),
            Figure("refused by the rate limit", "requests", [refused], at_most=0),
            Figure("most memory", "MB", [run.megabytes], at_most=500),
            Figure("slots without a bar after the run", "slots", [sum(result["absent"].values())], at_most=0),
        ],
        [f"The minimum: every window but the last, then the rest with {IN_FLIGHT} in flight, {MEAN_LATENCY} s each."],
    )


def build_rate_settings(load: RateLimitedLoad) -> dict[str, str]:
    """Build the settings that let a run use the whole limit."""
    return {
        "EODHD_REQUESTS_PER_MINUTE": str(load.limit),
        "BACKFILL_RATE_WINDOW_SECONDS": str(load.window),
        "BACKFILL_MINUTE_SHARE": "1",
    }
