"""Decisions about halts that too few symbols were seen for: whether trading was halted, or the vendor lost the slots.

Accepted: nothing traded, and the slots are no trade for good. Rejected: they are gaps.
"""

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any

from backfill_assets.backfill.decisions.kind import Changes, DecisionContext, DecisionKind, DecisionRefused
from backfill_assets.config.counts import format_count
from backfill_assets.market.calendar.intervals import DEFAULT_INTERVAL
from backfill_assets.market.gaps.halts import HaltState
from backfill_assets.store.evidence.halt_decisions import (
    ProposedHalt,
    list_proposed_halts,
    read_halt_states,
    restore_halts,
)
from backfill_assets.store.evidence.halts import decide_halts
from backfill_assets.store.evidence.proposals import Decision, Proposal, compute_fingerprint
from backfill_assets.store.postgres.connection import Connection
from backfill_assets.store.symbols import list_all_symbols

NAME = "halt"
DAILY_DATA_WITHIN = timedelta(days=1)  # a daily volume of 0 settles a halt without a person


def _list_proposals(connection: Connection, now: datetime) -> list[Proposal]:  # noqa: ARG001 - the signature of a kind
    halts = list_proposed_halts(connection)
    tickers = {s.symbol_id: str(s.ticker) for s in list_all_symbols(connection)} if halts else {}
    return [_build_proposal(halt, tickers[halt.symbol_id]) for halt in halts if halt.symbol_id in tickers]


def _build_proposal(halt: ProposedHalt, ticker: str) -> Proposal:
    interval = "" if halt.interval_type == DEFAULT_INTERVAL else f" {halt.interval_type}"
    slots = format_count(len(halt.slots), "slot")
    shares = [("volume", _describe_share(halt))] if halt.volume_share is not None else []
    return Proposal(
        kind=NAME,
        subject=f"{ticker}{interval} has no bar in {slots} of {halt.session_day}",
        refers_to=(f"{halt.symbol_id} {halt.interval_type} {halt.session_day}",),
        text="trading was halted: the slots are no trade, and are not requested again (rejecting: the vendor lost them,"
        " and they are gaps)",
        evidence=(("slots", _describe_slots(halt)), ("seen", halt.reason), *shares),
        fingerprint=compute_fingerprint(NAME, halt.symbol_id, halt.interval_type, halt.slots),
        ticker=ticker,
        waits_since=halt.found_at + DAILY_DATA_WITHIN,
    )


def _describe_slots(halt: ProposedHalt) -> str:
    return ", ".join(f"{slot:%H:%M}" for slot in halt.slots) + f" UTC on {halt.session_day}"


def _describe_share(halt: ProposedHalt) -> str:
    usual = "" if halt.usual_share is None else f", usually {halt.usual_share:.0%}"
    return f"the 1m rows hold {halt.volume_share or 0:.0%} of the day's{usual}"


def _accept(context: DecisionContext, decision: Decision) -> Changes:
    return _decide(context, decision, is_halt=True)


def _reject(context: DecisionContext, decision: Decision) -> Changes:
    return _decide(context, decision, is_halt=False)


def _decide(context: DecisionContext, decision: Decision, *, is_halt: bool) -> Changes:
    symbol_id, interval, day = _get_keys(decision)
    before = read_halt_states(context.connection, symbol_id, interval, day)
    decide_halts(context.connection, symbol_id, context.intervals[interval], day, is_halt=is_halt, by=context.by)
    return {"halts": before}


def _undo(context: DecisionContext, decision: Decision, changes: Mapping[str, Any]) -> None:
    symbol_id, interval, day = _get_keys(decision)
    now = read_halt_states(context.connection, symbol_id, interval, day)
    settled = {str(HaltState.FOUND), str(HaltState.REFUTED)}
    reasons = [(str(state["timestamp"]), state["reason"]) for state in changes["halts"]]
    is_same = [(str(state["timestamp"]), state["reason"]) for state in now] == reasons
    if not is_same or any(s["state"] not in settled or s["decided_by"] != decision.decided_by for s in now):
        raise DecisionRefused(
            f"decision {decision.decision_id} cannot be undone: what is known of the slots has changed since"
        )
    restore_halts(context.connection, symbol_id, interval, changes["halts"])


def _get_keys(decision: Decision) -> tuple[int, str, date]:
    symbol_id, interval, day = decision.proposal.refers_to[0].split(" ")
    return int(symbol_id), interval, date.fromisoformat(day)


HALT = DecisionKind(NAME, "halt", "halts", _list_proposals, _accept, _reject, _undo)
