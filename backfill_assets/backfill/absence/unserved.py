"""Sets aside symbols that the vendor does not serve, and takes them back when it does (docs/decisions/0037).

A symbol that never had a bar, was requested in vain on three days, and of which the daily data show no more than daily
rows is requested weekly from then on, and not judged. What that means for its slots is in ``market.gaps.slot_states``.
"""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from backfill_assets.market.calendar.sessions import Session
from backfill_assets.market.calendar.tickers import Symbol
from backfill_assets.market.calendar.windows import build_session_window
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.store.evidence.findings import (
    ENDED_OR_RENAMED,
    NO_INTRADAY_DATA,
    TOO_MANY_UNSERVED,
    Finding,
    record_finding,
    resolve_findings,
)
from backfill_assets.store.evidence.unserved_symbols import (
    UnansweredSymbol,
    UniverseCounts,
    count_universe,
    end_unserved,
    find_unanswered_symbols,
    list_unserved,
    record_unserved,
)
from backfill_assets.store.postgres.connection import Connection, Database
from backfill_assets.store.symbols import list_all_symbols, list_symbols

MIN_DAYS_ASKED = 3
MAX_SHARE_PER_DAY, MIN_ALLOWED_PER_DAY = 0.02, 10  # more symbols than that are the fault of the vendor, or ours
MAX_NAMED = 20
RECENT_SESSIONS = 10  # one of them is overdue, however late that is


def set_aside_unserved(database: Database, coverage: Coverage) -> bool:
    """Set aside the symbols that the vendor has never served; returns whether there were any.

    If there are more than can be chance, or more than symbols with bars, nobody is set aside, and a finding says so.
    ``coverage`` gives the exchange, the moment, and from when a session counts; its window may be of the past.
    """
    last = find_newest_overdue_session(coverage)
    if last is None:
        return False
    with database.transaction() as connection:
        tickers = {s.symbol_id: str(s.ticker) for s in list_symbols(connection, last.exchange)}
        unanswered = find_unanswered_symbols(connection, list(tickers), last.day, last.market.zone.key, MIN_DAYS_ASKED)
        if not unanswered:
            resolve_findings(connection, TOO_MANY_UNSERVED, [last.exchange], coverage.now)
            return False
        counts = count_universe(connection, list(tickers), coverage.now - timedelta(days=1))
        if is_too_many(len(unanswered), counts):
            names = [tickers[symbol.symbol_id] for symbol in unanswered]
            detail = describe_too_many(names, counts)
            record_finding(connection, Finding(TOO_MANY_UNSERVED, last.exchange, detail, coverage.now))
            return False
        resolve_findings(connection, TOO_MANY_UNSERVED, [last.exchange], coverage.now)
        _record(connection, [(symbol, tickers[symbol.symbol_id]) for symbol in unanswered], coverage.now)
    return True


def find_newest_overdue_session(coverage: Coverage) -> Session | None:
    """The newest session of which an absent bar counts as missing, whatever the window is.

    Around the clock that is its first bar: with the last one, its symbol would alarm for a day longer than elsewhere.
    """
    grid = coverage.grid
    if not grid.sessions:
        return None
    measured = grid.sessions[-1]
    overdue_after = coverage.overdue_at[-1] - measured.regular_close
    if grid.is_around_the_clock:
        overdue_after += timedelta(seconds=grid.interval.seconds)
    recent = build_session_window(measured.market, coverage.now, RECENT_SESSIONS).sessions
    counted_from = [session.open if grid.is_around_the_clock else session.regular_close for session in recent]
    overdue = [s for s, start in zip(recent, counted_from, strict=True) if start + overdue_after <= coverage.now]
    return overdue[-1] if overdue else None


def is_too_many(count: int, counts: UniverseCounts) -> bool:
    """Whether ``count`` symbols at once point to a fault of the vendor, the token's plan or this installation."""
    return count + counts.newly_unserved > compute_daily_allowance(counts.active) or count > counts.with_bars


def compute_daily_allowance(active: int) -> int:
    """How many of ``active`` symbols may be set aside in a day: 2 %, and at least ten."""
    return max(MIN_ALLOWED_PER_DAY, int(MAX_SHARE_PER_DAY * active))


def describe_too_many(tickers: Sequence[str], counts: UniverseCounts) -> str:
    """Why nobody is set aside, and what to do."""
    named = ", ".join(tickers[:MAX_NAMED]) + (", …" if len(tickers) > MAX_NAMED else "")
    return (
        f"{len(tickers)} of {counts.active} symbols never had a bar, too many to be set aside in a day (at most"
        f" {compute_daily_allowance(counts.active)}, and not more than the {counts.with_bars} with bars): check the"
        f" token's plan and the vendor, or deactivate them: {named}"
    )


def describe_reason(symbol: UnansweredSymbol) -> str:
    """What the vendor says about a symbol that it does not serve."""
    if symbol.refusal:
        return f"the vendor refuses it: {symbol.refusal}"
    if symbol.last_day is None:
        return "the vendor answers without rows, intraday and daily"
    return f"the vendor has daily data only, until {symbol.last_day}"


def release_served(database: Database, answered: Collection[Symbol], now: datetime) -> None:
    """Take back the symbols that have a row or a bar now, or were deactivated, and resolve their findings.

    ``answered`` are symbols of which the vendor returned rows just now.
    """
    with database.transaction() as connection:
        if answered:
            resolve_findings(connection, NO_INTRADAY_DATA, [str(symbol.ticker) for symbol in answered], now)
        if list_unserved(connection):
            symbols = list_all_symbols(connection, only_active=False)
            ended = end_unserved(connection, [symbol.symbol_id for symbol in symbols if symbol.is_active], now)
            names = [str(symbol.ticker) for symbol in symbols if symbol.symbol_id in ended]
            resolve_findings(connection, NO_INTRADAY_DATA, names, now)


def _record(connection: Connection, symbols: Sequence[tuple[UnansweredSymbol, str]], now: datetime) -> None:
    """Record the symbols, with one finding each; it replaces the one that they are unknown."""
    record_unserved(connection, [(symbol, describe_reason(symbol)) for symbol, _ in symbols], now)
    for symbol, ticker in symbols:
        detail = (
            f"{describe_reason(symbol)}; requested in vain since {symbol.asked_since:%Y-%m-%d}, from now on weekly, and"
            " not judged until it answers; deactivate it if it is not needed"
        )
        record_finding(connection, Finding(NO_INTRADAY_DATA, ticker, detail, now))
    resolve_findings(connection, ENDED_OR_RENAMED, [ticker for _, ticker in symbols], now)
