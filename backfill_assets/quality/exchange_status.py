"""What the status says of one exchange: its symbols, window, bars and sessions, as values. ``status`` puts it together.

Nothing here is shared by exchanges: each has its own days, symbols and denominators.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from backfill_assets.config.settings import Settings
from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.calendar.sessions import Session, SessionsUnknown
from backfill_assets.market.calendar.slots import build_slot_grid
from backfill_assets.market.calendar.tickers import Symbol
from backfill_assets.market.calendar.timestamps import format_optional_timestamp, format_timestamp
from backfill_assets.market.calendar.windows import (
    DEFAULT_HOURS,
    MAX_PARTITIONS,
    build_hours_window,
    limit_partition_sessions,
)
from backfill_assets.market.exchanges.profile import MarketProfile
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.market.gaps.gap_rules import GapRules
from backfill_assets.market.gaps.slot_states import SlotState
from backfill_assets.quality.census.answer import WholeStore, read_closed_months
from backfill_assets.quality.healing import HealingFigures, read_healing
from backfill_assets.quality.session_notes import find_next_session, list_closed_weekdays
from backfill_assets.store.bars.bar_stats import has_later_bars, read_newest_bar, read_publications
from backfill_assets.store.bars.gap_queries import read_stored_slots
from backfill_assets.store.bars.mixed_feeds import MixedFeeds, find_mixed_feeds
from backfill_assets.store.bars.symbol_index import SymbolIndex
from backfill_assets.store.coverage import measure_coverage
from backfill_assets.store.job_universe import JobUniverse, build_job_universe
from backfill_assets.store.live.rounds import SessionRoundTotals, read_round_totals
from backfill_assets.store.postgres.connection import Connection
from backfill_assets.store.symbols import Universe, read_universe

# Bars after the window are read with it, for the newest one: what came since, not the years after a past moment.
_SOON_AFTER = timedelta(days=1)
Publications = Mapping[date, tuple[int, datetime, datetime]]


@dataclass(frozen=True, eq=False)
class ExchangeSlots:
    """The symbols of one exchange and the slots of its default window, read in one transaction.

    Attributes:
        market: its profile.
        universe: every row of ``market_symbols``, as seen from it.
        active: its active symbols.
        newest_bar: the newest slot with a bar of any of them, UTC.
        coverage: the state of every slot in its default window.
        sessions_unknown: why its sessions cannot be told, so that none is in the window; None if they can.
        whole: how complete its months are that are over; None without such a month, or without sessions.
    """

    market: MarketProfile
    universe: Universe
    active: Sequence[Symbol]
    newest_bar: datetime | None
    coverage: Coverage
    sessions_unknown: str | None
    whole: WholeStore | None


@dataclass(frozen=True, eq=False)
class ExchangeFacts(ExchangeSlots):
    """What the status shows of one exchange's rows, read in one transaction.

    Attributes:
        publications: session day → how many symbols were seen published, and when the first and the last (UTC).
        rounds: of live collection in its newest session.
        mixed_feeds: its sessions with bars of both feeds.
        healing: of sessions that are no partitions; None without such sessions.
    """

    publications: Publications
    rounds: SessionRoundTotals | None
    mixed_feeds: MixedFeeds | None
    healing: HealingFigures | None


def read_exchange_facts(
    connection: Connection, settings: Settings, market: MarketProfile, interval: Interval, now: datetime
) -> ExchangeFacts:
    """Read the facts of one exchange; ``interval`` with the spellings of the table.

    Where its sessions cannot be told, the window is empty and the facts say why: those of the others are shown.
    """
    slots = read_exchange_slots(connection, settings, market, interval, now)
    grid = slots.coverage.grid
    source, sessions = settings.choose_source(market, interval), grid.sessions
    return ExchangeFacts(
        **vars(slots),
        publications=read_publications(connection, interval, source, sessions),
        rounds=read_round_totals(connection, market.exchange, sessions[-1].day) if sessions else None,
        mixed_feeds=find_mixed_feeds(connection, slots.coverage.symbols, grid),
        healing=read_healing(connection, settings, market, slots.universe, interval, now) if sessions else None,
    )


def read_exchange_slots(
    connection: Connection, settings: Settings, market: MarketProfile, interval: Interval, now: datetime
) -> ExchangeSlots:
    """Read symbols and slots of one exchange; ``interval`` with the spellings of the table.

    This is the part of the facts that metrics show, too, so that both have the same figures.
    """
    source = settings.choose_source(market, interval)
    rules = settings.build_gap_rules(market, source)
    sessions, sessions_unknown = _list_window(market, now, rules)
    grid = build_slot_grid(sessions, interval)
    universe = read_universe(connection, market.exchange)
    job_universe = build_job_universe(connection, universe.symbols)
    measured = job_universe.list_since(sessions[0].day if sessions else None)
    find_newest = bool(sessions) and not has_later_bars(
        connection, measured, interval, sessions[-1].close + _SOON_AFTER
    )
    stored = read_stored_slots(connection, SymbolIndex.from_symbols(measured), grid, find_newest=find_newest)
    coverage = measure_coverage(connection, measured, grid, source, rules, now, stored, only_states=True)
    newest_bar = stored.find_newest_bar(measured) or read_newest_bar(connection, job_universe.active, interval)
    return ExchangeSlots(
        market=market,
        universe=universe,
        active=job_universe.active,
        newest_bar=newest_bar,
        coverage=coverage,
        sessions_unknown=sessions_unknown,
        whole=None if sessions_unknown else _read_whole(connection, settings, market, interval, now, job_universe),
    )


def _read_whole(
    connection: Connection,
    settings: Settings,
    market: MarketProfile,
    interval: Interval,
    now: datetime,
    universe: JobUniverse,
) -> WholeStore | None:
    answer = read_closed_months(connection, settings, market, interval, now, universe)
    return answer if answer.expected else None


def _list_window(market: MarketProfile, now: datetime, rules: GapRules) -> tuple[Sequence[Session], str | None]:
    try:
        return build_hours_window(market, now, DEFAULT_HOURS, rules.compute_askable_at).sessions, None
    except SessionsUnknown as error:
        return (), str(error)


def describe_exchange(facts: ExchangeFacts, settings: Settings, notice: str, now: datetime) -> dict[str, Any]:
    """One exchange as a JSON object; times are ISO 8601 UTC, days those of the exchange.

    Args:
        facts: as read.
        settings: of this process.
        notice: that it is experimental, in one line (``experimental``); empty for a verified one.
        now: UTC.
    """
    market, sessions = facts.market, facts.coverage.grid.sessions
    return {
        "name": market.name,
        "status": str(market.status),
        "notice": notice or None,
        "zone": market.zone.key,
        "currency": market.currency,
        "price_unit": market.price_unit,
        "symbols": describe_symbols(facts),
        "newest_bar": format_optional_timestamp(facts.newest_bar),
        "window": [session.day.isoformat() for session in sessions],
        "early_closes": [session.day.isoformat() for session in sessions if session.is_early_close],
        "closed": [day.isoformat() for day in list_closed_weekdays(market, sessions, now)],
        "next_session": None if facts.sessions_unknown else _describe_next(market, now),
        **({"sessions_unknown": facts.sessions_unknown} if facts.sessions_unknown else {}),
        "partitions": describe_partitions(settings, len(facts.active)),
        **({"healing": facts.healing.as_dict()} if facts.healing else {}),
        **({"whole_store": facts.whole.as_dict()} if facts.whole else {}),
        **describe_gaps(facts.coverage),
        "published": describe_publications(facts.publications),
        "mixed_feeds": facts.mixed_feeds.as_dict() if facts.mixed_feeds else None,
    }


def describe_symbols(facts: ExchangeSlots) -> dict[str, int]:
    """How many symbols are active, and how many are not."""
    active = len(facts.active)
    return {"active": active, "inactive": len(facts.universe.symbols) - active}


def describe_gaps(coverage: Coverage) -> dict[str, Any]:
    """Missing and unverified bars of a window."""
    return {
        "missing": int(coverage.missing.sum()),
        "symbols_with_missing": int((coverage.missing > 0).sum()),
        "unverified": {
            "bars": coverage.count_slots(SlotState.UNVERIFIED),
            "symbols": int((coverage.counts[:, SlotState.UNVERIFIED] > 0).sum()),
        },
    }


def describe_partitions(settings: Settings, symbols: int) -> dict[str, int]:
    """How many partitions an asset of so many symbols has."""
    retained = limit_partition_sessions(settings.partition_days, symbols)
    return {
        "sessions": retained,
        "sessions_wanted": settings.partition_days,
        "of_an_asset": retained * symbols,
        "at_most": MAX_PARTITIONS,
    }


def describe_publications(publications: Publications) -> dict[str, dict[str, Any]]:
    """How many symbols were seen published, and when, by session day."""
    return {
        day.isoformat(): {"tickers": count, "first": format_timestamp(first), "last": format_timestamp(last)}
        for day, (count, first, last) in publications.items()
    }


def _describe_next(market: MarketProfile, now: datetime) -> dict[str, str] | None:
    session = find_next_session(market, now)
    if session is None:
        return None
    opens, closes = format_timestamp(session.open), format_timestamp(session.close)
    return {"day": session.day.isoformat(), "open": opens, "close": closes}
