"""Requests batches of quotes, and refused ones again in halves (docs/vendor.md §6.5).

Requests themselves are in ``eodhd.client``, parsing and the size of batches in ``eodhd.quotes``.
"""

from collections.abc import Awaitable, Callable, Iterable

from backfill_assets.market.vendor import Quote
from backfill_assets.market.vendor_errors import TickerRefused, UnknownTicker


async def fetch_in_halves(
    batches: Iterable[list[str]], fetch_batch: Callable[[list[str]], Awaitable[list[Quote]]]
) -> list[Quote]:
    """The quotes of all batches; a refused batch is requested again in halves, down to a single ticker.

    Raises:
        UnknownTicker, TickerRefused: every single ticker was refused, in words that a proxy or another server may send,
            too. Other refused tickers come without values.
    """
    pending = [*batches][::-1]
    quotes: list[Quote] = []
    refusals: list[UnknownTicker | TickerRefused] = []
    while pending:
        batch = pending.pop()
        try:
            quotes += await fetch_batch(batch)
        except (UnknownTicker, TickerRefused) as refusal:
            if len(batch) == 1:
                refusals.append(refusal)
                quotes.append(Quote(batch[0]))
            else:
                middle = len(batch) // 2
                pending += [batch[middle:], batch[:middle]]
    if refusals and len(refusals) == len(quotes) and not any(refusal.is_from_vendor for refusal in refusals):
        raise refusals[0]
    return quotes
