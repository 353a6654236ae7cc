"""Sends the requests of a probe of one exchange and records the answers; stores no bar.

Which requests they are, and what answers mean, is in ``market.probe``; the file is in ``probe_recording``. What the
vendor refuses is a result of the probe. Only what stops every request ends it: a spent budget, or no connection.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec

from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.fetch.graceful_shutdown import GracefulShutdown
from backfill_assets.backfill.probe_recording import ProbeRecording, RecordedAnswer, parse_answer
from backfill_assets.eodhd.client import EodhdClient
from backfill_assets.eodhd.parameters import Params, build_date_params
from backfill_assets.eodhd.pricing import ASSUMED_HOURS_CALLS, CALL_PRICES
from backfill_assets.market.exchanges.profile import MarketProfile
from backfill_assets.market.probe.questions import ProbeQuestion, QuestionKind, count_symbols, list_questions, to_day
from backfill_assets.market.purposes import Purpose
from backfill_assets.market.vendor import ListedSymbol
from backfill_assets.market.vendor_errors import PlanRefused, StopRequested, UnknownTicker, Unreachable, VendorError
from backfill_assets.store.symbols import list_symbols

ENDPOINTS = {
    QuestionKind.EXCHANGES: "exchanges-list",
    QuestionKind.HOURS: "v2/exchange-details",
    QuestionKind.SYMBOLS: "exchange-symbol-list",
    QuestionKind.ROWS: "intraday",
    QuestionKind.DAILY: "eod",
}
PRICES = {
    QuestionKind.EXCHANGES: CALL_PRICES.exchange_list,
    QuestionKind.HOURS: CALL_PRICES.exchange_hours,
    QuestionKind.SYMBOLS: CALL_PRICES.symbol_list,
    QuestionKind.ROWS: CALL_PRICES.intraday,
    QuestionKind.DAILY: CALL_PRICES.daily,
}
_OF_TICKERS = frozenset({QuestionKind.ROWS, QuestionKind.DAILY})
_SHARES = "common stock"


@dataclass(frozen=True, slots=True)
class MarketProbe:
    """What would be asked about an exchange.

    Attributes:
        market: its profile.
        questions: the requests, in order.
    """

    market: MarketProfile
    questions: tuple[ProbeQuestion, ...]

    @property
    def calls(self) -> int:
        """The price of all requests of a known price."""
        return sum(PRICES[question.kind] or 0 for question in self.questions)

    @property
    def has_unknown_price(self) -> bool:
        """Whether nobody knows what one of them costs."""
        return any(PRICES[question.kind] is None for question in self.questions)


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What was recorded, and the error that ended the probe early, if one did."""

    recording: ProbeRecording
    error: VendorError | None = None


def plan_probe(engine: Engine, exchange: str, symbols: Sequence[str]) -> MarketProbe:
    """The requests about an exchange, which need not be enabled; no vendor calls.

    Of shares one is asked for: the first of ``symbols``, else an active symbol of the universe, else one of the
    vendor's list.

    Raises:
        UsageError: an exchange that is not supported, or whose calendar has ended.
    """
    market = engine.settings.get_market(exchange)
    chosen = list(symbols) or _list_active(engine, exchange)[: count_symbols(market)]
    return MarketProbe(market, tuple(list_questions(market, chosen, engine.settings.now())))


def _list_active(engine: Engine, exchange: str) -> list[str]:
    with engine.database.transaction() as connection:
        return [symbol.ticker.symbol for symbol in list_symbols(connection, exchange)]


def send_probe(engine: Engine, probe: MarketProbe, shutdown: GracefulShutdown) -> ProbeResult:
    """Send the requests one after another, within the budget, the pause and the rate limit of all others.

    Args:
        engine: the parts to work with.
        probe: what to ask.
        shutdown: what a signal goes through; the answers until then are in the result.
    """
    return shutdown.run(_send(engine, probe))


async def _send(engine: Engine, probe: MarketProbe) -> ProbeResult:
    started_at, answers = engine.settings.now(), list[RecordedAnswer]()
    error: VendorError | None = None
    async with engine.open_vendor_client(Purpose.REFERENCE) as (_, client):
        assert isinstance(client, EodhdClient)  # noqa: S101 - recordings are of this vendor's answers
        symbol = ""
        for question in probe.questions:
            if question.kind in _OF_TICKERS and not (question.subject or symbol):
                continue  # the list had no share
            try:
                answers += await _ask(engine, client, probe.market, question, symbol)
            except VendorError as stopping:
                error = stopping
                break
            except asyncio.CancelledError:  # no answer within the grace period after a signal
                error = StopRequested("a signal told this process to stop")
                break
            if question.kind is QuestionKind.SYMBOLS:
                symbol = _choose_share(answers[-1], probe.market)
    return ProbeResult(ProbeRecording(probe.market.exchange, started_at, answers), error)


async def _ask(
    engine: Engine, client: EodhdClient, market: MarketProfile, question: ProbeQuestion, symbol: str
) -> list[RecordedAnswer]:
    """The answer; two if the vendor knows the exchange by another code only."""
    subject = question.subject or symbol
    if question.kind in _OF_TICKERS:
        subject = f"{subject}.{market.exchange}"
    measured = question.kind is QuestionKind.HOURS
    before = await _count_used_calls(engine, client) if measured else None
    recorded, is_unknown = await _record(engine, client, replace(question, subject=subject))
    if is_unknown and question.otherwise:
        other, _ = await _record(engine, client, replace(question, subject=question.otherwise))
        return [recorded, other]
    after = await _count_used_calls(engine, client) if before is not None else None
    if before is None or after is None or after < before or recorded.refusal is not None:
        return [recorded]
    return [msgspec.structs.replace(recorded, calls=after - before)]


async def _count_used_calls(engine: Engine, client: EodhdClient) -> int | None:
    """The calls that the account has used today; None: it does not say."""
    try:
        account = await client.for_purpose(Purpose.ACCOUNT).fetch_account()
    except VendorError:  # one that stops everything meets the next question, too, and this answer is kept
        return None
    is_today = account.api_requests_date == engine.settings.now().date()
    return account.api_requests if is_today else None


async def _record(engine: Engine, client: EodhdClient, question: ProbeQuestion) -> tuple[RecordedAnswer, bool]:
    """The answer or the refusal, and whether the vendor does not know what was asked for."""
    endpoint, params = ENDPOINTS[question.kind], _build_params(question)
    path, asked_at = f"/{endpoint}/{question.subject}".rstrip("/"), engine.settings.now()
    recorded = RecordedAnswer(question.kind, path, question.subject, {**params}, asked_at)
    price = PRICES[question.kind]
    calls = ASSUMED_HOURS_CALLS if price is None else price
    try:
        answer = await client.fetch_json(
            endpoint, question.subject, params, calls, is_ticker=question.kind in _OF_TICKERS
        )
    except PlanRefused as error:  # a plan without this endpoint may have the others
        return _refuse(recorded, error), False
    except VendorError as error:
        if error.stops_run or isinstance(error, Unreachable):
            raise
        return _refuse(recorded, error), _is_unknown(error)
    return msgspec.structs.replace(recorded, answer=answer), False


def _refuse(recorded: RecordedAnswer, error: VendorError) -> RecordedAnswer:
    return msgspec.structs.replace(recorded, refusal=error.message)


def _is_unknown(error: VendorError) -> bool:
    return isinstance(error, UnknownTicker) or "404" in error.message


def _build_params(question: ProbeQuestion) -> Params:
    if question.first is None or question.last is None:
        return {}
    if question.kind is QuestionKind.DAILY:
        return build_date_params(to_day(question.first), to_day(question.last))
    first, last = (int(moment.timestamp()) for moment in (question.first, question.last))
    return {"interval": question.interval, "from": first, "to": last}


def _choose_share(recorded: RecordedAnswer, market: MarketProfile) -> str:
    """The first share of the list in the exchange's currency; empty: there is none."""
    if recorded.refusal is not None:
        return ""
    listed: Sequence[ListedSymbol] = parse_answer(recorded)
    shares = [symbol for symbol in listed if (symbol.symbol_type or "").lower() == _SHARES]
    units = {market.currency, market.price_unit}
    chosen = [symbol.code for symbol in shares if symbol.currency in units] or [symbol.code for symbol in shares]
    return min(chosen, key=len, default="")
