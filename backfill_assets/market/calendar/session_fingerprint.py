"""A fingerprint of a session's hours, to be kept beside evidence that counts the slots of that session.

A newer library of calendars, or a correction, may give a stored day other hours or another clock grid; then its
ordinals mean other slots. Nothing here stores or compares: equal text, equal slots.
"""

from hashlib import blake2b

from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.sessions import Session
from backfill_assets.market.calendar.slots import count_seconds_beside_clock
from backfill_assets.market.calendar.timestamps import to_epoch_seconds

_BYTES = 8  # it tells hours apart, it protects from nobody
_LONGEST = max(INTERVALS.values(), key=lambda interval: interval.seconds)


def compute_session_fingerprint(session: Session) -> str:
    """Sixteen hexadecimal digits of the day, the open and close of each segment, and how far it opens beside the clock.

    What else differs between exchanges is not in it, and neither is the regular close: they move no slot. The same on
    every machine and in every version.
    """
    parts = [session.day.isoformat(), *(str(to_epoch_seconds(at)) for segment in session.segments for at in segment)]
    if beside := count_seconds_beside_clock(session, _LONGEST):
        parts.append(f"beside {beside}")
    return blake2b(" ".join(parts).encode("ascii"), digest_size=_BYTES).hexdigest()
