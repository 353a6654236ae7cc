"""Decisions about listing lives: since when, and until when, a symbol was listed by its daily data.

A life is decided where a symbol has bars outside of it, which are doubted. Accepted: the life is confirmed, and bars
outside of it are wrong. Rejected: the bars are right.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from backfill_assets.backfill.decisions.doubts import (
    DoubtGroup,
    decide_group,
    describe_doubts,
    find_waiting_since,
    list_groups,
    restore_group,
)
from backfill_assets.backfill.decisions.kind import Changes, DecisionContext, DecisionKind, DecisionRefused
from backfill_assets.market.plausibility.rules import Rule
from backfill_assets.store.evidence.confirmed_lives import (
    ProposedLife,
    confirm_life,
    read_proposed_lives,
    restore_confirmation,
)
from backfill_assets.store.evidence.decided_doubts import UndecidedDoubt
from backfill_assets.store.evidence.proposals import Answer, Decision, Proposal, compute_fingerprint
from backfill_assets.store.postgres.connection import Connection

NAME = "listing_life"
RULES = frozenset({Rule.OUTSIDE_LISTING})


def _list_proposals(connection: Connection, now: datetime) -> list[Proposal]:  # noqa: ARG001 - the signature of a kind
    groups = list_groups(connection, RULES, None)
    lives = read_proposed_lives(connection, {group.doubts[0].symbol_id for group in groups}) if groups else {}
    return [
        _build_proposal(group, lives[group.doubts[0].symbol_id])
        for group in groups
        if group.doubts[0].symbol_id in lives
    ]


def _build_proposal(group: DoubtGroup, life: ProposedLife) -> Proposal:
    first: UndecidedDoubt = group.doubts[0]
    return Proposal(
        kind=NAME,
        subject=f"{group.ticker} was listed {life.describe()}",
        refers_to=(f"{first.symbol_id} {group.interval.name}", *(str(doubt.doubt_id) for doubt in group.doubts)),
        text="the bars outside are wrong: confirm the listing's days, and keep the bars marked (rejecting: the bars are"
        " right)",
        evidence=(
            ("daily data", f"read {life.read_at:%Y-%m-%d %H:%M} UTC: {life.describe()}"),
            *([("last day confirmed by", life.agreement)] if life.agreement else []),
            *describe_doubts(group),
        ),
        fingerprint=compute_fingerprint(NAME, first.symbol_id, group.interval.name, life.first_day, life.end_day),
        ticker=group.ticker,
        rule=str(Rule.OUTSIDE_LISTING),
        waits_since=find_waiting_since(group.doubts),
    )


def _accept(context: DecisionContext, decision: Decision) -> Changes:
    (symbol_id, _), ids = _get_keys(decision.proposal)
    before = confirm_life(context.connection, symbol_id, context.by, context.now)
    if before is None:
        raise DecisionRefused(f"decision {decision.decision_id}: nothing is known of the listing any more")
    return {**decide_group(context, decision, ids, Answer.ACCEPTED, marks_bar=True), "life": before}


def _reject(context: DecisionContext, decision: Decision) -> Changes:
    return decide_group(context, decision, _get_keys(decision.proposal)[1], Answer.REJECTED, marks_bar=False)


def _undo(context: DecisionContext, decision: Decision, changes: Mapping[str, Any]) -> None:
    (symbol_id, _), _ = _get_keys(decision.proposal)
    restore_group(context, decision, changes)
    if "life" in changes:
        restore_confirmation(context.connection, symbol_id, changes["life"])


def _uphold(context: DecisionContext, decision: Decision, proposal: Proposal) -> Changes:
    """Bars that came outside the same life since are what the others are."""
    answer = Answer.ACCEPTED if decision.answer is Answer.ACCEPTED else Answer.REJECTED
    return decide_group(context, decision, _get_keys(proposal)[1], answer, marks_bar=answer is Answer.ACCEPTED)


def _get_keys(proposal: Proposal) -> tuple[tuple[int, str], list[int]]:
    """The symbol_id and the interval, and the doubts that a proposal refers to."""
    symbol, *doubts = proposal.refers_to
    symbol_id, _, interval = symbol.partition(" ")
    return (int(symbol_id), interval), [int(key) for key in doubts]


LISTING_LIFE = DecisionKind(NAME, "listing life", "listing lives", _list_proposals, _accept, _reject, _undo,
                            holds_when_accepted=True, uphold=_uphold)  # fmt: skip
