"""A sandbox with clean data in its own process, so that its work is not measured with the program's."""

import argparse
from datetime import datetime

from backfill_assets.sandbox.config import SandboxConfig
from backfill_assets.sandbox.server.serve import serve

parser = argparse.ArgumentParser()
parser.add_argument("--symbols", type=int, default=500)
parser.add_argument("--now", type=datetime.fromisoformat, required=True)
parser.add_argument("--latency-ms", type=float, nargs=2, default=(120.0, 350.0))
parser.add_argument("--per-minute", type=int, default=1000)
parser.add_argument("--window-seconds", type=float, default=60.0)
options = parser.parse_args()
serve(
    SandboxConfig(
        symbols=options.symbols,
        now=options.now,
        clock_rate=0.0,
        latency_ms=tuple(options.latency_ms),
        per_minute=options.per_minute,
        window_seconds=options.window_seconds,
    ),
    announce=lambda url: print(url, flush=True),
)
