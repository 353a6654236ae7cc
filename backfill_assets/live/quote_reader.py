"""Reads live quotes of many tickers by the cheaper method: ticker by ticker, or the whole exchange at once.

Stores nothing. Whether a round is due and affordable is decided in ``live.collector``.
"""

import asyncio
import logging
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.fetch.graceful_shutdown import GracefulShutdown
from backfill_assets.backfill.fetch.quota_sync import sync_quota
from backfill_assets.backfill.fetch.shared_rate_limiter import SharedRateLimiter, Usage
from backfill_assets.market.bars.bar_builder import round_volume
from backfill_assets.market.calendar.tickers import Symbol, recognize_ticker
from backfill_assets.market.live.samples import SAMPLE_COLUMNS
from backfill_assets.market.purposes import Purpose
from backfill_assets.market.vendor import Quote, VendorClient
from backfill_assets.market.vendor_errors import (
    BrokenAnswer,
    QuotaExhausted,
    TickerRefused,
    TokenRefused,
    TransientError,
    UnknownTicker,
    Unreachable,
    VendorError,
    WrongAddress,
)
from backfill_assets.market.vendor_prices import CallPrices

if TYPE_CHECKING:  # slow to load, and only what samples live quotes needs it
    import pandas as pd

READ_TIMEOUT_SHARE = 0.45  # of the time between two rounds, for each method; both may be tried in one round
QUOTA_TIMEOUT_SHARE = 0.1  # of the time between two rounds, for reading the account
MIN_EXCHANGE_SHARE = 0.5  # of the requested tickers; with fewer of them the exchange's response counts as broken
QuoteMethod = Literal["tickers", "exchange"]
T = TypeVar("T")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class QuoteReading:
    """The quotes of one round.

    Attributes:
        method: how they were read.
        quotes: quotes of the requested tickers, by ticker such as ``AAPL.US``.
        exchange_failed: whether reading the whole exchange was tried and failed.
        error: the last error; there may be quotes nevertheless.
    """

    method: QuoteMethod
    quotes: Mapping[str, Quote] = field(default_factory=dict)
    exchange_failed: bool = False
    error: VendorError | None = None


def count_calls(prices: CallPrices, method: QuoteMethod, ticker_count: int) -> int:
    """Price of one round over ``ticker_count`` tickers, in vendor calls."""
    return prices.quote * ticker_count if method == "tickers" else prices.exchange_quotes


def read_live_quotes(
    engine: Engine,
    symbols: Sequence[Symbol],
    method: QuoteMethod,
    usage: Usage,
    *,
    fall_back: bool,
    shutdown: GracefulShutdown,
) -> QuoteReading:
    """Read the day so far of ``symbols``; takes less than the time between two rounds.

    Args:
        engine: the parts to work with.
        symbols: the symbols to read, all of one exchange.
        method: how to read them.
        usage: counts what is spent.
        fall_back: read ticker by ticker if reading the whole exchange fails.
        shutdown: what a signal does; the caller writes what was read before it is delivered.

    Returns:
        The quotes; a VendorError is in the reading, not raised.
    """
    return shutdown.run(_read_with_fallback(engine, symbols, method, usage, fall_back=fall_back))


def build_sample_table(reading: QuoteReading, symbols: Sequence[Symbol]) -> "pd.DataFrame":
    """The quotes as a sample table (see ``market.live.samples``), ``ticker`` being symbol_id; absent values are NaN.

    Fractional volumes are rounded half to even: they are totals of the day, so a bar is off by one share at most.
    """
    import pandas as pd

    symbol_quotes = [(s.symbol_id, reading.quotes[str(s.ticker)]) for s in symbols if str(s.ticker) in reading.quotes]
    rows = [(symbol_id, q.timestamp, q.open, q.high, q.low, q.close, q.volume) for symbol_id, q in symbol_quotes]
    table = pd.DataFrame(rows, columns=list(SAMPLE_COLUMNS)).astype(dict.fromkeys(SAMPLE_COLUMNS[1:], np.float64))
    return table.assign(volume=round_volume(table["volume"].to_numpy(float)))


async def _read_with_fallback(
    engine: Engine, symbols: Sequence[Symbol], method: QuoteMethod, usage: Usage, *, fall_back: bool
) -> QuoteReading:
    timeout_seconds = engine.settings.live_seconds * READ_TIMEOUT_SHARE
    async with engine.open_vendor_client(Purpose.LIVE, usage=usage) as (rate_limiter, client):
        try:
            has_account = await _sync_quota(engine, rate_limiter, client)
        except VendorError as error:
            return QuoteReading(method, error=error)
        if method == "tickers":
            reading = await _read_tickers(client, symbols, timeout_seconds)
            return reading if has_account else _blame_address(reading, engine.settings.base_url)
        reading = await _read_exchange(engine, symbols, timeout_seconds, usage)
        if not reading.exchange_failed or not fall_back:
            return reading
        fallback = await _read_tickers(client, symbols, timeout_seconds)
        return replace(fallback, exchange_failed=True, error=fallback.error or reading.error)


async def _sync_quota(engine: Engine, rate_limiter: SharedRateLimiter, client: VendorClient) -> bool:
    """Read the account; returns whether the vendor gave its figures.

    Raises:
        VendorError: reading quotes is pointless.
    """
    timeout_seconds = engine.settings.live_seconds * QUOTA_TIMEOUT_SHARE
    quota = sync_quota(client, rate_limiter.budget, rate_limiter.now())
    try:
        return await _await_with_timeout(timeout_seconds, quota, "/user")
    except Unreachable as error:  # reading quotes may work nevertheless
        _log.warning("vendor usage is unavailable; using the local call ledger only: %s", error)
        return False


def _blame_address(reading: QuoteReading, base_url: str) -> QuoteReading:
    """The reading of an address that gave no account; if all quotes were refused, too, it is not the vendor's."""
    refusal = reading.error
    if reading.quotes or not isinstance(refusal, UnknownTicker | TickerRefused):
        return reading
    message = (
        f"{base_url} does not answer as the vendor does: the account endpoint gave no figures, and it refused all"
        f" quotes, one with {refusal.message}"
    )
    return replace(reading, error=WrongAddress(message))


async def _read_exchange(
    engine: Engine, symbols: Sequence[Symbol], timeout_seconds: float, usage: Usage
) -> QuoteReading:
    wanted = {str(s.ticker) for s in symbols}
    exchange = symbols[0].ticker.exchange
    try:
        quotes = await _await_with_timeout(
            timeout_seconds, _fetch_exchange_quotes(engine, exchange, usage), "/real-time"
        )
        selected = {name: quote for quote in quotes if (name := qualify_code(quote, exchange)) in wanted}
        if len(selected) < MIN_EXCHANGE_SHARE * len(wanted):
            raise BrokenAnswer(
                f"the response contains {len(selected)} of {len(wanted)} symbols",
                endpoint=f"/real-time?ex={exchange}",
            )
    except VendorError as error:
        _log.warning("quotes of the whole exchange cannot be read: %s", error)
        exchange_failed = not isinstance(error, TokenRefused | QuotaExhausted)
        return QuoteReading("exchange", exchange_failed=exchange_failed, error=error)
    return QuoteReading("exchange", selected)


async def _fetch_exchange_quotes(engine: Engine, exchange: str, usage: Usage) -> list[Quote]:
    """Retry only while failures are free: a response costs the full price, even an unusable one."""
    calls_before, settings = usage.calls, engine.settings
    first_delay, max_delay = settings.backoff_seconds
    retrying = AsyncRetrying(
        retry=retry_if_exception(lambda error: isinstance(error, TransientError) and usage.calls == calls_before),
        stop=stop_after_attempt(settings.attempts),
        wait=wait_random_exponential(first_delay, max_delay),
        reraise=True,
    )
    single_attempt = replace(engine, settings=settings.model_copy(update={"attempts": 1}))
    async with single_attempt.open_vendor_client(Purpose.LIVE, usage=usage) as (_, client):
        return await retrying(client.fetch_exchange_quotes, exchange)


async def _read_tickers(client: VendorClient, symbols: Sequence[Symbol], timeout_seconds: float) -> QuoteReading:
    """Request all batches at once; a batch that fails loses its own tickers only."""
    exchange = symbols[0].ticker.exchange
    batches = client.split_quote_batches([str(s.ticker) for s in symbols])
    requests = [_await_with_timeout(timeout_seconds, client.fetch_quotes(batch), "/real-time") for batch in batches]
    quotes: dict[str, Quote] = {}
    last_error: VendorError | None = None
    for result in await asyncio.gather(*requests, return_exceptions=True):
        if isinstance(result, VendorError):
            last_error = result
        elif isinstance(result, BaseException):
            raise result
        else:
            quotes |= {qualify_code(quote, exchange): quote for quote in result}
    return QuoteReading("tickers", quotes, error=last_error)


def qualify_code(quote: Quote, exchange: str) -> str:
    """The ticker of a quote, for example ``AAPL.US``, even if the vendor writes ``AAPL`` or ``aapl.us``."""
    code = quote.code.upper()
    symbol = code.removesuffix(f".{exchange}")
    ticker = None if "." in symbol else recognize_ticker(symbol, exchange)  # which knows ABC_old
    return str(ticker) if ticker else code


async def _await_with_timeout(seconds: float, awaitable: Awaitable[T], endpoint: str) -> T:
    """Await for a limited time; a later response would be useless, since the next round begins."""
    try:
        async with asyncio.timeout(seconds):
            return await awaitable
    except TimeoutError:
        raise Unreachable(f"no complete response within {seconds:g} s", endpoint=endpoint) from None
