"""Decisions about which symbols are in the universe: renamed or ended ones, and those that never answered.

Accepted: the ticker is deactivated, and its new name, if it has one, is activated. Rejected: it stays. Too many tickers
without data at once are one decision.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from backfill_assets.backfill.absence.unserved import MIN_DAYS_ASKED
from backfill_assets.backfill.decisions.kind import (
    Changes,
    DecisionContext,
    DecisionKind,
    DecisionRefused,
    change_nothing,
)
from backfill_assets.backfill.listing_ends import find_new_symbol
from backfill_assets.config.counts import format_count
from backfill_assets.errors import UsageError
from backfill_assets.market.calendar.exchanges import DEFAULT_EXCHANGE, TIME_ZONE
from backfill_assets.market.calendar.tickers import Ticker, parse_ticker
from backfill_assets.store.evidence.finding_ends import reopen_findings
from backfill_assets.store.evidence.findings import (
    ENDED_OR_RENAMED,
    NO_INTRADAY_DATA,
    TICKER_KINDS,
    TOO_MANY_UNSERVED,
    Finding,
    list_findings,
    resolve_findings,
    select_of_active,
)
from backfill_assets.store.evidence.proposals import Decision, Proposal, compute_fingerprint
from backfill_assets.store.evidence.unserved_symbols import (
    continue_unserved,
    end_unserved,
    find_unanswered_symbols,
)
from backfill_assets.store.postgres.connection import Connection
from backfill_assets.store.symbols import (
    activate_rows,
    add_symbols,
    deactivate_symbols,
    list_active_rows,
    list_symbols,
)


def _list_renames(connection: Connection, now: datetime) -> list[Proposal]:  # noqa: ARG001 - the signature of a kind
    return [_build_rename(finding) for finding in _list_findings(connection, ENDED_OR_RENAMED)]


def _list_unanswered(connection: Connection, now: datetime) -> list[Proposal]:  # noqa: ARG001 - the same
    return [_build_unanswered(finding) for finding in _list_findings(connection, NO_INTRADAY_DATA)]


def _list_findings(connection: Connection, kind: str) -> Sequence[Finding]:
    findings = [finding for finding in list_findings(connection) if finding.kind == kind]
    active = {str(s.ticker) for s in list_symbols(connection, DEFAULT_EXCHANGE)} if findings else set()
    return select_of_active(findings, active)


def _build_rename(finding: Finding) -> Proposal:
    new = _find_new_ticker(finding.subject, finding.detail)
    activate = f", and activate {new}, its new name" if new else ""
    return Proposal(
        kind="rename",
        subject=f"{finding.subject} {'was renamed' if new else 'has ended'}",
        refers_to=(finding.subject,),
        text=f"deactivate {finding.subject}{activate} (rejecting: {finding.subject} stays active)",
        evidence=_describe(finding),
        fingerprint=compute_fingerprint("rename", finding.subject, finding.detail),
        ticker=finding.subject,
        waits_since=finding.found_at,
    )


def _build_unanswered(finding: Finding) -> Proposal:
    return Proposal(
        kind="no_data",
        subject=f"{finding.subject} never had an intraday row",
        refers_to=(finding.subject,),
        text=f"deactivate {finding.subject} (rejecting: it stays active and is requested weekly)",
        evidence=_describe(finding),
        fingerprint=compute_fingerprint("no_data", finding.subject, finding.detail, finding.found_at),
        ticker=finding.subject,
        waits_since=finding.found_at,
    )


def _list_mass_absences(connection: Connection, now: datetime) -> list[Proposal]:
    """At most one: all tickers that never answered, when they are too many to be set aside one by one."""
    findings = [f for f in list_findings(connection) if f.kind == TOO_MANY_UNSERVED and f.subject == DEFAULT_EXCHANGE]
    if not findings:
        return []
    tickers = {s.symbol_id: str(s.ticker) for s in list_symbols(connection, DEFAULT_EXCHANGE)}
    unanswered = find_unanswered_symbols(connection, list(tickers), now.date(), TIME_ZONE.key, MIN_DAYS_ASKED)
    names = sorted(tickers[symbol.symbol_id] for symbol in unanswered)
    return [_build_mass_absence(findings[0], names)] if names else []


def _build_mass_absence(finding: Finding, tickers: Sequence[str]) -> Proposal:
    counted = format_count(len(tickers), "ticker")
    return Proposal(
        kind="many_without_data",
        subject=f"{counted} never had an intraday row",
        refers_to=(finding.subject, *tickers),
        text=f"the vendor does not have them: deactivate {counted} (rejecting: the vendor or the plan is at fault;"
        " they stay active, are requested, and fail the checks until they have bars)",
        evidence=_describe(finding),
        fingerprint=compute_fingerprint("many_without_data", tickers),
        waits_since=finding.found_at,
    )


def _describe(finding: Finding) -> tuple[tuple[str, str], ...]:
    return ("finding", finding.detail), ("found", f"{finding.found_at:%Y-%m-%d %H:%M} UTC")


def _find_new_ticker(old: str, detail: str) -> Ticker | None:
    """The new name that a finding tells of; None without one, or if it is no symbol that can be in the universe."""
    symbol = find_new_symbol(detail)
    if symbol is None:
        return None
    try:
        return parse_ticker(f"{symbol}.{parse_ticker(old).exchange}")
    except UsageError:  # the vendor's list also has names of securities that it has no data of
        return None


def _accept_rename(context: DecisionContext, decision: Decision) -> Changes:
    ticker, (_, detail) = decision.proposal.refers_to[0], decision.proposal.evidence[0]
    changes = _deactivate(context, ticker)
    new = _find_new_ticker(ticker, detail)
    if new and not list_active_rows(context.connection, [new]):
        add_symbols(context.connection, [new])
        changes["activated"] = str(new)
    return changes


def _deactivate_unanswered(context: DecisionContext, decision: Decision) -> Changes:
    return _deactivate(context, decision.proposal.refers_to[0])


def _deactivate_all(context: DecisionContext, decision: Decision) -> Changes:
    exchange, *tickers = decision.proposal.refers_to
    changes = [_deactivate(context, ticker) for ticker in tickers]
    resolve_findings(context.connection, TOO_MANY_UNSERVED, [exchange], context.now)
    return {"each": changes}


def _undo_all(context: DecisionContext, decision: Decision, changes: Mapping[str, Any]) -> None:
    if not changes:
        return
    for change in changes["each"]:
        _undo(context, decision, change)
    reopen_findings(context.connection, TOO_MANY_UNSERVED, [decision.proposal.refers_to[0]])


def _deactivate(context: DecisionContext, ticker: str) -> Changes:
    """Deactivate a ticker as ``symbols deactivate`` does: its findings are resolved, and it is not set aside."""
    connection, chosen = context.connection, [parse_ticker(ticker)]
    rows = list_active_rows(connection, chosen)
    deactivate_symbols(connection, chosen)
    open_kinds = {f.kind for f in list_findings(connection) if f.subject == ticker and f.kind in TICKER_KINDS}
    for kind in open_kinds:
        resolve_findings(connection, kind, [ticker], context.now)
    active = [symbol.symbol_id for symbol in list_symbols(connection, DEFAULT_EXCHANGE)]
    ended = end_unserved(connection, active, context.now)
    return {"deactivated": ticker, "rows": rows, "findings": sorted(open_kinds), "unserved": sorted(ended & set(rows))}


def _undo(context: DecisionContext, decision: Decision, changes: Mapping[str, Any]) -> None:
    """Activate the rows again, open their findings, and deactivate the new name if it was activated."""
    if not changes:
        return
    connection, ticker = context.connection, changes["deactivated"]
    new = changes.get("activated")
    if list_active_rows(connection, [parse_ticker(ticker)]) or (
        new and not list_active_rows(connection, [parse_ticker(new)])
    ):
        raise DecisionRefused(
            f"decision {decision.decision_id} cannot be undone: {ticker}{f' or {new}' if new else ''} has changed in"
            " the universe since; see: backfill-assets symbols list --all"
        )
    if new:
        deactivate_symbols(connection, [parse_ticker(new)])
    activate_rows(connection, changes["rows"])
    for kind in changes["findings"]:
        reopen_findings(connection, kind, [ticker])
    continue_unserved(connection, changes["unserved"])


RENAME = DecisionKind("rename", "renamed or ended ticker", "renamed or ended tickers", _list_renames, _accept_rename,
                      change_nothing, _undo)  # fmt: skip
NO_DATA = DecisionKind("no_data", "ticker without data", "tickers without data", _list_unanswered,
                       _deactivate_unanswered, change_nothing, _undo)  # fmt: skip
MANY_WITHOUT_DATA = DecisionKind("many_without_data", "group of tickers without data", "groups of tickers without data",
                                 _list_mass_absences, _deactivate_all, change_nothing, _undo_all)  # fmt: skip
