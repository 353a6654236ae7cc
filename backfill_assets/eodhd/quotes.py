"""Parsing of live quotes, ``/real-time`` (docs/vendor.md §3).

A quote describes the day so far, about 16 minutes delayed. It is not a bar, and before the market opens it shows the
previous session. Turning quotes into provisional bars is done in ``live`` and ``market.live``.
"""

from collections.abc import Iterator, Sequence

from backfill_assets.eodhd.parsing import JsonObject, decode_json, parse_rows, to_epoch, to_float, to_text
from backfill_assets.market.vendor import Quote

_MAX_BATCH_SIZE = 100
_MAX_BATCH_CHARS = 1_800  # characters of the joined names; keeps the URL below the usual 2,000


def parse_quotes(body: bytes) -> list[Quote]:
    """Parse one quote (an object) or many (an array); rows without a code are left out.

    Raises:
        BrokenAnswer: neither of the two.
    """
    payload = decode_json(body)
    is_single = isinstance(payload, dict) and "code" in payload
    rows = [payload] if is_single else parse_rows(body).rows
    return [_build_quote(code, row) for row in rows if (code := to_text(row.get("code")))]


def split_batches(tickers: Sequence[str]) -> Iterator[list[str]]:
    """Yield batches that fit one request: at most 100 tickers, and a URL of limited length."""
    batch: list[str] = []
    length = 0
    for ticker in tickers:
        if batch and (len(batch) == _MAX_BATCH_SIZE or length + len(ticker) >= _MAX_BATCH_CHARS):
            yield batch
            batch, length = [], 0
        batch.append(ticker)
        length += len(ticker) + 1
    if batch:
        yield batch


def _build_quote(code: str, row: JsonObject) -> Quote:
    return Quote(
        code=code,
        timestamp=to_epoch(row.get("timestamp")),
        open=to_float(row.get("open")),
        high=to_float(row.get("high")),
        low=to_float(row.get("low")),
        close=to_float(row.get("close")),
        volume=to_float(row.get("volume")),
    )
