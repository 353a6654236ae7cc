"""Findings about exchanges: symbols of one that is not collected, a calendar that ends, hours that differ now.

Each ends by itself when it no longer holds; the end of every run looks. Other findings are in ``findings``.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import date

from backfill_assets.config.counts import format_count
from backfill_assets.config.settings import Settings
from backfill_assets.market.calendar.sessions import SessionsUnknown, find_last_known_day, is_near_end
from backfill_assets.market.exchanges.profile import MarketProfile
from backfill_assets.store.evidence.findings import (
    CALENDAR_ENDS,
    EXCHANGE_NOT_COLLECTED,
    Finding,
    record_finding,
    resolve_findings,
)
from backfill_assets.store.postgres.connection import Connection

SETTING = "BACKFILL_EXCHANGES"  # the subject of the one finding about exchanges that are not collected


def note_other_exchanges(
    connection: Connection, settings: Settings, findings: Sequence[Finding], counts: Mapping[str, int]
) -> None:
    """Record in one finding which exchanges have active symbols and are not collected, or resolve it.

    Args:
        connection: with a transaction open.
        settings: which exchanges are collected.
        findings: the open ones.
        counts: by exchange, how many active symbols there are.
    """
    others = {exchange: count for exchange, count in sorted(counts.items()) if exchange not in settings.exchanges}
    if others:
        detail = describe_other_exchanges(others, settings.exchanges)
        record_finding(connection, Finding(EXCHANGE_NOT_COLLECTED, SETTING, detail, settings.now()))
    elif any(finding.kind == EXCHANGE_NOT_COLLECTED for finding in findings):
        resolve_findings(connection, EXCHANGE_NOT_COLLECTED, [SETTING], settings.now())


def describe_other_exchanges(others: Mapping[str, int], collected: Sequence[str]) -> str:
    """Which exchanges are not collected, by number of active symbols, and what to do."""
    counted = ", ".join(f"{format_count(count, 'active symbol')} of {exchange}" for exchange, count in others.items())
    example = json.dumps([*collected, *others])
    return (
        f"{counted} not collected, because {SETTING} names {', '.join(collected)} only; to collect them set {SETTING}="
        f"'{example}', else deactivate them: backfill-assets symbols deactivate"
    )


def describe_calendar_end(market: MarketProfile, last_day: date, today: date) -> str:
    """That a calendar ends or has ended, and what to do."""
    ends = f"ends on {last_day}" if today <= last_day else f"ended on {last_day}"
    return (
        f"the calendar of {market.exchange} ({market.calendar} of the package exchange_calendars) {ends}; after that"
        f" day nothing of {market.exchange} is collected: install a newer exchange_calendars, or add the"
        " sessions after it to BACKFILL_MARKETS_FILE"
    )


def note_calendar_ends(connection: Connection, settings: Settings, findings: Sequence[Finding]) -> None:
    """Record each calendar of the collected exchanges that ends within 60 days, and resolve those that no longer do."""
    ending: dict[str, str] = {}
    for market in settings.markets:
        today = settings.now().astimezone(market.zone).date()
        try:
            last_day = find_last_known_day(market, today)
        except SessionsUnknown:  # what is done for this exchange fails and says why; the others go on
            continue
        if last_day is not None and is_near_end(last_day, today):
            ending[market.exchange] = describe_calendar_end(market, last_day, today)
    for exchange, detail in ending.items():
        record_finding(connection, Finding(CALENDAR_ENDS, exchange, detail, settings.now()))
    gone = {finding.subject for finding in findings if finding.kind == CALENDAR_ENDS} - set(ending)
    if gone:
        resolve_findings(connection, CALENDAR_ENDS, gone, settings.now())
