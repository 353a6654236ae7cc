"""The check ``history_is_complete``: whether an exchange has all of the history that it is to have."""

import numpy as np

from backfill_assets.config.settings import Settings
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.quality.census.answer import WholeStore, build_answer
from backfill_assets.quality.census.newest_months import find_lacking_newest
from backfill_assets.quality.census.scope import HistoryScope, read_scope
from backfill_assets.quality.census.whole_store import (
    LackingMonths,
    examine_stored_months,
    find_lacking_months,
    join_months,
)
from backfill_assets.quality.criteria import MAX_OFFENDERS, Criterion
from backfill_assets.store.history import has_goals
from backfill_assets.store.postgres.connection import Database

HISTORY_IS_COMPLETE = "history_is_complete"
_NO_GOAL = "no first day of the history is set (BACKFILL_HISTORY_FROM, symbols add --history-from)"


def evaluate_history(database: Database, settings: Settings, coverage: Coverage) -> Criterion:
    """Evaluate the check for the exchange of a coverage; the census says it, and only newest sessions are measured."""
    if not coverage.grid.sessions:
        return Criterion.create_not_judged(HISTORY_IS_COMPLETE, "there is no session")
    market, interval = coverage.grid.sessions[0].market, coverage.grid.interval
    with database.snapshot() as connection:
        if settings.history_from is None and not has_goals(connection):
            return Criterion.create_not_judged(HISTORY_IS_COMPLETE, _NO_GOAL)
        scope = read_scope(connection, settings, market, interval, coverage.now)
        stored = examine_stored_months(connection, scope)
        lacking = join_months([find_lacking_months(connection, stored), find_lacking_newest(connection, stored)])
        answer = build_answer(connection, scope, lacking)
    return check_history_is_complete(answer, _list_offenders(scope, lacking))


def check_history_is_complete(answer: WholeStore, offenders: tuple[str, ...]) -> Criterion:
    """No bar lacks, and no month waits for a measurement; ``offenders`` are the symbols that lack most."""
    return Criterion(
        name=HISTORY_IS_COMPLETE,
        passed=answer.is_complete,
        figure=answer.missing,
        threshold=0,
        meaning=answer.describe(),
        offenders=offenders,
    )


def _list_offenders(scope: HistoryScope, lacking: LackingMonths) -> tuple[str, ...]:
    """The symbols that lack most, then those with most months that wait for a measurement."""
    missing = np.bincount(lacking.row, lacking.missing, minlength=len(scope.symbols))
    months = np.bincount(lacking.row, minlength=len(scope.symbols))
    worst = np.lexsort((-months, -missing))[:MAX_OFFENDERS]
    return tuple(str(scope.symbols[row].ticker) for row in worst.tolist() if months[row])
