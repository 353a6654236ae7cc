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
| ``bars refused`` | the refused bars are stored, by whomever, or their tickers inactive (``backfill.findings``) |
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime

from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.findings import MIN_TICKERS_FOR_DRIFT, NEARLY_ALL_SHARE
from backfill_assets.market.calendar.exchanges import DEFAULT_EXCHANGE
from backfill_assets.market.calendar.sessions import list_sessions
from backfill_assets.market.calendar.tickers import Symbol
from backfill_assets.market.calendar.windows import build_session_window, limit_partition_sessions
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
from backfill_assets.store.symbols import list_symbols


def resolve_ended_findings(engine: Engine) -> None:
    """Resolve what the store shows to hold no longer; no vendor calls.

    A finding about a listing's end opens again when its ticker was deactivated and is active again.
    """
    now = engine.settings.now()
    with engine.database.transaction() as connection:
        active = {str(s.ticker): s for s in list_symbols(connection, DEFAULT_EXCHANGE)}
        _reopen_listing_ends(connection, active)
        findings = list_findings(connection)
        resolve_findings_of_inactive(connection, findings, active, now)
        _resolve_listing_ends(connection, findings, active, now)
        drift_days = [date.fromisoformat(f.subject) for f in findings if f.kind == CALENDAR_DRIFT]
        if drift_days:
            ended = _find_ended_drift_days(connection, engine, drift_days, len(active))
            resolve_findings(connection, CALENDAR_DRIFT, [str(day) for day in ended], now)


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
    engine: Engine, spans: Sequence[tuple[date, date]], off_calendar_days: Mapping[date, int]
) -> None:
    """Resolve findings of trading outside sessions that a run's answers disprove; days recorded as closed stay."""
    with engine.database.transaction() as connection:
        days = [date.fromisoformat(f.subject) for f in list_findings(connection) if f.kind == CALENDAR_DRIFT]
        if not days:
            return
        closed = find_closures(connection, days)
        disproved = find_disproved_drift([d for d in days if d not in closed], spans, off_calendar_days)
        resolve_findings(connection, CALENDAR_DRIFT, [str(day) for day in disproved], engine.settings.now())


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
    connection: Connection, engine: Engine, days: Sequence[date], active_count: int
) -> set[date]:
    settings = engine.settings
    overrides = settings.load_calendar_overrides()
    closed = find_closures(connection, days)
    answered = delete_answered_closures(connection, days, (1 - NEARLY_ALL_SHARE) * active_count)
    without_session = {day for day in closed if not overrides.apply_to(list_sessions(DEFAULT_EXCHANGE, day, day))}
    count = limit_partition_sessions(settings.partition_days, active_count)
    retained = build_session_window(DEFAULT_EXCHANGE, settings.now(), count, overrides).sessions
    outdated = {day for day in days if retained and day < retained[0].day}
    return answered | without_session | outdated
