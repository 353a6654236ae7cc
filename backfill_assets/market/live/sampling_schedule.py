"""When to read live quotes: a session's sampling hours, its rounds, and how many rounds the calls left allow.

Calendar arithmetic only. ``live.collector`` decides which symbols to read, ``live.quote_reader`` how.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.calendar.sessions import Session

FIRST_ROUND_AFTER_OPEN = timedelta(minutes=15)  # quotes are about 16 minutes old (docs/vendor.md §3.4)
LAST_ROUND_AFTER_CLOSE = timedelta(minutes=30)  # by then the quotes cover all trades before the close
CLOSING_ROUND_AFTER_CLOSE = timedelta(minutes=10)  # stamps then lie a few minutes before the close
EDGE_TOLERANCE_DIVISOR = 6  # a sample stands for an edge that is at most a sixth of a slot away: 5 minutes of 30
HALF_HOUR_SECONDS = 1800
LAST_ROUND_GRACE = timedelta(minutes=1)  # how late the session's last round may start


def find_sampled_session(sessions: Sequence[Session], now: datetime) -> Session | None:
    """The session whose sampling hours include ``now``; None outside of them."""
    return next(
        (s for s in sessions if _compute_sampling_start(s) <= now <= _compute_sampling_end(s) + LAST_ROUND_GRACE), None
    )


def find_next_sampling_start(sessions: Sequence[Session], now: datetime) -> datetime | None:
    """When the next sampling hours of ``sessions`` begin after ``now``; None without a later session."""
    return min((_compute_sampling_start(s) for s in sessions if _compute_sampling_start(s) > now), default=None)


def list_rounds(session: Session, round_seconds: int) -> list[datetime]:
    """The moments at which rounds are due, ascending: every ``round_seconds`` from 15 minutes after the open.

    Quotes are delayed by 15 to 17 minutes, so a round's stamps lie at or just before the edge of a slot. A sample
    stamped at the close itself may contain the auction, so one more round is due ten minutes after the close.
    """
    length = int((_compute_sampling_end(session) - _compute_sampling_start(session)).total_seconds())
    regular_rounds = {
        _compute_sampling_start(session) + timedelta(seconds=at) for at in range(0, length + 1, round_seconds)
    }
    return sorted(regular_rounds | {session.close + CLOSING_ROUND_AFTER_CLOSE})


def find_due_round(session: Session, now: datetime, round_seconds: int) -> datetime:
    """The newest moment of ``list_rounds`` that is not after ``now``; ``now`` must lie within sampling hours."""
    return max(at for at in list_rounds(session, round_seconds) if at <= now)


def find_next_round(session: Session, now: datetime, round_seconds: int) -> datetime:
    """The first moment of ``list_rounds`` after ``now``; after the last one, when sampling hours are over."""
    return min(
        (at for at in list_rounds(session, round_seconds) if at > now),
        default=_compute_sampling_end(session) + 2 * LAST_ROUND_GRACE,
    )


def count_rounds_left(session: Session, now: datetime, round_seconds: int) -> int:
    """How many rounds the session still has, the newest due one included."""
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
    """The seconds between rounds that the calls left allow until the end of the session.

    ``preferred_seconds`` if possible. Otherwise the shortest multiple of it that divides one of ``slot_lengths``
    (seconds, ascending): a round must fall on every edge of a slot, or no bar could be built. At worst the longest
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
    """The intervals whose bars can be built from rounds every ``round_seconds``, the shortest first.

    Half an hour and longer always: a twelfth of it exceeds the spread of delays (docs/vendor.md §3.4). Shorter ones if
    at least one round falls within the tolerance of every edge (see ``sample_alignment``).
    """
    collectable_intervals = [
        i for i in intervals if i.seconds >= HALF_HOUR_SECONDS or i.seconds >= EDGE_TOLERANCE_DIVISOR * round_seconds
    ]
    return tuple(sorted(collectable_intervals, key=lambda interval: interval.seconds))


def _compute_sampling_start(session: Session) -> datetime:
    return session.open + FIRST_ROUND_AFTER_OPEN


def _compute_sampling_end(session: Session) -> datetime:
    return session.close + LAST_ROUND_AFTER_CLOSE
