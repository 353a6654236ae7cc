"""Dagster as its tutorial has it: symbol × day partitions, a run for each, its own storage and executor.

The body asks once and upserts; everything beyond that is what a run costs. Loaded by ``dagster dev``.
"""

import os

import dagster as dg
import httpx
import psycopg

from backfill_assets.market.calendar.sessions import list_sessions
from bench.baselines.original import bars_of, upsert
from bench.command_line import DAYS
from bench.stage import TOKEN, universe

ASSET = "plain_bars"
SYMBOLS = universe(int(os.environ.get("PLAIN_SYMBOLS", "20")))
SESSIONS = {session.day.isoformat(): session for session in list_sessions("US", *DAYS)}


@dg.asset(
    name=ASSET,
    partitions_def=dg.MultiPartitionsDefinition(
        {"symbol": dg.StaticPartitionsDefinition(SYMBOLS), "day": dg.StaticPartitionsDefinition(list(SESSIONS))}
    ),
)
def plain_bars(context: dg.AssetExecutionContext) -> None:
    """One symbol's bars of one day."""
    assert isinstance(context.partition_key, dg.MultiPartitionKey)
    symbol, day = (context.partition_key.keys_by_dimension[name] for name in ("symbol", "day"))
    session = SESSIONS[day]
    span = {"from": int(session.open.timestamp()), "to": int(session.close.timestamp())}
    params = {"api_token": TOKEN, "fmt": "json", "interval": "5m", **span}
    rows = httpx.get(f"{os.environ['EODHD_BASE_URL']}/intraday/{symbol}.US", params=params).json()
    with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
        upsert(connection, SYMBOLS.index(symbol) + 1, bars_of(rows))


defs = dg.Definitions(assets=[plain_bars])
