"""The canonical bytes of bars: one text for the same values, whatever types the table has.

A certificate's hash is the SHA-256 of these rows, by symbol and time, each with a line feed at its end::

    AAPL.US,1780320600,190.120000,191.000000,190.000000,190.500000,12345

Ticker, start of the slot as epoch seconds (UTC), open, high, low, close, volume. Prices have six decimals; those below
0.01 have eight significant digits (``1.2340000e-03``), because six decimals would lose most of them. A value that the
table lacks is ``null``. Numbers are rounded once, from the stored binary value, half to even where it lies exactly
between two texts: so ``double precision`` and ``numeric(12,6)`` give the same text for every price that both can hold.
"""

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backfill_assets.market.arrays import Bools, Floats, Int64
from backfill_assets.market.price_digits import SMALL_PRICE

DIGEST_BYTES = 4  # of a single row: it only has to tell one change from none
_NULL = "null"
_USUAL_ROW = "%s,%d,%.6f,%.6f,%.6f,%.6f,%d\n"
_MAX_WHOLE = 2.0**53  # whole numbers above have no exact float


@dataclass(frozen=True, eq=False)
class BarValues:
    """Bars as parallel arrays, by ticker (in the order of their bytes) and time; shape (bars,) each.

    Attributes:
        ticker: the position of each bar's ticker in ``tickers``.
        tickers: as the vendor writes them: AAPL.US.
        start: epoch seconds of the slot, UTC.
        open: NaN where the table has null; so are the others.
        high: of the slot.
        low: of the slot.
        close: of the slot.
        volume: shares.
    """

    ticker: Int64
    tickers: Sequence[str]
    start: Int64
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats

    def __len__(self) -> int:
        return len(self.start)


def format_rows(bars: BarValues) -> list[bytes]:
    """The canonical row of each bar."""
    names = [bars.tickers[position] for position in bars.ticker.tolist()]
    columns = [bars.open, bars.high, bars.low, bars.close, bars.volume]
    rows = zip(names, bars.start.tolist(), *(column.tolist() for column in columns), strict=True)
    return [
        (_USUAL_ROW % row if usual else _format_row(*row)).encode()
        for usual, row in zip(_is_usual(columns).tolist(), rows, strict=True)
    ]


def hash_rows(rows: Sequence[bytes]) -> str:
    """The SHA-256 of canonical rows, in hexadecimal digits."""
    return hashlib.sha256(b"".join(rows)).hexdigest()


def digest_rows(rows: Sequence[bytes]) -> NDArray[np.uint32]:
    """The first four bytes of SHA-256 of each row, as little-endian numbers; shape (rows,)."""
    heads = b"".join(_iterate_heads(rows))
    return np.frombuffer(heads, "<u4").astype(np.uint32)


def _iterate_heads(rows: Sequence[bytes]) -> Iterator[bytes]:
    for row in rows:
        yield hashlib.sha256(row).digest()[:DIGEST_BYTES]


def _is_usual(columns: Sequence[Floats]) -> Bools:
    """Where one format does for the whole row: every price from 0.01 on, and a volume in whole shares."""
    *prices, volume = columns
    usual: Bools = (volume == np.floor(volume)) & (np.abs(volume) < _MAX_WHOLE)  # False of NaN
    for price in prices:
        usual &= (price >= SMALL_PRICE) & np.isfinite(price)
    return usual


def _format_row(ticker: str, start: int, *values: float) -> str:
    *prices, volume = values
    fields = [ticker, str(start), *map(_format_price, prices), _format_volume(volume)]
    return ",".join(fields) + "\n"


def _format_price(price: float) -> str:
    if not math.isfinite(price):
        return _NULL if math.isnan(price) else f"{price:f}"
    if price == 0:
        return "0.000000"  # also of -0.0
    return f"{price:.7e}" if abs(price) < SMALL_PRICE else f"{price:.6f}"


def _format_volume(volume: float) -> str:
    if not math.isfinite(volume):
        return _NULL if math.isnan(volume) else f"{volume:f}"
    return f"{volume:.0f}" if volume.is_integer() else f"{volume:.6f}"
