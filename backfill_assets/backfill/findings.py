"""Findings that a run records for the user to look at; ``status`` and the report show them.

``plan limited`` is resolved here, too, by the answers of a run; how other findings end is in ``backfill.finding_ends``.
"""

from collections.abc import Mapping
from datetime import date, datetime

from backfill_assets.backfill.plan_limits import WHOLE_HISTORY_DAYS, PlanReach, find_disproved_limits
from backfill_assets.config.counts import format_count
from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.calendar.sessions import list_sessions
from backfill_assets.market.calendar.tickers import Ticker
from backfill_assets.market.calendar.timestamps import format_timestamp
from backfill_assets.market.exchanges.labels import format_exchange_day, name_corrections_file
from backfill_assets.market.exchanges.profile import MarketProfile
from backfill_assets.store.evidence.finding_ends import (
    forget_limited_reach,
    read_limited_reaches,
    record_limited_reach,
)
from backfill_assets.store.evidence.findings import (
    BARS_OUTSIDE_LISTING,
    BARS_REFUSED,
    CALENDAR_DRIFT,
    PLAN_LIMITED,
    Finding,
    list_findings,
    record_finding,
    resolve_findings,
)
from backfill_assets.store.evidence.listing_lives import OutsideListing, summarize_outside_listing
from backfill_assets.store.evidence.refusals import RefusalSummary, summarize_refusals
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.symbols import list_all_symbols

NEARLY_ALL_SHARE = 0.9
MIN_TICKERS_FOR_DRIFT = 10


def record_calendar_drift(
    database: Database, market: MarketProfile, off_calendar_days: Mapping[date, int], ticker_count: int, now: datetime
) -> None:
    """Record the days on which nearly all of ``ticker_count`` tickers traded outside the calendar's sessions.

    Where nobody has seen yet which rows belong to the close, those after it are only counted
    (``backfill.fetch.learned_answers``); then a day counts on which the calendar has no session.

    Args:
        database: the store.
        market: the exchange of the tickers.
        off_calendar_days: by day, how many tickers traded outside a session.
        ticker_count: how many tickers were requested; with few of them nothing is recorded.
        now: the time of the finding.
    """
    is_close_known = "closing_seconds" not in market.assumed
    drift_days = [
        day
        for day, count in off_calendar_days.items()
        if ticker_count >= MIN_TICKERS_FOR_DRIFT
        and count >= NEARLY_ALL_SHARE * ticker_count
        and (is_close_known or not list_sessions(market, day, day))
    ]
    detail = f"the vendor has trading outside the calendar's session; see {name_corrections_file(market.exchange)}"
    subjects = [format_exchange_day(market.exchange, day) for day in drift_days]
    _record_findings(database, [Finding(CALENDAR_DRIFT, subject, detail, now) for subject in subjects])


def record_vendor_warnings(
    database: Database,
    warnings: Mapping[str, frozenset[Ticker]],
    now: datetime,
    reaches: Mapping[str, PlanReach] | None = None,
    endpoint: str = "",
) -> None:
    """Record for each exchange the vendor's remark that the token's plan limits the data (docs/vendor.md §1.7).

    The finding is resolved by an answer without the remark to a request that reaches as far back as a limited one did,
    unless another answer has the remark. So all answers of a run and an endpoint belong together.

    Args:
        database: the store.
        warnings: the vendor's messages, with the tickers concerned.
        now: the time of the finding.
        reaches: by exchange, how far back the requests reached; None means the whole history.
        endpoint: of the answers, if it has findings of its own; empty for intraday data.
    """
    reaches = {_name_subject(exchange, endpoint): reach for exchange, reach in (reaches or {}).items()}
    messages_by_subject: dict[str, set[str]] = {}
    for message, tickers in warnings.items():
        for exchange in {ticker.exchange for ticker in tickers}:
            messages_by_subject.setdefault(_name_subject(exchange, endpoint), set()).add(message)
    with database.transaction() as connection:
        if messages_by_subject:
            forget_limited_reach(connection)
        for subject, messages in sorted(messages_by_subject.items()):
            record_finding(connection, Finding(PLAN_LIMITED, subject, "; ".join(sorted(messages)), now))
            limited_days = reaches.get(subject, PlanReach(WHOLE_HISTORY_DAYS)).limited_days
            record_limited_reach(connection, subject, WHOLE_HISTORY_DAYS if limited_days is None else limited_days)
        unlimited = {subject: reach for subject, reach in reaches.items() if subject not in messages_by_subject}
        limited_reaches = read_limited_reaches(connection) if unlimited else {}
        disproved = find_disproved_limits(unlimited, limited_reaches)
        if disproved:
            resolve_findings(connection, PLAN_LIMITED, disproved, now)


def _name_subject(exchange: str, endpoint: str) -> str:
    return f"{exchange} {endpoint}".rstrip()


def record_endpoint_warning(database: Database, endpoint: str, warning: str | None, now: datetime) -> None:
    """Record the vendor's remark in the answer of an endpoint that is about no ticker; without one it is resolved."""
    with database.transaction() as connection:
        if warning:
            record_finding(connection, Finding(PLAN_LIMITED, endpoint, warning, now))
        else:
            resolve_findings(connection, PLAN_LIMITED, [endpoint], now)


def record_refused_bars(database: Database, interval: Interval, now: datetime) -> None:
    """Record for each reason which bars ``market_data`` refuses, and resolve the findings whose bars are stored.

    Args:
        database: the store.
        interval: of the bars, with the table's spellings.
        now: the time of the finding.
    """
    with database.transaction() as connection:
        summaries = summarize_refusals(connection, interval)
        for summary in summaries:
            record_finding(connection, Finding(BARS_REFUSED, summary.refused_by, _describe_refusals(summary), now))
        open_subjects = {f.subject for f in list_findings(connection) if f.kind == BARS_REFUSED}
        resolve_findings(connection, BARS_REFUSED, open_subjects - {s.refused_by for s in summaries}, now)


def record_bars_outside_listing(database: Database, now: datetime) -> None:
    """Record which active symbols have bars outside their listing life; resolve what was decided, or ended."""
    with database.transaction() as connection:
        tickers = {s.symbol_id: str(s.ticker) for s in list_all_symbols(connection)}
        found = {tickers[o.symbol_id]: o for o in summarize_outside_listing(connection) if o.symbol_id in tickers}
        for ticker, outside in found.items():
            record_finding(connection, Finding(BARS_OUTSIDE_LISTING, ticker, _describe_outside(outside), now))
        open_subjects = {f.subject for f in list_findings(connection) if f.kind == BARS_OUTSIDE_LISTING}
        resolve_findings(connection, BARS_OUTSIDE_LISTING, open_subjects - set(found), now)


def _describe_outside(outside: OutsideListing) -> str:
    days = [f"{word} {day}" for word, day in (("from", outside.listed_from), ("until", outside.listed_until)) if day]
    return (
        f"bars of {format_count(outside.sessions, 'session')} from {outside.first_session} to {outside.last_session} "
        f"lie outside its listing ({' '.join(days)}) by the daily data; whether they are right is to be decided: "
        "backfill-assets decisions list"
    )


def _describe_refusals(summary: RefusalSummary) -> str:
    """The finding without its subject, which is a name or what the database's words begin with."""
    words = summary.message.removeprefix(summary.refused_by).removeprefix("; ")
    return (
        f"market_data refuses {format_count(summary.bars, 'bar')} of {format_count(summary.tickers, 'ticker')}, "
        f"first {summary.first_ticker} {format_timestamp(summary.first_slot)}{f': {words}' if words else ''}; "
        "change the table so that it accepts them, then name the symbols: run --symbols"
    )


def _record_findings(database: Database, findings: list[Finding]) -> None:
    if not findings:
        return
    with database.transaction() as connection:
        for finding in findings:
            record_finding(connection, finding)
