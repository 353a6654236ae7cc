"""Which sessions an audit judges, and which it compares them with: every earlier one that has a stored bar."""

from collections.abc import Sequence
from dataclasses import dataclass

from backfill_assets.config.settings import Settings
from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.calendar.sessions import EARLIEST_DATE, find_session_day
from backfill_assets.market.calendar.slots import SlotGrid, build_slot_grid
from backfill_assets.market.calendar.tickers import Symbol
from backfill_assets.market.calendar.windows import Window, build_date_window
from backfill_assets.market.exchanges.profile import MarketProfile
from backfill_assets.store.bars.bar_stats import read_oldest_bar
from backfill_assets.store.postgres.connection import Database

WHOLE_STORE = "all that is stored"


@dataclass(frozen=True, eq=False)
class AuditSessions:
    """The sessions that are judged, ``window``, and the ``grid`` of these and all stored ones before."""

    window: Window
    grid: SlotGrid

    @property
    def first_session(self) -> int:
        """The position of the window's first session in the grid's."""
        return len(self.grid.sessions) - len(self.window.sessions)


def choose_audit_sessions(
    database: Database,
    settings: Settings,
    market: MarketProfile,
    symbols: Sequence[Symbol],
    interval: Interval,
    chosen: Window | None,
) -> AuditSessions:
    """The sessions of a ``chosen`` window, or (None) of all that is stored of a market's symbols, and those before."""
    with database.transaction() as connection:
        oldest = read_oldest_bar(connection, symbols, interval)
    if oldest is None or (chosen is not None and not chosen.sessions):
        return AuditSessions(chosen or Window(market, (), WHOLE_STORE), build_slot_grid((), interval))
    now = settings.now()
    today = now.astimezone(market.zone).date()
    first = min(today, max(EARLIEST_DATE, find_session_day(market, oldest)))
    if chosen is None:
        stored = build_date_window(market, first, today, now).sessions
        return AuditSessions(Window(market, stored, WHOLE_STORE), build_slot_grid(stored, interval))
    begin = chosen.sessions[0].day
    stored = build_date_window(market, min(first, begin), begin, now).sessions
    earlier = tuple(session for session in stored if session.day < begin)
    return AuditSessions(chosen, build_slot_grid((*earlier, *chosen.sessions), interval))
