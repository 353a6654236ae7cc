"""Live quotes of ``/real-time`` as typed values (EODHD.md §3).

A quote is the day so far, delayed by about 16 minutes: it is no bar, and before the market opens it
is the previous session's. Turning quotes into provisional bars happens elsewhere.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from backfill_assets.eodhd.parsing import Row, decode, epoch, maybe, read_rows, text

_MOST = 100
_LONGEST = 1_800  # characters of the joined names; keeps the URL below the usual 2,000


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


def read_quotes(body: bytes) -> list[Quote]:
    """Read one quote (an object) or many (an array); rows without a code are left out.

    Raises:
        BrokenAnswer: neither.
    """
    payload = decode(body)
    single = isinstance(payload, dict) and "code" in payload
    rows = [payload] if single else read_rows(body).rows
    return [_quote(code, row) for row in rows if (code := text(row.get("code")))]


def chunks(tickers: Sequence[str]) -> Iterator[list[str]]:
    """Batches that fit one request: at most 100 names, bounded by the length of the URL."""
    batch: list[str] = []
    length = 0
    for ticker in tickers:
        if batch and (len(batch) == _MOST or length + len(ticker) >= _LONGEST):
            yield batch
            batch, length = [], 0
        batch.append(ticker)
        length += len(ticker) + 1
    if batch:
        yield batch


def _quote(code: str, row: Row) -> Quote:
    return Quote(
        code=code,
        timestamp=epoch(row.get("timestamp")),
        open=maybe(row.get("open")),
        high=maybe(row.get("high")),
        low=maybe(row.get("low")),
        close=maybe(row.get("close")),
        volume=maybe(row.get("volume")),
        previous_close=maybe(row.get("previousClose")),
    )
