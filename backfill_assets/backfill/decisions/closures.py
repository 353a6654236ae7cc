"""Decisions about days on which the calendar and the vendor's data disagree: closed days, and trading outside sessions.

A day without data counts as closed until somebody says that the market was open. The calendar itself is corrected in
BACKFILL_CALENDAR_FILE, which only a person can do.
"""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from backfill_assets.backfill.decisions.kind import (
    Changes,
    DecisionContext,
    DecisionKind,
    DecisionRefused,
    change_nothing,
)
from backfill_assets.store.evidence.daily_data import delete_closure, record_closure
from backfill_assets.store.evidence.finding_ends import find_closures, reopen_findings
from backfill_assets.store.evidence.findings import CALENDAR_DRIFT, Finding, list_findings, resolve_findings
from backfill_assets.store.evidence.proposals import Decision, Proposal, compute_fingerprint
from backfill_assets.store.postgres.connection import Connection

NAME = "closure"
_CLOSED = (
    "the market was closed: leave the day's bars explained, and add the day to closures in BACKFILL_CALENDAR_FILE"
    " (rejecting: the market was open, and its absent bars are missing)"
)
_OUTSIDE = (
    "the session's hours are wrong in the calendar: correct the day in BACKFILL_CALENDAR_FILE (rejecting: the calendar"
    " is right); either is only recorded"
)


def _list_proposals(connection: Connection, now: datetime) -> list[Proposal]:  # noqa: ARG001 - the signature of a kind
    findings = [finding for finding in list_findings(connection) if finding.kind == CALENDAR_DRIFT]
    days = [date.fromisoformat(finding.subject) for finding in findings]
    closed = find_closures(connection, days) if days else set()
    return [_build_proposal(f, is_closed=day in closed) for f, day in zip(findings, days, strict=True)]


def _build_proposal(finding: Finding, *, is_closed: bool) -> Proposal:
    return Proposal(
        kind=NAME,
        subject=f"{finding.subject} {'was a closed day' if is_closed else 'had trading outside the session'}",
        refers_to=(finding.subject,),
        text=_CLOSED if is_closed else _OUTSIDE,
        evidence=(("finding", finding.detail), ("found", f"{finding.found_at:%Y-%m-%d %H:%M} UTC")),
        fingerprint=compute_fingerprint(NAME, finding.subject, finding.detail, is_closed),
        waits_since=finding.found_at,
    )


def _reject(context: DecisionContext, decision: Decision) -> Changes:
    """The market was open: the day is no closure, and its finding is settled."""
    day = date.fromisoformat(decision.proposal.refers_to[0])
    closure = delete_closure(context.connection, day)
    if closure is None:
        return {}
    resolve_findings(context.connection, CALENDAR_DRIFT, [str(day)], context.now)
    found_at, reason = closure
    return {"day": str(day), "found_at": found_at, "reason": reason}


def _undo(context: DecisionContext, decision: Decision, changes: Mapping[str, Any]) -> None:
    if not changes:
        return
    day = date.fromisoformat(changes["day"])
    if find_closures(context.connection, [day]):
        raise DecisionRefused(f"decision {decision.decision_id} cannot be undone: {day} was found closed again since")
    record_closure(context.connection, day, changes["reason"], datetime.fromisoformat(changes["found_at"]))
    reopen_findings(context.connection, CALENDAR_DRIFT, [str(day)])


CLOSURE = DecisionKind(NAME, "day of the calendar", "days of the calendar", _list_proposals, change_nothing, _reject,
                       _undo, holds_when_accepted=True)  # fmt: skip
