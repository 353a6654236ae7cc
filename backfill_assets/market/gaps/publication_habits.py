"""How long after the close each symbol's sessions come, learned from past ones (docs/decisions/0088). Pure.

A session is seen published by a request only, so it is known to have come between two moments: after the last request
in vain, and until the one that brought it. ``ask_plans`` chooses the requests by what is learned here, and
``store.evidence.publication_reader`` reads the past sessions.
"""

from dataclasses import dataclass

import numpy as np

from backfill_assets.market.arrays import Bools, Floats, Int64

HALF_HOUR = 1800.0
_MIN_SESSIONS = 2
_TOGETHER_SHARE, _TOGETHER_SECONDS = 0.8, 3600.0
_SILENT_SESSIONS = 3
_OWN_ROUNDS = 24  # of the estimate for a symbol, which hardly changes any more
_EVERYONES_ROUNDS = 2  # of that for all: further ones would make peaks of chance
_SURPRISES = 10.0  # sessions of nobody, spread evenly: no half hour is impossible, whatever was seen
_OTHER_WEEKDAYS = 30.0  # so many sessions of a weekday count as much as those of all weekdays
# So many sessions of a symbol count as much as those of all symbols: what explains the past best is chosen.
_OWN_SESSIONS = (0.5, 2.0, 8.0, 32.0, 128.0, 1024.0)
_JUDGED_SYMBOLS = 500  # they show which is best


@dataclass(frozen=True, eq=False)
class PastSessions:
    """When past sessions came, as parallel arrays with one entry per symbol and session.

    Attributes:
        row: the symbol, shape (entries,) like all that follow.
        session: the session's number; later sessions have higher ones.
        weekday: of the session, Monday is 0.
        after: seconds from the regular close to the last request in vain; −∞ without one.
        until: seconds from the regular close to the request that brought it; ∞ if none has.
    """

    row: Int64
    session: Int64
    weekday: Int64
    after: Floats
    until: Floats


@dataclass(frozen=True, eq=False)
class HalfHours:
    """The moments at which a session may be requested: every half hour from when it is askable on.

    Attributes:
        moments: seconds after the regular close, shape (moments,). They divide time into moments + 1 *half hours*: the
            first begins at the close, the last one does not end.
        overdue: seconds after the regular close.
    """

    moments: Floats
    overdue: float

    @classmethod
    def build(cls, askable: float, overdue: float) -> "HalfHours":
        """From ``askable`` until 14 hours after ``overdue``, when the next session is requested anyway."""
        return cls(np.arange(askable, overdue + 28 * HALF_HOUR + 1, HALF_HOUR), overdue)

    @property
    def count(self) -> int:
        """How many half hours there are."""
        return len(self.moments) + 1

    def find_last(self, seconds: Floats) -> Int64:
        """The last moment that has passed at ``seconds`` after the close, −1 before the first; within a minute."""
        passed: Int64 = np.searchsorted(self.moments, seconds + 60.0, side="right") - 1
        return passed

    def find_half_hour(self, seconds: Floats) -> Int64:
        """The half hour in which ``seconds`` after the close lie; within a minute."""
        position: Int64 = np.searchsorted(self.moments, seconds - 60.0, side="left")
        return position


@dataclass(frozen=True, eq=False)
class PublicationHabits:
    """The chances of each half hour that a session comes in it.

    Attributes:
        half_hours: which these are.
        by_weekday: of any symbol, shape (7, half hours).
        own: how many past sessions of each symbol came in each half hour, shape (symbols, half hours).
        own_sessions: so many sessions of a symbol count as much as those of all symbols.
        is_silent: whether none of the newest sessions of the symbol has come, shape (symbols,).
        session_count: how many past sessions this was learned from.
    """

    half_hours: HalfHours
    by_weekday: Floats
    own: Floats
    own_sessions: float
    is_silent: Bools
    session_count: int

    def compute_chances(self, row: Int64, weekday: Int64) -> Floats:
        """The chances of each half hour, of sessions of ``weekday`` of the symbols ``row``; (sessions, half hours)."""
        return _weigh(self.own[row], self.by_weekday[weekday], self.own_sessions)

    def find_usual_hours(self, row: int, weekday: int) -> tuple[float, float]:
        """Hours after the close between which four in five sessions of a symbol come."""
        came = self.compute_chances(np.array([row]), np.array([weekday]))[0].cumsum()
        first, last = np.searchsorted(came, [0.1, 0.9]).tolist()
        hours = np.r_[0.0, self.half_hours.moments / (2 * HALF_HOUR)]
        return float(hours[first]), float(hours[min(last + 1, len(hours) - 1)])


def learn_habits(past: PastSessions, symbol_count: int, half_hours: HalfHours) -> PublicationHabits | None:
    """Estimate from past sessions when the next ones come; None where too little is known, or one tells of all others.

    The first ``symbol_count`` rows are those of whom the habits are wanted; other symbols of the exchange follow them.
    """
    session_count = len(np.unique(past.session[np.isfinite(past.until)]))
    if session_count < _MIN_SESSIONS or come_together(past):
        return None
    seen = _Intervals.build(past, half_hours)
    nobody = np.full((1, half_hours.count), _SURPRISES / half_hours.count)
    everyone = _estimate(seen, np.zeros(len(seen.row), np.int64), nobody)
    by_weekday = _estimate(seen, past.weekday, np.repeat(_OTHER_WEEKDAYS * everyone, 7, axis=0))
    judged = seen.select(seen.row < _JUDGED_SYMBOLS)
    own_sessions = max(_OWN_SESSIONS, key=lambda weight: _explain(judged, everyone, weight))
    own = _count_own(seen.select(seen.row < symbol_count), symbol_count, everyone, own_sessions)
    return PublicationHabits(half_hours, by_weekday, own, own_sessions, _find_silent(past, symbol_count), session_count)


def come_together(past: PastSessions) -> bool:
    """Whether sessions come for nearly all symbols within an hour of the first; then that one tells of the others.

    Symbols of which no session came say nothing.
    """
    came = np.isfinite(past.until)
    counted = np.isin(past.row, past.row[came])
    past = PastSessions(
        past.row[counted], past.session[counted], past.weekday[counted], past.after[counted], past.until[counted]
    )
    session = np.unique(past.session, return_inverse=True)[1]
    symbols = np.bincount(session)
    first = np.full(len(symbols), np.inf)
    np.minimum.at(first, session, past.until)
    is_within = past.until <= first[session] + _TOGETHER_SECONDS
    within = np.bincount(session, is_within & np.isfinite(past.until), len(symbols))
    counts = np.isfinite(first) & (symbols > 1)
    shares = (within - 1)[counts] / (symbols - 1)[counts]
    return bool(counts.any() and shares.mean() >= _TOGETHER_SHARE)


def _find_silent(past: PastSessions, symbol_count: int) -> Bools:
    newest = past.session > np.unique(past.session)[-_SILENT_SESSIONS:][0] - 1
    newest &= past.row < symbol_count
    requested = np.bincount(past.row[newest], minlength=symbol_count)
    came = np.bincount(past.row[newest], np.isfinite(past.until[newest]), symbol_count)
    silent: Bools = (requested >= _SILENT_SESSIONS) & (came == 0)
    return silent


@dataclass(frozen=True, eq=False)
class _Intervals:
    """The half hours in one of which each session came: from ``first`` to ``last``, both included."""

    row: Int64
    session: Int64
    first: Int64
    last: Int64

    @classmethod
    def build(cls, past: PastSessions, half_hours: HalfHours) -> "_Intervals":
        first = half_hours.find_last(past.after) + 1
        last = np.maximum(half_hours.find_half_hour(past.until), first)
        return cls(past.row, np.unique(past.session, return_inverse=True)[1], first, last)

    def select(self, chosen: Bools) -> "_Intervals":
        return _Intervals(self.row[chosen], self.session[chosen], self.first[chosen], self.last[chosen])


def _weigh(own: Floats, everyone: Floats, own_sessions: float) -> Floats:
    """The chances by a symbol's own sessions and by those of all; (symbols, half hours) like ``own``."""
    chances: Floats = (own + own_sessions * everyone) / (own.sum(axis=1, keepdims=True) + own_sessions)
    return chances


def _estimate(seen: _Intervals, owner: Int64, prior: Floats) -> Floats:
    """The chances of each owner's half hours; ``prior`` are sessions that count as well, shape (owners, half hours).

    The self-consistent estimate of interval-censored times: each session is spread over its half hours by the chances
    that all sessions give them.
    """
    chances: Floats = prior / prior.sum(axis=1, keepdims=True)
    for _ in range(_EVERYONES_ROUNDS):
        counts = prior + _spread(seen, owner, chances)
        chances = counts / counts.sum(axis=1, keepdims=True)
    return chances


def _count_own(seen: _Intervals, symbol_count: int, everyone: Floats, own_sessions: float) -> Floats:
    """How many sessions of each symbol came in each half hour; (symbols, half hours)."""
    own = np.zeros((symbol_count, everyone.shape[1]))
    for _ in range(_OWN_ROUNDS):
        own = _spread(seen, seen.row, _weigh(own, everyone, own_sessions))
    return own


def _explain(seen: _Intervals, everyone: Floats, own_sessions: float) -> float:
    """How well every other session explains the rest if own ones count as ``own_sessions`` says: a log-likelihood."""
    total = 0.0
    for half in (0, 1):
        is_known = seen.session % 2 == half
        known, others = seen.select(is_known), seen.select(~is_known)
        own = _count_own(known, int(seen.row.max()) + 1, everyone, own_sessions)
        total += float(np.log(_sum_intervals(others, others.row, _weigh(own, everyone, own_sessions))).sum())
    return total


def _spread(seen: _Intervals, owner: Int64, chances: Floats) -> Floats:
    """How many sessions of each owner fall into each half hour, by ``chances``; the same shape."""
    owners, size = chances.shape
    share = 1 / _sum_intervals(seen, owner, chances)
    begins = np.bincount(owner * (size + 1) + seen.first, share, owners * (size + 1))
    ends = np.bincount(owner * (size + 1) + seen.last + 1, share, owners * (size + 1))
    counts: Floats = (begins - ends).reshape(owners, size + 1).cumsum(axis=1)[:, :size] * chances
    return np.maximum(counts, 0.0)  # rounding


def _sum_intervals(seen: _Intervals, owner: Int64, chances: Floats) -> Floats:
    """The chance of each session's half hours together, by its owner's chances; shape (sessions,)."""
    sums = np.zeros((chances.shape[0], chances.shape[1] + 1))
    np.cumsum(chances, axis=1, out=sums[:, 1:])
    between: Floats = np.maximum(sums[owner, seen.last + 1] - sums[owner, seen.first], 1e-9)
    return between
