"""Findings that a run records for the user to look at; ``status`` and the report show them."""

from collections.abc import Mapping
from datetime import date, datetime

from backfill_assets.market.calendar.tickers import Ticker
from backfill_assets.store.evidence.findings import CALENDAR_DRIFT, PLAN_LIMITED, Finding, record_finding
from backfill_assets.store.postgres.connection import Database

NEARLY_ALL_SHARE = 0.9
MIN_TICKERS_FOR_DRIFT = 10


def record_calendar_drift(
    database: Database, off_calendar_days: Mapping[date, int], ticker_count: int, now: datetime
) -> None:
    """Record the days on which nearly all of ``ticker_count`` tickers traded outside the calendar's sessions.

    Args:
        database: the store.
        off_calendar_days: by day, how many tickers traded outside a session.
        ticker_count: how many tickers were requested; with few of them nothing is recorded.
        now: the time of the finding.
    """
    drift_days = [
        day
        for day, count in off_calendar_days.items()
        if ticker_count >= MIN_TICKERS_FOR_DRIFT and count >= NEARLY_ALL_SHARE * ticker_count
    ]
    detail = "the vendor has trading outside the calendar's session; see BACKFILL_CALENDAR_FILE"
    _record_findings(database, [Finding(CALENDAR_DRIFT, str(day), detail, now) for day in drift_days])


def record_vendor_warnings(database: Database, warnings: Mapping[str, frozenset[Ticker]], now: datetime) -> None:
    """Record for each exchange the vendor's remark that the token's plan limits the data (docs/vendor.md §1.7).

    Args:
        database: the store.
        warnings: the vendor's messages, with the tickers concerned.
        now: the time of the finding.
    """
    messages_by_exchange: dict[str, set[str]] = {}
    for message, tickers in warnings.items():
        for exchange in {ticker.exchange for ticker in tickers}:
            messages_by_exchange.setdefault(exchange, set()).add(message)
    findings = [
        Finding(PLAN_LIMITED, exchange, "; ".join(sorted(messages)), now)
        for exchange, messages in sorted(messages_by_exchange.items())
    ]
    _record_findings(database, findings)


def _record_findings(database: Database, findings: list[Finding]) -> None:
    if not findings:
        return
    with database.transaction() as connection:
        for finding in findings:
            record_finding(connection, finding)
