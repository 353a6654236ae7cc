"""One ticker's daily history: on which days it traded, and from when to when it is listed.

When it is read is decided in ``lookup``, whether a listing has ended in ``backfill.listing_ends``.
"""

import logging
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

import numpy as np

from backfill_assets.backfill.identity.rename_evidence import RenameEvidence
from backfill_assets.backfill.listing_ends import ListingEnd, SymbolChangeList, build_listed_changes, judge_listing
from backfill_assets.backfill.plan_limits import PlanAnswers, build_reach
from backfill_assets.market.calendar.sessions import list_previous_sessions
from backfill_assets.market.calendar.tickers import Symbol
from backfill_assets.market.daily_prices import DailyPrices, build_daily_prices
from backfill_assets.market.exchanges.learned import DailyFigure
from backfill_assets.market.exchanges.profile import DailyEvidence
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.market.gaps.daily_rows import find_skipped_days, skips_days_often
from backfill_assets.market.identity.closes import list_closes
from backfill_assets.market.identity.recycled import find_breaks
from backfill_assets.market.vendor import DailyRows, SymbolChange, VendorClient
from backfill_assets.market.vendor_errors import (
    BrokenAnswer,
    InvalidTicker,
    QuotaExhausted,
    TokenRefused,
    UnknownTicker,
    VendorError,
)
from backfill_assets.store.evidence.confirmed_lives import record_agreement
from backfill_assets.store.evidence.daily_data import ListingLife, record_listing_lives, record_unreadable_history
from backfill_assets.store.evidence.daily_prices import NO_ROW_AS_USUAL, record_daily_rows, record_days_without_row
from backfill_assets.store.evidence.daily_reads import record_daily_answer
from backfill_assets.store.evidence.findings import (
    ENDED_OR_RENAMED,
    NO_INTRADAY_DATA,
    Finding,
    record_finding,
    resolve_findings,
)
from backfill_assets.store.evidence.ticker_breaks import record_ticker_breaks
from backfill_assets.store.learning import may_judge_daily_data
from backfill_assets.store.postgres.connection import Connection, Database

DELISTED_AFTER_SESSIONS = 3  # without a row in the daily data
HABIT_SESSIONS = 250  # over which it is counted how often a symbol has no daily row
_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class _History:
    """What the vendor said about one ticker: its daily rows, or (None) how it refused them."""

    rows: DailyRows | None
    refusal: VendorError | None = None

    @property
    def days(self) -> frozenset[date]:
        """The days with a row."""
        return frozenset() if self.rows is None else frozenset(self.rows.date.astype(object).tolist())

    @property
    def first_day(self) -> date | None:
        """The listing's first day; None without rows, or if the plan limits them: the first one may be later."""
        is_limited = self.rows is not None and self.rows.warning is not None
        return None if is_limited else min(self.days, default=None)


async def fetch_listing_history(
    client: VendorClient,
    changes: SymbolChangeList,
    database: Database,
    coverage: Coverage,
    symbol: Symbol,
    absent_sessions: Collection[int],
    answers: PlanAnswers,
) -> list[int]:
    """Read one symbol's daily history, and record when it traded, how long it is listed and what a person should know.

    A day without a row says nothing about a session with bars, so only ``absent_sessions`` are explained by it: those
    of the coverage in which the symbol has no bar at all. What the answer says about a limit of the plan is added to
    ``answers``, and recorded by whoever has all of them.

    Returns:
        Those of them that lie between the history's ends, have no row, and are unexplained so far.

    Raises:
        TokenRefused, QuotaExhausted: as for any request. Other errors are logged.
    """
    history = await _fetch_history(client, database, symbol, coverage)
    if history is None:
        return []
    if history.rows is not None:
        _report_dropped(answers, symbol, history.rows, coverage)
    listing_end = await judge_listing(
        changes,
        symbol,
        _build_listing_life(symbol, history, coverage),
        is_unknown=isinstance(history.refusal, UnknownTicker),
        absent_days=[
            coverage.grid.sessions[session].day for session in {*_list_overdue_sessions(coverage), *absent_sessions}
        ],
        now=coverage.now,
        market=coverage.grid.sessions[0].market,
    )
    await _read_rename(client, changes, database, symbol, history, listing_end.rename, coverage.now)
    market = coverage.grid.sessions[0].market
    skipped = _find_skipped(history, coverage, absent_sessions)
    is_usual = bool(skipped) and _skips_days_often(history, coverage)
    with database.transaction() as connection:
        if not may_judge_daily_data(connection, market, DailyFigure.TRADING):
            listing_end = _withhold_judgement(listing_end)
        record_listing_lives(connection, [listing_end.life], coverage.now)
        record_agreement(connection, symbol.symbol_id, listing_end.agreed_rename, coverage.now)
        if history.rows is not None and market.uses_daily_data:
            record_daily_rows(connection, _select_window(symbol, history.rows, coverage), coverage.now)
            record_daily_answer(connection, symbol.symbol_id, coverage.grid.sessions[0].day, coverage.now)
        if history.rows is not None and not history.rows.warning and market.daily_volume_tells:  # all of it
            record_ticker_breaks(connection, symbol.symbol_id, find_breaks(history.rows), coverage.now)
        if is_usual:
            days = [(symbol.symbol_id, coverage.grid.sessions[session].day) for session in skipped]
            record_days_without_row(connection, days, NO_ROW_AS_USUAL)
        finding = listing_end.finding or _build_finding_without_data(symbol, history, coverage)
        _update_findings(connection, symbol, finding, coverage)
    return [] if is_usual else skipped


def _withhold_judgement(listing_end: ListingEnd) -> ListingEnd:
    """That the history was read, where daily data may not say yet from when to when a symbol is listed."""
    return ListingEnd(replace(listing_end.life, first_day=None, has_ended=False), None)


async def _read_rename(
    client: VendorClient,
    changes: SymbolChangeList,
    database: Database,
    symbol: Symbol,
    history: _History,
    rename: SymbolChange | None,
    now: datetime,
) -> None:
    """Read what the closes under both names show about a rename of the vendor's list: one more request."""
    for listed in build_listed_changes([rename] if rename else []):
        evidence = RenameEvidence(client, database, changes, now)
        old_closes = list_closes(history.rows) if history.rows is not None else {}
        await evidence.read_closes(symbol, listed.new, listed.first_day, old_closes)


async def _fetch_history(
    client: VendorClient, database: Database, symbol: Symbol, coverage: Coverage
) -> _History | None:
    """The history up to the market's day, or the vendor's refusal of this ticker; None for any other error.

    An answer that cannot be read is billed, too, so it counts as a lookup.
    """
    try:
        rows = await client.fetch_daily(str(symbol.ticker))
        return _History(rows.filter_rows(rows.date <= np.datetime64(_find_today(coverage))))
    except (TokenRefused, QuotaExhausted):
        raise
    except (UnknownTicker, InvalidTicker) as refusal:
        return _History(None, refusal)
    except VendorError as error:
        _log.warning("cannot look up why data is absent: %s", error)
        if isinstance(error, BrokenAnswer):
            with database.transaction() as connection:
                record_unreadable_history(connection, symbol.symbol_id, coverage.now)
        return None


def _find_today(coverage: Coverage) -> date:
    """The exchange's day."""
    return coverage.now.astimezone(coverage.grid.sessions[0].market.zone).date()


def _report_dropped(answers: PlanAnswers, symbol: Symbol, rows: DailyRows, coverage: Coverage) -> None:
    """Report whether the plan does not include all of a daily history."""
    if rows.warning:
        _log.warning("%s: the vendor's daily data are limited: %s", symbol.ticker, rows.warning)
    if rows.warning or len(rows):
        first_row = int(rows.date.min().astype("datetime64[s]").astype(np.int64)) if len(rows) else None
        reach = build_reach(None, first_row, coverage.now, is_limited=bool(rows.warning))
        answers.add(symbol.ticker, rows.warning, reach)


def _list_overdue_sessions(coverage: Coverage) -> list[int]:
    """The sessions of the coverage's grid whose absence counts as missing."""
    return [int(session) for session in np.flatnonzero(coverage.is_session_overdue)]


def _build_listing_life(symbol: Symbol, history: _History, coverage: Coverage) -> ListingLife:
    if not history.days:
        refusal = history.refusal.message if history.refusal else ""
        return ListingLife(symbol.symbol_id, None, None, has_ended=False, refusal=refusal)
    last = max(history.days)
    overdue_sessions = _list_overdue_sessions(coverage)
    days_after_last = sum(coverage.grid.sessions[session].day > last for session in overdue_sessions)
    is_last_old = _find_today(coverage) - last > timedelta(days=2 * DELISTED_AFTER_SESSIONS)
    return ListingLife(
        symbol.symbol_id,
        history.first_day,
        last,
        has_ended=days_after_last >= DELISTED_AFTER_SESSIONS or (days_after_last > 0 and is_last_old),
    )


def _find_skipped(history: _History, coverage: Coverage, absent_sessions: Collection[int]) -> list[int]:
    """Those of the absent sessions that the history lacks, where that says anything."""
    sessions = coverage.grid.sessions
    if sessions[0].market.daily_evidence is not DailyEvidence.VOLUME:
        return []
    skipped = find_skipped_days(history.days, [session.day for session in sessions])
    return [session for session in skipped if session in absent_sessions]


def _skips_days_often(history: _History, coverage: Coverage) -> bool:
    last = coverage.grid.sessions[-1]
    earlier = list_previous_sessions(last, HABIT_SESSIONS - 1)
    return skips_days_often(history.days, [session.day for session in (*earlier, last)])


def _select_window(symbol: Symbol, rows: DailyRows, coverage: Coverage) -> DailyPrices:
    """The rows of the window's sessions; of several rows of one day the last."""
    position_by_day = {day: position for position, day in enumerate(rows.date.astype(object).tolist())}
    days = [session.day for session in coverage.grid.sessions]
    positions = [position_by_day[day] for day in days if day in position_by_day]
    return build_daily_prices([symbol.symbol_id] * len(positions), rows, positions)


def _build_finding_without_data(symbol: Symbol, history: _History, coverage: Coverage) -> Finding | None:
    """The finding that the vendor has no data at all of the symbol; None if it has."""
    if isinstance(history.refusal, InvalidTicker):
        detail = f"refused by the vendor ({history.refusal.message}); check the spelling"
    elif not history.days:
        detail = "the vendor answers without rows, intraday and daily; check the spelling"
    else:
        return None
    return Finding(NO_INTRADAY_DATA, str(symbol.ticker), detail, coverage.now)


def _update_findings(connection: Connection, symbol: Symbol, finding: Finding | None, coverage: Coverage) -> None:
    """Record the symbol's finding, and resolve those that its daily data no longer show."""
    ticker = str(symbol.ticker)
    if finding:
        record_finding(connection, finding)
    for kind in {ENDED_OR_RENAMED, NO_INTRADAY_DATA} - {finding.kind if finding else ""}:
        resolve_findings(connection, kind, [ticker], coverage.now)
