"""Baseline: what only asks. httpx and 48 requests in flight, the JSON decoded by msgspec, nothing kept.

A process of its own, ``python -m bench.baselines.bare_asker URL TOKEN FROM TO FILE`` with a file of symbols, so that
its imports count, as those of the program do. It prints how many rows came.
"""

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec

IN_FLIGHT = 48


async def count_rows(base_url: str, token: str, start: int, end: int, symbols: list[str]) -> int:
    """Request each symbol from ``start`` to ``end`` (epoch seconds) and count the rows of all answers."""
    params: dict[str, Any] = {"api_token": token, "fmt": "json", "interval": "5m", "from": start, "to": end}
    remaining = iter(symbols)
    async with httpx.AsyncClient(base_url=base_url, limits=httpx.Limits(max_connections=IN_FLIGHT)) as client:
        return sum(await asyncio.gather(*(_ask(client, params, remaining) for _ in range(IN_FLIGHT))))


async def _ask(client: httpx.AsyncClient, params: dict[str, Any], remaining: Iterator[str]) -> int:
    rows = 0
    for symbol in remaining:
        response = await client.get(f"/intraday/{symbol}.US", params=params)
        rows += len(msgspec.json.decode(response.raise_for_status().content))
    return rows


if __name__ == "__main__":
    url, token, start, end, file = sys.argv[1:]
    print(asyncio.run(count_rows(url, token, int(start), int(end), Path(file).read_text().split())))
