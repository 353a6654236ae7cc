"""Reading live quotes of many tickers at the lower price: ticker by ticker, or the whole exchange at once.

Nothing is stored here. Whether a round is due and affordable is decided in ``live``.
"""

import asyncio
import logging
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeVar

import numpy as np
import pandas as pd
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.fetch.quota_sync import sync_quota
from backfill_assets.backfill.fetch.shared_rate_limiter import Usage
from backfill_assets.eodhd.client import EodhdClient
from backfill_assets.eodhd.errors import (
    BrokenAnswer,
    QuotaExhausted,
    TokenRefused,
    TransientError,
    Unreachable,
    VendorError,
)
from backfill_assets.eodhd.quotes import Quote, split_batches
from backfill_assets.market.calendar.tickers import Symbol
from backfill_assets.market.live.samples import SAMPLE_COLUMNS

EXCHANGE_CALLS = 100  # of one answer for a whole exchange; a ticker costs 1 (EODHD.md §3)
READ_TIMEOUT_SHARE, QUOTA_TIMEOUT_SHARE = (
    0.45,
    0.1,
)  # of the time between two rounds, for each way of reading and for the account
MIN_EXCHANGE_SHARE = 0.5  # of the tickers asked about that an exchange's answer must hold to be one
QuoteMethod = Literal["tickers", "exchange"]
T = TypeVar("T")
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class QuoteReading:
    """What was read.

    Attributes:
        method: how.
        quotes: those of the tickers asked about, by ticker as we write it.
        exchange_failed: whether reading the whole exchange was tried in vain.
        error: what went wrong last; quotes that came all the same are kept.
    """

    method: QuoteMethod
    quotes: dict[str, Quote] = field(default_factory=dict)
    exchange_failed: bool = False
    error: VendorError | None = None


def count_calls(method: QuoteMethod, ticker_count: int) -> int:
    """What reading so many tickers that way costs."""
    return ticker_count if method == "tickers" else EXCHANGE_CALLS


def read_live_quotes(
    engine: Engine, symbols: Sequence[Symbol], method: QuoteMethod, usage: Usage, *, fall_back: bool
) -> QuoteReading:
    """Read the day so far of ``symbols``; with ``fall_back``, ticker by ticker where the whole exchange fails.

    Takes no longer than lies between two rounds. A VendorError is in the answer, not raised.
    """
    return asyncio.run(_read_with_fallback(engine, symbols, method, usage, fall_back=fall_back))


def build_sample_table(reading: QuoteReading, symbols: Sequence[Symbol]) -> pd.DataFrame:
    """The quotes as a sample table (``market.live.samples``), ``ticker`` being symbol_id; absent is NaN."""
    symbol_quotes = [(s.symbol_id, reading.quotes[str(s.ticker)]) for s in symbols if str(s.ticker) in reading.quotes]
    rows = [(symbol_id, q.timestamp, q.open, q.high, q.low, q.close, q.volume) for symbol_id, q in symbol_quotes]
    return pd.DataFrame(rows, columns=list(SAMPLE_COLUMNS)).astype(dict.fromkeys(SAMPLE_COLUMNS[1:], np.float64))


async def _read_with_fallback(
    engine: Engine, symbols: Sequence[Symbol], method: QuoteMethod, usage: Usage, *, fall_back: bool
) -> QuoteReading:
    reading = QuoteReading(method)
    timeout_seconds = engine.settings.live_seconds * READ_TIMEOUT_SHARE
    async with engine.open_vendor_client(usage=usage, budget=engine.create_live_budget()) as (rate_limiter, client):
        try:
            quota_sync = sync_quota(client, rate_limiter.budget, rate_limiter.now())
            await _await_with_timeout(engine.settings.live_seconds * QUOTA_TIMEOUT_SHARE, quota_sync, "/user")
        except Unreachable as error:  # quotes may come all the same
            _log.warning("the day's calls are counted by our own ledger alone: %s", error)
        except VendorError as error:
            reading.error = error
            return reading
        if method == "exchange":
            await _read_exchange(engine, symbols, timeout_seconds, usage, reading)
        if method == "tickers" or (reading.exchange_failed and fall_back):
            await _read_tickers(client, symbols, timeout_seconds, reading)
    return reading


async def _read_exchange(
    engine: Engine, symbols: Sequence[Symbol], timeout_seconds: float, usage: Usage, reading: QuoteReading
) -> None:
    wanted = {str(s.ticker) for s in symbols}
    exchange = symbols[0].ticker.exchange
    try:
        quotes = await _await_with_timeout(
            timeout_seconds, _fetch_exchange_quotes(engine, exchange, usage), "/real-time"
        )
        selected = {name: q for q in quotes if (name := _qualify_code(q, exchange)) in wanted}
        if len(selected) < MIN_EXCHANGE_SHARE * len(wanted):
            raise BrokenAnswer(
                f"it holds {len(selected)} of {len(wanted)} tickers", endpoint=f"/real-time?ex={exchange}"
            )
    except VendorError as error:
        _log.warning("the whole exchange cannot be read: %s", error)
        reading.error = error
        reading.exchange_failed = not isinstance(error, TokenRefused | QuotaExhausted)
    else:
        reading.quotes = selected


async def _fetch_exchange_quotes(engine: Engine, exchange: str, usage: Usage) -> list[Quote]:
    """Ask again only while failing is free: an answer costs 100 calls, also one that is of no use."""
    calls_before, settings = usage.calls, engine.settings
    first_delay, max_delay = settings.backoff_seconds
    retrying = AsyncRetrying(
        retry=retry_if_exception(lambda error: isinstance(error, TransientError) and usage.calls == calls_before),
        stop=stop_after_attempt(settings.attempts),
        wait=wait_random_exponential(first_delay, max_delay),
        reraise=True,
    )
    single_attempt = replace(engine, settings=settings.model_copy(update={"attempts": 1}))
    async with single_attempt.open_vendor_client(usage=usage, budget=engine.create_live_budget()) as (_, client):
        return await retrying(client.fetch_exchange_quotes, exchange)


async def _read_tickers(
    client: EodhdClient, symbols: Sequence[Symbol], timeout_seconds: float, reading: QuoteReading
) -> None:
    """Ask for all chunks at once; one that fails loses its own tickers only."""
    reading.method = "tickers"
    exchange = symbols[0].ticker.exchange
    batches = split_batches([str(s.ticker) for s in symbols])
    requests = [_await_with_timeout(timeout_seconds, client.fetch_quotes(batch), "/real-time") for batch in batches]
    for result in await asyncio.gather(*requests, return_exceptions=True):
        if isinstance(result, VendorError):
            reading.error = result
        elif isinstance(result, BaseException):
            raise result
        else:
            reading.quotes |= {_qualify_code(q, exchange): q for q in result}


def _qualify_code(quote: Quote, exchange: str) -> str:
    """``AAPL.US``, also where the answer says ``AAPL``."""
    code = quote.code.upper()
    return code if "." in code else f"{code}.{exchange}"


async def _await_with_timeout(seconds: float, awaitable: Awaitable[T], endpoint: str) -> T:
    """A later answer is of no use: the next round comes."""
    try:
        async with asyncio.timeout(seconds):
            return await awaitable
    except TimeoutError:
        raise Unreachable(f"no full answer within {seconds:g} s", endpoint=endpoint) from None
