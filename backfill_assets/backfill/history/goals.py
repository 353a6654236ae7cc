"""A symbol's own first day, from which on it is to be complete whatever BACKFILL_HISTORY_FROM says."""

from collections.abc import Sequence
from datetime import date

from backfill_assets.backfill.engine import Engine
from backfill_assets.config.settings import Settings
from backfill_assets.errors import UsageError
from backfill_assets.market.calendar.intervals import parse_interval
from backfill_assets.market.calendar.tickers import Ticker
from backfill_assets.market.exchanges.feed_beginnings import require_within_feed
from backfill_assets.store.history import write_goals
from backfill_assets.store.symbols import list_symbols


def require_goal(settings: Settings, tickers: Sequence[Ticker], first: date, name: str) -> None:
    """Make sure that the vendor has rows of these tickers' exchanges from a day on, for each interval.

    Args:
        settings: which intervals are collected, and from which feed.
        tickers: any.
        first: the day.
        name: the option that it comes from, for the message.

    Raises:
        UsageError: it is before the first day of a feed, which the message names, or in the future.
    """
    if first > settings.now().date():
        raise UsageError(f"{name} {first} is in the future; give the first day that is to have bars")
    for exchange in dict.fromkeys(ticker.exchange for ticker in tickers):
        market = settings.get_market(exchange)
        for interval in settings.intervals:
            require_within_feed(market, settings.choose_source(market, parse_interval(interval)).name, first, name)


def set_goals(engine: Engine, tickers: Sequence[Ticker], first: date) -> int:
    """Record that these tickers, as far as the store knows them, are to be complete from a day on; returns how many."""
    wanted = set(tickers)
    with engine.database.transaction() as connection:
        known = [
            symbol.symbol_id
            for exchange in dict.fromkeys(ticker.exchange for ticker in tickers)
            for symbol in list_symbols(connection, exchange, only_active=False)
            if symbol.ticker in wanted
        ]
        write_goals(connection, known, first)
    return len(known)
