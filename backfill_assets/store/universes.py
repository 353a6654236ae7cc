"""Universes with a name: which symbols somebody's work rests on, and how many of them a certificate may lack.

Each exchange has ``all`` from the beginning, with every active symbol of it. That of an exchange that was never enabled
has no row until its gates are set. Members are rows of ``market_symbols``; who belongs to a session is decided in
``certification``. A universe that is removed leaves its certificates.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from backfill_assets.errors import UsageError
from backfill_assets.market.calendar.tickers import Symbol, Ticker
from backfill_assets.market.exchanges.labels import format_universe
from backfill_assets.market.exchanges.registry import DEFAULT_EXCHANGE
from backfill_assets.store.postgres.connection import Connection
from backfill_assets.store.symbols import list_symbols

ALL = "all"  # the universe of every active symbol
_SELECT_UNIVERSES = """
SELECT exchange, name, max_incomplete, deadline, created_at FROM backfill.universes
WHERE exchange = %(exchange)s AND (%(name)s::text IS NULL OR name = %(name)s) ORDER BY name <> 'all', name
"""
_INSERT_UNIVERSE = """
INSERT INTO backfill.universes (exchange, name, max_incomplete, deadline)
VALUES (%(exchange)s, %(name)s, %(max_incomplete)s, %(deadline)s) ON CONFLICT DO NOTHING
"""
_SET_GATES = """
INSERT INTO backfill.universes (exchange, name, max_incomplete, deadline)
VALUES (%(exchange)s, %(name)s, %(max_incomplete)s, %(deadline)s)
ON CONFLICT (exchange, name) DO UPDATE SET max_incomplete = EXCLUDED.max_incomplete, deadline = EXCLUDED.deadline
"""
_DELETE_UNIVERSE = "DELETE FROM backfill.universes WHERE exchange = %(exchange)s AND name = %(name)s"
_ADD_MEMBERS = """
INSERT INTO backfill.universe_members (exchange, universe, symbol_id, member_from)
SELECT %(exchange)s, %(name)s, added, %(since)s FROM unnest(%(ids)s::int[]) AS added
WHERE NOT EXISTS (SELECT FROM backfill.universe_members m WHERE m.exchange = %(exchange)s AND m.universe = %(name)s
                  AND m.symbol_id = added AND m.member_until IS NULL)
ON CONFLICT DO NOTHING
"""
_END_MEMBERS = """
UPDATE backfill.universe_members SET member_until = greatest(%(until)s, member_from + interval '1 microsecond')
WHERE exchange = %(exchange)s AND universe = %(name)s AND symbol_id = ANY (%(ids)s::int[]) AND member_until IS NULL
"""
_SELECT_MEMBERSHIPS = """
SELECT symbol_id, nullif(member_from, '-infinity'), member_until FROM backfill.universe_members
WHERE exchange = %(exchange)s AND universe = %(name)s ORDER BY symbol_id, member_from
"""


@dataclass(frozen=True, slots=True)
class NamedUniverse:
    """A universe with a name.

    Attributes:
        exchange: the vendor's code.
        name: unique within the exchange.
        max_incomplete: so many symbols may be incomplete once a session is overdue.
        deadline: after a session's close; then it is certified however many lack. None: never.
        created_at: UTC; None: it was there from the beginning.
    """

    exchange: str
    name: str
    max_incomplete: int
    deadline: timedelta | None
    created_at: datetime | None

    @property
    def has_all_symbols(self) -> bool:
        """Whether every active symbol belongs to it."""
        return self.name == ALL

    @property
    def label(self) -> str:
        """The name as people read it: with its exchange, unless that is the default one."""
        return format_universe(self.exchange, self.name)

    def existed_at(self, moment: datetime) -> bool:
        """Whether it was there at ``moment``, and not another one of its name."""
        return self.has_all_symbols or self.created_at is None or self.created_at <= moment


@dataclass(frozen=True, slots=True)
class Membership:
    """That a symbol belongs to a universe: from then (None: from the beginning) until then (None: it still does)."""

    symbol_id: int
    member_from: datetime | None
    member_until: datetime | None

    def holds_at(self, moment: datetime) -> bool:
        """Whether the symbol belongs to the universe at ``moment``."""
        has_begun = self.member_from is None or self.member_from <= moment
        return has_begun and (self.member_until is None or moment < self.member_until)


def list_universes(connection: Connection, exchange: str) -> list[NamedUniverse]:
    """The universes of an exchange, ``all`` first, then by name."""
    values = {"exchange": exchange, "name": None}
    found = [_to_universe(row) for row in connection.execute(_SELECT_UNIVERSES, values)]
    return found if any(universe.has_all_symbols for universe in found) else [_build_all(exchange), *found]


def find_universe(connection: Connection, exchange: str, name: str) -> NamedUniverse:
    """The universe with this name.

    Raises:
        UsageError: there is none; names those that there are.
    """
    found = connection.execute(_SELECT_UNIVERSES, {"exchange": exchange, "name": name}).fetchone()
    if found is None and name == ALL:
        return _build_all(exchange)
    if found is None:
        names = ", ".join(universe.name for universe in list_universes(connection, exchange))
        raise UsageError(
            f"there is no universe {name!r} of exchange {exchange}, only {names}; add it:"
            f" backfill-assets universes add {name} {_name_examples(exchange)}"
        )
    return _to_universe(found)


def create_universe(
    connection: Connection,
    exchange: str,
    name: str,
    symbols: Collection[Symbol],
    *,
    max_incomplete: int = 0,
    deadline: timedelta | None = None,
) -> NamedUniverse:
    """Create a universe whose members belong to it from the beginning.

    Raises:
        UsageError: there is one with this name.
    """
    values = {"exchange": exchange, "name": name, "max_incomplete": max_incomplete, "deadline": deadline}
    if not connection.execute(_INSERT_UNIVERSE, values).rowcount:
        raise UsageError(f"there is a universe {name!r} of exchange {exchange} already")
    _add(connection, exchange, name, symbols, "-infinity")
    return find_universe(connection, exchange, name)


def add_members(connection: Connection, universe: NamedUniverse, symbols: Collection[Symbol], since: datetime) -> int:
    """Add symbols from ``since`` (aware) on; returns how many were no members."""
    return _add(connection, universe.exchange, universe.name, symbols, since)


def remove_members(
    connection: Connection, universe: NamedUniverse, symbols: Collection[Symbol], until: datetime
) -> int:
    """End the membership of symbols at ``until`` (aware); returns how many were members."""
    ids = sorted(symbol.symbol_id for symbol in symbols)
    values = {"exchange": universe.exchange, "name": universe.name, "ids": ids, "until": until}
    return connection.execute(_END_MEMBERS, values).rowcount


def set_gates(
    connection: Connection, universe: NamedUniverse, *, max_incomplete: int, deadline: timedelta | None
) -> NamedUniverse:
    """Change how many symbols certificates may lack, and from when on any number; counts for later certificates."""
    values = {
        **{"exchange": universe.exchange, "name": universe.name},
        **{"max_incomplete": max_incomplete, "deadline": deadline},
    }
    connection.execute(_SET_GATES, values)
    return find_universe(connection, universe.exchange, universe.name)


def delete_universe(connection: Connection, universe: NamedUniverse) -> None:
    """Delete a universe with its members; its certificates stay.

    Raises:
        UsageError: it is the one of all symbols.
    """
    if universe.has_all_symbols:
        raise UsageError("the universe 'all' cannot be removed: it has every active symbol; its gates can be set")
    connection.execute(_DELETE_UNIVERSE, {"exchange": universe.exchange, "name": universe.name})


def list_memberships(connection: Connection, universe: NamedUniverse) -> list[Membership]:
    """Who belonged to a universe from when to when, ended memberships included; none of ``all``."""
    rows = connection.execute(_SELECT_MEMBERSHIPS, {"exchange": universe.exchange, "name": universe.name})
    return [Membership(key, _to_utc(since), _to_utc(until)) for key, since, until in rows]


def list_universe_symbols(
    connection: Connection, universe: NamedUniverse, moment: datetime | None = None
) -> list[Symbol]:
    """The members of a universe, ordered by ticker: the active symbols for ``all``, else inactive ones, too.

    Args:
        connection: with a transaction open.
        universe: of ``list_universes`` or ``find_universe``.
        moment: members then (aware); None: now. Of ``all`` it is now in any case.
    """
    if universe.has_all_symbols:
        return list_symbols(connection, universe.exchange)
    memberships = list_memberships(connection, universe)
    members = {m.symbol_id for m in memberships if (m.holds_at(moment) if moment else m.member_until is None)}
    symbols = list_symbols(connection, universe.exchange, only_active=False)
    return [symbol for symbol in symbols if symbol.symbol_id in members]


def list_universes_of(connection: Connection, ticker: Ticker, *, without: Ticker) -> list[str]:
    """The names of the universes that have ``ticker`` as a member now and ``without`` not; never ``all``."""
    found = []
    for universe in list_universes(connection, ticker.exchange):
        members = () if universe.has_all_symbols else list_universe_symbols(connection, universe)
        tickers = {symbol.ticker for symbol in members}
        if ticker in tickers and without not in tickers:
            found.append(universe.name)
    return found


def find_symbols(connection: Connection, exchange: str, tickers: Sequence[Ticker]) -> list[Symbol]:
    """The symbols of tickers, in the order given; inactive ones, too.

    Raises:
        UsageError: names tickers that the store does not have.
    """
    known = {symbol.ticker: symbol for symbol in list_symbols(connection, exchange, only_active=False)}
    unknown = [str(ticker) for ticker in tickers if ticker not in known]
    if unknown:
        shown = ", ".join(unknown[:10]) + (f" and {len(unknown) - 10:,} more" if len(unknown) > 10 else "")
        raise UsageError(
            f"not in the store: {shown}; add them first: backfill-assets symbols add {' '.join(unknown[:3])}"
        )
    return [known[ticker] for ticker in dict.fromkeys(tickers)]


def _add(connection: Connection, exchange: str, name: str, symbols: Collection[Symbol], since: datetime | str) -> int:
    ids = sorted({symbol.symbol_id for symbol in symbols})
    values = {"exchange": exchange, "name": name, "ids": ids, "since": since}
    return connection.execute(_ADD_MEMBERS, values).rowcount


def _build_all(exchange: str) -> NamedUniverse:
    return NamedUniverse(exchange, ALL, max_incomplete=0, deadline=None, created_at=None)


def _name_examples(exchange: str) -> str:
    return "AAPL MSFT" if exchange == DEFAULT_EXCHANGE else f"TICKER.{exchange}"


def _to_universe(row: Sequence[Any]) -> NamedUniverse:
    exchange, name, max_incomplete, deadline, created_at = row
    return NamedUniverse(exchange, name, max_incomplete, deadline, created_at.astimezone(UTC))


def _to_utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.astimezone(UTC)
