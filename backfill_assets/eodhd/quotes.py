"""Live quotes of ``/real-time`` as typed values (EODHD.md §3).

A quote is the day so far, delayed by about 16 minutes: it is no bar, and before the market opens it
is the previous session's. Turning quotes into provisional bars happens elsewhere.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from backfill_assets.eodhd.parsing import JsonObject, decode_json, parse_rows, to_epoch, to_float, to_text

_MAX_BATCH_SIZE = 100
_MAX_BATCH_CHARS = 1_800  # characters of the joined names; keeps the URL below the usual 2,000


@dataclass(frozen=True)
class Quote:
    """The day so far; absent, also ``"NA"``, is None.

    Attributes:
        code: the ticker as the vendor writes it, ``AMD.US``.
        timestamp: of the last trade, epoch seconds UTC.
        open: of the day; ``high``, ``low`` and ``volume`` likewise cover the day so far.
        close: the last price.
        previous_close: of the session before.
    """

    code: str
    timestamp: int | None = None
    open: float | None = None
    high: float | None = None
    low: float | None = None
    close: float | None = None
    volume: float | None = None
    previous_close: float | None = None

    @property
    def is_absent(self) -> bool:
        """Whether the vendor has nothing for this ticker (unknown and dead ones look so)."""
        return self.timestamp is None or self.close is None


def parse_quotes(body: bytes) -> list[Quote]:
    """Read one quote (an object) or many (an array); rows without a code are left out.

    Raises:
        BrokenAnswer: neither.
    """
    payload = decode_json(body)
    is_single = isinstance(payload, dict) and "code" in payload
    rows = [payload] if is_single else parse_rows(body).rows
    return [_build_quote(code, row) for row in rows if (code := to_text(row.get("code")))]


def split_batches(tickers: Sequence[str]) -> Iterator[list[str]]:
    """Batches that fit one request: at most 100 names, bounded by the length of the URL."""
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
        previous_close=to_float(row.get("previousClose")),
    )
