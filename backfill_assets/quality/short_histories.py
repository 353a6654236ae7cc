"""Symbols whose history is shorter than that of the others: sessions that were never fetched of them.

A symbol that is added later, or active again, has bars of the newest sessions only; nothing of what it lacks is missing
in the default window. Costs no vendor calls. ``status``, ``run``, ``verify`` and ``symbols add`` show the result.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import numpy as np

from backfill_assets.config.counts import format_count
from backfill_assets.config.settings import Settings
from backfill_assets.market.arrays import Bools, Int64
from backfill_assets.market.calendar.intervals import DEFAULT_INTERVAL, Interval, parse_interval
from backfill_assets.market.calendar.moment_style import UTC_STYLE, choose_moment_style
from backfill_assets.market.calendar.sessions import Session, SessionsUnknown
from backfill_assets.market.calendar.slots import build_slot_grid
from backfill_assets.market.calendar.tickers import Symbol, Ticker
from backfill_assets.market.calendar.windows import (
    DEFAULT_HOURS,
    build_hours_window,
    build_session_window,
    limit_partition_sessions,
)
from backfill_assets.market.exchanges.profile import MarketProfile
from backfill_assets.store.bars.interval_spellings import adopt_spellings
from backfill_assets.store.evidence.requested_days import RequestedDays, has_any_evidence, read_requested_days
from backfill_assets.store.postgres.connection import Connection, Database
from backfill_assets.store.symbols import list_symbols

MIN_SHARE_OF_SYMBOLS = 0.25  # that a session was fetched of, before it counts as lacking in the others
MAX_NAMED_SYMBOLS = 20  # in a command; with more of them it is for the whole universe


@dataclass(frozen=True, slots=True)
class ShortHistory:
    """A symbol with retained sessions that were never fetched, though they were of others.

    Attributes:
        ticker: the symbol.
        begins: its first session with a bar; None without one.
        first_day: the first session that was never fetched.
        last_day: the last one.
        bars: how many bars those sessions have.
        names_exchange: whether a command about it names its exchange, because there are others than the US.
    """

    ticker: Ticker
    begins: date | None
    first_day: date
    last_day: date
    bars: int
    names_exchange: bool = False

    def as_dict(self) -> dict[str, Any]:
        """The history as JSON."""
        return {
            "symbol": str(self.ticker),
            "begins": self.begins.isoformat() if self.begins else None,
            "never_fetched_bars": self.bars,
            "first": self.first_day.isoformat(),
            "last": self.last_day.isoformat(),
            "command": build_command([self]),
        }


def find_short_histories(
    database: Database, settings: Settings, interval: Interval | None = None
) -> list[ShortHistory]:
    """The active symbols with retained sessions that were never fetched, though at least a quarter has them.

    Each exchange of BACKFILL_EXCHANGES is looked at by itself, with its own sessions and shares; of one whose sessions
    cannot be told nothing is known. Only sessions before the default window count: those of the window are missing, and
    each run requests them.
    """
    with database.transaction() as connection:
        (interval,) = adopt_spellings(connection, [interval or parse_interval(DEFAULT_INTERVAL)])
        if not has_any_evidence(connection, interval):
            return []
        found = (_find_of_market(connection, settings, market, interval) for market in settings.markets)
        return [history for histories in found for history in histories]


def _find_of_market(
    connection: Connection, settings: Settings, market: MarketProfile, interval: Interval
) -> list[ShortHistory]:
    symbols = list_symbols(connection, market.exchange)
    try:
        sessions = _list_retained_sessions(settings, market, len(symbols))
        before = _find_window_begin(settings, market, interval)
    except SessionsUnknown:  # its own commands say why; those of other exchanges must not fail with it
        return []
    if not symbols or not sessions:
        return []
    known = read_requested_days(connection, symbols, interval, sessions)
    names_exchange = choose_moment_style(market, settings.exchanges) is not UTC_STYLE
    histories = select_short_histories(symbols, sessions, known, interval, before)
    return [replace(history, names_exchange=names_exchange) for history in histories]


def select_short_histories(
    symbols: Sequence[Symbol], sessions: Sequence[Session], known: RequestedDays, interval: Interval, before: date
) -> list[ShortHistory]:
    """The symbols that lack sessions before a day, out of what is known of each session day."""
    opens = np.array([s.open.timestamp() for s in sessions])
    first_session = np.searchsorted(opens, known.first_bar_at, side="right") - 1
    has_bar = ~np.isnan(known.first_bar_at)
    with_bars = _find_fetched_with_bars(first_session, has_bar, known)
    is_usual = with_bars.sum(axis=0) >= max(1.0, MIN_SHARE_OF_SYMBOLS * len(symbols))
    lacks = ~(with_bars | known.empty | known.refused) & known.listed & is_usual
    is_unanswered = ~has_bar & (known.empty & is_usual).any(axis=1)  # more of it would bring nothing either
    lacks[is_unanswered] = False
    lacks[:, [session.day >= before for session in sessions]] = False
    sizes = build_slot_grid(tuple(sessions), interval).session_sizes
    histories = []
    for row in np.flatnonzero(lacks.any(axis=1)).tolist():
        lacking = np.flatnonzero(lacks[row])
        histories.append(
            ShortHistory(
                symbols[row].ticker,
                sessions[first_session[row]].day if has_bar[row] else None,
                sessions[lacking[0]].day,
                sessions[lacking[-1]].day,
                int(sizes[lacking].sum()),
            )
        )
    return histories


def describe_short_histories(histories: Sequence[ShortHistory]) -> str:
    """One sentence, and the command that requests what is lacking; empty if nothing is.

    With several exchanges it is a sentence for each, because the days of a command are those of one exchange.
    """
    exchanges = list(dict.fromkeys(history.ticker.exchange for history in histories))
    groups = ([h for h in histories if h.ticker.exchange == exchange] for exchange in exchanges)
    return "; ".join(map(_describe_group, groups))


def _describe_group(histories: Sequence[ShortHistory]) -> str:
    bars = sum(h.bars for h in histories)
    if len(histories) == 1:
        (history,) = histories
        begin = f"begins on {history.begins}" if history.begins else "has no bars yet"
        subject = f"{history.ticker} {begin}"
    else:
        named = ", ".join(str(h.ticker) for h in histories[:3]) + (", …" if len(histories) > 3 else "")
        subject = f"{len(histories):,} symbols are shorter than the others ({named})"
    lacking = f"{format_count(bars, 'bar')} of retained sessions {'was' if bars == 1 else 'were'} never fetched"
    return f"{subject}: {lacking}; to fetch: {build_command(histories)}"


def build_command(histories: Sequence[ShortHistory]) -> str:
    """The command that requests the lacking sessions of symbols of one exchange."""
    first, last = min(h.first_day for h in histories), max(h.last_day for h in histories)
    exchange = histories[0].ticker.exchange
    names = ",".join(history.ticker.short_name for history in histories)
    all_of_exchange = f" --exchange {exchange}" if histories[0].names_exchange else ""
    symbols = f" --symbols {names}" if len(histories) <= MAX_NAMED_SYMBOLS else all_of_exchange
    return f"backfill-assets run{symbols} --start {first} --end {last}"


def _find_fetched_with_bars(first_session: Int64, has_bar: Bools, known: RequestedDays) -> Bools:
    """Which sessions with rows were fetched of each symbol from its first bar on, shape (symbols, sessions).

    A run also reads a few sessions before its window, but keeps no bars of them. From the first bar on every session
    counts if another program wrote that bar, else those that were requested.

    Args:
        first_session: the session of each symbol's first bar, shape (symbols,).
        has_bar: whether it has one.
        known: what was requested.
    """
    symbol_count, session_count = known.requested.shape
    is_external = has_bar & ~known.requested[np.arange(symbol_count), first_session]
    from_first_bar = has_bar[:, None] & (np.arange(session_count) >= first_session[:, None])
    fetched: Bools = from_first_bar & (known.requested | is_external[:, None]) & ~known.empty
    return fetched


def _list_retained_sessions(settings: Settings, market: MarketProfile, symbol_count: int) -> tuple[Session, ...]:
    count = limit_partition_sessions(settings.partition_days, symbol_count)
    return build_session_window(market, settings.now(), count).sessions


def _find_window_begin(settings: Settings, market: MarketProfile, interval: Interval) -> date:
    """The first session of the default window; today without one."""
    now = settings.now()
    rules = settings.build_gap_rules(market, settings.choose_source(market, interval))
    window = build_hours_window(market, now, DEFAULT_HOURS, rules.compute_askable_at)
    return window.sessions[0].day if window.sessions else now.astimezone(market.zone).date()
