"""Stores what an answer of the other feed settles, in one transaction: bars, doubts, halts, and that it was asked."""

from collections.abc import Mapping, Set
from dataclasses import dataclass
from datetime import date, datetime

import numpy as np

from backfill_assets.backfill.cross_feed.halts import HaltQuestion, find_halts, list_no_rows
from backfill_assets.backfill.cross_feed.request import CrossFeedRequest
from backfill_assets.backfill.cross_feed.verdicts import DoubtVerdict, Verdicts, judge_answer
from backfill_assets.backfill.cross_feed_result import CrossFeedResult
from backfill_assets.market.bars.bar_builder import build_bars
from backfill_assets.market.bars.source_rows import build_row_table
from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.market.gaps.gap_rules import GapRules
from backfill_assets.market.gaps.halts import HaltState
from backfill_assets.market.plausibility.other_feed import ASKED_RULES
from backfill_assets.market.vendor import IntradayRows
from backfill_assets.store.bars.other_feed_bars import read_feed_bars, take_bars
from backfill_assets.store.bars.source_host import bind_source_host
from backfill_assets.store.evidence.doubt_answers import find_changed
from backfill_assets.store.evidence.doubts import Outcome, end_doubts, list_doubts
from backfill_assets.store.evidence.halts import record_halts
from backfill_assets.store.evidence.judged_sessions import forget_judgement
from backfill_assets.store.evidence.listing_lives import read_listing_lives
from backfill_assets.store.evidence.narrowing import narrow_doubts
from backfill_assets.store.evidence.other_feed_answers import record_doubt_answer, record_slot_answers
from backfill_assets.store.evidence.refusals import record_refusals
from backfill_assets.store.postgres.connection import Connection

_NONE = np.zeros(0)
NO_ROWS = IntradayRows(np.zeros(0, np.int64), _NONE, _NONE, _NONE, _NONE, _NONE)


@dataclass(frozen=True, slots=True)
class CrossFeedContext:
    """What all answers of a run have in common.

    Attributes:
        coverage: the states, measured before the other feed was asked.
        source: the first feed.
        other: the other feed.
        rules: when absent slots of the first feed count.
        spelling: the ``interval_type`` of new rows.
        vendor_host: the source of the bars.
        now: the moment, UTC.
    """

    coverage: Coverage
    source: Interval
    other: Interval
    rules: GapRules
    spelling: str
    vendor_host: str
    now: datetime


def write_answer(
    connection: Connection,
    context: CrossFeedContext,
    request: CrossFeedRequest,
    rows: IntradayRows,
    requested_at: datetime,
) -> CrossFeedResult:
    """Judge an answer and store what it settles, within the caller's transaction.

    Args:
        connection: with a transaction open.
        context: what all answers have in common.
        request: what was asked.
        rows: the answer.
        requested_at: the server's clock before the request.

    Raises:
        UsageError: the database holds bars of another host.
    """
    coverage, interval, symbol = context.coverage, context.coverage.grid.interval, request.questions.symbol
    stored = read_feed_bars(
        connection, symbol.symbol_id, interval, context.vendor_host, context.source, request.grid.sessions
    )
    starts = coverage.grid.starts[list(request.questions.ordinals)].tolist()
    built = build_bars(
        build_row_table([(symbol.symbol_id, rows)]),
        request.grid,
        context.other,
        find_lives=lambda symbol_ids: read_listing_lives(connection, symbol_ids),
    )
    verdicts = judge_answer(request, built, stored, _list_request_times(coverage, request), starts, context.other)
    taken = _take(connection, context, verdicts, requested_at)
    slots = {start: answer for start, answer in verdicts.slots.items() if answer != "taken" or start in taken}
    record_slot_answers(connection, symbol.symbol_id, slots, interval=interval, other=context.other, now=context.now)
    settled = [_settle_doubt(connection, context, verdict, taken) for verdict in verdicts.doubts]
    settled += _narrow_doubts(connection, context, request, taken)
    ordinals = list_no_rows(verdicts.slots, request.questions.ordinals, coverage.grid.starts)
    halts = find_halts(
        connection,
        HaltQuestion(request, rows, ordinals, coverage, context.source, context.other, context.rules, context.now),
    )
    record_halts(connection, halts)
    return CrossFeedResult(
        tickers=1,
        taken=len(taken),
        confirmed=settled.count(Outcome.CONFIRMED),
        halts=sum(halt.state is HaltState.FOUND for halt in halts),
    )


def _list_request_times(coverage: Coverage, request: CrossFeedRequest) -> Mapping[date, float]:
    """Epoch seconds of the first feed's newest request of the symbol, by session day."""
    history, sessions = coverage.request_history, coverage.grid.sessions
    of_symbol = history.row == request.questions.row
    pairs = zip(history.session[of_symbol].tolist(), history.requested_at[of_symbol].tolist(), strict=True)
    return {sessions[session].day: float(at) for session, at in pairs}


def _take(connection: Connection, context: CrossFeedContext, verdicts: Verdicts, requested_at: datetime) -> Set[int]:
    """Write the bars that are taken; returns the starts of those that are stored now."""
    if not len(verdicts.taken):
        return frozenset()
    interval = context.coverage.grid.interval
    bind_source_host(connection, context.vendor_host)
    written, stored = take_bars(
        connection,
        verdicts.taken,
        interval=interval,
        spelling=context.spelling,
        source=context.vendor_host,
        other=context.other,
        requested_at=requested_at,
        now=context.now,
    )
    record_refusals(connection, verdicts.taken, written.refused, interval=interval, source=context.other)
    return {start for _, start in stored}


def _settle_doubt(
    connection: Connection, context: CrossFeedContext, verdict: DoubtVerdict, taken: Set[int]
) -> Outcome | None:
    """Store what the other feed said about a doubt, and end the doubt if that settles it."""
    record_doubt_answer(connection, verdict.doubt.doubt_id, verdict.describe(context.other, context.now))
    if verdict.answer == "confirmed":
        outcome, reason = Outcome.CONFIRMED, f"the vendor's {context.other.name} rows bear it out"
    elif verdict.answer == "taken" and taken >= {*verdict.taken}:
        outcome, reason = Outcome.MENDED, _describe_taken(context.other)
    else:
        return None
    end_doubts(connection, [verdict.doubt.doubt_id], outcome, reason, context.now, marks_bar=False)
    return outcome


def _narrow_doubts(
    connection: Connection, context: CrossFeedContext, request: CrossFeedRequest, taken: Set[int]
) -> list[Outcome]:
    """Leave the slots that were taken out of the doubts about their bars; what is left of these goes on.

    Doubts that the other feed cannot settle are left to the judge, who judges these sessions again.
    """
    if not taken:
        return []
    interval, symbol_id = context.coverage.grid.interval, request.questions.symbol.symbol_id
    days = [
        session.day
        for session in request.grid.sessions
        if any(session.rows_from.timestamp() <= at < session.close.timestamp() for at in taken)
    ]
    forget_judgement(connection, symbol_id, interval, days)
    marking = list_doubts(connection, [symbol_id], interval, days[0], days[-1])
    concerned = [
        doubt.doubt_id
        for doubt in marking
        if doubt.rule in ASKED_RULES
        and not doubt.from_audit
        and any(doubt.first_slot.timestamp() <= start <= doubt.last_slot.timestamp() for start in taken)
    ]
    changed = find_changed(connection, concerned, interval)
    mended = narrow_doubts(connection, dict.fromkeys(changed, ()), interval)
    end_doubts(connection, mended, Outcome.MENDED, _describe_taken(context.other), context.now, marks_bar=False)
    return [Outcome.MENDED] * len(mended)


def _describe_taken(other: Interval) -> str:
    return f"taken from the vendor's {other.name} rows"


def record_refused_request(
    connection: Connection, context: CrossFeedContext, request: CrossFeedRequest
) -> CrossFeedResult:
    """Store that the other feed was asked and gave nothing: its ticker is refused, or the answer cannot be read."""
    return write_answer(connection, context, request, NO_ROWS, context.now)
