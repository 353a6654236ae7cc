"""Former values of bars, found again by the digest of their canonical row: what a bar had when it was certified.

The history says which values a bar had; the digest says which of them is meant. So no clocks are compared.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from backfill_assets.market.bars.canonical_rows import BarValues, digest_rows, format_rows
from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.store.postgres.connection import Connection

_SELECT_FORMER = """
SELECT r.symbol_id, extract(epoch FROM r.timestamp)::bigint, r.open_price::float8, r.high_price::float8,
       r.low_price::float8, r.close_price::float8, r.volume::float8
FROM unnest(%(ids)s::int[], %(starts)s::bigint[]) AS wanted (symbol_id, start)
JOIN backfill.bar_versions r ON r.symbol_id = wanted.symbol_id AND r.timestamp = to_timestamp(wanted.start)
     AND r.interval_type = ANY (%(spellings)s)
"""


class PricesAndVolume(NamedTuple):
    """The values of a bar; NaN where the table has null."""

    open: float
    high: float
    low: float
    close: float
    volume: float


def find_former_values(
    connection: Connection, interval: Interval, tickers: Mapping[int, str], wanted: Mapping[tuple[int, int], int]
) -> dict[tuple[int, int], PricesAndVolume]:
    """The former values of bars; a bar whose history does not have them is left out.

    Args:
        connection: with a transaction open.
        interval: of the bars.
        tickers: symbol_id → ticker, as in the canonical row.
        wanted: (symbol_id, epoch seconds of the slot) → the first four bytes of SHA-256 of the canonical row.
    """
    if not wanted:
        return {}
    values = {
        "ids": [symbol_id for symbol_id, _ in wanted],
        "starts": [start for _, start in wanted],
        "spellings": list(interval.spellings),
    }
    rows = connection.execute(_SELECT_FORMER, values).fetchall()
    digests = _digest(rows, tickers)
    return {
        (row[0], row[1]): _to_values(row)
        for row, digest in zip(rows, digests, strict=True)
        if wanted[row[0], row[1]] == digest
    }


def _digest(rows: Sequence[tuple[float, ...]], tickers: Mapping[int, str]) -> list[int]:
    columns = [np.array([_to_values(row)[position] for row in rows], float) for position in range(5)]
    names = [tickers[int(row[0])] for row in rows]
    starts = np.array([row[1] for row in rows], np.int64)
    bars = BarValues(np.arange(len(rows)), names, starts, *columns)
    digests: list[int] = digest_rows(format_rows(bars)).tolist()
    return digests


def _to_values(row: Sequence[float | None]) -> PricesAndVolume:
    return PricesAndVolume(*(float("nan") if value is None else value for value in row[2:]))
