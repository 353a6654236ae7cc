"""The whole store of an exchange at a glance, by the census: the answer in one line, and how complete each month is."""

from dataclasses import dataclass
from datetime import datetime

from backfill_assets.config.settings import Settings
from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.exchanges.profile import MarketProfile
from backfill_assets.quality.census.answer import build_answer
from backfill_assets.quality.census.month_table import read_month_table
from backfill_assets.quality.census.scope import read_scope
from backfill_assets.quality.census.whole_store import examine_stored_months
from backfill_assets.quality.month_strip import NO_MONTHS, MonthStrip, build_month_strip
from backfill_assets.store.postgres.connection import Database


@dataclass(frozen=True, slots=True)
class StoreOverview:
    """What a person sees first of a whole store; ``answer`` is one line, such as ``complete since 2020-10-12``."""

    answer: str = ""
    strip: MonthStrip = NO_MONTHS


NO_OVERVIEW = StoreOverview()


def read_store_overview(
    database: Database, settings: Settings, market: MarketProfile, interval: Interval, now: datetime
) -> StoreOverview:
    """Read both in one snapshot; ``interval`` with the spellings of the table.

    Raises:
        SessionsUnknown: the exchange's sessions cannot be told.
    """
    with database.snapshot() as connection:
        scope = read_scope(connection, settings, market, interval, now)
        table = read_month_table(connection, examine_stored_months(connection, scope))
        answer = build_answer(connection, scope, table.lacking)
    return StoreOverview(answer.describe(), build_month_strip(table.list_by_month()))
