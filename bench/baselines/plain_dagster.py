"""Baseline: Dagster as in its tutorial, with symbol × day partitions, one run each, default storage and executor.

The asset makes one request and upserts the bars; all other time is the cost of a run. Loaded by ``dagster dev``.
"""

import os
from typing import Any

import dagster as dg
import httpx
import psycopg

from backfill_assets.market.calendar.sessions import list_sessions
from backfill_assets.market.exchanges.registry import US
from bench.baselines.sequential_script import build_bars, upsert_bars
from bench.command_line import DAYS
from bench.environment import TOKEN, build_symbols

ASSET = "plain_bars"
SYMBOLS = build_symbols(int(os.environ.get("PLAIN_SYMBOLS", "20")))
SESSIONS = {session.day.isoformat(): session for session in list_sessions(US, *DAYS)}


@dg.asset(
    name=ASSET,
    partitions_def=dg.MultiPartitionsDefinition(
        {"symbol": dg.StaticPartitionsDefinition(SYMBOLS), "day": dg.StaticPartitionsDefinition(list(SESSIONS))}
    ),
)
def plain_bars(context: dg.AssetExecutionContext) -> None:
    """Store one symbol's bars of one day."""
    assert isinstance(context.partition_key, dg.MultiPartitionKey)
    symbol, day = (context.partition_key.keys_by_dimension[name] for name in ("symbol", "day"))
    session = SESSIONS[day]
    span = {"from": int(session.open.timestamp()), "to": int(session.close.timestamp())}
    params: dict[str, Any] = {"api_token": TOKEN, "fmt": "json", "interval": "5m", **span}
    rows = httpx.get(f"{os.environ['EODHD_BASE_URL']}/intraday/{symbol}.US", params=params).json()
    with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
        upsert_bars(connection, SYMBOLS.index(symbol) + 1, build_bars(rows))


defs = dg.Definitions(assets=[plain_bars])
