"""The exchanges as ``markets list`` and ``markets show`` print them: profiles, symbols, hours, and what was seen.

No vendor calls. What follows from what was seen is in ``market.learning.proposed_settings``.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from backfill_assets.backfill.ask_costs import AskCosts, compute_ask_costs
from backfill_assets.backfill.engine import Engine
from backfill_assets.market.calendar.intervals import DEFAULT_INTERVAL, INTERVALS
from backfill_assets.market.calendar.moment_style import name_city
from backfill_assets.market.calendar.sessions import Session, SessionsUnknown, select_regular_days
from backfill_assets.market.calendar.slots import build_slot_grid
from backfill_assets.market.calendar.windows import build_session_window, limit_partition_sessions
from backfill_assets.market.exchanges.learned import MIN_SESSIONS, DailyFigure, may_judge_by_daily_data
from backfill_assets.market.exchanges.profile import MarketProfile
from backfill_assets.market.exchanges.registry import PROFILES
from backfill_assets.market.learning.proposed_settings import SeenAttribute, SeenMarket, format_settings, list_seen
from backfill_assets.store.learning import list_publications, read_daily_comparison, read_learned_rows
from backfill_assets.store.postgres.connection import Connection
from backfill_assets.store.symbols import list_all_symbols, list_symbols

LOOKBACK_SESSIONS = 10  # one of them has regular hours


@dataclass(frozen=True, slots=True)
class MarketLine:
    """One exchange of the list.

    Attributes:
        market: its profile, with a user's corrections.
        is_enabled: whether BACKFILL_EXCHANGES has it.
        symbols: how many are active.
        hours: of a full day, in its time zone; None: its calendar has ended, or its breaks are not given.
        slots: of 30 minutes in a full day.
        unknown: why there are no hours; empty: there are.
    """

    market: MarketProfile
    is_enabled: bool
    symbols: int
    hours: str | None
    slots: int | None
    unknown: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The line as a JSON object."""
        return {
            "code": self.market.exchange,
            "name": self.market.name,
            "status": str(self.market.status),
            "enabled": self.is_enabled,
            "symbols": self.symbols,
            "hours": self.hours,
            "slots": self.slots,
            "currency": self.market.currency,
            "price_unit": self.market.price_unit,
            "volumes": str(self.market.volume_kind),
        }


@dataclass(frozen=True, slots=True)
class MarketReport:
    """What is assumed of an exchange and what was seen.

    Attributes:
        line: as in the list.
        attributes: what is learned, empty for a verified exchange.
        assumed: names of attributes that are assumed still.
        settings: the proposed passage of BACKFILL_MARKETS_FILE.
        judging: what daily data may say, in words.
        costs: of its requests, where it never closes.
        min_sessions: how many must have been seen before anything is proposed.
    """

    line: MarketLine
    attributes: tuple[SeenAttribute, ...]
    assumed: frozenset[str]
    settings: str
    judging: str
    min_sessions: int = MIN_SESSIONS
    costs: AskCosts | None = None

    def as_dict(self) -> dict[str, Any]:
        """The report as a JSON object."""
        learned = [
            {"name": item.name, "is_assumed": item.name in self.assumed, "assumed": item.assumed,
             "seen": item.seen or None, "proposed": item.proposed}
            for item in self.attributes
        ]  # fmt: skip
        return {
            **self.line.as_dict(),
            "assumed": sorted(self.assumed),
            "learned": learned,
            "daily_data": self.judging or None,
            "proposed_settings": self.settings or None,
            **({"requests": self.costs.as_dict(self.line.symbols)} if self.costs else {}),
        }


def list_markets(engine: Engine, *, only_enabled: bool = False) -> list[MarketLine]:
    """The enabled exchanges in their order, then all others that are supported."""
    with engine.database.transaction() as connection:
        counts = Counter(symbol.ticker.exchange for symbol in list_all_symbols(connection))
    enabled = engine.settings.exchanges
    others = () if only_enabled else (code for code in PROFILES if code not in enabled)
    return [_build_line(engine, engine.settings.get_market(code), counts[code]) for code in (*enabled, *others)]


def report_market(engine: Engine, exchange: str) -> MarketReport:
    """What is assumed of an exchange and what was seen.

    Raises:
        UsageError: an exchange that is not supported; the message says why.
    """
    market = engine.settings.get_market(exchange)
    with engine.database.transaction() as connection:
        symbols = list_symbols(connection, exchange)
        line = _build_line(engine, market, len(symbols))
        if not market.is_experimental:
            return MarketReport(line, (), frozenset(), "", "")
        seen = _read_seen(connection, engine, market, [symbol.symbol_id for symbol in symbols])
    attributes = tuple(list_seen(market, seen))
    return MarketReport(
        line,
        attributes,
        market.assumed,
        format_settings(market, attributes),
        _describe_judging(market, seen),
        costs=compute_ask_costs(engine, market),
    )


def _read_seen(connection: Connection, engine: Engine, market: MarketProfile, ids: Sequence[int]) -> SeenMarket:
    settings = engine.settings
    count = limit_partition_sessions(settings.partition_days, max(1, len(ids)))
    learned = read_learned_rows(connection, market.exchange), read_daily_comparison(connection, market.exchange)
    try:
        sessions = build_session_window(market, settings.now(), count).sessions
    except SessionsUnknown:
        return SeenMarket(*learned)
    return SeenMarket(*learned, list_publications(connection, ids, sessions))


def _describe_judging(market: MarketProfile, seen: SeenMarket) -> str:
    if may_judge_by_daily_data(market, seen.daily, DailyFigure.PRICES):
        has_volume = may_judge_by_daily_data(market, seen.daily, DailyFigure.VOLUME)
        rest = "them out; rules rest on them" if has_volume else "prices out, and not volumes; rules rest on prices"
        return f"compared in {seen.daily.sessions} sessions, which bear {rest}"
    if not market.uses_daily_data:
        return "not requested: they say nothing about absence, and their day has other hours than the session"
    if not market.daily_covers_session:
        return "their day has other hours than the session; they judge no bar"
    if seen.daily.sessions >= MIN_SESSIONS:
        return f"compared in {seen.daily.sessions} sessions, and contradicted by the bars; they judge nothing"
    return f"compared in {seen.daily.sessions} of {MIN_SESSIONS} sessions; until then they judge nothing"


def _build_line(engine: Engine, market: MarketProfile, symbols: int) -> MarketLine:
    is_enabled = market.exchange in engine.settings.exchanges
    try:
        session = _find_regular_session(engine, market)
    except SessionsUnknown as error:
        return MarketLine(market, is_enabled, symbols, None, None, str(error))
    if session is None:
        return MarketLine(market, is_enabled, symbols, None, None, "no session of a full day lately")
    slots = build_slot_grid((session,), INTERVALS[DEFAULT_INTERVAL]).size
    return MarketLine(market, is_enabled, symbols, _format_hours(session), slots)


def _find_regular_session(engine: Engine, market: MarketProfile) -> Session | None:
    recent = build_session_window(market, engine.settings.now() + timedelta(days=1), LOOKBACK_SESSIONS).sessions
    return max(select_regular_days(recent), key=lambda session: session.close - session.open, default=None)


def _format_hours(session: Session) -> str:
    zone = session.market.zone
    parts = [f"{opens.astimezone(zone):%H:%M}-{closes.astimezone(zone):%H:%M}" for opens, closes in session.segments]
    return f"{', '.join(parts)} {name_city(zone)}"
