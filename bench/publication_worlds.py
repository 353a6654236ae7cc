"""Worlds in which the vendor publishes in one way each, and what requests cost whoever knows that way.

The optimum knows the distribution of the hours from the close to publication, not the draws. It is the plan with the
fewest expected requests among those that store as large a share within 90 minutes, on the grid of half hours and with a
request in the hour before a session is overdue.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np

from backfill_assets.market.arrays import Floats
from backfill_assets.market.calendar.sessions import Session, list_sessions
from backfill_assets.market.exchanges.registry import US
from backfill_assets.market.gaps.ask_plans import LATE_AFTER, plan_asks
from backfill_assets.market.gaps.publication_habits import HalfHours
from backfill_assets.sandbox.config import Publication, SandboxConfig
from backfill_assets.sandbox.world.publication import PublicationSchedule
from backfill_assets.sandbox.world.random_draws import draw_between, draw_unit
from backfill_assets.sandbox.world.session_index import SessionIndex

BEGIN = datetime(2026, 6, 1, 13, 0, tzinfo=UTC)
HALF_HOURS = HalfHours.build(askable=3 * 3600.0, overdue=16 * 3600.0)
SCATTERED = ((0.55, (3.2, 6.5)), (0.30, (6.5, 11.0)), (0.12, (11.0, 15.5)), (0.03, (18.0, 28.0)))
_LATE_COSTS = np.arange(0.0, 8.0, 0.1)


@dataclass(frozen=True)
class World:
    """A way to publish, with its marks.

    Attributes:
        name: of the figures.
        publication: for the sandbox.
        most_calls: relative to one request per ticker and session; of all sessions, or of those after ten.
        most_median: minutes from publication to the bars.
        most_p95: the same of 95 %.
        most_at_all: the same of the latest.
        warms_up: whether the first ten sessions are not judged.
    """

    name: str
    publication: Publication
    most_calls: float | None
    most_median: float | None = None
    most_p95: float | None = None
    most_at_all: float | None = None
    warms_up: bool = True


WORLDS = (
    World("the whole market at once", Publication((3, 14), 20), 1.10, most_at_all=60, warms_up=False),
    World("independent draws", Publication(draw_per_ticker=True, scattered=SCATTERED), 1.85, most_median=90),
    World("each ticker its own hours ± 30 min", Publication(scattered=SCATTERED, own_hours_within=0.5), 1.30, 60, 120),
)


def build_config(world: World, tickers: int) -> SandboxConfig:
    """The sandbox of a world; its clock stands at the first session's open."""
    return SandboxConfig(symbols=tickers, now=BEGIN, clock_rate=0, publication=world.publication, per_minute=100_000)


def list_world_sessions(count: int) -> tuple[Session, ...]:
    """The first sessions of every world."""
    return list_sessions(US, BEGIN.date(), BEGIN.date() + timedelta(days=2 * count + 10))[:count]


def draw_hours(config: SandboxConfig, tickers: Sequence[str], sessions: int) -> Floats:
    """The hours from the regular close to publication that a sandbox draws; shape (sessions, tickers)."""
    schedule = PublicationSchedule(config, SessionIndex(date(2026, 5, 1)))
    return (
        np.array(
            [
                [
                    schedule.get_times(name, name, session, "5m").first_at - session.regular_close.timestamp()
                    for name in tickers
                ]
                for session in list_world_sessions(sessions)
            ]
        )
        / 3600
    )


def find_optimum(world: World, config: SandboxConfig, tickers: Sequence[str], share_in_time: float) -> float:
    """The fewest requests per session that store ``share_in_time`` of them within 90 minutes.

    By Lagrange's dual: no plan, nor a mixture of plans, needs fewer.
    """
    if not world.publication.scattered:  # one probe every half hour until the first ticker is there, then each once
        low, high = world.publication.hours_after_close
        return 1 + ((low + high) / 2 - HALF_HOURS.moments[0] / 3600) * 2 / len(tickers)
    chances = np.array([_compute_chances(world, config, ticker) for ticker in tickers])
    bounds = []
    for late_cost in _LATE_COSTS:
        requests, in_time = _follow_plan(chances, late_cost)
        bounds.append(requests + late_cost * (share_in_time - in_time))
    return float(max(bounds))


def _compute_chances(world: World, config: SandboxConfig, ticker: str) -> Floats:
    """The chance of each half hour, for whoever knows the way."""
    hours = np.r_[0.0, HALF_HOURS.moments / 3600, 100.0]
    width = world.publication.own_hours_within
    if width is None:
        parts = [(share, low, high) for share, (low, high) in world.publication.scattered]
    else:
        own = find_own_hours(config, ticker)
        parts = [(1.0, own - width, own + width)]
    came = sum(share * np.clip((hours - low) / (high - low), 0, 1) for share, low, high in parts)
    return np.diff(came)


def find_own_hours(config: SandboxConfig, ticker: str) -> float:
    """The hours that a ticker keeps, as ``sandbox.world.publication`` draws them."""
    draw, bounds = draw_unit(config.seed, "scattered", ticker), (0.0, 0.0)
    for share, among in config.publication.scattered:
        if draw >= 0:
            bounds, draw = among, draw - share
    return draw_between(bounds, config.seed, "published", ticker)


def _follow_plan(chances: Floats, late_cost: float) -> tuple[float, float]:
    """Expected requests per session, and the share that is stored within 90 minutes, of the cheapest plan."""
    following = plan_asks(chances, HALF_HOURS, late_cost)
    came = np.pad(chances.cumsum(axis=1), ((0, 0), (1, 0)))
    entry, moments = np.arange(len(chances)), len(HALF_HOURS.moments)
    at, requests, in_time = np.zeros(len(chances), np.int64), np.zeros(len(chances)), np.zeros(len(chances))
    while (at < moments).any():  # ``at`` half hours are over, and what came in them is stored
        to = np.minimum(following[entry, at] + 1, moments)
        requests += np.where(to < moments, 1 - came[entry, at], 0.0)  # the last one is the next session's request
        in_time += came[entry, to] - came[entry, np.maximum(to - LATE_AFTER, at)]
        at = to
    return float(requests.mean()), float(in_time.mean())
