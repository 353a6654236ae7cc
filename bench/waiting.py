"""More tickers than the vendor's limit lets through at once: what is added to the waiting itself.

The floor is set by the limit alone: a whole rate window for each full one, and asking the last batch.
"""

import json
import math
import tempfile
from dataclasses import dataclass
from pathlib import Path

from backfill_assets.store.postgres.embedded import start_embedded_database
from bench.command_line import WINDOW
from bench.figures import Figure, Section
from bench.stage import NOW, backfill, sandbox_process, stats, universe

IN_FLIGHT, SECONDS_EACH = 48, 0.235  # the engine's most, and the mean latency of the stand-in


@dataclass(frozen=True)
class Crowding:
    """How many tickers, against how many requests in how long a window."""

    tickers: int
    limit: int
    window: float

    @property
    def floor(self) -> float:
        """Seconds that the limit alone sets."""
        full = math.ceil(self.tickers / self.limit) - 1
        return full * self.window + (self.tickers - full * self.limit) / IN_FLIGHT * SECONDS_EACH


def measure(*, quick: bool) -> Section:
    """One run."""
    crowding = Crowding(480, 200, 6) if quick else Crowding(5000, 2000, 60)
    with tempfile.TemporaryDirectory(prefix="backfill-bench-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        held = start_embedded_database(home, "bars_sandbox")
        (home / "symbols").write_text("\n".join(universe(crowding.tickers)))
        limits = ("--per-minute", str(crowding.limit), "--window-seconds", str(crowding.window))
        with sandbox_process("--symbols", str(crowding.tickers), "--now", NOW, *limits) as vendor:
            backfill(home, vendor, "symbols", "add", "--file", str(home / "symbols"))
            run = backfill(home, vendor, "run", "--quiet", "--format", "json", *WINDOW, **environment(crowding))
            spent = stats(vendor)
        assert held
    result = json.loads(run.out)
    ratio = run.seconds / crowding.floor
    refused = spent["by_status"].get("429", 0)
    return Section(
        f"2. {crowding.tickers} tickers × 2 sessions at {crowding.limit} requests in {crowding.window:.0f} s",
        [
            Figure("whole process", "s", [run.seconds]),
            Figure("floor of the limit", "s", [crowding.floor]),
            Figure("time, of the floor", "×", [ratio], at_most=1.4 if quick else 1.10),
            Figure("refused for the rate", "requests", [refused], at_most=0),
            Figure("most memory", "MB", [run.megabytes], at_most=500),
            Figure("slots without a bar after it", "slots", [sum(result["absent"].values())], at_most=0),
        ],
        [f"The floor: every window but the last, then the rest at {IN_FLIGHT} in flight, {SECONDS_EACH} s each."],
    )


def environment(crowding: Crowding) -> dict[str, str]:
    """The settings that make a run use the whole limit."""
    return {
        "EODHD_REQUESTS_PER_MINUTE": str(crowding.limit),
        "BACKFILL_RATE_WINDOW_SECONDS": str(crowding.window),
        "BACKFILL_MINUTE_SHARE": "1",
    }
