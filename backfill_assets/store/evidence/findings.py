"""Findings: what a person should know or decide, one per kind and subject, open for as long as it holds.

Whatever records a finding resolves it when it no longer holds. A resolved finding stays in the table; when it is
recorded again, it is open again. What is found, and when that ends, is decided in ``backfill``.
"""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from backfill_assets.store.postgres.connection import Connection

CALENDAR_DRIFT = "calendar drift"
PLAN_LIMITED = "plan limited"
ENDED_OR_RENAMED = "ended or renamed"
BARS_REFUSED = "bars refused"
ENDPOINT_NOT_IN_PLAN = "endpoint not in plan"
NO_INTRADAY_DATA = "no intraday data"
TOO_MANY_UNSERVED = "too many without data"
COMMON_PRICE_FACTOR = "common price factor"
BARS_OUTSIDE_LISTING = "bars outside listing"
SPLITS_CONTRADICT = "splits contradict"
DIVIDENDS_CONTRADICT = "dividends contradict"
SPLIT_WITHOUT_STEP = "split without step"
DIVIDEND_IN_OTHER_CURRENCY = "dividend in another currency"
ADJUSTED_CLOSES_DIFFER = "adjusted closes differ"
EXCHANGE_NOT_COLLECTED = "exchange not collected"
CALENDAR_ENDS = "calendar ends"
SESSION_HOURS_DIFFER = "session hours differ"
CALENDAR_OR_VENDOR_HOLE = "calendar or vendor hole"
PARTITIONS_END = "partitions end"
TICKER_KINDS = (
    ENDED_OR_RENAMED,
    NO_INTRADAY_DATA,
    COMMON_PRICE_FACTOR,
    BARS_OUTSIDE_LISTING,
    SPLITS_CONTRADICT,
    DIVIDENDS_CONTRADICT,
    SPLIT_WITHOUT_STEP,
    DIVIDEND_IN_OTHER_CURRENCY,
    ADJUSTED_CLOSES_DIFFER,
)  # the subject is a ticker: they end when it is no longer active

_UPSERT_FINDING = """
INSERT INTO backfill.findings AS f (kind, subject, detail, found_at)
VALUES (%(kind)s, %(subject)s, %(detail)s, %(found_at)s)
ON CONFLICT (kind, subject) DO UPDATE
SET detail = EXCLUDED.detail, found_at = EXCLUDED.found_at, resolved_at = NULL
WHERE f.detail <> EXCLUDED.detail OR f.resolved_at IS NOT NULL
"""
_RESOLVE_FINDINGS = """
UPDATE backfill.findings SET resolved_at = %(now)s
WHERE kind = %(kind)s AND subject = ANY (%(subjects)s) AND resolved_at IS NULL
"""
_SELECT_OPEN_FINDINGS = """
SELECT kind, subject, detail, found_at FROM backfill.findings WHERE resolved_at IS NULL
ORDER BY found_at DESC, kind, subject
"""
_SELECT_RESOLVED_FINDINGS = """
SELECT kind, subject, detail, found_at, resolved_at FROM backfill.findings WHERE resolved_at >= %(since)s
ORDER BY resolved_at DESC, kind, subject
"""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that a person should know or decide; ``found_at`` is UTC."""

    kind: str
    subject: str
    detail: str
    found_at: datetime


def record_finding(connection: Connection, finding: Finding) -> None:
    """Store an open finding; ``found_at`` stays at the first time for as long as it is open with the same detail."""
    connection.execute(_UPSERT_FINDING, asdict(finding))


def resolve_findings(connection: Connection, kind: str, subjects: Collection[str], now: datetime) -> int:
    """Close the open findings of a kind and these subjects, as of ``now``.

    Returns:
        How many were open.
    """
    values = {"kind": kind, "subjects": sorted(subjects), "now": now}
    return connection.execute(_RESOLVE_FINDINGS, values).rowcount


def list_findings(connection: Connection) -> Sequence[Finding]:
    """The open findings, newest first."""
    rows = connection.execute(_SELECT_OPEN_FINDINGS)
    return [Finding(kind, subject, detail, at.astimezone(UTC)) for kind, subject, detail, at in rows]


def select_of_active(findings: Sequence[Finding], tickers: Collection[str]) -> list[Finding]:
    """The findings without those about tickers that are not active; the next run resolves them."""
    return [f for f in findings if f.kind not in TICKER_KINDS or f.subject in tickers]


def list_resolved_findings(connection: Connection, since: datetime) -> Sequence[tuple[Finding, datetime]]:
    """The findings resolved from ``since`` on and when (UTC) each was, the newest first."""
    rows = connection.execute(_SELECT_RESOLVED_FINDINGS, {"since": since})
    return [
        (Finding(kind, subject, detail, found_at.astimezone(UTC)), resolved_at.astimezone(UTC))
        for kind, subject, detail, found_at, resolved_at in rows
    ]
