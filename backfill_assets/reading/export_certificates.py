"""What a session's certificate says, and whether it is about the bars that are exported with it."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from backfill_assets.market.arrays import Floats
from backfill_assets.market.bars.canonical_rows import BarValues, format_rows, hash_rows
from backfill_assets.store.certificate_values import Certificate


def describe_certificate(certificate: Certificate, bars: pa.Table, adjustment: str) -> dict[str, Any]:
    """The certificate as JSON has it, and ``is_about_these_bars``; None in its place for adjusted bars.

    Args:
        certificate: of the session.
        bars: all that is exported of the session, in any order.
        adjustment: of the bars; certificates are about raw ones.
    """
    is_same = hash_bars(bars) == certificate.sha256 if adjustment == "none" else None
    return {**certificate.as_dict(), "is_about_these_bars": is_same}


def hash_bars(bars: pa.Table) -> str:
    """The SHA-256 of raw bars, as ``market.bars.canonical_rows`` defines it."""
    tickers = sorted(pc.unique(bars["symbol"]).to_pylist(), key=str.encode)
    ticker = pc.index_in(bars["symbol"], pa.array(tickers, bars["symbol"].type)).to_numpy().astype(np.int64)
    start = bars["timestamp"].cast(pa.timestamp("s", "UTC")).cast(pa.int64()).to_numpy()
    order = np.lexsort((start, ticker))
    values = {name: _to_floats(bars[name])[order] for name in ("open", "high", "low", "close", "volume")}
    return hash_rows(format_rows(BarValues(ticker[order], tickers, start[order], **values)))


def _to_floats(column: pa.ChunkedArray) -> Floats:
    floats: Floats = column.cast(pa.float64(), safe=False).to_numpy()  # null becomes NaN
    return floats
