"""Decisions about renamed and ended tickers.

A rename is proposed where the closes under both names bear it out (``market.identity.renames``). Accepted: both names
are one instrument, the old ticker is ended and the new one takes over, as by ``symbols rename``. Otherwise the ticker
has ended: accepted, it is deactivated, and nothing is joined. Rejected: it stays as it is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any

from backfill_assets.backfill.decisions.findings import describe_finding, list_findings_of_active
from backfill_assets.backfill.decisions.kind import (
    Changes,
    DecisionContext,
    DecisionKind,
    DecisionRefused,
    change_nothing,
)
from backfill_assets.backfill.identity.activation import deactivate_ticker, reactivate_ticker
from backfill_assets.backfill.identity.rename import record_rename, undo_rename
from backfill_assets.backfill.identity.rename_evidence import build_rename, find_sessions_around
from backfill_assets.backfill.identity.rename_plan import Rename, RenameRefused
from backfill_assets.backfill.listing_ends import find_new_symbol
from backfill_assets.errors import UsageError
from backfill_assets.market.calendar.tickers import Ticker, parse_ticker
from backfill_assets.market.exchanges.registry import get_profile
from backfill_assets.market.identity.renames import NOT_KNOWN, SPEAKS_AGAINST, RenameFacts
from backfill_assets.store.evidence.decisions import list_accepted, list_history
from backfill_assets.store.evidence.findings import ENDED_OR_RENAMED, Finding
from backfill_assets.store.evidence.proposals import Answer, Decision, Proposal, compute_fingerprint
from backfill_assets.store.evidence.ticker_changes import read_ticker_changes
from backfill_assets.store.postgres.connection import Connection
from backfill_assets.store.symbols import deactivate_symbols, list_active_rows

NAME = "rename"
AWAITED = timedelta(
    days=4
)  # from the first day under a new name: its row is there the next morning, or after a weekend


def build_rename_proposal(rename: Rename, facts: RenameFacts, waits_since: datetime | None = None) -> Proposal:
    """The proposal to make two tickers one instrument."""
    closes = facts.closes
    return Proposal(
        kind=NAME,
        subject=str(rename),
        refers_to=(str(rename.old),),
        text=f"one instrument: {rename.old} ends on {rename.last_day}, and {rename.new} takes over from"
        f" {rename.first_day} on (rejecting: {rename.old} stays active)",
        evidence=facts.list_evidence(),
        fingerprint=compute_fingerprint(NAME, str(rename), [str(closes.last), str(closes.first)], closes.other_until),
        ticker=str(rename.old),
        waits_since=waits_since,
    )


def _list_proposals(connection: Connection, now: datetime) -> list[Proposal]:
    findings = list_findings_of_active(connection, ENDED_OR_RENAMED)
    facts = _read_facts(connection, findings)
    return [_build_proposal(finding, facts.get(finding.subject), now) for finding in findings]


def _build_proposal(finding: Finding, facts: RenameFacts | None, now: datetime) -> Proposal:
    rename = _find_rename(facts)
    if facts is not None and rename is not None:
        proposal = build_rename_proposal(rename, facts, finding.found_at)
        return replace(proposal, evidence=(*describe_finding(finding), *proposal.evidence))
    ticker = finding.subject
    return Proposal(
        kind=NAME,
        subject=f"{ticker} has ended",
        refers_to=(ticker,),
        text=f"deactivate {ticker} (rejecting: {ticker} stays active)",
        evidence=(*describe_finding(finding), *_explain_no_rename(finding, facts)),
        fingerprint=compute_fingerprint(NAME, ticker, finding.detail),
        ticker=ticker,
        waits_since=_find_waiting_since(finding, facts, now),
    )


def _find_waiting_since(finding: Finding, facts: RenameFacts | None, now: datetime) -> datetime | None:
    """From when on an end calls for an answer; None while the first closes under the new name are still awaited."""
    is_awaited = (
        facts is not None
        and bool(facts.list_gaps())
        and not facts.list_contradictions()
        and now.date() <= facts.first_day + AWAITED
    )
    return None if is_awaited else finding.found_at


def _explain_no_rename(finding: Finding, facts: RenameFacts | None) -> tuple[tuple[str, str], ...]:
    """Why a change in the vendor's list is not proposed as a rename, and how a person records it all the same."""
    new = find_new_symbol(finding.detail)
    if new is None:
        return ()
    reasons = "; ".join([*facts.list_gaps(), *facts.list_contradictions()]) if facts else ""
    day = facts.first_day if facts else "DAY"
    return (
        *(line for line in (facts.list_evidence() if facts else ()) if line[0] not in {NOT_KNOWN, SPEAKS_AGAINST}),
        ("no rename proposed", reasons or "the closes under both names were not compared"),
        ("to record it", f"backfill-assets symbols rename {finding.subject} {new} --on {day}"),
    )


def _read_facts(connection: Connection, findings: Sequence[Finding]) -> dict[str, RenameFacts]:
    """By old ticker, what is known about the change that its finding tells of; the newest one of the same names."""
    new_names = {f.subject: _find_new_ticker(f) for f in findings}
    renamed = [old for old, new in new_names.items() if new is not None]
    found = read_ticker_changes(connection, renamed) if renamed else []
    return {str(c.facts.old): c.facts for c in found if c.is_listed and c.facts.new == new_names[str(c.facts.old)]}


def _find_new_ticker(finding: Finding) -> Ticker | None:
    """The new name that a finding tells of; None without one, or if it is no symbol that can be in the universe."""
    symbol = find_new_symbol(finding.detail)
    if symbol is None:
        return None
    try:
        return parse_ticker(f"{symbol}.{parse_ticker(finding.subject).exchange}")
    except UsageError:  # the vendor's list also has names of securities that it has no data of
        return None


def _find_rename(facts: RenameFacts | None) -> Rename | None:
    """The rename to propose; None if the facts do not bear one out."""
    if facts is None or not facts.is_borne_out:
        return None
    return build_rename(facts, find_sessions_around(get_profile(facts.old.exchange), facts.first_day))


def _accept(context: DecisionContext, decision: Decision) -> Changes:
    ticker = decision.proposal.refers_to[0]
    findings = [f for f in list_findings_of_active(context.connection, ENDED_OR_RENAMED) if f.subject == ticker]
    rename = _find_rename(_read_facts(context.connection, findings).get(ticker))
    if rename is None:
        return deactivate_ticker(context.connection, parse_ticker(ticker), context.now)
    return accept_rename(context, rename)


def accept_rename(context: DecisionContext, rename: Rename) -> Changes:
    """Record a rename that a person accepts.

    Raises:
        RenameRefused: what is recorded or stored contradicts it.
    """
    return record_rename(context.connection, rename, context.describe(Answer.ACCEPTED), context.by, context.now)


def find_recorded_rename(connection: Connection, old: Ticker, new: Ticker, first_day: date | None) -> int:
    """The decision that recorded a rename; the newest one, or that of ``first_day``.

    Raises:
        RenameRefused: none did, or it was taken back.
    """
    for decision in list_accepted(connection, NAME, str(old)):
        changes = list_history(connection, decision.decision_id)[-1].changes
        is_of_day = first_day is None or changes.get("on") == first_day.isoformat()
        if changes.get("renamed_to") == str(new) and is_of_day:
            return decision.decision_id
    on = f" on {first_day}" if first_day else ""
    raise RenameRefused(f"no rename of {old} to {new}{on} is recorded; see: backfill-assets symbols show {old}")


def _undo(context: DecisionContext, decision: Decision, changes: Mapping[str, Any]) -> None:
    if not changes:
        return
    if "renamed_to" not in changes:
        _undo_end(context, decision, changes)
        return
    try:
        undo_rename(context.connection, changes, context.by, context.now)
    except RenameRefused as error:
        raise DecisionRefused(str(error)) from None


def _undo_end(context: DecisionContext, decision: Decision, changes: Mapping[str, Any]) -> None:
    """Activate the ticker again; version 0.4.0 also activated the new name, without joining them."""
    connection, ticker, new = context.connection, changes["deactivated"], changes.get("activated")
    if list_active_rows(connection, [parse_ticker(ticker)]) or (
        new and not list_active_rows(connection, [parse_ticker(new)])
    ):
        raise DecisionRefused(
            f"decision {decision.decision_id} cannot be undone: {ticker}{f' or {new}' if new else ''} has changed in"
            " the universe since; see: backfill-assets symbols list --all"
        )
    if new:
        deactivate_symbols(connection, [parse_ticker(new)])
    reactivate_ticker(connection, changes)


RENAME = DecisionKind(NAME, "renamed or ended ticker", "renamed or ended tickers", _list_proposals, _accept,
                      change_nothing, _undo)  # fmt: skip
