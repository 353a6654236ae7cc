"""Decisions about the unit of prices: from a session on they are 100 times what they were, or a hundredth.

Accepted: the unit changed, and is recorded from that session on. Rejected: it is the same, and the rules judge the
bars. No bar changes in either case: pence stay pence.
"""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from backfill_assets.backfill.decisions.kind import Changes, DecisionContext, DecisionKind, change_nothing
from backfill_assets.market.calendar.tickers import Symbol
from backfill_assets.market.exchanges.price_units import get_currency
from backfill_assets.market.exchanges.registry import get_profile
from backfill_assets.store.evidence.proposals import Answer, Decision, Proposal, compute_fingerprint
from backfill_assets.store.level_jumps import FoundJump, list_level_jumps
from backfill_assets.store.postgres.connection import Connection
from backfill_assets.store.price_units import change_unit, list_units, restore_units
from backfill_assets.store.symbols import list_all_symbols

NAME = "price_unit"


def _list_proposals(connection: Connection, now: datetime) -> list[Proposal]:  # noqa: ARG001 - the signature of a kind
    jumps = list_level_jumps(connection)
    symbols = {symbol.symbol_id: symbol for symbol in list_all_symbols(connection)} if jumps else {}
    return [_build_proposal(connection, symbols[one.symbol_id], one) for one in jumps if one.symbol_id in symbols]


def _build_proposal(connection: Connection, symbol: Symbol, found: FoundJump) -> Proposal:
    ticker, jump = str(symbol.ticker), found.jump
    old, new = _name_units(symbol, found)
    known = [f"{unit} from {day or 'the beginning'}" for day, unit in list_units(connection, symbol.symbol_id)]
    return Proposal(
        kind=NAME,
        subject=f"{ticker} may be quoted in {new} from {jump.day} on",
        refers_to=(f"{symbol.symbol_id} {jump.day}",),
        text=f"prices count {new} from {jump.day} on, and {old} before: record it; no bar is changed (rejecting: the"
        " unit is the same, and the rules judge the bars)",
        evidence=(
            ("level before", f"{jump.old_price:,.4f} on {jump.last_day}"),
            ("level after", f"{jump.new_price:,.4f} on {jump.day}, and in every session since"),
            ("recorded", ", ".join(known) or f"nothing; usual at the exchange is {_get_usual_unit(symbol)}"),
            ("found", f"{found.found_at:%Y-%m-%d %H:%M} UTC"),
        ),
        fingerprint=compute_fingerprint(NAME, symbol.symbol_id, jump.day, jump.is_up),
        ticker=ticker,
        waits_since=found.found_at,
    )


def _get_usual_unit(symbol: Symbol) -> str:
    return get_profile(symbol.ticker.exchange).price_unit or "unknown"


def _name_units(symbol: Symbol, found: FoundJump) -> tuple[str, str]:
    """The unit before and after: a hundredth of the currency has prices 100 times as high."""
    hundredth = _get_usual_unit(symbol)
    units = (get_currency(hundredth), hundredth)
    return units if found.jump.is_up else units[::-1]


def _accept(context: DecisionContext, decision: Decision) -> Changes:
    symbol_id, day = _get_keys(decision)
    found = next((one for one in list_level_jumps(context.connection) if _get_key(one) == (symbol_id, day)), None)
    symbol = next((one for one in list_all_symbols(context.connection) if one.symbol_id == symbol_id), None)
    if found is None or symbol is None:
        return {}
    old, new = _name_units(symbol, found)
    source = f"decision {decision.decision_id}, {context.describe(Answer.ACCEPTED)}"
    before = change_unit(context.connection, symbol_id, day, old, new, source, context.now)
    return {"symbol_id": symbol_id, "units": before}


def _undo(context: DecisionContext, decision: Decision, changes: Mapping[str, Any]) -> None:  # noqa: ARG001 - of a kind
    if changes:
        restore_units(context.connection, changes["symbol_id"], changes["units"])


def _get_keys(decision: Decision) -> tuple[int, date]:
    symbol_id, _, day = decision.proposal.refers_to[0].partition(" ")
    return int(symbol_id), date.fromisoformat(day)


def _get_key(found: FoundJump) -> tuple[int, date]:
    return found.symbol_id, found.jump.day


PRICE_UNIT = DecisionKind(NAME, "unit of prices", "units of prices", _list_proposals, _accept, change_nothing, _undo,
                          holds_when_accepted=True)  # fmt: skip
