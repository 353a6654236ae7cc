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
from backfill_assets.market.exchanges.labels import format_exchange_day, name_corrections_file, parse_exchange_day
from backfill_assets.store.evidence.daily_data import delete_closure, record_closure
from backfill_assets.store.evidence.finding_ends import find_closures, reopen_findings
from backfill_assets.store.evidence.findings import CALENDAR_DRIFT, Finding, list_findings, resolve_findings
from backfill_assets.store.evidence.proposals import Decision, Proposal, compute_fingerprint
from backfill_assets.store.postgres.connection import Connection

NAME = "closure"
_CLOSED = (
    "the market was closed: leave the day's bars explained, and add the day to closures in {file}"
    " (rejecting: the market was open, and its absent bars are missing)"
)
_OUTSIDE = (
    "the session's hours are wrong in the calendar: correct the day in {file} (rejecting: the calendar"
    " is right); either is only recorded"
)


def _list_proposals(connection: Connection, now: datetime) -> list[Proposal]:  # noqa: ARG001 - the signature of a kind
    findings = [finding for finding in list_findings(connection) if finding.kind == CALENDAR_DRIFT]
    days: dict[str, list[date]] = {}
    for exchange, day in (parse_exchange_day(finding.subject) for finding in findings):
        days.setdefault(exchange, []).append(day)
    closed = {
        format_exchange_day(exchange, day)
        for exchange, found in days.items()
        for day in find_closures(connection, exchange, found)
    }
    return [_build_proposal(finding, is_closed=finding.subject in closed) for finding in findings]


def _build_proposal(finding: Finding, *, is_closed: bool) -> Proposal:
    exchange, _ = parse_exchange_day(finding.subject)
    file = name_corrections_file(exchange)
    return Proposal(
        kind=NAME,
        subject=f"{finding.subject} {'was a closed day' if is_closed else 'had trading outside the session'}",
        refers_to=(finding.subject,),
        text=(_CLOSED if is_closed else _OUTSIDE).format(file=file),
        evidence=(("finding", finding.detail), ("found", f"{finding.found_at:%Y-%m-%d %H:%M} UTC")),
        fingerprint=compute_fingerprint(NAME, finding.subject, finding.detail, is_closed),
        waits_since=finding.found_at,
    )


def _reject(context: DecisionContext, decision: Decision) -> Changes:
    """The market was open: the day is no closure, and its finding is settled."""
    subject = decision.proposal.refers_to[0]
    closure = delete_closure(context.connection, *parse_exchange_day(subject))
    if closure is None:
        return {}
    resolve_findings(context.connection, CALENDAR_DRIFT, [subject], context.now)
    found_at, reason = closure
    return {"day": subject, "found_at": found_at, "reason": reason}


def _undo(context: DecisionContext, decision: Decision, changes: Mapping[str, Any]) -> None:
    if not changes:
        return
    exchange, day = parse_exchange_day(changes["day"])
    if find_closures(context.connection, exchange, [day]):
        raise DecisionRefused(
            f"decision {decision.decision_id} cannot be undone: {changes['day']} was found closed again since"
        )
    found_at = datetime.fromisoformat(changes["found_at"])
    record_closure(context.connection, exchange, day, changes["reason"], found_at)
    reopen_findings(context.connection, CALENDAR_DRIFT, [changes["day"]])


CLOSURE = DecisionKind(NAME, "day of the calendar", "days of the calendar", _list_proposals, change_nothing, _reject,
                       _undo, holds_when_accepted=True)  # fmt: skip
