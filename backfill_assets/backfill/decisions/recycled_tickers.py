"""Decisions about tickers whose daily history breaks: probably they named several instruments in turn.

Accepted: each life is an instrument of its own, and bars are expected in the newest one only. Rejected: it is one
instrument. No bar changes in either case. A person's ``symbols add --listed-from`` is of this kind, too: the ticker's
listing had ended, and another company took it over.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from backfill_assets.backfill.decisions.kind import (
    Changes,
    DecisionContext,
    DecisionKind,
    DecisionRefused,
    change_nothing,
)
from backfill_assets.backfill.identity.recycled import (
    RecycledRefused,
    record_lives,
    select_unrecorded,
    undo_lives,
)
from backfill_assets.backfill.identity.taken_over import TakenOver, record_taken_over, undo_taken_over
from backfill_assets.market.calendar.listings import describe_days
from backfill_assets.market.calendar.tickers import Symbol, Ticker
from backfill_assets.store.evidence.listed_isins import describe_listed_isins
from backfill_assets.store.evidence.proposals import Answer, Decision, Proposal, compute_fingerprint
from backfill_assets.store.evidence.ticker_breaks import FoundBreak, list_ticker_breaks
from backfill_assets.store.listings import list_listings
from backfill_assets.store.postgres.connection import Connection
from backfill_assets.store.symbols import list_all_symbols

NAME = "recycled_ticker"


def _list_proposals(connection: Connection, now: datetime) -> list[Proposal]:  # noqa: ARG001 - the signature of a kind
    breaks = list_ticker_breaks(connection)
    symbols = list_all_symbols(connection) if breaks else []
    by_symbol = {symbol: [one for one in breaks if one.symbol_id == symbol.symbol_id] for symbol in symbols}
    unrecorded = {symbol: _select_unrecorded(connection, symbol, found) for symbol, found in by_symbol.items() if found}
    return [_build_proposal(connection, symbol, found) for symbol, found in unrecorded.items() if found]


def _select_unrecorded(connection: Connection, symbol: Symbol, found: Sequence[FoundBreak]) -> list[FoundBreak]:
    listings = list_listings(connection, [symbol.symbol_id])
    selected = select_unrecorded(listings, [one.ticker_break for one in found])
    return [one for one in found if one.ticker_break in selected]


def _build_proposal(connection: Connection, symbol: Symbol, found: Sequence[FoundBreak]) -> Proposal:
    ticker, breaks = str(symbol.ticker), [one.ticker_break for one in found]
    begins = [None, *(one.first.day for one in breaks)]
    ends = [*(one.last.day for one in breaks), None]
    lives = ", ".join(describe_days(begin, end) for begin, end in zip(begins, ends, strict=True))
    isins = describe_listed_isins(connection, symbol.ticker.exchange, symbol.ticker.symbol)
    return Proposal(
        kind=NAME,
        subject=f"{ticker} named {len(begins)} instruments",
        refers_to=(f"symbol {symbol.symbol_id}",),
        text=f"an instrument for each life: {lives}; bars are expected in the last one only (rejecting: it is one"
        " instrument)",
        evidence=(
            *(("daily history", str(one)) for one in breaks),
            *(("vendor's lists", line) for line in isins),
            ("found", f"{found[-1].found_at:%Y-%m-%d %H:%M} UTC"),
        ),
        fingerprint=compute_fingerprint(NAME, symbol.symbol_id, [(one.last.day, one.first.day) for one in breaks]),
        ticker=ticker,
        waits_since=found[-1].found_at if any(one.splits_bars for one in found) else None,
    )


def build_taken_over_proposal(found: TakenOver) -> Proposal:
    """The proposal that a ticker whose listing has ended is another company's."""
    ticker, symbol_id = str(found.symbol.ticker), found.symbol.symbol_id
    return Proposal(
        kind=NAME,
        subject=str(found),
        refers_to=(f"symbol {symbol_id}", f"listed from {found.first_day}"),
        text=f"an instrument of its own: {ticker} is active, and its bars are expected from {found.first_day} on",
        evidence=(("before", f"{ticker} {found.ended}"),),
        fingerprint=compute_fingerprint(NAME, symbol_id, found.ended, found.first_day),
        ticker=ticker,
    )


def accept_taken_over(context: DecisionContext, found: TakenOver) -> Changes:
    """Record what a person says about a ticker whose listing has ended.

    Raises:
        RecycledRefused: the ticker's listings have changed since.
    """
    source = f"symbols add --listed-from, {context.describe(Answer.ACCEPTED)}"
    return record_taken_over(context.connection, found, source, context.by, context.now)


def _accept(context: DecisionContext, decision: Decision) -> Changes:
    symbol_id = int(decision.proposal.refers_to[0].removeprefix("symbol "))
    breaks = [one.ticker_break for one in list_ticker_breaks(context.connection) if one.symbol_id == symbol_id]
    try:
        return record_lives(context.connection, symbol_id, breaks, context.by, context.now)
    except RecycledRefused as error:
        raise DecisionRefused(f"decision {decision.decision_id}: {error}") from None


def _undo(context: DecisionContext, decision: Decision, changes: Mapping[str, Any]) -> None:
    if not changes:
        return
    name = decision.proposal.ticker or ""
    try:
        if "taken_over" in changes:
            symbol, _, exchange = name.rpartition(".")
            undo_taken_over(context.connection, changes, Ticker(symbol, exchange), context.by, context.now)
        else:
            undo_lives(context.connection, changes, name, context.by, context.now)
    except RecycledRefused as error:
        raise DecisionRefused(str(error)) from None


RECYCLED_TICKER = DecisionKind(NAME, "recycled ticker", "recycled tickers", _list_proposals, _accept, change_nothing,
                               _undo)  # fmt: skip
