"""Which symbols of an exchange are due for the weekly review. The review itself is in ``review``."""

from datetime import timedelta

from backfill_assets.backfill.engine import Engine
from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.store.evidence.review_log import read_last_reviews
from backfill_assets.store.symbols import list_symbols


def count_due_reviews(engine: Engine, exchange: str, interval: Interval) -> int:
    """How many active symbols of an exchange have not been reviewed lately."""
    source = engine.settings.choose_source(engine.settings.get_market(exchange), interval)
    due_before = engine.settings.now() - timedelta(days=engine.settings.review_days)
    with engine.database.transaction() as connection:
        symbols = list_symbols(connection, exchange)
        last_reviewed = read_last_reviews(connection, [s.symbol_id for s in symbols], interval, source)
    return len(symbols) - sum(reviewed > due_before for reviewed in last_reviewed.values())
