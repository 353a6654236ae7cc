"""Baseline: a sequential script with fixed pauses (docs/glossary.md, "original plan").

One ticker after the other with a live and a historical request each, one upsert per bar, and a pause of 45 s between
batches of 50 tickers. The pauses are counted (``compute_pause_seconds``), not slept. The report counts nights and
weekends as missing.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import httpx
import psycopg

BATCH_SIZE, PAUSE_SECONDS = 50, 45.0
CALLS_PER_TICKER = 6
_SLOT = 1800

_UPSERT = """
INSERT INTO market_data (symbol_id, timestamp, interval_type, open_price, high_price, low_price, close_price, volume)
VALUES (%s, %s, '30m', %s, %s, %s, %s, %s)
ON CONFLICT (symbol_id, interval_type, timestamp) DO UPDATE SET open_price = EXCLUDED.open_price,
    high_price = EXCLUDED.high_price, low_price = EXCLUDED.low_price, close_price = EXCLUDED.close_price,
    volume = EXCLUDED.volume
"""
REPORT_QUERY = """
SELECT s.symbol, s.exchange, count(m.timestamp), min(m.timestamp), max(m.timestamp),
       CASE WHEN count(m.timestamp) > 1
            THEN greatest(0, (extract(epoch FROM max(m.timestamp) - min(m.timestamp)) / 1800)::bigint + 1
                             - count(m.timestamp))
            ELSE 0 END
FROM market_symbols s LEFT JOIN market_data m ON m.symbol_id = s.symbol_id AND m.interval_type = '30m'
GROUP BY s.symbol, s.exchange ORDER BY s.symbol
"""


def compute_pause_seconds(tickers: int) -> float:
    """Compute the total pause between the batches in seconds."""
    return (-(-tickers // BATCH_SIZE) - 1) * PAUSE_SECONDS


def run(base_url: str, token: str, database_url: str, symbols: Sequence[str], start: int, end: int) -> None:
    """Request each symbol from ``start`` to ``end`` (epoch seconds) and store its 30-minute bars."""
    with httpx.Client(base_url=base_url) as client, psycopg.connect(database_url) as connection:
        for symbol in symbols:
            symbol_id = _find_symbol_id(connection, symbol)
            connection.execute("SELECT max(timestamp) FROM market_data WHERE symbol_id = %s", [symbol_id]).fetchone()
            params: dict[str, Any] = {"api_token": token, "fmt": "json"}
            live = client.get(f"/real-time/{symbol}.US", params=params).json()
            span: dict[str, Any] = {"interval": "5m", "from": start, "to": end}
            rows = client.get(f"/intraday/{symbol}.US", params={**params, **span}).json()
            upsert_bars(connection, symbol_id, [*build_bars(rows), *_build_live_bar(live)])
            connection.commit()


def build_bars(rows: Sequence[dict[str, Any]]) -> list[tuple[int, float, float, float, float, int]]:
    """Build 30-minute bars from 5-minute rows: timestamp, open, high, low, close, volume."""
    slots: dict[int, list[dict[str, Any]]] = {}
    for row in rows:
        if row["open"] is not None and row["volume"] is not None:
            slots.setdefault(row["timestamp"] // _SLOT * _SLOT, []).append(row)
    return [
        (
            timestamp,
            part[0]["open"],
            max(row["high"] for row in part),
            min(row["low"] for row in part),
            part[-1]["close"],
            sum(row["volume"] for row in part),
        )
        for timestamp, part in slots.items()
    ]


def upsert_bars(
    connection: psycopg.Connection[Any], symbol_id: int, bars: Sequence[tuple[int, float, float, float, float, int]]
) -> None:
    """Write each bar with its own statement."""
    records = [(symbol_id, datetime.fromtimestamp(timestamp, UTC), *values) for timestamp, *values in bars]
    with connection.cursor() as cursor:
        cursor.executemany(_UPSERT, records)


def _build_live_bar(live: dict[str, Any]) -> list[tuple[int, float, float, float, float, int]]:
    """Use the live snapshot as a bar, as the script does."""
    if "NA" in (live["timestamp"], live["open"], live["close"]):
        return []
    values = [live[name] for name in ("open", "high", "low", "close", "volume")]
    return [(int(live["timestamp"]) // _SLOT * _SLOT, *values)]


def _find_symbol_id(connection: psycopg.Connection[Any], symbol: str) -> int:
    row = connection.execute("SELECT symbol_id FROM market_symbols WHERE symbol = %s", [symbol]).fetchone()
    assert row is not None
    return int(row[0])
