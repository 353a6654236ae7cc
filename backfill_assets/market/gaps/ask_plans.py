"""The requests that are worth their price, by the chances of when a session comes (docs/decisions/0088). Pure.

A request costs one. A session that is stored more than 90 minutes after it came costs as much as two and a half
requests, and every half hour of waiting a little. The plan with the lowest expected cost is followed. In the hour
before a session is overdue it is requested once more; at the last moment the next session's request covers it.
"""

from collections.abc import Sequence

import numpy as np

from backfill_assets.market.arrays import Bools, Floats, Int64
from backfill_assets.market.calendar.sessions import Session
from backfill_assets.market.gaps.evidence import RequestHistory, look_up
from backfill_assets.market.gaps.publication_habits import HALF_HOUR, HalfHours, PublicationHabits
from backfill_assets.market.gaps.retry_schedule import PastRequests

LATE_AFTER = 3  # half hours
LATE_COST = 2.5
WAITING_COST = 0.02  # of each half hour


def ask_by_habit(
    request_at: Floats,
    row: Int64,
    session: Int64,
    past: PastRequests,
    habits: PublicationHabits,
    sessions: Sequence[Session],
    now_epoch: float,
) -> Floats:
    """``request_at`` (epoch seconds), but by the plan where a session of which no row came is new enough for one.

    ``row`` and ``session``, a position in ``sessions``, are those of each slot, shape (slots,) like the result. A
    symbol none of whose newest sessions has come stays on the retry schedule.
    """
    is_planned = find_planned(past.history, past.entry_index, habits, sessions, now_epoch)[row, session]
    if not is_planned.any():
        return request_at
    closes = np.array([s.regular_close.timestamp() for s in sessions])
    weekday = np.array([s.day.weekday() for s in sessions])
    cells, cell = np.unique(row[is_planned] * len(closes) + session[is_planned], return_inverse=True)
    rows, at = np.divmod(cells, len(closes))
    requested_at = look_up(past.history.requested_at, past.entry_index[rows, at], default=0)
    last = habits.half_hours.find_last(requested_at - closes[at])
    following = find_next_asks(habits.compute_chances(rows, weekday[at]), last, habits.half_hours)
    planned_at = np.append(habits.half_hours.moments, np.inf)[following] + closes[at]
    result = request_at.copy()
    result[is_planned] = np.where(np.isfinite(planned_at[cell]), planned_at[cell], request_at[is_planned])
    return result


def find_planned(
    history: RequestHistory,
    entry_index: Int64,
    habits: PublicationHabits,
    sessions: Sequence[Session],
    now_epoch: float,
) -> Bools:
    """Which sessions of which symbols follow a plan, shape (symbols, sessions): no row came, and they are new."""
    closes = np.array([s.regular_close.timestamp() for s in sessions])
    is_planned: Bools = ~look_up(history.data_until > 0, entry_index, default=False)
    is_planned &= ~habits.is_silent[:, None] & (now_epoch < closes + habits.half_hours.moments[-1] + HALF_HOUR)
    return is_planned


def find_next_asks(chances: Floats, last_ask: Int64, half_hours: HalfHours) -> Int64:
    """The moment at which each session is to be requested next; the number of moments where there is none.

    Args:
        chances: of each half hour that the session comes in it, shape (sessions, half hours).
        last_ask: the last moment at which it was requested in vain, −1 before the first; shape (sessions,).
        half_hours: the moments.
    """
    following: Int64 = plan_asks(chances, half_hours)[np.arange(len(chances)), last_ask + 1]
    return following


def plan_asks(chances: Floats, half_hours: HalfHours, late_cost: float = LATE_COST) -> Int64:
    """The next moment after a request in vain at each moment; shape (sessions, moments + 1), first: before any request.

    The cheapest plan, computed from its end. ``late_cost`` is the price of a session that is late.
    """
    moments = len(half_hours.moments)
    before = np.zeros((len(chances), 1))
    came = np.hstack([before, chances[:, :moments].cumsum(axis=1)])
    position = np.hstack([before, (chances[:, :moments] * np.arange(moments)).cumsum(axis=1)])
    cost = np.zeros_like(came)
    following = np.full(came.shape, moments, np.int64)
    must_follow = half_hours.moments < half_hours.overdue - 2 * HALF_HOUR
    last_chance = int(half_hours.find_last(np.array(half_hours.overdue))) + 1
    for at in range(moments - 1, -1, -1):  # requested in vain at the moment before, or never
        to = np.arange(at, last_chance if at == 0 or must_follow[at - 1] else moments)
        since = came[:, [at]]
        is_late = came[:, np.maximum(to + 1 - LATE_AFTER, at)] - since
        waiting = (to + 0.5) * (came[:, to + 1] - since) - (position[:, to + 1] - position[:, [at]])
        price = (to < moments - 1) * (1 - since)
        total = price + late_cost * is_late + WAITING_COST * waiting + cost[:, to + 1]
        best = total.argmin(axis=1)
        cost[:, at] = total[np.arange(len(total)), best]
        following[:, at] = to[best]
    return following


def compute_success_chances(
    habits: PublicationHabits, row: Int64, weekday: Int64, requested_at: Floats, now: Floats
) -> Floats:
    """The chance that a request now brings a session, as far as it had not come by ``requested_at``; (sessions,).

    Both times are seconds after each session's regular close; ``requested_at`` is −∞ where there was no request.
    """
    came = np.pad(habits.compute_chances(row, weekday).cumsum(axis=1), ((0, 0), (1, 0)))
    entry = np.arange(len(row))
    before = came[entry, habits.half_hours.find_last(requested_at) + 1]
    chances: Floats = (came[entry, habits.half_hours.find_last(now) + 1] - before) / np.maximum(1 - before, 1e-9)
    return chances
