"""What readers of a report should know of an experimental exchange: what is assumed, and what is only learned there.

Which rules may judge is decided in ``market.exchanges.learned``. Verified exchanges have no such text.
"""

from backfill_assets.market.exchanges.learned import (
    MIN_SESSIONS,
    NOTHING_COMPARED,
    DailyComparison,
    DailyFigure,
    may_judge_by_daily_data,
    needs_learning,
)
from backfill_assets.market.exchanges.profile import MarketProfile
from backfill_assets.store.learning import read_daily_comparison
from backfill_assets.store.postgres.connection import Database

_ASSUMPTIONS = {
    "closing_seconds": "which rows belong to the close",
    "null_volume": "what rows without volume mean",
    "askable_after": "when bars are published",
    "overdue_after": "from when an absent bar is missing",
    "source_interval": "whether rows of 5m exist",
    "data_from": "since when there are rows",
    "weekday_hours": "hours of single weekdays",
    "grid_anchor": "where slots begin",
    "daily_volume_tells": "what daily volumes prove",
}


def read_comparison(database: Database, market: MarketProfile) -> DailyComparison:
    """How the daily data of an exchange compare with its bars so far; no statement for a verified exchange."""
    if not needs_learning(market):
        return NOTHING_COMPARED
    with database.transaction() as connection:
        return read_daily_comparison(connection, market.exchange)


def describe_experimental(market: MarketProfile, seen: DailyComparison = NOTHING_COMPARED) -> str:
    """One line: what is assumed of an exchange and what is only learned; empty for a verified one."""
    if not market.is_experimental:
        return ""
    names = [_ASSUMPTIONS.get(name, name.replace("_", " ")) for name in sorted(market.assumed)]
    assumed = f" Assumed: {', '.join(names)}." if names else ""
    learned = explain_learning(market, seen)
    text = f"{market.exchange} is experimental.{assumed}{f' {learned[0].upper()}{learned[1:]}.' if learned else ''}"
    return f"{text} More: backfill-assets markets show {market.exchange}"


def explain_learning(market: MarketProfile, seen: DailyComparison, figure: DailyFigure = DailyFigure.PRICES) -> str:
    """Why the daily data of an exchange judge nothing yet; empty if they do."""
    if may_judge_by_daily_data(market, seen, figure):
        return ""
    if not market.daily_covers_session:
        return "daily data judge nothing, because their day has other hours than the session"
    if seen.sessions >= MIN_SESSIONS:
        return "daily data judge nothing, because they contradict the bars"
    return f"daily data are compared and judge nothing yet ({seen.sessions} of {MIN_SESSIONS} sessions)"
