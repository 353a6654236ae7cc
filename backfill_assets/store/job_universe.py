"""The symbols that a job is about: the active ones, and tickers that ended within its sessions.

A ticker has ended if it is inactive and its newest listing has a last session, by a rename or a delisting that a person
confirmed. Its slots up to that day belong to every window that reaches back to it, so that a gap before a rename is
filled and counted; once a window begins later, it is out of it. A symbol that was merely deactivated is in no window.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime
from operator import attrgetter

from backfill_assets.market.calendar.tickers import Symbol
from backfill_assets.store.evidence.known_lives import NEWEST_LISTINGS
from backfill_assets.store.postgres.connection import Connection
from backfill_assets.store.symbols import list_symbols, list_symbols_at
from backfill_assets.store.universe_changes import record_universe_changes

_SELECT_ENDS = f"""
SELECT symbol_id, listed_until FROM {NEWEST_LISTINGS} n
WHERE symbol_id = ANY (%(ids)s::int[]) AND listed_until IS NOT NULL
"""  # noqa: S608 - only a constant is inserted


@dataclass(frozen=True, slots=True)
class EndedTicker:
    """A ticker that has ended; ``last_day`` is its last session."""

    symbol: Symbol
    last_day: date


@dataclass(frozen=True, slots=True)
class JobUniverse:
    """The symbols that jobs may be about; both are ordered by ticker.

    Attributes:
        active: the active symbols.
        ended: tickers that have ended, whenever that was.
        note: what a person should know of a past universe, in one line; empty without.
    """

    active: tuple[Symbol, ...]
    ended: tuple[EndedTicker, ...] = ()
    note: str = ""

    def list_since(self, first_day: date | None) -> tuple[Symbol, ...]:
        """The symbols of a window that begins on ``first_day``; None: it has no sessions."""
        ended = [one.symbol for one in self.ended if first_day is not None and one.last_day >= first_day]
        return tuple(sorted((*self.active, *ended), key=attrgetter("ticker"))) if ended else self.active

    def list_all(self) -> tuple[Symbol, ...]:
        """The active symbols and all that have ended."""
        return self.list_since(date.min)


def read_job_universe(connection: Connection, exchange: str, as_of: datetime | None) -> JobUniverse:
    """The symbols of ``exchange`` that jobs are about.

    Args:
        connection: with a transaction open.
        exchange: the vendor's code.
        as_of: the moment that stands for the current time (``--as-of``), whose universe it is then. None: the clock;
            what other programs changed in ``market_symbols`` is recorded.
    """
    if as_of is None:
        record_universe_changes(connection)
        return build_job_universe(connection, list_symbols(connection, exchange, only_active=False))
    universe = list_symbols_at(connection, exchange, as_of)
    return build_job_universe(connection, universe.symbols, universe.describe())


def build_job_universe(connection: Connection, symbols: Collection[Symbol], note: str = "") -> JobUniverse:
    """The symbols that jobs are about, out of all, ordered by ticker; one statement if any is inactive."""
    active = tuple(symbol for symbol in symbols if symbol.is_active)
    inactive = [symbol for symbol in symbols if not symbol.is_active]
    ends = read_listing_ends(connection, inactive)
    ended = tuple(EndedTicker(symbol, ends[symbol.symbol_id]) for symbol in inactive if symbol.symbol_id in ends)
    return JobUniverse(active, ended, note)


def read_listing_ends(connection: Connection, symbols: Collection[Symbol]) -> dict[int, date]:
    """symbol_id → last session, of those whose newest listing has one."""
    if not symbols:
        return {}
    return dict(connection.execute(_SELECT_ENDS.encode(), {"ids": [symbol.symbol_id for symbol in symbols]}))
