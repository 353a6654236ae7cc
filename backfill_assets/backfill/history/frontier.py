"""How far the history of each symbol reaches, and how far it is to reach.

Each symbol has a day from which on its sessions were requested, where they lacked bars; the walk goes from new to old,
and ends at the symbol's first day. It begins at the oldest session that is healed by itself (``due_work``,
``older_sessions``): the history takes what lies before. One step of the walk is what one request covers.
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from functools import cached_property

from backfill_assets.backfill.due_work import build_retained_sessions_job
from backfill_assets.backfill.engine import BackfillJob, Engine
from backfill_assets.backfill.request_spans import RequestSpans, SpanLimits
from backfill_assets.config.settings import Settings
from backfill_assets.eodhd.pricing import REQUEST_LIMITS
from backfill_assets.errors import UsageError
from backfill_assets.market.calendar.intervals import Interval, parse_interval
from backfill_assets.market.calendar.sessions import Session, SessionsUnknown, list_sessions
from backfill_assets.market.calendar.slots import SlotGrid, build_slot_grid
from backfill_assets.market.calendar.tickers import Symbol
from backfill_assets.market.calendar.windows import Window, build_session_window, count_healed_sessions
from backfill_assets.market.exchanges.feed_beginnings import find_feed_beginning
from backfill_assets.market.exchanges.profile import MarketProfile
from backfill_assets.market.purposes import Purpose
from backfill_assets.store.evidence.unserved_symbols import list_unserved_without_bars
from backfill_assets.store.history import (
    LONGEST_CLOSURE,
    HistoryProgress,
    find_plan_begin,
    has_goals,
    read_goals,
    read_history_progress,
    read_known_lives,
)
from backfill_assets.store.job_universe import read_job_universe

MAX_LOOK_SLOTS = 650_000  # symbols × slots: a look takes a few seconds of processor time, whatever is absent


@dataclass(frozen=True, slots=True)
class SymbolHistory:
    """One symbol's walk; days are those of sessions.

    Attributes:
        symbol: the symbol.
        goal: from this day on it is to be complete.
        first: the same, but not before its listing.
        last: the last day of its listing; None: it goes on.
        reached: sessions from this day on were walked over.
        oldest: the same by any walk, also one before that has begun anew.
        look_again_at: when the walk begins anew (UTC); None: it does not.
        is_listing_known: whether its daily history was read, which says since when it is listed.
    """

    symbol: Symbol
    goal: date
    first: date
    last: date | None
    reached: date
    oldest: date
    look_again_at: datetime | None
    is_listing_known: bool

    @property
    def is_done(self) -> bool:
        """Whether this walk has come to its end."""
        return self.reached <= self.first

    @property
    def is_complete(self) -> bool:
        """Whether any walk has come to its end: all that its sessions lacked was requested."""
        return self.oldest <= self.first


@dataclass(frozen=True, eq=False)
class MarketHistory:
    """The history of one exchange and interval.

    Attributes:
        market: the exchange.
        interval: of the bars.
        source: the vendor interval that they are built from.
        end: the first session that is healed by itself; the history is what lies before.
        sessions: of the exchange from the oldest goal on, up to ``end``; oldest first.
        symbols: with sessions from their goal on and before ``end``, ordered by ticker.
        limits: how much one request covers.
        plan_begin: the first session that the token's plan includes, as far as answers show; None: no limit is known.
        stored_as: the other intervals that are built from the same rows: an answer brings bars of all of them.
    """

    market: MarketProfile
    interval: Interval
    source: Interval
    end: date
    sessions: tuple[Session, ...]
    symbols: tuple[SymbolHistory, ...]
    limits: SpanLimits
    plan_begin: date | None = None
    stored_as: tuple[Interval, ...] = ()

    @cached_property
    def days(self) -> list[date]:
        """The days of the sessions."""
        return [session.day for session in self.sessions]

    @cached_property
    def _grid(self) -> SlotGrid:
        return build_slot_grid(self.sessions, self.interval)

    @cached_property
    def _begins(self) -> list[int]:
        """By session, the oldest one that a request to its end can begin with."""
        spans = RequestSpans(self._grid, self.limits)
        return [spans.find_first(last) for last in range(len(self.sessions))]

    def count_sessions(self, first: date, before: date) -> int:
        """How many sessions lie from ``first`` on and before another day."""
        return max(0, bisect_left(self.days, before) - bisect_left(self.days, first))

    def count_symbols_a_look(self, sessions: int) -> int:
        """Of how many symbols one look measures so many sessions: at least one."""
        slots = sessions * self._grid.size // max(1, len(self.sessions))
        return max(1, MAX_LOOK_SLOTS // max(1, slots))

    def is_beyond_plan(self, one: SymbolHistory) -> bool:
        """Whether all that the symbol's walk has left lies before what the token's plan includes."""
        return self.plan_begin is not None and not one.is_done and one.reached <= self.plan_begin

    def explain_plan_limit(self) -> str:
        """What the token's plan leaves open of the history, and what to do once it no longer does; empty if nothing."""
        left = [one for one in self.symbols if not one.is_complete and self.plan_begin and one.first < self.plan_begin]
        if not left or self.plan_begin is None:
            return ""
        day = self.days[max(0, bisect_left(self.days, self.plan_begin - LONGEST_CLOSURE) - 1)]
        return (
            f"the token's plan has no rows of {self.market.exchange} before {self.plan_begin}; once it has:"
            f" backfill-assets run --force --symbols {left[0].symbol.ticker} --start {day} --end {day}"
        )

    def count_requests(self, one: SymbolHistory) -> int:
        """How many requests bring what was not walked over yet, if the store lacks all of it: as few as possible."""
        newest = one.oldest if one.last is None else min(one.oldest, date.fromordinal(one.last.toordinal() + 1))
        first = max(one.first, self.plan_begin or one.first)
        oldest, last = bisect_left(self.days, first), bisect_left(self.days, newest) - 1
        count = 0
        while last >= oldest:
            last = self._begins[last] - 1
            count += 1
        return count

    def cut_step(self, reached: date, goal: date) -> tuple[tuple[Session, ...], date]:
        """The sessions before ``reached`` that one request covers, none before ``goal``; and the day they reach."""
        oldest, last = bisect_left(self.days, goal), bisect_left(self.days, reached) - 1
        if last < oldest:
            return (), goal
        first = max(self._begins[last], oldest)
        return self.sessions[first : last + 1], goal if first == oldest else self.days[first]

    def build_job(self, symbols: Sequence[Symbol], sessions: Sequence[Session]) -> BackfillJob:
        """A job about some of the history: what does not come is not requested again soon."""
        description = f"history {sessions[0].day} to {sessions[-1].day}" if sessions else "history"
        window = Window(self.market, tuple(sessions), description)
        return BackfillJob(
            *(window, tuple(symbols), self.interval, self.source),
            patient=True,
            purpose=Purpose.HISTORY,
            stored_as=self.stored_as,
        )


def explain_plan_limits(histories: Sequence[MarketHistory]) -> str:
    """What the token's plan leaves open of any history; empty if nothing."""
    return "; ".join(dict.fromkeys(filter(None, (history.explain_plan_limit() for history in histories))))


def is_history_wanted(engine: Engine) -> bool:
    """Whether BACKFILL_HISTORY_FROM is set, or any symbol has a first day of its own."""
    if engine.settings.history_from is not None:
        return True
    with engine.database.transaction() as connection:
        return has_goals(connection)


def require_history_from(settings: Settings) -> None:
    """Make sure that BACKFILL_HISTORY_FROM is not before everything that the vendor has.

    Raises:
        UsageError: it is before the first day of every exchange's feed; the message names the oldest one.
    """
    if settings.history_from is None:
        return
    beginnings = [
        (find_feed_beginning(market, source), market, source)
        for market in settings.markets
        for source in {settings.choose_source(market, parse_interval(name)).name for name in settings.intervals}
    ]
    beginning, market, source = min(beginnings, key=lambda one: one[0])
    if settings.history_from < beginning:
        raise UsageError(
            f"BACKFILL_HISTORY_FROM {settings.history_from} is before the vendor's first {source} rows of"
            f" {market.exchange}; give {beginning} or a later day"
        )


def read_histories(engine: Engine) -> tuple[MarketHistory, ...]:
    """The history of each exchange and interval that has any, in the order of the settings.

    An exchange whose sessions cannot be told has none: what else looks at it says so.

    Raises:
        UsageError: BACKFILL_HISTORY_FROM is before everything that the vendor has.
    """
    require_history_from(engine.settings)
    if not is_history_wanted(engine):
        return ()
    settings = engine.settings
    histories: list[MarketHistory] = []
    for market in settings.markets:
        try:
            read = [_read_history(engine, market, name) for name in settings.intervals]
        except SessionsUnknown:
            continue
        histories += _join_feeds([history for history in read if history is not None])
    return tuple(histories)


def _join_feeds(histories: Sequence[MarketHistory]) -> Iterator[MarketHistory]:
    """The histories of one exchange, each with the other intervals of its feed."""
    for one in histories:
        others = (other.interval for other in histories if other is not one and other.source == one.source)
        yield replace(one, stored_as=tuple(others))


def find_history_end(engine: Engine, market: MarketProfile, interval_name: str) -> date | None:
    """The first session that is healed by itself; None if there is none yet."""
    retained = build_retained_sessions_job(engine, market, interval_name).window.sessions
    count = count_healed_sessions(engine.settings.heal_sessions, len(retained))
    sessions = build_session_window(market, engine.settings.now(), count).sessions
    return sessions[0].day if sessions else None


def _read_history(engine: Engine, market: MarketProfile, interval_name: str) -> MarketHistory | None:
    settings, end = engine.settings, find_history_end(engine, market, interval_name)
    interval = build_retained_sessions_job(engine, market, interval_name).interval
    source = settings.choose_source(market, interval)
    if end is None:
        return None
    with engine.database.transaction() as connection:
        unserved = list_unserved_without_bars(connection)  # asked weekly for newer bars; their history begins with one
        listed = read_job_universe(connection, market.exchange, settings.as_of).list_all()
        symbols = [symbol for symbol in listed if symbol.symbol_id not in unserved]
        ids = [symbol.symbol_id for symbol in symbols]
        own, lives = read_goals(connection, ids), read_known_lives(connection, ids)
        progress = read_history_progress(connection, ids, interval)
        plan_begin = find_plan_begin(connection, market.exchange, ids, interval, source)
    beginning = find_feed_beginning(market, source.name)
    goals = {key: max(goal, beginning) for key in ids if (goal := own.get(key, settings.history_from)) is not None}
    lines = [
        _build_line(symbol, goals[symbol.symbol_id], end, lives, progress.get(symbol.symbol_id), settings.now())
        for symbol in symbols
        if goals.get(symbol.symbol_id, end) < end
    ]
    lines = [one for one in lines if one.last is None or one.last >= one.goal]
    before = date.fromordinal(end.toordinal() - 1)
    sessions = list_sessions(market, min((one.goal for one in lines), default=end), before)
    lines = [one for one in lines if sessions and one.goal <= sessions[-1].day]  # others begin on days without any
    if not lines:
        return None
    limits = SpanLimits(0, engine.get_max_span(source), REQUEST_LIMITS.get_max_trading(source.seconds))
    return MarketHistory(market, interval, source, end, sessions, tuple(lines), limits, plan_begin)


def _build_line(
    symbol: Symbol,
    goal: date,
    end: date,
    lives: Mapping[int, tuple[date | None, date | None]],
    progress: HistoryProgress | None,
    now: datetime,
) -> SymbolHistory:
    listed_from, listed_until = lives.get(symbol.symbol_id, (None, None))
    is_anew = progress is not None and progress.look_again_at is not None and progress.look_again_at <= now
    return SymbolHistory(
        symbol=symbol,
        goal=goal,
        first=max(goal, listed_from or goal),
        last=listed_until,
        reached=end if progress is None or is_anew else min(progress.reached, end),
        oldest=end if progress is None else min(progress.oldest, end),
        look_again_at=None if progress is None or is_anew else progress.look_again_at,
        is_listing_known=symbol.symbol_id in lives,
    )
