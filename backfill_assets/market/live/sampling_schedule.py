"""When live quotes are worth reading: a session's sampling hours, its rounds, and how often calls allow one.

Pure calendar arithmetic. Whom to ask and how is decided in ``live.collector``.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.calendar.sessions import Session

FIRST_AFTER_OPEN = timedelta(minutes=15)  # quotes are about 16 minutes old (EODHD.md §3)
LAST_AFTER_CLOSE = timedelta(minutes=30)  # by then what was traded before the close has been seen
BEFORE_CLOSE_SEEN = timedelta(minutes=10)  # after the close: then stamps lie some minutes before it, whatever the delay
EDGE_SHARE = 6  # a sample stands for an edge that is at most a sixth of a slot away: 5 minutes of 30
HALF_AN_HOUR = 1800
LATENESS = timedelta(minutes=1)  # of whoever makes the session's last round


def sampled_session(sessions: Sequence[Session], now: datetime) -> Session | None:
    """The session whose live quotes are worth reading at ``now``; None out of hours."""
    return next((s for s in sessions if _first(s) <= now <= _last(s) + LATENESS), None)


def next_sampling(sessions: Sequence[Session], now: datetime) -> datetime | None:
    """When the sampling hours of the next of ``sessions`` begin; None if they hold no later one."""
    return min((_first(s) for s in sessions if _first(s) > now), default=None)


def rounds_of(session: Session, seconds: int) -> list[datetime]:
    """The moments at which rounds are due, ascending: every ``seconds`` from 15 minutes after the open.

    With a delay of 15 to 17 minutes a round's stamps then lie at or just before the edge of a slot. Because none
    stamped at the close itself says what was traded before it, there is one ten minutes after the close, too.
    """
    length = int((_last(session) - _first(session)).total_seconds())
    regular = {_first(session) + timedelta(seconds=at) for at in range(0, length + 1, seconds)}
    return sorted(regular | {session.close + BEFORE_CLOSE_SEEN})


def due_round(session: Session, now: datetime, seconds: int) -> datetime:
    """The newest moment of ``rounds_of`` that is not after ``now``, within sampling hours."""
    return max(at for at in rounds_of(session, seconds) if at <= now)


def next_round(session: Session, now: datetime, seconds: int) -> datetime:
    """The first moment of ``rounds_of`` after ``now``; after the last, when its sampling hours are over."""
    return min((at for at in rounds_of(session, seconds) if at > now), default=_last(session) + 2 * LATENESS)


def rounds_left(session: Session, now: datetime, seconds: int) -> int:
    """How many rounds the session has from the newest due one on, that one included."""
    due = due_round(session, now, seconds)
    return sum(at >= due for at in rounds_of(session, seconds))


def affordable_seconds(
    session: Session, now: datetime, *, wanted: int, slots: Sequence[int], calls_each: int, calls_left: int
) -> int:
    """The seconds between rounds that the calls left afford until the session's end.

    ``wanted`` if possible; else the shortest multiple of it that divides a slot (lengths ``slots``, ascending), so
    that a round still falls on every edge: stretched otherwise, samples would make no bar. At worst the longest
    slot, as long as the calls last.
    """
    divisors = [m for slot in slots for m in range(wanted, slot + 1, wanted) if slot % m == 0]
    for seconds in [wanted, *divisors]:
        if rounds_left(session, now, seconds) * calls_each <= calls_left:
            return seconds
    return max(*slots, wanted)


def collectable(intervals: Iterable[Interval], seconds: int) -> tuple[Interval, ...]:
    """The intervals whose bars rounds every ``seconds`` can make, the shortest first.

    Half an hour and longer: a twelfth of them is more than what delays differ by (EODHD.md §3). Shorter ones where at
    least one round falls within the tolerance of every edge (``edges``).
    """
    fit = [i for i in intervals if i.seconds >= HALF_AN_HOUR or i.seconds >= EDGE_SHARE * seconds]
    return tuple(sorted(fit, key=lambda interval: interval.seconds))


def _first(session: Session) -> datetime:
    return session.open + FIRST_AFTER_OPEN


def _last(session: Session) -> datetime:
    return session.close + LAST_AFTER_CLOSE
