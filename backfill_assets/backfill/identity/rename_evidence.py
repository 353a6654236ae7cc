"""Finds out what speaks for a rename: closes under both names, the vendor's list, and ISINs that are known.

Nothing is requested that is known already. What was read is kept in the store, so that the inbox can show it.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from backfill_assets.backfill.identity.rename_plan import Rename
from backfill_assets.backfill.listing_ends import MAX_LOOKBACK, SymbolChangeList
from backfill_assets.errors import UsageError
from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.sessions import (
    EARLIEST_DATE,
    LATEST_DATE,
    Session,
    list_sessions,
)
from backfill_assets.market.calendar.tickers import Symbol, Ticker
from backfill_assets.market.exchanges.profile import MarketProfile
from backfill_assets.market.exchanges.registry import get_profile
from backfill_assets.market.identity.closes import Closes, list_closes
from backfill_assets.market.identity.renames import COMPARED_BEFORE, ComparedCloses, RenameFacts, compare_closes
from backfill_assets.market.vendor import VendorClient
from backfill_assets.market.vendor_errors import QuotaExhausted, TokenRefused, VendorError
from backfill_assets.store.bars.interval_spellings import adopt_spellings
from backfill_assets.store.bars.listing_bars import read_last_closes
from backfill_assets.store.evidence.daily_prices import read_daily_closes
from backfill_assets.store.evidence.ticker_changes import TickerChange, read_ticker_changes, record_compared_closes
from backfill_assets.store.postgres.connection import Connection, Database

_NEAR = timedelta(days=7)  # the longest time between two sessions, and the list's day may be one off
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SessionsAround:
    """The last session under an old ticker, and the first one under the new one."""

    last: Session
    first: Session


def find_sessions_around(market: MarketProfile, first_day: date) -> SessionsAround:
    """The session of ``first_day`` and the one before it.

    Raises:
        UsageError: the day is no session, and the message names the nearest ones; or the calendar does not have it.
    """
    if not EARLIEST_DATE <= first_day <= LATEST_DATE:
        raise UsageError(f"the day must lie between {EARLIEST_DATE} and {LATEST_DATE}, not {first_day}")
    begin, end = max(EARLIEST_DATE, first_day - _NEAR), min(LATEST_DATE, first_day + _NEAR)
    near = list_sessions(market, begin, end)
    first = next((session for session in near if session.day >= first_day), None)
    before = [session for session in near if session.day < first_day]
    if first is None or not before or first.day != first_day:
        later = f", or {first.day} if it is the first one after" if first else ""
        earlier = f"{before[-1].day} if it is the session before" if before else "another day"
        raise UsageError(f"{first_day} is no session of {market.exchange}; say which one you mean: {earlier}{later}")
    return SessionsAround(before[-1], first)


def build_rename(facts: RenameFacts, sessions: SessionsAround, *, is_insisted: bool = False) -> Rename:
    """The rename that the facts are about."""
    closes, is_uncompared = facts.closes, facts.is_uncompared
    return Rename(
        facts.old,
        facts.new,
        sessions.last,
        sessions.first,
        other_until=None if is_uncompared else closes.other_until,
        is_carried=closes.is_carried or is_uncompared,  # no other instrument is recorded that nobody has seen
        is_insisted=is_insisted,
    )


def read_known_facts(connection: Connection, old: Ticker, new: Ticker, first_day: date) -> TickerChange:
    """What is in the store about a change of ticker."""
    known = [change for change in read_ticker_changes(connection, [str(old)]) if change.facts.new == new]
    of_day = [change for change in known if change.facts.first_day == first_day]
    if of_day:
        return of_day[0]
    listed = next((change.facts for change in known if change.is_listed), None)
    facts = RenameFacts(
        old,
        new,
        first_day,
        ComparedCloses(),
        listed.listed_on if listed else None,
        listed.company if listed else None,
        listed.isins if listed else (None, None),
    )
    return TickerChange(facts, None)


class RenameEvidence:
    """Reads the evidence about renames.

    Attributes:
        calls: how many of the vendor's calls it has requested.
        failures: what could not be read, in words.
    """

    def __init__(self, client: VendorClient, database: Database, changes: SymbolChangeList, now: datetime) -> None:
        self._client, self._database, self._changes, self._now = client, database, changes, now
        self.calls = 0
        self.failures: list[str] = []

    async def read_list(self, old: Ticker, new: Ticker, first_day: date) -> date | None:
        """Read the vendor's list of renamed symbols, unless it is known to have the change or begins later.

        Returns:
            The first day that the list knows of, if the change is older.

        Raises:
            TokenRefused, QuotaExhausted: as for any request. Other errors are logged.
        """
        with self._database.transaction() as connection:
            is_known = read_known_facts(connection, old, new, first_day).is_listed
        since = self._client.limits.symbol_changes_since
        if since is not None and first_day < since:
            return since
        if not is_known:
            self.calls += self._client.prices.symbol_changes
            await self._changes.list_since(first_day - MAX_LOOKBACK)
        return None

    async def read_closes(
        self, old: Symbol, new: Ticker, first_day: date, old_closes: Closes | None = None
    ) -> RenameFacts:
        """The facts about a change, with the closes under both names; read unless they are known.

        Args:
            old: the symbol of the old ticker.
            new: the new ticker.
            first_day: its first session.
            old_closes: of the old ticker, if they were requested just now, empty if the vendor does not know it any
                more; else those of the store count, and without any they are requested.

        Raises:
            TokenRefused, QuotaExhausted: as for any request. Other errors are logged.
        """
        with self._database.transaction() as connection:
            known = read_known_facts(connection, old.ticker, new, first_day)
            if known.read_at is not None and not known.facts.list_gaps():
                return known.facts
            closes = old_closes or _read_stored_closes(connection, old, first_day)
        if not closes and old_closes is None:
            closes = await self._fetch_closes(old.ticker, first_day - COMPARED_BEFORE, first_day)
        compared = compare_closes(first_day, closes, await self._fetch_closes(new))
        with self._database.transaction() as connection:
            record_compared_closes(connection, old.ticker, new, first_day, compared, self._now)
            return read_known_facts(connection, old.ticker, new, first_day).facts

    async def _fetch_closes(self, ticker: Ticker, first: date | None = None, last: date | None = None) -> Closes:
        """The closes of a ticker; without bounds all of them. Empty if they cannot be read."""
        self.calls += self._client.prices.daily
        try:
            rows = await self._client.fetch_daily(str(ticker), first, last)
        except (TokenRefused, QuotaExhausted):
            raise
        except VendorError as error:
            _log.warning("no closes of %s: %s", ticker, error)
            self.failures.append(f"{ticker}: {error}")
            return {}
        today = self._now.astimezone(get_profile(ticker.exchange).zone).date()
        return {day: close for day, close in list_closes(rows).items() if day <= today}


def _read_stored_closes(connection: Connection, old: Symbol, first_day: date) -> Mapping[date, float]:
    """The closes of the weeks before a change: the official ones, else those of the last bars."""
    market = get_profile(old.ticker.exchange)
    sessions = list_sessions(market, max(EARLIEST_DATE, first_day - COMPARED_BEFORE), first_day)
    before = [session for session in sessions if session.day < first_day]
    if not before:
        return {}
    (interval,) = adopt_spellings(connection, [INTERVALS["30m"]])
    of_bars = read_last_closes(
        connection, old.symbol_id, interval.spellings, before[0].rows_from, before[-1].close, market
    )
    return {**of_bars, **read_daily_closes(connection, old.symbol_id, before[0].day, before[-1].day)}
