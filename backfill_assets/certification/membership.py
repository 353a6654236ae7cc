"""Who belongs to a session of a universe: its tickers that were active and listed at the session's close.

Who was active when is read as it was recorded; before the first record, today's universe stands for it. The first
certificate of a session settles who belongs to it: adding a ticker later, or removing one, changes no session that was
certified. Which of these were listed is known with the coverage.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from backfill_assets.market.calendar.sessions import Session
from backfill_assets.market.calendar.tickers import Symbol
from backfill_assets.store.job_universe import JobUniverse, build_job_universe
from backfill_assets.store.postgres.connection import Connection
from backfill_assets.store.symbols import list_symbols_at
from backfill_assets.store.universe_changes import list_change_times
from backfill_assets.store.universes import Membership, NamedUniverse, list_memberships


@dataclass(frozen=True, slots=True)
class SessionUniverse:
    """The exchange's symbols that were active at a session's close, whatever universe they are of."""

    symbols: tuple[Symbol, ...]
    is_assumed: bool


class Memberships:
    """Answers who belonged to universes at the close of some sessions; reads what it needs once."""

    def __init__(self, connection: Connection, sessions: Sequence[Session], universes: Sequence[NamedUniverse]) -> None:
        self._members = {
            universe.name: list_memberships(connection, universe)
            for universe in universes
            if not universe.has_all_symbols
        }
        self._active = _read_active(connection, sessions)

    def list_members(self, universe: NamedUniverse, session: Session) -> SessionUniverse:
        """The universe's members that were active at the session's close."""
        active = self._active[session.day]
        if universe.has_all_symbols:
            return active
        members = _select_members(self._members[universe.name], session.close)
        return SessionUniverse(tuple(s for s in active.symbols if s.symbol_id in members), active.is_assumed)


def _select_members(memberships: Sequence[Membership], moment: datetime) -> set[int]:
    return {membership.symbol_id for membership in memberships if membership.holds_at(moment)}


def _read_active(connection: Connection, sessions: Sequence[Session]) -> Mapping[date, SessionUniverse]:
    """By session, the symbols that were active at its close, and those whose last session came later."""
    changes = list_change_times(connection)
    found: dict[int, tuple[JobUniverse, bool]] = {}
    active = {}
    for session in sessions:
        state = bisect_right(changes, session.close)  # between two changes the universe is the same
        if state not in found:
            universe = list_symbols_at(connection, session.exchange, session.close)
            found[state] = build_job_universe(connection, universe.symbols), universe.is_assumed
        universe_then, is_assumed = found[state]
        active[session.day] = SessionUniverse(universe_then.list_since(session.day), is_assumed)
    return active
