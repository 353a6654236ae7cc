"""What the whole store of an exchange must hold: which symbols, from which day on, and which slots.

A symbol is to be complete from its own first day of history or BACKFILL_HISTORY_FROM on. Without either it is from the
first month that lies wholly within the watched sessions. Nothing is expected before the vendor's feed begins, nor
outside a listing. How far the store has that is decided in ``whole_store``.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import cached_property, lru_cache

import numpy as np

from backfill_assets.config.settings import Settings
from backfill_assets.market.arrays import Int64
from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.calendar.sessions import limit_to_calendar, list_sessions
from backfill_assets.market.calendar.slots import SlotGrid, build_slot_grid
from backfill_assets.market.calendar.tickers import Symbol
from backfill_assets.market.calendar.windows import (
    build_session_window,
    count_healed_sessions,
    limit_partition_sessions,
)
from backfill_assets.market.exchanges.feed_beginnings import find_feed_beginning
from backfill_assets.market.exchanges.learned import DailyFigure
from backfill_assets.market.exchanges.profile import MarketProfile
from backfill_assets.market.gaps.expected_months import MonthlySlots, count_months, group_by_month
from backfill_assets.market.gaps.gap_rules import GapRules
from backfill_assets.store.bars.symbol_index import SymbolIndex
from backfill_assets.store.evidence.evidence_reader import read_closures, read_life_bounds
from backfill_assets.store.evidence.unserved_symbols import list_unserved_without_bars
from backfill_assets.store.history import has_goals, read_goals
from backfill_assets.store.job_universe import JobUniverse, build_job_universe
from backfill_assets.store.learning import has_unclear_rows, may_judge_daily_data
from backfill_assets.store.postgres.connection import Connection
from backfill_assets.store.symbols import read_universe
from backfill_assets.store.watched_sessions import read_watched

_METHOD = 1  # changes when months are measured in another way, so that none of before counts any more


@dataclass(frozen=True, eq=False)
class HistoryScope:
    """The slots that the symbols of an exchange must have, from the first day of any of them until now.

    Attributes:
        market: the exchange.
        interval: of the bars.
        source: the vendor's interval that they are built from.
        symbols: the active ones, and those that ended since the first day.
        grid: all sessions that have opened.
        monthly: its slots by month.
        begins: the ordinal of the first slot expected of each symbol, shape (symbols,).
        ends: the one after the last, of sessions that are not settled yet, too; shape (symbols,).
        settled_end: the ordinal after the last settled slot.
        rules: from when absent bars count.
        basis: a hash of the rules that a measurement of each symbol rests on, shape (symbols,).
        now: the moment.
    """

    market: MarketProfile
    interval: Interval
    source: Interval
    symbols: tuple[Symbol, ...]
    grid: SlotGrid
    monthly: MonthlySlots
    begins: Int64
    ends: Int64
    settled_end: int
    rules: GapRules
    basis: Int64
    now: datetime

    @cached_property
    def symbol_index(self) -> SymbolIndex:
        """The rows of symbols."""
        return SymbolIndex.from_symbols(self.symbols)

    @property
    def settled_ends(self) -> Int64:
        """The ordinal after the last settled slot of each symbol, shape (symbols,)."""
        return np.minimum(self.ends, self.settled_end)

    @property
    def settled_sessions(self) -> int:
        """How many sessions are settled: the first ones of the grid."""
        return int(np.searchsorted(self.grid.session_offsets, self.settled_end))

    @property
    def closed_months(self) -> int:
        """How many months are over, so that no session of theirs is unsettled: the first ones."""
        settled = int(np.searchsorted(self.monthly.offsets, self.settled_end, side="right")) - 1
        past = int(np.searchsorted(self.monthly.months, count_months(np.array(int(self.now.timestamp())))))
        return max(0, min(settled, past))

    @property
    def last_closed_month(self) -> int:
        """The last of them, counted from January 1970; there must be one."""
        return int(self.monthly.months[self.closed_months - 1])

    def end_with_closed_months(self) -> "HistoryScope":
        """The scope without the months that are not over."""
        return replace(self, settled_end=int(self.monthly.offsets[self.closed_months]))

    def find_sessions(self, month: int) -> tuple[int, int]:
        """The sessions with a slot in the month at a position: the first one, and the one after the last."""
        first, after = self.monthly.offsets[month : month + 2].tolist()
        begin = int(np.searchsorted(self.grid.session_offsets[1:], first, side="right"))
        return begin, int(np.searchsorted(self.grid.session_offsets[:-1], after))


def read_scope(
    connection: Connection,
    settings: Settings,
    market: MarketProfile,
    interval: Interval,
    now: datetime,
    universe: JobUniverse | None = None,
) -> HistoryScope:
    """What the whole store of an exchange must hold now.

    Args:
        connection: with a transaction open; a snapshot will do.
        settings: of this process.
        market: the exchange.
        interval: of the bars, with the spellings of the table.
        now: the moment.
        universe: the exchange's symbols, if the caller has read them.

    Raises:
        SessionsUnknown: the exchange's sessions cannot be told.
    """
    universe = universe or build_job_universe(connection, read_universe(connection, market.exchange).symbols)
    source = settings.choose_source(market, interval)
    first_day = _find_default_day(settings, market, universe, now)
    beginning = find_feed_beginning(market, source.name)
    symbols = universe.list_all()
    days = _read_first_days(connection, symbols, interval, settings.history_from, first_day)
    first_days = np.maximum(days, np.datetime64(beginning, "D"))
    earliest = first_days.min().item() if len(first_days) else max(beginning, first_day)
    grid, monthly = _build_months(market, interval, earliest, _find_last_day(market, now))
    grid_end = int(np.searchsorted(grid.session_opens, now.timestamp(), side="right"))
    opened = int(grid.session_offsets[grid_end])
    rules = settings.build_gap_rules(market, source)
    overdue = sum(rules.compute_overdue_at(session) <= now for session in grid.sessions[:grid_end])
    begins, ends = _find_bounds(connection, symbols, grid, first_days)
    return HistoryScope(
        market=market,
        interval=interval,
        source=source,
        symbols=symbols,
        grid=grid,
        monthly=monthly,
        begins=begins,
        ends=np.minimum(ends, opened),
        settled_end=int(grid.session_offsets[overdue]),
        rules=rules,
        basis=_hash_basis(
            connection, market, source, rules, symbols, read_closures(connection, market.exchange, earliest, now.date())
        ),
        now=now,
    )


def _find_default_day(settings: Settings, market: MarketProfile, universe: JobUniverse, now: datetime) -> date:
    """The first month that lies wholly within the watched sessions, or their first day; it moves once a month."""
    partitions = limit_partition_sessions(settings.partition_days, len(universe.active))
    sessions = build_session_window(market, now, count_healed_sessions(settings.heal_sessions, partitions)).sessions
    if not sessions:
        return now.date()
    first = sessions[0].day
    next_month = (first.replace(day=1) + timedelta(days=32)).replace(day=1)
    return next_month if next_month < now.date().replace(day=1) else first


def _read_first_days(
    connection: Connection, symbols: Sequence[Symbol], interval: Interval, setting: date | None, default: date
) -> np.ndarray[tuple[int], np.dtype[np.datetime64]]:
    """From which day on each symbol is to be complete, ``datetime64[D]``, shape (symbols,)."""
    has_own = has_goals(connection)
    if setting and not has_own:
        return np.full(len(symbols), setting, "datetime64[D]")
    ids = [symbol.symbol_id for symbol in symbols]
    goals = read_goals(connection, ids) if has_own else {}
    watched = {} if setting else read_watched(connection, ids, interval)
    days = [goals.get(i) or setting or min(default, watched[i].day if i in watched else default) for i in ids]
    return np.array(days, "datetime64[D]")


def _find_last_day(market: MarketProfile, now: datetime) -> date:
    return limit_to_calendar(market, now.date() + timedelta(days=1), now)


@lru_cache(maxsize=32)
def _build_months(market: MarketProfile, interval: Interval, first: date, last: date) -> tuple[SlotGrid, MonthlySlots]:
    """The slots of years take some milliseconds to cut, and are the same all day."""
    grid = build_slot_grid(list_sessions(market, first, last), interval)
    return grid, group_by_month(grid)


def _find_bounds(
    connection: Connection, symbols: Sequence[Symbol], grid: SlotGrid, first_days: np.ndarray
) -> tuple[Int64, Int64]:
    """The ordinals from which on and before which each symbol's slots are expected, shape (symbols,) each."""
    days = [session.day for session in grid.sessions]
    first, last = read_life_bounds(connection, SymbolIndex.from_symbols(symbols), days)
    first = np.maximum(first, np.searchsorted(grid.session_days, first_days))
    offsets = grid.session_offsets
    return offsets[np.minimum(first, len(days))], offsets[np.clip(last + 1, 0, len(days))]


def _hash_basis(
    connection: Connection,
    market: MarketProfile,
    source: Interval,
    rules: GapRules,
    symbols: Sequence[Symbol],
    closures: Sequence[date],
) -> Int64:
    judges = may_judge_daily_data(connection, market, DailyFigure.TRADING), has_unclear_rows(connection, market, source)
    text = repr((_METHOD, source.name, rules, *judges, *closures))
    basis = int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")
    hashes = np.full(len(symbols), basis, np.int64)
    if unserved := list_unserved_without_bars(connection):
        hashes += np.isin([symbol.symbol_id for symbol in symbols], list(unserved))
    return hashes
