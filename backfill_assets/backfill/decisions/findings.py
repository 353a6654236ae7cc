"""Findings about tickers as the matters of decisions."""

from collections.abc import Sequence

from backfill_assets.store.evidence.findings import Finding, list_findings, select_of_active
from backfill_assets.store.postgres.connection import Connection
from backfill_assets.store.symbols import list_all_symbols


def list_findings_of_active(connection: Connection, kind: str) -> Sequence[Finding]:
    """The open findings of a kind about tickers that are active."""
    findings = [finding for finding in list_findings(connection) if finding.kind == kind]
    active = {str(s.ticker) for s in list_all_symbols(connection)} if findings else set()
    return select_of_active(findings, active)


def describe_finding(finding: Finding) -> tuple[tuple[str, str], ...]:
    """A finding as evidence: what it says, and since when."""
    return ("finding", finding.detail), ("found", f"{finding.found_at:%Y-%m-%d %H:%M} UTC")
