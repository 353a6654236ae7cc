"""What requests cost once they are timed by what was learned, in the worlds of ``bench.publication_worlds``.

Pure: plans are followed without a store, and without the probes before half of the symbols came.
"""

from dataclasses import dataclass

import numpy as np
import pytest

from backfill_assets.market.arrays import Floats, Int64
from backfill_assets.market.gaps.ask_plans import plan_asks
from backfill_assets.market.gaps.publication_habits import PastSessions, learn_habits
from bench.environment import build_symbols
from bench.publication_worlds import HALF_HOURS, WORLDS, World, build_config, draw_hours, find_optimum

pytestmark = pytest.mark.no_cover

TICKERS, SESSIONS, LEARNING = 60, 20, 10
MOMENTS = HALF_HOURS.moments / 3600
_, INDEPENDENT, OWN_HOURS = WORLDS


@dataclass(frozen=True, eq=False)
class Outcome:
    """Sessions of a world; arrays of the shape (sessions, tickers), times in hours after the close."""

    requests: Int64
    published: Floats
    asked_in_vain: Floats
    stored: Floats

    def learn(self, upto: int) -> PastSessions:
        session, row = np.indices((upto, TICKERS)).reshape(2, -1)
        after, until = self.asked_in_vain[:upto].ravel() * 3600, self.stored[:upto].ravel() * 3600
        return PastSessions(row, session, session % 5, after, until)


def follow(outcome: Outcome, at: int, following: Int64) -> None:
    """Request a session at the moments that follow one another, until all came or no moment is left."""
    ticker = np.arange(TICKERS)
    moment = following[ticker, 0]
    while (is_asked := np.isinf(outcome.stored[at]) & (moment < len(MOMENTS))).any():
        hours = MOMENTS[np.minimum(moment, len(MOMENTS) - 1)]
        outcome.requests[at] += is_asked & (moment < len(MOMENTS) - 1)  # the last one is for the next session, too
        came = outcome.published[at] <= hours
        outcome.stored[at][is_asked & came] = hours[is_asked & came]
        outcome.asked_in_vain[at][is_asked & ~came] = hours[is_asked & ~came]
        moment = np.where(is_asked & ~came, following[ticker, np.minimum(moment + 1, len(MOMENTS))], moment)


def simulate(world: World) -> Outcome:
    names, config = build_symbols(TICKERS), build_config(world, TICKERS)
    published = draw_hours(config, names, SESSIONS)
    shape = published.shape
    outcome = Outcome(np.zeros(shape, np.int64), published, np.full(shape, -np.inf), np.full(shape, np.inf))
    hourly = np.tile(np.minimum(np.arange(len(MOMENTS) + 1) // 2 * 2 + 2, len(MOMENTS)), (TICKERS, 1))
    for at in range(SESSIONS):
        habits = learn_habits(outcome.learn(at), TICKERS, HALF_HOURS) if at >= 2 else None
        if habits is None:
            follow(outcome, at, hourly)
        else:
            chances = habits.compute_chances(np.arange(TICKERS), np.full(TICKERS, at % 5))
            follow(outcome, at, plan_asks(chances, HALF_HOURS))
    return outcome


@pytest.mark.parametrize(("world", "above_optimum"), [(INDEPENDENT, 1.10), (OWN_HOURS, 1.20)])
def test_learned_requests_are_near_the_optimum(world: World, above_optimum: float) -> None:
    outcome = simulate(world)
    judged = slice(LEARNING, SESSIONS)
    delays = (outcome.stored[judged] - outcome.published[judged]) * 60
    requests = outcome.requests[judged].mean()
    share = float((delays <= 90).mean())
    optimum = find_optimum(world, build_config(world, TICKERS), build_symbols(TICKERS), share)
    assert requests <= above_optimum * optimum
    assert not ((outcome.published[judged] <= 15) & (outcome.stored[judged] > 16)).any()
    if world is OWN_HOURS:
        assert requests <= 1.30
        assert np.median(delays) <= 60
        assert np.percentile(delays, 95) <= 120
