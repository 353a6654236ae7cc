"""Asks the other feed at the end of a run, one request a symbol, until the day's calls for it are spent."""

import asyncio
import logging
from collections.abc import Awaitable, Collection
from datetime import datetime

from backfill_assets.backfill.cross_feed.answer_writer import CrossFeedContext, record_refused_request, write_answer
from backfill_assets.backfill.cross_feed.questions import TickerQuestions, find_questions, get_other_feed
from backfill_assets.backfill.cross_feed.request import CrossFeedRequest, build_request
from backfill_assets.backfill.cross_feed_result import CrossFeedResult
from backfill_assets.backfill.engine import BackfillJob, Engine
from backfill_assets.backfill.fetch.held_claims import ClaimLost, HeldClaims
from backfill_assets.backfill.listed_requests import ask_one_of
from backfill_assets.backfill.plausibility.judge import judge_job
from backfill_assets.market.calendar.tickers import Symbol, Ticker
from backfill_assets.market.purposes import Purpose
from backfill_assets.market.vendor import IntradayRows, VendorClient
from backfill_assets.market.vendor_errors import BudgetSpent, UnreadableRows, VendorError
from backfill_assets.store.bars.bar_writer import read_server_time
from backfill_assets.store.bars.interval_spellings import find_interval_spelling
from backfill_assets.store.evidence.halts import refute_returned_halts
from backfill_assets.store.listing_bounds import list_asked_tickers, read_ended_bounds
from backfill_assets.store.postgres.connection import Connection

_log = logging.getLogger(__name__)


async def ask_other_feed(
    engine: Engine, job: BackfillJob, client: VendorClient, symbol_ids: Collection[int], claims: HeldClaims
) -> CrossFeedResult:
    """Ask the other feed what is open about the job's bars, as far as the day's calls for it suffice.

    Args:
        engine: the parts to work with.
        job: the window, the symbols and the first feed.
        client: the vendor's client, of any purpose.
        symbol_ids: the symbols that this run requested; no other run writes their bars meanwhile.
        claims: those of the run; a symbol that another run has taken is left to it.

    Raises:
        VendorError: one that stops the run; what was answered before is stored.
    """
    is_spare = job.purpose in (Purpose.REVIEW, Purpose.HISTORY)  # what is left over does not go before open doubts
    if is_spare or engine.settings.cross_feed_calls == 0 or not job.market.has_other_feed:
        return CrossFeedResult()
    if get_other_feed(job.source_interval).seconds > job.interval.seconds:
        return CrossFeedResult()  # a row of 5m says nothing about one minute
    asking = _OtherFeed(engine, job, client.for_purpose(Purpose.CROSS_FEED), claims)
    context, questions = await asyncio.to_thread(asking.find_questions, symbol_ids)
    # What the day settles for nothing is not asked.
    if any(asked.doubts for asked in questions) and (await asyncio.to_thread(judge_job, engine, job)).has_changed:
        context, questions = await asyncio.to_thread(asking.find_questions, symbol_ids)
    result = CrossFeedResult()
    for number, asked in enumerate(questions):
        try:
            result += await asking.ask(context, asked)
        except BudgetSpent as error:  # the limit of this purpose, or what is kept for requests that come first
            _log.info("the other feed is asked another day: %s", error)
            return result + CrossFeedResult(postponed=len(questions) - number)
    return result


class _OtherFeed:
    """Asks one symbol after the other."""

    def __init__(self, engine: Engine, job: BackfillJob, client: VendorClient, claims: HeldClaims) -> None:
        self._engine, self._job, self._client, self._claims = engine, job, client, claims

    def find_questions(self, symbol_ids: Collection[int]) -> tuple[CrossFeedContext, list[TickerQuestions]]:
        """What to ask now about these symbols."""
        settings, job, coverage = self._engine.settings, self._job, self._engine.measure(self._job)
        other = get_other_feed(job.source_interval)
        rules, other_rules = (settings.build_gap_rules(job.market, feed) for feed in (job.source_interval, other))
        with self._engine.database.transaction() as connection:
            refute_returned_halts(connection, sorted(symbol_ids), job.interval)
            questions = find_questions(connection, coverage, job.source_interval, rules, other_rules)
            spelling = find_interval_spelling(connection, job.interval)
        context = CrossFeedContext(
            coverage, job.source_interval, other, rules, spelling, settings.vendor_host, settings.now()
        )
        return context, [asked for asked in questions if asked.symbol.symbol_id in symbol_ids]

    async def ask(self, context: CrossFeedContext, questions: TickerQuestions) -> CrossFeedResult:
        """Send one request and store what it settles."""
        max_span = self._client.limits.get_max_span(context.other.name)
        request = build_request(questions, context.coverage, max_span)
        requested_at, tickers = await asyncio.to_thread(self._prepare, questions.symbol)

        def fetch(ticker: str) -> Awaitable[IntradayRows]:
            return self._client.fetch_intraday(ticker, context.other.name, request.start, request.end)

        try:
            with self._claims.require(questions.symbol.symbol_id):
                rows = await ask_one_of(tickers, fetch)
        except ClaimLost:
            _log.info("the other feed of %s is left to the run that has claimed it", questions.symbol.ticker)
            return CrossFeedResult()
        except VendorError as error:
            if error.stops_run:
                raise
            _log.info("the other feed of %s: %s", questions.symbol.ticker, error)
            if error.scope == "ticker" or isinstance(error, UnreadableRows):
                await asyncio.to_thread(self._record_refused, context, request)
            return CrossFeedResult()

        def write(connection: Connection) -> CrossFeedResult:
            return write_answer(connection, context, request, rows, requested_at)

        return await asyncio.to_thread(self._engine.database.retry_transaction, write)

    def _record_refused(self, context: CrossFeedContext, request: CrossFeedRequest) -> None:
        self._engine.database.retry_transaction(lambda connection: record_refused_request(connection, context, request))

    def _prepare(self, symbol: Symbol) -> tuple[datetime, tuple[Ticker, ...]]:
        """The server's time, and the tickers to ask about a symbol."""
        with self._engine.database.transaction() as connection:
            tickers = list_asked_tickers(symbol, read_ended_bounds(connection, [symbol]))
            return read_server_time(connection), tickers
