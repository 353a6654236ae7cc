"""What the plan this project comes from describes: one ticker after the other, an upsert for each.

A live and a historical request per ticker, one row at a time into the table, batches of 50 with a rest of 45 s
between them. The rests are counted (``rests``), not slept. Its report counts nights and weekends as missing.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import httpx
import psycopg

BATCH, REST_SECONDS = 50, 45.0
CALLS_EACH = 6
_SLOT = 1800

_UPSERT = """
INSERT INTO market_data (symbol_id, timestamp, interval_type, open_price, high_price, low_price, close_price, volume)
VALUES (%s, %s, '30m', %s, %s, %s, %s, %s)
ON CONFLICT (symbol_id, interval_type, timestamp) DO UPDATE SET open_price = EXCLUDED.open_price,
    high_price = EXCLUDED.high_price, low_price = EXCLUDED.low_price, close_price = EXCLUDED.close_price,
    volume = EXCLUDED.volume
"""
REPORT = """
SELECT s.symbol, s.exchange, count(m.timestamp), min(m.timestamp), max(m.timestamp),
       CASE WHEN count(m.timestamp) > 1
            THEN greatest(0, (extract(epoch FROM max(m.timestamp) - min(m.timestamp)) / 1800)::bigint + 1
                             - count(m.timestamp))
            ELSE 0 END
FROM market_symbols s LEFT JOIN market_data m ON m.symbol_id = s.symbol_id AND m.interval_type = '30m'
GROUP BY s.symbol, s.exchange ORDER BY s.symbol
"""


def rests(tickers: int) -> float:
    """Seconds of rest between the batches."""
    return (-(-tickers // BATCH) - 1) * REST_SECONDS


def fill(base_url: str, token: str, database_url: str, symbols: Sequence[str], start: int, end: int) -> None:
    """Ask for each symbol from ``start`` to ``end`` (epoch seconds) and store its 30-minute bars."""
    with httpx.Client(base_url=base_url) as client, psycopg.connect(database_url) as connection:
        for symbol in symbols:
            key = _symbol_id(connection, symbol)
            connection.execute("SELECT max(timestamp) FROM market_data WHERE symbol_id = %s", [key]).fetchone()
            params: dict[str, Any] = {"api_token": token, "fmt": "json"}
            live = client.get(f"/real-time/{symbol}.US", params=params).json()
            span = {"interval": "5m", "from": start, "to": end}
            rows = client.get(f"/intraday/{symbol}.US", params={**params, **span}).json()
            upsert(connection, key, [*bars_of(rows), *_live_bar(live)])
            connection.commit()


def bars_of(rows: Sequence[dict[str, Any]]) -> list[tuple[int, float, float, float, float, int]]:
    """5-minute rows as 30-minute bars: stamp, open, high, low, close, volume."""
    slots: dict[int, list[dict[str, Any]]] = {}
    for row in rows:
        if row["open"] is not None and row["volume"] is not None:
            slots.setdefault(row["timestamp"] // _SLOT * _SLOT, []).append(row)
    return [
        (
            stamp,
            part[0]["open"],
            max(row["high"] for row in part),
            min(row["low"] for row in part),
            part[-1]["close"],
            sum(row["volume"] for row in part),
        )
        for stamp, part in slots.items()
    ]


def upsert(
    connection: psycopg.Connection[Any], symbol_id: int, bars: Sequence[tuple[int, float, float, float, float, int]]
) -> None:
    """One statement a bar."""
    records = [(symbol_id, datetime.fromtimestamp(stamp, UTC), *values) for stamp, *values in bars]
    with connection.cursor() as cursor:
        cursor.executemany(_UPSERT, records)


def _live_bar(live: dict[str, Any]) -> list[tuple[int, float, float, float, float, int]]:
    """The snapshot of the day, taken for a bar."""
    if "NA" in (live["timestamp"], live["open"], live["close"]):
        return []
    values = [live[name] for name in ("open", "high", "low", "close", "volume")]
    return [(int(live["timestamp"]) // _SLOT * _SLOT, *values)]


def _symbol_id(connection: psycopg.Connection[Any], symbol: str) -> int:
    row = connection.execute("SELECT symbol_id FROM market_symbols WHERE symbol = %s", [symbol]).fetchone()
    assert row is not None
    return int(row[0])
