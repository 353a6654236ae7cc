"""Which sessions an export brings up to date. What is written of them is decided in ``export``."""

from datetime import date

from backfill_assets.backfill.engine import Engine
from backfill_assets.errors import UsageError
from backfill_assets.market.calendar.intervals import parse_interval
from backfill_assets.market.calendar.sessions import EARLIEST_DATE, Session, find_session_day, list_sessions
from backfill_assets.market.exchanges.profile import MarketProfile
from backfill_assets.reading.export_folder import ExportFolder
from backfill_assets.reading.export_result import ExportOptions
from backfill_assets.store.bars.bar_stats import read_oldest_bar
from backfill_assets.store.bars.interval_spellings import adopt_spellings
from backfill_assets.store.symbols import list_symbols
from backfill_assets.store.universes import find_universe, list_memberships


def choose_sessions(
    engine: Engine, target: ExportFolder, options: ExportOptions, start: date | None, end: date | None
) -> list[Session]:
    """The sessions of the window that have closed; without a start, from the oldest stored bar on.

    Of adjusted bars also those that have a file: an action changes the bars of all sessions before it.
    """
    now = engine.settings.now()
    if start and end and start > end:
        raise UsageError(f"--start {start} is after --end {end}; give the earlier date first")
    market = engine.settings.get_market(target.exchange)
    today = now.astimezone(market.zone).date()  # of the exchange: Sydney is a day ahead of UTC every evening
    first = max(start or _find_first_day(engine, target, options.universe, market) or date.max, EARLIEST_DATE)
    last = min(end or today, today)
    exported = set(target.list_days()) if options.is_adjusted else set()
    earliest = min({first, *exported})
    listed = list_sessions(market, earliest, today) if earliest <= today else ()
    return [
        session
        for session in listed
        if session.close <= now and (first <= session.day <= last or session.day in exported)
    ]


def _find_first_day(engine: Engine, target: ExportFolder, universe_name: str, market: MarketProfile) -> date | None:
    """The session date of the oldest bar of the symbols that belong or once belonged to the universe."""
    with engine.database.transaction() as connection:
        (interval,) = adopt_spellings(connection, [parse_interval(target.interval)])
        universe = find_universe(connection, target.exchange, universe_name)
        symbols = list_symbols(connection, target.exchange, only_active=False)
        if not universe.has_all_symbols:
            members = {membership.symbol_id for membership in list_memberships(connection, universe)}
            symbols = [symbol for symbol in symbols if symbol.symbol_id in members]
        oldest = read_oldest_bar(connection, symbols, interval)
    return find_session_day(market, oldest) if oldest else None
