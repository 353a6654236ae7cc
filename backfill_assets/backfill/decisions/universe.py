"""Decisions about symbols that never answered.

Accepted: the ticker is deactivated. Rejected: it stays. Too many tickers without data at once are one decision.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from backfill_assets.backfill.absence.unserved import MIN_DAYS_ASKED
from backfill_assets.backfill.decisions.findings import describe_finding, list_findings_of_active
from backfill_assets.backfill.decisions.kind import (
    Changes,
    DecisionContext,
    DecisionKind,
    DecisionRefused,
    change_nothing,
)
from backfill_assets.backfill.identity.activation import deactivate_ticker, reactivate_ticker
from backfill_assets.config.counts import format_count
from backfill_assets.market.calendar.tickers import parse_ticker
from backfill_assets.market.exchanges.registry import get_profile
from backfill_assets.store.evidence.finding_ends import reopen_findings
from backfill_assets.store.evidence.findings import (
    NO_INTRADAY_DATA,
    TOO_MANY_UNSERVED,
    Finding,
    list_findings,
    resolve_findings,
)
from backfill_assets.store.evidence.proposals import Decision, Proposal, compute_fingerprint
from backfill_assets.store.evidence.unserved_symbols import find_unanswered_symbols
from backfill_assets.store.postgres.connection import Connection
from backfill_assets.store.symbols import list_active_rows, list_symbols


def _list_unanswered(connection: Connection, now: datetime) -> list[Proposal]:  # noqa: ARG001 - the signature of a kind
    return [_build_unanswered(finding) for finding in list_findings_of_active(connection, NO_INTRADAY_DATA)]


def _build_unanswered(finding: Finding) -> Proposal:
    return Proposal(
        kind="no_data",
        subject=f"{finding.subject} never had an intraday row",
        refers_to=(finding.subject,),
        text=f"deactivate {finding.subject} (rejecting: it stays active and is requested weekly)",
        evidence=describe_finding(finding),
        fingerprint=compute_fingerprint("no_data", finding.subject, finding.detail, finding.found_at),
        ticker=finding.subject,
        waits_since=finding.found_at,
    )


def _list_mass_absences(connection: Connection, now: datetime) -> list[Proposal]:
    """At most one an exchange: all tickers that never answered, when they are too many to be set aside one by one."""
    findings = [f for f in list_findings(connection) if f.kind == TOO_MANY_UNSERVED]
    named = [(finding, _list_never_answered(connection, finding.subject, now)) for finding in findings]
    return [_build_mass_absence(finding, names) for finding, names in named if names]


def _list_never_answered(connection: Connection, exchange: str, now: datetime) -> list[str]:
    tickers, zone = {s.symbol_id: str(s.ticker) for s in list_symbols(connection, exchange)}, get_profile(exchange).zone
    today = now.astimezone(zone).date()
    unanswered = find_unanswered_symbols(connection, list(tickers), today, zone.key, MIN_DAYS_ASKED)
    return sorted(tickers[symbol.symbol_id] for symbol in unanswered)


def _build_mass_absence(finding: Finding, tickers: Sequence[str]) -> Proposal:
    counted = format_count(len(tickers), "ticker")
    return Proposal(
        kind="many_without_data",
        subject=f"{counted} never had an intraday row",
        refers_to=(finding.subject, *tickers),
        text=f"the vendor does not have them: deactivate {counted} (rejecting: the vendor or the plan is at fault;"
        " they stay active, are requested, and fail the checks until they have bars)",
        evidence=describe_finding(finding),
        fingerprint=compute_fingerprint("many_without_data", tickers),
        waits_since=finding.found_at,
    )


def _deactivate_unanswered(context: DecisionContext, decision: Decision) -> Changes:
    return deactivate_ticker(context.connection, parse_ticker(decision.proposal.refers_to[0]), context.now)


def _deactivate_all(context: DecisionContext, decision: Decision) -> Changes:
    exchange, *tickers = decision.proposal.refers_to
    changes = [deactivate_ticker(context.connection, parse_ticker(ticker), context.now) for ticker in tickers]
    resolve_findings(context.connection, TOO_MANY_UNSERVED, [exchange], context.now)
    return {"each": changes}


def _undo_all(context: DecisionContext, decision: Decision, changes: Mapping[str, Any]) -> None:
    if not changes:
        return
    for change in changes["each"]:
        _undo(context, decision, change)
    reopen_findings(context.connection, TOO_MANY_UNSERVED, [decision.proposal.refers_to[0]])


def _undo(context: DecisionContext, decision: Decision, changes: Mapping[str, Any]) -> None:
    """Activate the rows again, and open their findings."""
    if not changes:
        return
    ticker = changes["deactivated"]
    if list_active_rows(context.connection, [parse_ticker(ticker)]):
        raise DecisionRefused(
            f"decision {decision.decision_id} cannot be undone: {ticker} has changed in the universe since; see:"
            " backfill-assets symbols list --all"
        )
    reactivate_ticker(context.connection, changes)


NO_DATA = DecisionKind("no_data", "ticker without data", "tickers without data", _list_unanswered,
                       _deactivate_unanswered, change_nothing, _undo)  # fmt: skip
MANY_WITHOUT_DATA = DecisionKind("many_without_data", "group of tickers without data", "groups of tickers without data",
                                 _list_mass_absences, _deactivate_all, change_nothing, _undo_all)  # fmt: skip
