"""Whether a symbol's listing has ended, by its daily history and the vendor's list of renamed symbols.

A rename explains the absence at once. Without one, the daily data must lack three sessions: a late publication must not
end a listing. If the daily data end with the last session of the old name, the two sources confirm the listing's end.
Which symbols are looked up, and when, is decided in ``backfill.absence.lookup``.
"""

import asyncio
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from backfill_assets.backfill.findings import record_endpoint_warning
from backfill_assets.backfill.optional_endpoints import SYMBOL_CHANGES
from backfill_assets.errors import UsageError
from backfill_assets.market.calendar.sessions import (
    EARLIEST_DATE,
    LATEST_DATE,
    list_sessions,
)
from backfill_assets.market.calendar.tickers import Symbol, parse_ticker
from backfill_assets.market.exchanges.names import find_exchange
from backfill_assets.market.exchanges.profile import MarketProfile
from backfill_assets.market.exchanges.registry import US
from backfill_assets.market.vendor import SymbolChange, VendorClient
from backfill_assets.market.vendor_errors import QuotaExhausted, TokenRefused, VendorError
from backfill_assets.store.evidence.daily_data import ListingLife
from backfill_assets.store.evidence.findings import ENDED_OR_RENAMED, Finding
from backfill_assets.store.evidence.ticker_changes import ListedChange, record_listed_changes
from backfill_assets.store.postgres.connection import Database

MAX_LOOKBACK = timedelta(days=7)  # before the last daily row; a rename may take effect before the old name's data end
_BETWEEN_SESSIONS = timedelta(days=7)  # at most
UNKNOWN_TICKER_LOOKBACK = timedelta(days=30)  # before the window, for a ticker without daily data
_NEW_NAME = re.compile(r"; renamed to (\S+) on ")
_log = logging.getLogger(__name__)


class SymbolChangeList:
    """The vendor's list of renamed symbols, requested at most once for the same or a shorter period, and kept."""

    def __init__(self, client: VendorClient, database: Database, now: datetime) -> None:
        self._client = client
        self._database = database
        self._now = now
        self._since: date | None = None
        self._changes: list[SymbolChange] = []
        self._lock = asyncio.Lock()

    async def list_since(self, since: date) -> Sequence[SymbolChange]:
        """The symbols renamed from ``since`` on; empty if the list cannot be read.

        Raises:
            TokenRefused, QuotaExhausted: as for any request. Other errors are logged.
        """
        async with self._lock:  # who comes meanwhile waits for the list
            if self._since is None or since < self._since:
                self._since = since
                await self._read(since)
        return self._changes

    async def _read(self, since: date) -> None:
        try:
            changes = await self._client.fetch_symbol_changes(since, self._now.date())
            record_endpoint_warning(self._database, SYMBOL_CHANGES, changes.warning, self._now)
            with self._database.transaction() as connection:
                record_listed_changes(connection, build_listed_changes(changes), self._now)
            self._changes = changes
        except (TokenRefused, QuotaExhausted):
            raise
        except VendorError as error:
            _log.warning("symbol change lookup failed: %s", error)


@dataclass(frozen=True, slots=True)
class ListingEnd:
    """A symbol's listing life as far as it is known, and the finding about its end; None if it goes on.

    ``agreed_rename`` is the rename of which the daily data show the same last session, in words; None without.
    ``rename`` is the one that explains the end; None without.
    """

    life: ListingLife
    finding: Finding | None
    agreed_rename: str | None = None
    rename: SymbolChange | None = None


async def judge_listing(
    changes: SymbolChangeList,
    symbol: Symbol,
    life: ListingLife,
    *,
    is_unknown: bool,
    absent_days: Sequence[date],
    now: datetime,
    market: MarketProfile,
) -> ListingEnd:
    """Decide whether a listing has ended, and under which name it goes on.

    The list of renamed symbols is read only where the daily data end before an absent session.

    Args:
        changes: the vendor's list of renamed symbols.
        symbol: the symbol.
        life: its listing life by its daily data alone.
        is_unknown: whether the vendor does not know the ticker.
        absent_days: the sessions that were looked at: those that are overdue or without any bar.
        now: the time of the finding.
        market: the exchange's profile.

    Raises:
        TokenRefused, QuotaExhausted: as for any request.
    """
    last_day = life.last_day
    has_later_session = last_day is not None and any(day > last_day for day in absent_days)
    if not (is_unknown or life.has_ended or has_later_session):
        return ListingEnd(life, None)
    since = life.last_day or (min(absent_days, default=now.date()) - UNKNOWN_TICKER_LOOKBACK)
    rename = find_rename(await changes.list_since(since - MAX_LOOKBACK), symbol, since - MAX_LOOKBACK)
    if not (is_unknown or life.has_ended) and not is_rename_after(rename, life.last_day):
        return ListingEnd(life, None)
    return ListingEnd(
        end_at_rename(life, rename),
        Finding(ENDED_OR_RENAMED, str(symbol.ticker), describe_end(life.last_day, rename), now),
        _describe_agreement(symbol, life.last_day, rename, now, market),
        rename if is_rename_after(rename, life.last_day) else None,
    )


def find_rename(changes: Sequence[SymbolChange], symbol: Symbol, since: date) -> SymbolChange | None:
    """The newest change of the symbol's name from ``since`` on; None if there is none."""
    renames = [
        change
        for change in changes
        if change.old_symbol == symbol.ticker.symbol
        and find_exchange(change.exchange) == symbol.ticker.exchange
        and (change.effective_date or since) >= since
    ]
    return renames[-1] if renames else None


def is_rename_after(rename: SymbolChange | None, last_day: date | None) -> bool:
    """Whether the rename explains that the daily data end on ``last_day``.

    An earlier one does not: the ticker has been in use again since.
    """
    effective = rename.effective_date if rename else None
    return effective is not None and (last_day is None or effective >= last_day)


def end_at_rename(life: ListingLife, rename: SymbolChange | None) -> ListingLife:
    """The life, ended on the day before the new name takes effect if the rename explains the end."""
    if rename is None or rename.effective_date is None or not is_rename_after(rename, life.last_day):
        return life
    last_day_of_name = rename.effective_date - timedelta(days=1)
    return replace(life, last_day=max(life.last_day or last_day_of_name, last_day_of_name), has_ended=True)


def _describe_agreement(
    symbol: Symbol, last_day: date | None, rename: SymbolChange | None, now: datetime, market: MarketProfile
) -> str | None:
    """The rename in words if the daily data end on the session before it takes effect; None otherwise."""
    effective = rename.effective_date if rename else None
    if rename is None or effective is None or last_day is None or not last_day < effective <= now.date():
        return None
    day_after, day_before = max(EARLIEST_DATE, last_day + timedelta(days=1)), effective - timedelta(days=1)
    if list_sessions(market, day_after, day_before):
        return None
    return f"{symbol.ticker} became {rename.new_symbol} on {effective}"


def describe_end(last_day: date | None, rename: SymbolChange | None) -> str:
    """What the finding says, for example ``no daily data after 2026-06-01; renamed to CC on 2026-06-02``."""
    detail = f"no daily data after {last_day}" if last_day else "unknown to the vendor"
    return f"{detail}; renamed to {rename.new_symbol} on {rename.effective_date}" if rename else detail


def build_listed_changes(changes: Sequence[SymbolChange]) -> list[ListedChange]:
    """The changes of the vendor's list as they are kept: between tickers of the universe's exchange, on sessions."""
    listed = []
    for change in changes:
        first_day = change.effective_date and find_first_session_day(change.effective_date)
        try:
            old, new = parse_ticker(change.old_symbol), parse_ticker(change.new_symbol)
        except UsageError:  # the vendor's list also has names of securities that it has no data of
            continue
        if first_day and old != new:
            listed.append(ListedChange(old, new, first_day, change.company_name))
    return listed


def find_first_session_day(day: date) -> date | None:
    """``day`` if it is a session, else the next one; None beyond the calendar."""
    if not EARLIEST_DATE <= day <= LATEST_DATE - _BETWEEN_SESSIONS:
        return None
    return next(
        (session.day for session in list_sessions(US, day, day + _BETWEEN_SESSIONS)),
        None,
    )


def find_new_symbol(detail: str) -> str | None:
    """The new name in what ``describe_end`` returned; None if there is none."""
    found = _NEW_NAME.search(detail)
    return found[1] if found else None
