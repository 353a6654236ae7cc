"""Parsing of live quotes, ``/real-time`` (docs/vendor.md §3).

A quote describes the day so far, about 16 minutes delayed. It is not a bar, and before the market opens it shows the
previous session. Turning quotes into provisional bars is done in ``live`` and ``market.live``.
"""

from collections.abc import Iterator, Sequence

from backfill_assets.eodhd.parsing import (
    MAX_UNREADABLE_SHARE_OF_EXCHANGE,
    JsonObject,
    RowsBody,
    decode_json,
    parse_rows,
    require_readable,
    to_epoch,
    to_float,
    to_text,
)
from backfill_assets.market.vendor import Quote

_MAX_UNREADABLE_SHARE_OF_BATCH = 0.5
_MAX_BATCH_SIZE = 100
_MAX_BATCH_CHARS = 1_800  # characters of the joined names; keeps the URL below the usual 2,000


def parse_quotes(body: bytes) -> list[Quote]:
    """Parse one quote (an object) or the quotes of named tickers (an array); rows without a code are left out.

    Half of a batch may be unreadable, so that a single ticker does not cost the others their quotes.

    Raises:
        BrokenAnswer: neither of the two, or most of the quotes cannot be read.
    """
    return _parse_quotes(body, _MAX_UNREADABLE_SHARE_OF_BATCH)


def parse_exchange_quotes(body: bytes) -> list[Quote]:
    """Parse the quotes of a whole exchange; rows without a code are left out.

    Raises:
        BrokenAnswer: not a list, or more than 1 % of the quotes cannot be read.
    """
    return _parse_quotes(body, MAX_UNREADABLE_SHARE_OF_EXCHANGE)


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


def _parse_quotes(body: bytes, max_unreadable_share: float) -> list[Quote]:
    payload = decode_json(body)
    is_single = isinstance(payload, dict) and "code" in payload
    parsed = RowsBody([payload]) if is_single else parse_rows(body)
    unreadable = [row for row in parsed.rows if not _is_readable(row)]
    require_readable(parsed, unreadable, "'code' and 'timestamp' in epoch seconds are needed", max_unreadable_share)
    return [_build_quote(code, row) for row in parsed.rows if (code := to_text(row.get("code")))]


def _is_readable(row: JsonObject) -> bool:
    """Whether a row names its ticker, and its stamp is absent or epoch seconds."""
    stamp = row.get("timestamp")
    has_stamp = "timestamp" in row and (stamp in (None, "", "NA") or to_epoch(stamp) is not None)
    return has_stamp and to_text(row.get("code")) is not None


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
