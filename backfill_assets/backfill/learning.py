"""Compares the daily data of experimental exchanges with their bars, after they were read.

What follows from it is decided in ``market.exchanges.learned``. Verified exchanges are never here. Rows are counted as
they are stored (``backfill.fetch.learned_answers``).
"""

from backfill_assets.backfill.engine import BackfillJob, Engine
from backfill_assets.market.exchanges.learned import DailyFigure
from backfill_assets.market.exchanges.profile import MarketProfile
from backfill_assets.market.plausibility.rules import Rule
from backfill_assets.store.bars.interval_spellings import adopt_spellings
from backfill_assets.store.evidence.doubt_answers import end_doubts_of_rules
from backfill_assets.store.evidence.judged_sessions import forget_judgements
from backfill_assets.store.learning import compare_daily_data, may_judge_daily_data
from backfill_assets.store.postgres.connection import Connection

RULES_BY_FIGURE = {
    DailyFigure.VOLUME: frozenset({Rule.VOLUME_EXCEEDS_DAY}),
    DailyFigure.PRICES: frozenset(
        {
            Rule.VOLUME_EXCEEDS_DAY,
            Rule.PRICE_OUTSIDE_DAY,
            Rule.FROZEN,
            Rule.STEP_WITHOUT_SPLIT,
            Rule.SPLIT_WITHOUT_STEP,
        }
    ),
}


def compare_with_daily_data(engine: Engine, job: BackfillJob) -> None:
    """Compare the daily data of an experimental exchange with its bars, where new ones were read.

    Once the bars bear them out, every session is judged again: the daily data may judge now. Once they do not any more,
    nothing that rests on them stays in doubt.
    """
    if not job.market.is_experimental:
        return
    with engine.database.transaction() as connection:
        (interval,) = adopt_spellings(connection, [job.interval])
        ids = [symbol.symbol_id for symbol in job.symbols]
        before = _list_judging(connection, job.market)
        compare_daily_data(connection, ids, job.window.sessions, interval, engine.settings.now())
        after = _list_judging(connection, job.market)
        if after - before:
            forget_judgements(connection, ids)
        rules = {rule for figure in before - after for rule in RULES_BY_FIGURE[figure]}
        end_doubts_of_rules(connection, ids, rules, engine.settings.now())


def _list_judging(connection: Connection, market: MarketProfile) -> set[DailyFigure]:
    """Which figures of the daily data bars are judged by."""
    return {figure for figure in RULES_BY_FIGURE if may_judge_daily_data(connection, market, figure)}
