"""When live quotes are worth reading: a session's sampling hours, its rounds, and how often calls allow one.

Pure calendar arithmetic. Whom to ask and how is decided in ``live.collector``.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.calendar.sessions import Session

FIRST_ROUND_AFTER_OPEN = timedelta(minutes=15)  # quotes are about 16 minutes old (EODHD.md §3)
LAST_ROUND_AFTER_CLOSE = timedelta(minutes=30)  # by then what was traded before the close has been seen
CLOSING_ROUND_AFTER_CLOSE = timedelta(
    minutes=10
)  # after the close: then stamps lie some minutes before it, whatever the delay
EDGE_TOLERANCE_DIVISOR = 6  # a sample stands for an edge that is at most a sixth of a slot away: 5 minutes of 30
HALF_HOUR_SECONDS = 1800
LAST_ROUND_GRACE = timedelta(minutes=1)  # of whoever makes the session's last round


def find_sampled_session(sessions: Sequence[Session], now: datetime) -> Session | None:
    """The session whose live quotes are worth reading at ``now``; None out of hours."""
    return next(
        (s for s in sessions if _compute_sampling_start(s) <= now <= _compute_sampling_end(s) + LAST_ROUND_GRACE), None
    )


def find_next_sampling_start(sessions: Sequence[Session], now: datetime) -> datetime | None:
    """When the sampling hours of the next of ``sessions`` begin; None if they hold no later one."""
    return min((_compute_sampling_start(s) for s in sessions if _compute_sampling_start(s) > now), default=None)


def list_rounds(session: Session, round_seconds: int) -> list[datetime]:
    """The moments at which rounds are due, ascending: every ``seconds`` from 15 minutes after the open.

    With a delay of 15 to 17 minutes a round's stamps then lie at or just before the edge of a slot. Because none
    stamped at the close itself says what was traded before it, there is one ten minutes after the close, too.
    """
    length = int((_compute_sampling_end(session) - _compute_sampling_start(session)).total_seconds())
    regular_rounds = {
        _compute_sampling_start(session) + timedelta(seconds=at) for at in range(0, length + 1, round_seconds)
    }
    return sorted(regular_rounds | {session.close + CLOSING_ROUND_AFTER_CLOSE})


def find_due_round(session: Session, now: datetime, round_seconds: int) -> datetime:
    """The newest moment of ``rounds_of`` that is not after ``now``, within sampling hours."""
    return max(at for at in list_rounds(session, round_seconds) if at <= now)


def find_next_round(session: Session, now: datetime, round_seconds: int) -> datetime:
    """The first moment of ``rounds_of`` after ``now``; after the last, when its sampling hours are over."""
    return min(
        (at for at in list_rounds(session, round_seconds) if at > now),
        default=_compute_sampling_end(session) + 2 * LAST_ROUND_GRACE,
    )


def count_rounds_left(session: Session, now: datetime, round_seconds: int) -> int:
    """How many rounds the session has from the newest due one on, that one included."""
    due_at = find_due_round(session, now, round_seconds)
    return sum(at >= due_at for at in list_rounds(session, round_seconds))


def choose_round_seconds(
    session: Session,
    now: datetime,
    *,
    preferred_seconds: int,
    slot_lengths: Sequence[int],
    calls_per_round: int,
    calls_left: int,
) -> int:
    """The seconds between rounds that the calls left afford until the session's end.

    ``wanted`` if possible; else the shortest multiple of it that divides a slot (lengths ``slots``, ascending), so
    that a round still falls on every edge: stretched otherwise, samples would make no bar. At worst the longest
    slot, as long as the calls last.
    """
    divisors = [
        m for slot in slot_lengths for m in range(preferred_seconds, slot + 1, preferred_seconds) if slot % m == 0
    ]
    for seconds in [preferred_seconds, *divisors]:
        if count_rounds_left(session, now, seconds) * calls_per_round <= calls_left:
            return seconds
    return max(*slot_lengths, preferred_seconds)


def select_collectable_intervals(intervals: Iterable[Interval], round_seconds: int) -> tuple[Interval, ...]:
    """The intervals whose bars rounds every ``seconds`` can make, the shortest first.

    Half an hour and longer: a twelfth of them is more than what delays differ by (EODHD.md §3). Shorter ones where at
    least one round falls within the tolerance of every edge (``edges``).
    """
    collectable_intervals = [
        i for i in intervals if i.seconds >= HALF_HOUR_SECONDS or i.seconds >= EDGE_TOLERANCE_DIVISOR * round_seconds
    ]
    return tuple(sorted(collectable_intervals, key=lambda interval: interval.seconds))


def _compute_sampling_start(session: Session) -> datetime:
    return session.open + FIRST_ROUND_AFTER_OPEN


def _compute_sampling_end(session: Session) -> datetime:
    return session.close + LAST_ROUND_AFTER_CLOSE
