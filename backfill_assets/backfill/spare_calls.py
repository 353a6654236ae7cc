"""What the day's calls have left over for sessions that were not watched before.

That is what neither open sessions of any exchange, nor those that open and can be requested before calls are renewed,
nor due reviews may need today, and what KEPT_SHARES leaves to all other purposes. Live collection has its own budget.
"""

from datetime import datetime, timedelta

from backfill_assets.backfill.due_reviews import count_due_reviews
from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.scarce_requests import count_unsettled
from backfill_assets.errors import UsageError
from backfill_assets.market.calendar.intervals import Interval, parse_interval
from backfill_assets.market.calendar.sessions import list_overlapping_sessions
from backfill_assets.market.exchanges.profile import MarketProfile
from backfill_assets.market.purposes import Purpose
from backfill_assets.store.bars.interval_spellings import adopt_spellings
from backfill_assets.store.history_state import read_history_calls
from backfill_assets.store.symbol_counts import count_active_rows

_LONGEST_WAIT = timedelta(days=2)  # from the open of a session until its bars can be requested


def count_spare_requests(engine: Engine) -> int:
    """How many intraday requests can be spent on older sessions now, of all exchanges and intervals.

    Reviews get at most half of what the day had: where there are more symbols than calls, some are due on every day of
    the week.

    Raises:
        TokenRefused: no token is set.
    """
    settings, price = engine.settings, engine.prices.intraday
    status = engine.create_budget().read_status(settings.now())
    with engine.database.transaction() as connection:
        intervals = adopt_spellings(connection, [parse_interval(name) for name in settings.intervals])
        spent = read_history_calls(connection, engine.require_token(), settings.now())
    pairs = [(market, interval) for market in settings.markets for interval in intervals]
    needed = sum(_count_needed(engine, market, interval, status.resets_at) for market, interval in pairs)
    spare = max(0, status.calls_left_today - price * needed)
    reviews = sum(count_due_reviews(engine, market.exchange, interval) for market, interval in pairs)
    spare = max(0, spare - min(price * reviews, (spare + spent) // 2))
    return min(spare, engine.create_budget(Purpose.HISTORY).read_status(settings.now()).calls_left_today) // price


def _count_needed(engine: Engine, market: MarketProfile, interval: Interval, until: datetime) -> int:
    """How many requests an exchange may need until then for sessions that are open, or become askable."""
    unsettled = count_unsettled(engine, market, interval)
    now = engine.settings.now()
    rules = engine.settings.build_gap_rules(market, engine.settings.choose_source(market, interval))
    try:
        sessions = list_overlapping_sessions(market, now - _LONGEST_WAIT, until)
    except UsageError:  # its calendar has ended: nothing of it can be requested
        return unsettled
    if not any(now < rules.compute_askable_at(session) <= until for session in sessions):
        return unsettled
    with engine.database.transaction() as connection:
        return max(unsettled, count_active_rows(connection, market.exchange))
