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
from backfill_assets.backfill.fetch.quota_sync import read_account
from backfill_assets.backfill.fetch.shared_rate_limiter import Spent
from backfill_assets.eodhd.client import EodhdClient
from backfill_assets.eodhd.errors import (
    BrokenAnswer,
    QuotaExhausted,
    TokenRefused,
    TransientError,
    Unreachable,
    VendorError,
)
from backfill_assets.eodhd.quotes import Quote, chunks
from backfill_assets.market.live.samples import COLUMNS
from backfill_assets.store.symbols import Symbol

EXCHANGE_CALLS = 100  # of one answer for a whole exchange; a ticker costs 1 (EODHD.md §3)
READING, ACCOUNT = 0.45, 0.1  # of the time between two rounds, for each way of reading and for the account
ENOUGH = 0.5  # of the tickers asked about that an exchange's answer must hold to be one
Method = Literal["tickers", "exchange"]
T = TypeVar("T")
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class LiveAnswer:
    """What was read.

    Attributes:
        method: how.
        quotes: those of the tickers asked about, by ticker as we write it.
        exchange_failed: whether reading the whole exchange was tried in vain.
        error: what went wrong last; quotes that came all the same are kept.
    """

    method: Method
    quotes: dict[str, Quote] = field(default_factory=dict)
    exchange_failed: bool = False
    error: VendorError | None = None


def calls_of(method: Method, tickers: int) -> int:
    """What reading so many tickers that way costs."""
    return tickers if method == "tickers" else EXCHANGE_CALLS


def read_live(
    engine: Engine, symbols: Sequence[Symbol], method: Method, spent: Spent, *, fall_back: bool
) -> LiveAnswer:
    """Read the day so far of ``symbols``; with ``fall_back``, ticker by ticker where the whole exchange fails.

    Takes no longer than lies between two rounds. A VendorError is in the answer, not raised.
    """
    return asyncio.run(_read(engine, symbols, method, spent, fall_back=fall_back))


def sample_table(answer: LiveAnswer, symbols: Sequence[Symbol]) -> pd.DataFrame:
    """The quotes as a sample table (``market.live.samples``), ``ticker`` being symbol_id; absent is NaN."""
    found = [(s.symbol_id, answer.quotes[str(s.ticker)]) for s in symbols if str(s.ticker) in answer.quotes]
    rows = [(key, q.timestamp, q.open, q.high, q.low, q.close, q.volume) for key, q in found]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(dict.fromkeys(COLUMNS[1:], np.float64))


async def _read(
    engine: Engine, symbols: Sequence[Symbol], method: Method, spent: Spent, *, fall_back: bool
) -> LiveAnswer:
    answer = LiveAnswer(method)
    patience = engine.settings.live_seconds * READING
    async with engine.asking(spent=spent, budget=engine.live_budget()) as (pacer, client):
        try:
            account = read_account(client, pacer.budget, pacer.now())
            await _within(engine.settings.live_seconds * ACCOUNT, account, "/user")
        except Unreachable as error:  # quotes may come all the same
            _log.warning("the day's calls are counted by our own ledger alone: %s", error)
        except VendorError as error:
            answer.error = error
            return answer
        if method == "exchange":
            await _read_exchange(engine, symbols, patience, spent, answer)
        if method == "tickers" or (answer.exchange_failed and fall_back):
            await _read_tickers(client, symbols, patience, answer)
    return answer


async def _read_exchange(
    engine: Engine, symbols: Sequence[Symbol], patience: float, spent: Spent, answer: LiveAnswer
) -> None:
    wanted = {str(s.ticker) for s in symbols}
    exchange = symbols[0].ticker.exchange
    try:
        quotes = await _within(patience, _quotes_of_exchange(engine, exchange, spent), "/real-time")
        found = {name: q for q in quotes if (name := _full_name(q, exchange)) in wanted}
        if len(found) < ENOUGH * len(wanted):
            raise BrokenAnswer(f"it holds {len(found)} of {len(wanted)} tickers", endpoint=f"/real-time?ex={exchange}")
    except VendorError as error:
        _log.warning("the whole exchange cannot be read: %s", error)
        answer.error = error
        answer.exchange_failed = not isinstance(error, TokenRefused | QuotaExhausted)
    else:
        answer.quotes = found


async def _quotes_of_exchange(engine: Engine, exchange: str, spent: Spent) -> list[Quote]:
    """Ask again only while failing is free: an answer costs 100 calls, also one that is of no use."""
    before, settings = spent.calls, engine.settings
    first, longest = settings.backoff_seconds
    retrying = AsyncRetrying(
        retry=retry_if_exception(lambda error: isinstance(error, TransientError) and spent.calls == before),
        stop=stop_after_attempt(settings.attempts),
        wait=wait_random_exponential(first, longest),
        reraise=True,
    )
    once = replace(engine, settings=settings.model_copy(update={"attempts": 1}))
    async with once.asking(spent=spent, budget=engine.live_budget()) as (_, client):
        return await retrying(client.quotes_of_exchange, exchange)


async def _read_tickers(client: EodhdClient, symbols: Sequence[Symbol], patience: float, answer: LiveAnswer) -> None:
    """Ask for all chunks at once; one that fails loses its own tickers only."""
    answer.method = "tickers"
    exchange = symbols[0].ticker.exchange
    batches = chunks([str(s.ticker) for s in symbols])
    readings = [_within(patience, client.quotes(batch), "/real-time") for batch in batches]
    for ended in await asyncio.gather(*readings, return_exceptions=True):
        if isinstance(ended, VendorError):
            answer.error = ended
        elif isinstance(ended, BaseException):
            raise ended
        else:
            answer.quotes |= {_full_name(q, exchange): q for q in ended}


def _full_name(quote: Quote, exchange: str) -> str:
    """``AAPL.US``, also where the answer says ``AAPL``."""
    code = quote.code.upper()
    return code if "." in code else f"{code}.{exchange}"


async def _within(seconds: float, reading: Awaitable[T], endpoint: str) -> T:
    """A later answer is of no use: the next round comes."""
    try:
        async with asyncio.timeout(seconds):
            return await reading
    except TimeoutError:
        raise Unreachable(f"no full answer within {seconds:g} s", endpoint=endpoint) from None
