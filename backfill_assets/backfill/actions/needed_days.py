"""Which daily rows corporate actions need: the cum day of a dividend, and both sides of a split's ex-date.

A dividend is a share of the official close of its cum day; the daily rows on both sides of a split say whether the
vendor has applied it. Of a whole daily history these days are kept, and those with bars of ours, whose adjusted close
adjusted bars are compared with.
"""

from collections.abc import Collection
from datetime import date, datetime, timedelta

from backfill_assets.backfill.engine import Engine
from backfill_assets.market.calendar.sessions import EARLIEST_DATE, find_previous_session_day
from backfill_assets.market.calendar.tickers import Symbol
from backfill_assets.store.actions.needed_closes import find_lacking_closes
from backfill_assets.store.actions.splits import list_splits
from backfill_assets.store.postgres.connection import Connection

ASK_AGAIN_AFTER = timedelta(days=6.5)  # what the vendor lacks: on the same morning of the next week


def find_needed_days(
    engine: Engine,
    connection: Connection,
    symbols: Collection[Symbol],
    last_day: date,
    now: datetime,
    limit: int | None = None,
) -> dict[int, list[date]]:
    """The days up to ``last_day`` whose daily close is needed and lacking: symbol_id → days, oldest first.

    At most ``limit`` symbols, those whose closes were never requested first; none whose were within the week.
    """
    exchanges = {symbol.symbol_id: symbol.ticker.exchange for symbol in symbols}
    split_days: list[tuple[int, date]] = []
    for split in list_splits(connection, exchanges):
        cum_day = find_previous_session_day(engine.settings.get_market(exchanges[split.symbol_id]), split.ex_date)
        if cum_day is not None:
            split_days += [(split.symbol_id, cum_day), (split.symbol_id, split.ex_date)]
    days = (EARLIEST_DATE, last_day)
    return find_lacking_closes(connection, exchanges, split_days, days, now - ASK_AGAIN_AFTER, limit)
