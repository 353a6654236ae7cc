"""Six years of 22 tickers are filled with what is left over of 3,000 calls a day, on the day that was predicted.

``bench.history`` simulates the days, there of 30 tickers: faults, killed walks, a token that is refused for two days.
"""

from collections.abc import Callable

import pytest

from backfill_assets.store.postgres.connection import Database
from bench.history import BEGIN, DAILY_CALLS, KILLED, Month, list_later, list_predictions, simulate_month

pytestmark = [pytest.mark.long, pytest.mark.no_cover]
IN_FLIGHT = 8  # answers of 600 days at once, at most
TICKERS, DAYS = 22, 8  # the history is complete before; what comes after has been compared often


@pytest.fixture(scope="module")
def months(create_database: Callable[..., str]) -> tuple[Month, Month]:
    """The month with and without a history."""
    databases = [Database(create_database()) for _ in range(2)]
    found = [
        simulate_month(database, days=DAYS, has_history=has_history, tickers=TICKERS)
        for database, has_history in zip(databases, (True, False), strict=True)
    ]
    for database in databases:
        database.close()
    return found[0], found[1]


def test_a_month_brings_six_years_on_the_predicted_day_and_holds_nobody_up(months: tuple[Month, Month]) -> None:
    month, without = months
    assert month.done_on is not None, month.ends
    assert (month.done_on - BEGIN.date()).days > 2  # it had to go on on several days
    predictions = list_predictions(month)
    assert len(predictions) > 2
    assert all(abs((month.done_on - day).days) <= 1 for day in predictions), (month.done_on, predictions)
    assert month.missing == 0
    # No call too many: each request once, beside what faults cost and what was in flight when walks were killed: some
    # of it had been answered, and was not stored yet.
    assert month.calls == 5 * (month.answered + month.billed_faults)
    assert month.answered >= month.lower_bound
    lost = month.lost_calls + 5 * (month.answered - month.lower_bound)
    assert 0 < lost <= 5 * IN_FLIGHT * len(KILLED)
    assert month.unaccounted == 0
    assert month.calls < DAILY_CALLS
    assert without.seen_at.keys() == month.seen_at.keys()
    assert list_later(month, without) == []
