"""From the vendor's JSON to 30-minute bars, without network and database; one core.

Compared with json and pandas' resample, and with the sequential script's loop over rows.
"""

import json
import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import httpx

from backfill_assets.eodhd.parsing import parse_intraday
from backfill_assets.market.bars.bar_builder import build_bars
from backfill_assets.market.bars.source_rows import build_row_table
from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.sessions import list_sessions
from backfill_assets.market.calendar.slots import SlotGrid, build_slot_grid
from backfill_assets.market.exchanges.registry import US
from backfill_assets.sandbox.config import SandboxConfig
from backfill_assets.sandbox.server.serve import Sandbox
from bench.baselines import sequential_script, vendor_client
from bench.environment import TOKEN, build_symbols
from bench.figures import Figure, Section

SPAN = (date(2026, 2, 3), date(2026, 6, 2))
NOW = datetime(2026, 6, 3, 14, 0, tzinfo=UTC)


def measure(*, quick: bool) -> Section:
    """Parse a batch of responses over 120 days several times, in processor seconds."""
    tickers = 8 if quick else 64
    grid = build_slot_grid(list_sessions(US, *SPAN), INTERVALS["30m"])
    bodies = _fetch_bodies(build_symbols(tickers), grid)
    rows = sum(len(json.loads(body)) for body in bodies)
    rounds = 3 if quick else 7
    own_rates = _measure_rates(lambda: _parse_and_build(bodies, grid), rows, rounds)
    client = _measure_rates(lambda: [vendor_client.build_bars(json.loads(body)) for body in bodies], rows, rounds)
    loop = _measure_rates(lambda: [sequential_script.build_bars(json.loads(body)) for body in bodies], rows, rounds)
    return Section(
        f"6. From JSON to bars, {tickers} responses of {rows // tickers:,} rows",
        [
            Figure("source rows", "M/s", own_rates, at_least=None if quick else 0.5),
            Figure("json and pandas' resample", "M/s", client),
            Figure("json and a loop over rows", "M/s", loop),
            Figure(
                "faster than json and resample",
                "×",
                [own / other for own, other in zip(own_rates, client, strict=True)],
                at_least=2,
            ),
            Figure(
                "faster than the loop",
                "×",
                [own / other for own, other in zip(own_rates, loop, strict=True)],
                at_least=1.5,
            ),
        ],
    )


def _fetch_bodies(symbols: list[str], grid: SlotGrid) -> list[bytes]:
    """Fetch responses from a sandbox."""
    span = {"interval": "5m", "from": int(grid.starts[0]), "to": int(grid.ends[-1])}
    with Sandbox(SandboxConfig(symbols=len(symbols), now=NOW, clock_rate=0.0)) as sandbox:
        params: dict[str, Any] = {"api_token": TOKEN, "fmt": "json", **span}
        return [
            httpx.get(f"{sandbox.base_url}/intraday/{symbol}.US", params=params, timeout=60).content
            for symbol in symbols
        ]


def _parse_and_build(bodies: list[bytes], grid: SlotGrid) -> None:
    answers = [(number, parse_intraday(body)) for number, body in enumerate(bodies)]
    build_bars(build_row_table(answers), grid, INTERVALS["5m"])


def _measure_rates(work: Callable[[], object], rows: int, rounds: int) -> list[float]:
    """Return million rows per second of each round, after one round to warm up."""
    work()
    rates = []
    for _ in range(rounds):
        began = time.process_time()
        work()
        rates.append(rows / (time.process_time() - began) / 1e6)
    return rates
