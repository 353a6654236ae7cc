"""When findings end: resolves those that no longer hold, at the end of every run and when symbols are deactivated.

| finding | ends when |
|---|---|
| ``ended or renamed`` | the ticker is no longer active, the vendor has newer data of it, or its daily data go on |
| ``calendar drift``, closed day | more than a tenth of the symbols have data, or the calendar has no session |
| ``calendar drift``, trading outside | answers that span the day show none for nearly all tickers |
| ``calendar drift`` | the day is older than all retained sessions |
| ``plan limited`` | a run has no remark and an answer that reaches as far back (``backfill.findings``) |
| ``bars outside listing`` | a person decided, or no bar is outside any more (``backfill.findings``) |
| ``split without step``, ``adjusted closes differ`` | prices, records or daily rows changed (``backfill.actions``) |
| ``dividend in another currency`` | the vendor lists another one, or none (``backfill.actions``) |
| ``exchange not collected``, ``calendar ends`` | what they say is no longer so (``backfill.exchange_findings``) |
| ``session hours differ`` | the calendar has the hours again, or all was read again (``backfill.session_hours``) |
| ``calendar or vendor hole`` | a ticker has the slots, or the calendar no longer (``backfill.shared_holes``) |
| ``partitions end`` | more were made, or a partitioning has ended (``backfill.partition_findings``) |
| ``bars refused`` | the refused bars are stored, by whomever, or their tickers inactive (``backfill.findings``) |
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date, datetime

from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.exchange_findings import note_calendar_ends, note_other_exchanges
from backfill_assets.backfill.findings import MIN_TICKERS_FOR_DRIFT, NEARLY_ALL_SHARE
from backfill_assets.market.calendar.sessions import list_sessions
from backfill_assets.market.calendar.tickers import Symbol
from backfill_assets.market.calendar.windows import build_session_window, limit_partition_sessions
from backfill_assets.market.exchanges.labels import format_exchange_day, parse_exchange_day
from backfill_assets.store.evidence.finding_ends import (
    continue_listing_lives,
    delete_answered_closures,
    find_closures,
    find_ended_symbols,
    find_symbols_answering_again,
    reopen_findings,
)
from backfill_assets.store.evidence.findings import (
    CALENDAR_DRIFT,
    ENDED_OR_RENAMED,
    TICKER_KINDS,
    Finding,
    list_findings,
    resolve_findings,
)
from backfill_assets.store.postgres.connection import Connection
from backfill_assets.store.symbols import list_all_symbols


def resolve_ended_findings(engine: Engine) -> Sequence[Finding]:
    """Resolve what the store shows to hold no longer; no vendor calls. Returns the findings that were open before.

    A finding about a listing's end opens again when its ticker was deactivated and is active again.
    """
    now = engine.settings.now()
    with engine.database.transaction() as connection:
        active = {str(s.ticker): s for s in list_all_symbols(connection)}
        _reopen_listing_ends(connection, active)
        findings = list_findings(connection)
        resolve_findings_of_inactive(connection, findings, active, now)
        _resolve_listing_ends(connection, findings, active, now)
        counts = Counter(symbol.ticker.exchange for symbol in active.values())
        _resolve_drift(connection, engine, findings, counts)
        note_other_exchanges(connection, engine.settings, findings, counts)
        note_calendar_ends(connection, engine.settings, findings)
    return findings


def resolve_findings_of_inactive(
    connection: Connection, findings: Sequence[Finding], active: Mapping[str, Symbol], now: datetime
) -> None:
    """Resolve findings about tickers that are not among the active ones."""
    for kind in TICKER_KINDS:
        inactive = [f.subject for f in findings if f.kind == kind and f.subject not in active]
        if inactive:
            resolve_findings(connection, kind, inactive, now)


def find_disproved_drift(
    drift_days: Sequence[date], spans: Sequence[tuple[date, date]], off_calendar_days: Mapping[date, int]
) -> list[date]:
    """Of the days, those that enough answers span and on which not nearly all of these show trading outside sessions.

    Args:
        drift_days: days with an open finding.
        spans: first and last day of each request that was answered.
        off_calendar_days: by day, how many tickers traded outside a session.
    """
    disproved = []
    for day in drift_days:
        answered_count = sum(first <= day <= last for first, last in spans)
        is_rare = off_calendar_days.get(day, 0) < NEARLY_ALL_SHARE * answered_count
        if answered_count >= MIN_TICKERS_FOR_DRIFT and is_rare:
            disproved.append(day)
    return disproved


def resolve_disproved_drift(
    engine: Engine, exchange: str, spans: Sequence[tuple[date, date]], off_calendar_days: Mapping[date, int]
) -> None:
    """Resolve findings of trading outside sessions that a run's answers disprove; days recorded as closed stay."""
    with engine.database.transaction() as connection:
        days = _group_drift_days(list_findings(connection)).get(exchange, [])
        if not days:
            return
        closed = find_closures(connection, exchange, days)
        disproved = find_disproved_drift([d for d in days if d not in closed], spans, off_calendar_days)
        subjects = [format_exchange_day(exchange, day) for day in disproved]
        resolve_findings(connection, CALENDAR_DRIFT, subjects, engine.settings.now())


def _group_drift_days(findings: Sequence[Finding]) -> dict[str, list[date]]:
    """By exchange, the days with a finding ``calendar drift``."""
    days: dict[str, list[date]] = {}
    for finding in findings:
        if finding.kind == CALENDAR_DRIFT:
            exchange, day = parse_exchange_day(finding.subject)
            days.setdefault(exchange, []).append(day)
    return days


def _resolve_drift(
    connection: Connection, engine: Engine, findings: Sequence[Finding], counts: Mapping[str, int]
) -> None:
    """Resolve findings about days of exchanges that are collected; the others wait until they are again."""
    for exchange, days in _group_drift_days(findings).items():
        if exchange in engine.settings.exchanges:
            ended = _find_ended_drift_days(connection, engine, exchange, days, counts.get(exchange, 0))
            subjects = [format_exchange_day(exchange, day) for day in ended]
            resolve_findings(connection, CALENDAR_DRIFT, subjects, engine.settings.now())


def _reopen_listing_ends(connection: Connection, active: Mapping[str, Symbol]) -> None:
    ended_ids = find_ended_symbols(connection, [s.symbol_id for s in active.values()])
    if ended_ids:
        reopen_findings(connection, ENDED_OR_RENAMED, [name for name, s in active.items() if s.symbol_id in ended_ids])


def _resolve_listing_ends(
    connection: Connection, findings: Sequence[Finding], active: Mapping[str, Symbol], now: datetime
) -> None:
    found_at = {
        active[f.subject].symbol_id: f.found_at for f in findings if f.kind == ENDED_OR_RENAMED and f.subject in active
    }
    answering_ids = find_symbols_answering_again(connection, found_at) if found_at else set()
    if answering_ids:
        continue_listing_lives(connection, sorted(answering_ids))
        names = [name for name, s in active.items() if s.symbol_id in answering_ids]
        resolve_findings(connection, ENDED_OR_RENAMED, names, now)


def _find_ended_drift_days(
    connection: Connection, engine: Engine, exchange: str, days: Sequence[date], active_count: int
) -> set[date]:
    settings, market = engine.settings, engine.settings.get_market(exchange)
    closed = find_closures(connection, exchange, days)
    answered = delete_answered_closures(connection, exchange, days, (1 - NEARLY_ALL_SHARE) * active_count)
    without_session = {day for day in closed if not list_sessions(market, day, day)}
    count = limit_partition_sessions(settings.partition_days, active_count)
    retained = build_session_window(market, settings.now(), count).sessions
    outdated = {day for day in days if retained and day < retained[0].day}
    return answered | without_session | outdated
