"""The hours of sessions as evidence about them was first written, and which sessions have other hours now.

Evidence numbers the slots of a session. A newer version of the calendar's library may give a stored session other
hours, and the numbers then mean other slots. What is found is decided in ``backfill``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

from backfill_assets.market.calendar.session_fingerprint import compute_session_fingerprint
from backfill_assets.market.calendar.sessions import Session
from backfill_assets.store.postgres.connection import Connection

# A part of statements that write evidence. Sessions that are known lock nothing.
INSERT_FINGERPRINTS = """
INSERT INTO backfill.session_fingerprints (exchange, session_day, fingerprint, opens_at, closes_at, recorded_at)
SELECT h.* , clock_timestamp()
FROM unnest(%(hours_exchanges)s::text[], %(hours_days)s::date[], %(hours_fingerprints)s::text[],
            %(hours_opens)s::timestamptz[], %(hours_closes)s::timestamptz[])
  AS h (exchange, session_day, fingerprint, opens_at, closes_at)
WHERE NOT EXISTS (SELECT FROM backfill.session_fingerprints k
                  WHERE k.exchange = h.exchange AND k.session_day = h.session_day)
ORDER BY 1, 2 ON CONFLICT DO NOTHING
"""
_SELECT_FINGERPRINTS = """
SELECT session_day, fingerprint, opens_at, closes_at, recorded_at FROM backfill.session_fingerprints
WHERE exchange = %(exchange)s AND session_day BETWEEN %(first)s AND %(last)s ORDER BY session_day
"""
_REPLACE_FINGERPRINTS = """
DELETE FROM backfill.session_fingerprints WHERE exchange = %(exchange)s AND session_day = ANY (%(days)s::date[])
"""


@dataclass(frozen=True, slots=True)
class ContradictingSession:
    """A stored session whose hours are others now; times are UTC.

    Attributes:
        exchange: the vendor's code.
        day: the day in the exchange's time zone.
        opened_at: when it opened as the evidence was first written; ``closed_at`` is its end.
        recorded_at: when that was.
        session: the session as the calendar has it now; None if it has none on that day.
    """

    exchange: str
    day: date
    opened_at: datetime
    closed_at: datetime
    recorded_at: datetime
    session: Session | None

    @property
    def has_other_slots_only(self) -> bool:
        """Whether it opens and closes as before, and its breaks or the clock of its slots are others."""
        return self.session is not None and (self.session.open, self.session.close) == (self.opened_at, self.closed_at)


def list_fingerprints(sessions: Sequence[Session]) -> dict[str, list[object]]:
    """The parameters of ``INSERT_FINGERPRINTS``."""
    return {
        "hours_exchanges": [session.exchange for session in sessions],
        "hours_days": [session.day for session in sessions],
        "hours_fingerprints": [compute_session_fingerprint(session) for session in sessions],
        "hours_opens": [session.open for session in sessions],
        "hours_closes": [session.close for session in sessions],
    }


def record_session_fingerprints(connection: Connection, sessions: Sequence[Session]) -> int:
    """Keep the hours of sessions that are not known yet; returns how many. Known ones stay as they were recorded."""
    if not sessions:
        return 0
    return connection.execute(INSERT_FINGERPRINTS, list_fingerprints(sessions)).rowcount


def replace_session_fingerprints(connection: Connection, exchange: str, sessions: Sequence[Session]) -> None:
    """Let the hours of now count for sessions, for instance after their evidence was read anew."""
    if not sessions:
        return
    days = [session.day for session in sessions]
    connection.execute(_REPLACE_FINGERPRINTS, {"exchange": exchange, "days": days})
    record_session_fingerprints(connection, sessions)


def find_contradicting_sessions(
    connection: Connection, sessions: Sequence[Session], *, with_corrected: bool = False
) -> list[ContradictingSession]:
    """Which stored sessions have other hours, or are gone, in the calendar of now; oldest first, one statement.

    A day that the user corrects contradicts nothing: there the calendar is the user's.

    Args:
        connection: with a transaction open.
        sessions: every session of one exchange from one day to another, oldest first.
        with_corrected: whether days that the user corrects are listed, too.
    """
    if not sessions:
        return []
    now, overrides = {session.day: session for session in sessions}, sessions[0].market.overrides
    corrected = {*overrides.closures, *overrides.early_closes, *overrides.late_opens, *overrides.extra_sessions}
    values = {"exchange": sessions[0].exchange, "first": sessions[0].day, "last": sessions[-1].day}
    return [
        ContradictingSession(
            exchange=sessions[0].exchange,
            day=day,
            opened_at=opens_at.astimezone(UTC),
            closed_at=closes_at.astimezone(UTC),
            recorded_at=recorded_at.astimezone(UTC),
            session=now.get(day),
        )
        for day, fingerprint, opens_at, closes_at, recorded_at in connection.execute(_SELECT_FINGERPRINTS, values)
        if (with_corrected or day not in corrected)
        and (day not in now or compute_session_fingerprint(now[day]) != fingerprint)
    ]
